"""Shares of right predictions, their interval and their test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dagsverk.tabular.accuracy import accuracy_alarm, below_promise, wilson


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
    with pytest.raises(ValueError, match="0 <= correct <= n"):
        accuracy_alarm(correct, n, 0.8)


@pytest.mark.parametrize(
    ("correct", "n", "promised", "p_value", "alarm"),
    [
        (0, 1, 0.9, 0.1, False),
        (1, 2, 0.9, 0.19, False),  # 1 - 0.9 ** 2
        (0, 2, 0.9, 0.01, True),
        (3, 3, 0.9, 1.0, False),
        (2, 3, 1.0, 0.0, True),  # who promises everything may not err once
    ],
)
def test_the_accuracy_test_is_the_exact_binomial_one(correct, n, promised, p_value, alarm):
    result = accuracy_alarm(correct, n, promised)
    assert result.p_value == pytest.approx(p_value)
    assert result.alarm is alarm
    assert bool(below_promise(correct, n, promised)) is alarm


@pytest.mark.parametrize("promised", [None, float("nan")])
def test_without_a_promise_there_is_no_test(promised):
    result = accuracy_alarm(3, 10, promised)
    assert (result.promised, result.p_value, result.alarm, result.detectable) == (None, None, None, None)
    assert result.accuracy == pytest.approx(0.3)


def test_without_outcomes_nothing_is_claimed():
    result = accuracy_alarm(0, 0, 0.8)
    assert (result.accuracy, result.low, result.high, result.alarm, result.detectable) == (None,) * 5


def test_a_promise_outside_zero_to_one_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 1\], got 82"):
        accuracy_alarm(3, 10, 82)


@pytest.mark.parametrize("n", [14, 30, 90, 180, 1000])
def test_the_detectable_fall_is_seen_with_a_power_of_four_fifths(n):
    fall = accuracy_alarm(n, n, 0.82).detectable
    counts = np.arange(n + 1)
    alarmed = below_promise(counts, n, 0.82)
    assert stats.binom.pmf(counts, n, 0.82)[alarmed].sum() <= 0.05
    assert stats.binom.pmf(counts, n, 0.82 - fall)[alarmed].sum() == pytest.approx(0.8, abs=1e-6)


def test_more_rows_reveal_smaller_falls():
    falls = [accuracy_alarm(0, n, 0.82).detectable for n in (14, 30, 90, 180, 1000)]
    assert falls == sorted(falls, reverse=True)
    assert falls[2] == pytest.approx(0.11, abs=0.005)


def test_a_fall_that_no_count_could_prove_is_not_detectable():
    assert accuracy_alarm(0, 1, 0.82).detectable is None  # even a wrong answer has p = 0.18
