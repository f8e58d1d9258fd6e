"""The accuracy to expect before outcomes arrive, and what its limits are worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagsverk.tabular.expected import Reliability, expect, reliability


def rows(rng: np.random.Generator, n: int, slope: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the predicted class, and whether they were right; slope below 1: overconfident."""
    odds = np.abs(rng.normal(1.5, 1, n))
    return 1 / (1 + np.exp(-odds)), rng.random(n) < 1 / (1 + np.exp(-slope * odds))


@pytest.mark.parametrize("slope", [1.0, 0.5])
@pytest.mark.parametrize("waiting", [20, 400])
def test_the_limits_hold_the_accuracy_that_comes_out_even_of_overconfident_probabilities(slope, waiting):
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        probability, right = rows(rng, waiting, slope)
        expected = expect(probability, reliability(*rows(rng, 300, slope)))
        covered += expected.low <= right.mean() <= expected.high
    assert covered >= 54  # 57 of 60 on average


def test_without_what_cross_validation_saw_the_probabilities_are_believed_and_that_is_said():
    expected = expect(np.array([0.6, 0.9]), ())
    assert expected.mean == pytest.approx(0.75)
    assert not expected.calibration_known


def test_no_rows_have_no_expectation():
    assert expect(np.empty(0), ()) is None


def test_bins_hold_each_row_once_however_often_it_was_tested():
    rng = np.random.default_rng(1)
    probability, right = rows(rng, 500)
    once, five = reliability(probability, right), reliability(np.tile(probability, 5), np.tile(right, 5), 5)
    assert sum(part.rows for part in once) == pytest.approx(500)
    assert sum(part.rows for part in five) == pytest.approx(500)
    assert sum(part.right for part in five) == pytest.approx(right.sum())
    assert once[-1].upto == 1.0


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=60), st.integers(0, 200), st.integers(0, 200))
@settings(max_examples=30, deadline=None)
def test_whatever_the_rows_the_limits_surround_the_mean(probabilities, right, wrong):
    bins = (Reliability(upto=1.0, probability=0.7, rows=right + wrong, right=right),)
    expected = expect(np.array(probabilities), bins)
    assert 0 <= expected.low <= expected.mean + 1 / expected.n
    assert expected.mean - 1 / expected.n <= expected.high <= 1
