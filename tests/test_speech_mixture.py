"""Training on several sets of a language, by weight: what is drawn, what is left out, and that it resumes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from training_runs import Counting, Killed, KilledAfter, make_model, make_set, tiny_config

from dagsverk.speech.augmented import AugmentConfig
from dagsverk.speech.config import FinetuneConfig, PrepareConfig
from dagsverk.speech.errors import CorpusError, ModelError, SpeechError
from dagsverk.speech.features import shards
from dagsverk.speech.features.preparation import complete, pending, plan, prepare_all
from dagsverk.speech.mixtures import MixtureConfig
from dagsverk.speech.runs import finish, run_config
from dagsverk.speech.steps import Finetuned, finetuned
from dagsverk.speech.summary import _training
from dagsverk.speech.training import checkpoints, mixing
from dagsverk.speech.training.batches import Position, Sampler
from dagsverk.speech.training.checkpoints import newest
from dagsverk.speech.training.fit import fit
from dagsverk.store import Store, open_store


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    patch = pytest.MonkeyPatch()
    patch.setenv("DAGSVERK_CACHE", str(folder / "cache"))
    make_model(folder / "model")
    yield folder
    patch.undo()


class Others(Counting):
    """Other recordings than `Counting`, by other voices, all for train: those say the words in reverse."""

    name = "others"

    def __init__(
        self, count: int = 10, voice: str = "other", ending: str = "ett ett", first: int = 0
    ) -> None:
        super().__init__()
        kept = [clip for clip in self._clips if clip.split == "train"][first : first + count]
        self._clips = [
            replace(
                clip,
                id=f"{voice}-{clip.id}",
                text=" ".join([*reversed(clip.text.split()), ending]),
                speaker=f"{voice}-{place % 3}",
            )
            for place, clip in enumerate(kept)
        ]


def make_other(store: Store, corpus: Counting, **changes) -> str:
    settings = PrepareConfig(**{"shard_clips": 4, "train_only": True, **changes})
    set_id = plan(store, corpus, "sv", settings, corpus.name)
    prepare_all(store, set_id, corpus, pending(store, set_id))
    complete(store, set_id)
    return set_id


def new_store(place, name):
    store = open_store(str(place / name))
    return store, make_set(store), make_other(store, Others())


def mixing_config(place, *mixture, **changes):
    return tiny_config(str(place / "model"), mixture=mixture, **changes)


def end_of(place, store, run):
    state, files = newest(store, run, place / "cache")
    return (
        state.step,
        state.trail,
        state.seen,
        [files[name].read_bytes() for name in (checkpoints.MODEL, checkpoints.OPTIMISER)],
    )


def test_a_run_that_mixes_lost_at_any_step_ends_with_the_same_bytes_and_counts(place):
    store, set_id, other = new_store(place, "whole")
    one = MixtureConfig(set=other, weight=0.5)
    run = fit(store, set_id, "sv", mixing_config(place, one)).run
    whole = end_of(place, store, run)
    torn, _, _ = new_store(place, "torn")
    for step in (1, 5, 8, 11):
        with pytest.raises(Killed):
            fit(torn, set_id, "sv", mixing_config(place, one), KilledAfter(step))
    assert end_of(place, torn, fit(torn, set_id, "sv", mixing_config(place, one)).run) == whole
    made = run_config(store, run)
    (mixed,) = made.mixed
    assert (mixed.set, mixed.corpus, mixed.clips, mixed.of_epoch) == (other, "others", 10, 8)
    assert (made.clips, made.replayed) == (16, {})
    seen = finish(store, run).seen
    assert set(seen) == {set_id, other} and sum(seen.values()) == sum(whole[2])
    assert seen[other] == pytest.approx(seen[set_id] / 2, abs=9)


def test_the_summary_tells_how_many_clips_of_each_set_were_seen(place):
    store, set_id, other = new_store(place, "summary")
    chosen = fit(store, set_id, "sv", mixing_config(place, MixtureConfig(set=other, weight=0.5)))
    step = finetuned(store, chosen, new=True)
    assert isinstance(step, Finetuned)
    own, mixed = step.seen[set_id], step.seen[other]
    assert f"of {other} (others): {mixed} clips beside {own} of its own, from 10" in "\n".join(
        _training(step)
    )


def test_a_run_is_named_by_its_mixture_and_without_one_as_it_ever_was(place):
    store, set_id, other = new_store(place, "names")
    third = make_other(store, Others(4, "third", "fem fyra"))
    short = {"steps": 1, "evaluate_every": 1}
    half, all_ = MixtureConfig(set=other, weight=0.5), MixtureConfig(set=third)
    runs = [
        fit(store, set_id, "sv", mixing_config(place, *mixture, **short)).run
        for mixture in ((), (half,), (half, all_), (all_, half), (replace(half, weight=1.0),))
    ]
    assert runs[2] == runs[3] and len(set(runs)) == 4
    assert [one.of_epoch for one in run_config(store, runs[2]).mixed] == [
        {other: 8, third: 4}[one.set] for one in run_config(store, runs[2]).mixed
    ]


def test_each_clip_of_a_mixed_set_comes_equally_often_whatever_the_weight():
    random = np.random.default_rng(5)
    pools = (50, 7, 30)
    frames = random.integers(20, 300, sum(pools))
    for mixed in ((10, 3), (7, 30), (20, 100)):
        sampler = Sampler(frames, 30.0, 0.1, 0.02, seed=1, pools=pools, mixed=mixed)
        seen: Counter[int] = Counter()
        for epoch in range(9):
            clips = [int(clip) for group in sampler.epoch(epoch) for batch in group for clip in batch.clips]
            assert len(clips) == 50 + sum(mixed)
            assert sorted(clip for clip in clips if clip < 50) == list(range(50))
            seen.update(clips)
        for first, size, of_epoch in ((50, 7, mixed[0]), (57, 30, mixed[1])):
            counts = [seen[clip] for clip in range(first, first + size)]
            assert sum(counts) == 9 * of_epoch and max(counts) - min(counts) <= 1


def test_a_mixture_changes_no_draw_of_replayed_clips_and_needs_no_more_frames():
    frames = np.random.default_rng(5).integers(20, 300, 240)
    plain = Sampler(frames[:200], 30.0, 0.1, 0.0, seed=1)
    mixed = Sampler(frames, 30.0, 0.1, 0.0, seed=1, pools=(200, 40), mixed=(40,))
    for sampler in (plain, mixed):
        (batches, _) = next(sampler.steps(Position(), 8))
        computed = sum(len(batch.clips) * sampler.padded(batch) for batch in batches)
        assert computed <= 1.15 * sum(int(frames[batch.clips].sum()) for batch in batches)


# ------------------------------------------------------------------ what may not be learnt from


class SameVoice(Others):
    """Others, of whom a voice is one of test's, and another of dev's."""

    def __init__(self) -> None:
        super().__init__(voice="same")
        for place, voice in ((0, "test-voice-0"), (1, "dev-voice-1"), (2, "")):
            self._clips[place] = replace(self._clips[place], speaker=voice)


class SameSounds(Counting):
    """All recordings of `Counting`, under other names and by voices that nobody names, all for train."""

    name = "the same again"

    def __init__(self) -> None:
        super().__init__()
        self._clips = [replace(clip, id=f"again-{clip.id}", speaker="") for clip in self._clips]


def test_voices_and_recordings_of_dev_and_test_are_left_out_and_counted(place):
    store, set_id, _ = new_store(place, "leaks")
    voices = make_other(store, SameVoice())
    run = fit(store, set_id, "sv", mixing_config(place, MixtureConfig(set=voices), steps=1)).run
    (mixed,) = run_config(store, run).mixed
    assert (mixed.clips, mixed.left_out) == (8, {mixing.HELD_OUT_VOICE: 2})
    sounds = make_other(store, SameSounds())
    with pytest.raises(SpeechError, match=r"no train clip of .* can be mixed in") as refused:
        fit(store, set_id, "sv", mixing_config(place, MixtureConfig(set=sounds), steps=1))
    assert f"{mixing.HELD_OUT_RECORDING}" in str(refused.value) and mixing.AGAIN in str(refused.value)


def test_clips_that_two_sets_of_a_mixture_have_are_drawn_from_one_of_them_copies_included(place):
    store, set_id, other = new_store(place, "twice")
    changed = make_other(store, Others(), augment=AugmentConfig(copies=2, gain_db=6))
    third = make_other(store, Others(10, first=6), shard_clips=5)
    mixture = (MixtureConfig(set=other), MixtureConfig(set=third))
    run = fit(store, set_id, "sv", mixing_config(place, *mixture, steps=1)).run
    mixed = {one.set: (one.clips, one.left_out) for one in run_config(store, run).mixed}
    first, second = sorted((other, third))
    assert mixed[first] == (10, {})
    twice = mixed[second][1][mixing.TWICE]
    assert twice >= 4 and mixed[second] == (10 - twice, {mixing.TWICE: twice})
    refused = MixtureConfig(set=other), MixtureConfig(set=changed)
    with pytest.raises(SpeechError, match=rf"no train clip of .*(1|3)0 x {mixing.TWICE}"):
        fit(store, set_id, "sv", mixing_config(place, *refused, steps=1))


def test_what_cannot_be_mixed_is_refused_by_name(place):
    store, set_id, other = new_store(place, "unfit")
    english, wide = make_set(store, code="en"), make_other(store, Others(5, "wide"), n_mels=128)
    for wrong, kind, words in (
        (set_id, SpeechError, "the set that is trained on anyway"),
        (english, ModelError, "it is of language en, trained is sv"),
        (wide, ModelError, "128 mel bins"),
        ("sv-0123456789abcdef", SpeechError, "no such complete set"),
        ("nonsense", SpeechError, "no such complete set"),
    ):
        with pytest.raises(kind, match=words):
            fit(store, set_id, "sv", mixing_config(place, MixtureConfig(set=wrong), steps=1))
    with pytest.raises(ValueError, match="twice"):
        FinetuneConfig(mixture=(MixtureConfig(set=other), MixtureConfig(set=other, weight=2)))


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), 101, 1e-400])
def test_a_weight_that_means_nothing_is_refused(weight):
    with pytest.raises(ValueError, match="must be above 0"):
        MixtureConfig(set="sv-0123456789abcdef", weight=weight)


# ------------------------------------------------------------------ sets of train alone


def test_a_set_of_train_alone_is_complete_and_nobodys_newest(place):
    store, set_id, other = new_store(place, "alone")
    assert shards.newest(store, "sv") == set_id
    made = shards.manifest(store, other)
    assert made.splits["train"].clips == 10 and made.splits["test"].clips == 0
    with pytest.raises(CorpusError, match="no clip is left for dev and test"):
        make_other(store, Others(), train_only=False)
