"""Shares of right predictions, their interval and their test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dagsverk.tabular.accuracy import Promise, detectable_fall, wilson
from dagsverk.tabular.evidence import Share, watch_share

KNOWN = Share(right=731, wrong=160)  # as of the 891 passengers


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [  # the first four: Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),  # the mirror image of none in 20
        (1, 1, 0.2065, 1.0),  # 1 / (1 + 1.96 ** 2)
    ],
)
def test_wilson_equals_the_published_intervals(correct, n, low, high):
    ends = wilson(correct, n)
    assert [float(end) for end in ends] == pytest.approx([low, high], abs=5e-5)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=50, deadline=None)
def test_wilson_surrounds_the_share_and_agrees_with_scipy(case):
    correct, n = case
    low, high = wilson(correct, n)
    assert 0 <= low <= correct / n <= high <= 1
    peer = stats.binomtest(correct, n).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((peer.low, peer.high), abs=1e-9)


def test_wilson_of_no_rows_is_unknown():
    low, high = wilson([0, 1], [0, 1])
    assert np.isnan(low[0])
    assert np.isnan(high[0])
    assert not np.isnan(low[1])


@pytest.mark.parametrize(("correct", "n"), [(2, 1), (-1, 3)])
def test_impossible_counts_are_refused(correct, n):
    with pytest.raises(ValueError, match="0 <= correct <= n"):
        wilson(correct, n)
    with pytest.raises(ValueError, match="0 <= right <= n"):
        watch_share([correct], [n], KNOWN)


def test_a_promise_outside_zero_to_one_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 1\], got 82"):
        Promise(accuracy=82)


def test_a_promise_is_worth_the_rows_that_its_interval_says():
    # 0.8 with a standard error of 0.04: as from 0.8 * 0.2 / 0.04 ** 2 = 100 rows
    assert Promise(accuracy=0.8, low=0.8 - 1.96 * 0.04).share(5000).right == pytest.approx(80, abs=0.01)
    assert Promise(accuracy=0.8, low=0.8 - 1.96 * 0.04).share(50).right == pytest.approx(40)
    assert Promise(accuracy=1.0, low=1.0).share(150) == Share(right=150, wrong=0)  # not known for certain
    assert Promise(accuracy=0.8).share(0) == Share(right=80, wrong=pytest.approx(20))


def daily(rng: np.random.Generator, share: float, days: int, n: int = 10) -> np.ndarray:
    return rng.binomial(n, share, days)


def test_a_kept_promise_is_rarely_called_broken_in_a_year_of_daily_looks():
    """The promise is drawn anew for each system: its own error counts."""
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(60):
        right = rng.binomial(891, 0.82)
        watched = watch_share(daily(rng, 0.82, 365), np.full(365, 10), Share(right=right, wrong=891 - right))
        alarms += bool(watched.episodes)
    assert alarms <= 3


def test_a_fall_is_noticed_dated_and_stands():
    rng = np.random.default_rng(1)
    right = np.concatenate([daily(rng, 0.82, 200), daily(rng, 0.62, 60)])
    watched = watch_share(right, np.full(260, 10), KNOWN)
    assert [episode.ended for episode in watched.episodes] == [None]
    assert abs(watched.standing.began - 200) <= 5
    assert 200 < watched.standing.noticed <= 215


def test_evidence_as_of_a_day_does_not_change_when_later_days_follow():
    right = np.concatenate([np.full(40, 8), np.full(20, 4), np.full(60, 9)])
    whole = watch_share(right, np.full(120, 10), KNOWN)
    for days in (10, 45, 100):
        part = watch_share(right[:days], np.full(days, 10), KNOWN)
        assert part.evidence.tolist() == whole.evidence[:days].tolist()
        assert [e.noticed for e in part.episodes] == [e.noticed for e in whole.episodes if e.noticed < days]


def test_an_alarm_ends_when_later_rows_speak_as_strongly_for_the_promise():
    right = np.concatenate([np.full(40, 8), np.full(30, 4), np.full(60, 8)])
    episodes = watch_share(right, np.full(130, 10), KNOWN).episodes
    assert [episode.began for episode in episodes] == [40]
    assert 40 < episodes[0].noticed < 50
    assert 70 < episodes[0].ended < 110


def test_rows_as_right_as_promised_are_no_fall_whatever_came_before():
    right = np.concatenate([np.full(200, 100), np.full(165, 83)])  # never below 82 %
    assert watch_share(right, np.full(365, 100), KNOWN).episodes == ()


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_no_first_day_of_a_table_with_one_percent_positives_alarms(wrong):
    """Two wrong of ten, where one in a hundred should be: p = 0.004, which a year of looks will meet."""
    assert watch_share([10 - wrong], [10], Share(right=1980, wrong=20)).episodes == ()


def test_the_detectable_fall_shrinks_with_the_rows():
    falls = [detectable_fall(KNOWN, n) for n in (3, 30, 300, 3000)]
    assert falls[0] is None
    assert falls[1:] == sorted(falls[1:], reverse=True)
    assert falls[2] == pytest.approx(0.12, abs=0.03)
