"""Intervals hold what they promise, whoever speaks, and are absent where nobody can promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagsverk.speech.evaluation.bootstrap import UNSEEN, bootstrap, speaker_codes

WORDS, CLIPS = 8, 30


def recordings(rng, speakers, *, spread, base=0.15, clips=CLIPS):
    """(clips, 2): word errors and words; and speakers. Each speaker has a rate of their own around `base`."""
    rates = np.clip(base + spread * rng.standard_normal(speakers), 0, 1)
    names = np.repeat([f"voice {i}" for i in range(speakers)], clips)
    errors = rng.binomial(WORDS, np.repeat(rates, clips))
    return np.column_stack([errors, np.full(len(names), WORDS)]), names


def coverage(speakers, repeats, *, clustered=True):
    """Share of the intervals that hold the true rate."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(repeats):
        columns, names = recordings(rng, speakers, spread=0.05)
        whom = names if clustered else [""] * len(names)
        interval = bootstrap(columns, whom, resamples=200, seed=0).rate(0, 1)
        held += interval.low <= 0.15 <= interval.high
    return held / repeats


@pytest.mark.parametrize("speakers", [4, 12])
def test_an_interval_holds_the_truth_about_95_times_in_100(speakers):
    assert 0.90 <= coverage(speakers, 300) <= 0.99  # 4 standard errors of 300 draws: 0.05


def test_an_interval_that_takes_clips_for_speakers_is_far_too_narrow():
    assert coverage(12, 150, clustered=False) < 0.75


def test_resamples_are_the_same_for_the_same_seed():
    columns, names = recordings(np.random.default_rng(0), 6, spread=0.05)
    first, again, other = (bootstrap(columns, names, resamples=300, seed=s).rate(0, 1) for s in (0, 0, 1))
    assert first == again
    assert (other.value, other.low) != (first.value, first.low)
    assert other.low == pytest.approx(first.low, abs=0.02)


def test_a_rate_may_exceed_one_and_is_never_below_zero():
    columns = np.array([[9, 3], [0, 3], [0, 3], [1, 3]])
    interval = bootstrap(columns, ["a", "b", "c", "d"], resamples=500, seed=0).rate(0, 1)
    assert interval.value == pytest.approx(10 / 12)
    assert interval.low == 0.0
    assert interval.high > 1


def test_one_speaker_has_a_rate_and_no_interval():
    interval = bootstrap([[1, 4], [0, 4]], ["anna", "anna"], resamples=200, seed=0).rate(0, 1)
    assert (interval.value, interval.low, interval.high) == (1 / 8, None, None)


def test_clips_of_unnamed_speakers_stand_for_themselves():
    interval = bootstrap([[1, 4], [0, 4]], ["", ""], resamples=200, seed=0).rate(0, 1)
    assert interval.low is not None
    assert list(speaker_codes(["a", "", "a", "", "b"])) == [0, 1, 0, 2, 3]


def test_nothing_to_score_has_no_rate():
    empty = bootstrap(np.zeros((0, 2)), [], resamples=200, seed=0).rate(0, 1)
    silent = bootstrap([[0, 0], [0, 0]], ["a", "b"], resamples=200, seed=0).rate(0, 1)
    assert empty.value is silent.value is None


def test_no_error_seen_is_not_no_error_possible():
    interval = bootstrap([[0, 50], [0, 50]], ["a", "b"], resamples=200, seed=0).rate(0, 1)
    assert (interval.value, interval.low) == (0.0, 0.0)
    assert interval.high == pytest.approx(UNSEEN / 100)
    assert np.exp(-UNSEEN) == pytest.approx(0.025, abs=1e-4)


def test_where_all_speakers_are_alike_the_interval_still_has_a_width():
    sums = bootstrap([[0, 40, 40], [0, 60, 60]], ["a", "b"], resamples=200, seed=0)
    always, gain = sums.rate(1, 2), sums.difference((0, 2), (1, 2))
    assert (always.low, always.high) == (pytest.approx(1 - UNSEEN / 100), pytest.approx(1 + UNSEEN / 100))
    assert (gain.value, gain.low, gain.high) == (
        -1,
        pytest.approx(-1 - UNSEEN / 100),
        pytest.approx(-1 + UNSEEN / 100),
    )


def test_two_models_on_the_same_clips_are_told_apart_where_their_intervals_overlap():
    rng = np.random.default_rng(3)
    columns, names = recordings(rng, 10, spread=0.08, base=0.3)
    better = np.maximum(columns[:, :1] - rng.binomial(1, 0.25, size=(len(columns), 1)), 0)
    sums = bootstrap(np.hstack([better, columns]), names, resamples=500, seed=0)
    first, second, gain = sums.rate(0, 2), sums.rate(1, 2), sums.difference((0, 2), (1, 2))
    assert first.high > second.low
    assert gain.high < 0
    assert gain.p < 0.01
    assert gain.value == pytest.approx(first.value - second.value)


def test_a_difference_of_nothing_is_rarely_found():
    rng, seen = np.random.default_rng(5), 0
    for _ in range(200):
        columns, names = recordings(rng, 8, spread=0.1, base=0.3)
        other = rng.binomial(WORDS, columns[:, 0] / WORDS)  # of the same rate in each clip
        gain = bootstrap(np.column_stack([columns, other]), names, resamples=200, seed=0).difference(
            (0, 1), (2, 1)
        )
        assert (gain.p < 0.05) == (not gain.low <= 0 <= gain.high)
        seen += gain.p < 0.05
    assert seen / 200 <= 0.11  # 0.05 and 4 standard errors


def test_a_model_against_itself_differs_by_nothing():
    columns, names = recordings(np.random.default_rng(0), 5, spread=0.1)
    gain = bootstrap(columns, names, resamples=200, seed=0).difference((0, 1), (0, 1))
    assert (gain.value, gain.p) == (0.0, None)
    assert gain.low == -gain.high == pytest.approx(-UNSEEN / columns[:, 1].sum())


def test_a_group_that_is_missing_from_some_resamples_still_gets_an_interval():
    columns, names = recordings(np.random.default_rng(0), 6, spread=0.1)
    member = np.isin(names, ["voice 0", "voice 1"])[:, None]
    interval = bootstrap(columns * member, names, resamples=500, seed=0).rate(0, 1)
    assert interval.low is not None
    assert interval.value == pytest.approx((columns * member)[:, 0].sum() / (columns * member)[:, 1].sum())


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(1, 9), st.sampled_from(["", "a", "b", "c"])), max_size=20
    ),
    st.integers(1, 3),
)
def test_a_rate_lies_in_its_interval(clips, scale):
    columns = np.array([[e, w] for e, w, _ in clips]).reshape(-1, 2) * scale
    interval = bootstrap(columns, [s for *_, s in clips], resamples=100, seed=0).rate(0, 1)
    if not clips:
        assert interval.value is None
        return
    assert interval.value == pytest.approx(columns[:, 0].sum() / columns[:, 1].sum())
    assert interval.low is None or 0 <= interval.low <= interval.value <= interval.high
    assert (interval.low is None) == (len(set(speaker_codes([s for *_, s in clips]))) < 2)
