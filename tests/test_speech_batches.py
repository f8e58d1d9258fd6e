import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.training.batches import Position, Sampler, frames_ratio
from dagsverk.speech.training.defaults import FULL_WINDOW_SHARE

DEFAULTS = FinetuneConfig()
LENGTHS = st.lists(st.integers(1, 3000), min_size=1, max_size=60)


def sampler(lengths, batch_s=20.0, full_share=0.1, seed=0, slack_s=0.1):
    return Sampler(np.array(lengths, dtype=np.int64), batch_s, slack_s, full_share, seed)


def flat(groups):
    return list(itertools.chain(*groups))


def identity(batches):
    return [(batch.clips.tolist(), batch.full, batch.epoch) for batch in batches]


@given(lengths=LENGTHS, batch_s=st.floats(1, 200), full_share=st.floats(0, 1), epoch=st.integers(0, 3))
def test_every_clip_is_in_an_epoch_exactly_once(lengths, batch_s, full_share, epoch):
    batches = flat(sampler(lengths, batch_s, full_share).epoch(epoch))
    assert sorted(np.concatenate([batch.clips for batch in batches])) == list(range(len(lengths)))


@given(lengths=LENGTHS, batch_s=st.floats(1, 200), full_share=st.floats(0, 1))
def test_a_batch_holds_no_more_seconds_than_allowed_unless_it_is_one_clip(lengths, batch_s, full_share):
    made = sampler(lengths, batch_s, full_share)
    for batch in flat(made.epoch(0)):
        assert len(batch.clips) == 1 or len(batch.clips) * made.padded(batch) <= batch_s * 100
        assert made.padded(batch) == 3000 if batch.full else made.padded(batch) <= 3000


@given(lengths=LENGTHS, full_share=st.floats(0, 1))
def test_the_stated_share_of_clips_is_given_as_full_windows(lengths, full_share):
    batches = flat(sampler(lengths, 90, full_share).epoch(0))
    full = [clip for batch in batches if batch.full for clip in batch.clips]
    assert len(full) == round(full_share * len(lengths))


@settings(max_examples=30)
@given(lengths=LENGTHS, per_step=st.integers(1, 5), stop=st.integers(1, 12), seed=st.integers(0, 99))
def test_from_any_position_the_very_next_batches_follow(lengths, per_step, stop, seed):
    made = sampler(lengths, seed=seed)
    whole = list(itertools.islice(made.steps(Position(), per_step), 15))
    again = itertools.islice(made.steps(whole[stop - 1][1], per_step), 15 - stop)
    assert [identity(batches) for batches, _ in again] == [identity(batches) for batches, _ in whole[stop:]]


@given(lengths=LENGTHS, full_share=st.floats(0, 1), epoch=st.integers(0, 2))
def test_full_windows_make_no_step_by_themselves_unless_all_clips_are_full(lengths, full_share, epoch):
    made = sampler(lengths, 60, full_share)
    everything_is_full = round(full_share * len(lengths)) == len(lengths)
    for group in made.epoch(epoch):
        assert [batch.full for batch in group[1:]] == [True] * (len(group) - 1)
        assert group[0].full == everything_is_full


@pytest.mark.slow
@given(lengths=LENGTHS, groups=st.integers(1, 4))
def test_all_steps_have_equally_many_groups_and_leave_none_out(lengths, groups):
    made = sampler(lengths)
    alone = flat(batches for batches, _ in itertools.islice(made.steps(Position(), 1), 4 * groups))
    together = flat(batches for batches, _ in itertools.islice(made.steps(Position(), groups), 4))
    assert sorted(identity(together)) == sorted(identity(alone))


def test_epochs_differ_and_seeds_differ():
    lengths = list(range(100, 400, 3))
    first, other = sampler(lengths, seed=1), sampler(lengths, seed=2)
    assert identity(flat(first.epoch(0))) == identity(flat(sampler(lengths, seed=1).epoch(0)))
    batches = {tuple(sorted(map(tuple, (batch.clips.tolist() for batch in flat(made))))) for made in
               (first.epoch(0), first.epoch(1), other.epoch(0))}  # fmt: skip
    assert len(batches) == 3


def common_voice(mean_s: float, clips: int, seed: int) -> np.ndarray:
    """Frames of clips as long as Common Voice's: log-normal about the published mean, from 1 to 12 s."""
    random = np.random.default_rng(seed)
    spread = 0.35
    seconds = random.lognormal(np.log(mean_s) - spread**2 / 2, spread, clips)
    return np.round(100 * np.clip(seconds, 1.0, 12.0)).astype(np.int64)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("mean_s", "clips", "batch_s"),
    # batches as `defaults` makes them at most: 200 to an epoch, 64 windows each
    [(3.96, 7_308, 60.0), (3.96, 7_308, 145.0), (5.36, 30_000, 60.0), (5.36, 152_609, 1920.0)],
    ids=["sv", "sv largest", "it", "it largest"],
)
def test_on_common_voice_at_most_15_percent_of_the_computed_frames_are_waste(mean_s, clips, batch_s, seed):
    frames = common_voice(mean_s, clips, seed)
    made = Sampler(frames, batch_s, DEFAULTS.slack_s, FULL_WINDOW_SHARE, seed)
    assert frames_ratio(made, flat(made.epoch(0))) <= 1.15
    padded = Sampler(frames, batch_s, 0.0, 1.0, seed)
    assert frames_ratio(padded, flat(padded.epoch(0))) == pytest.approx(
        30 / mean_s, rel=0.02
    )  # the usual recipe


def test_no_clips_are_refused():
    with pytest.raises(ValueError, match="no clips"):
        sampler([])
