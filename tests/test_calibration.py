"""Calibration: a few numbers that make probabilities mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from dagsverk.tabular.calibration import Calibration, fit_calibration
from dagsverk.tabular.metrics import log_loss


def overconfident(classes: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes drawn from softmax(z), and probabilities softmax(sharpness · z); 4 000 rows."""
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(4000, classes))
    true = softmax(scores, axis=1)
    codes = (generator.random((4000, 1)) > true.cumsum(axis=1)).sum(axis=1)
    return softmax(sharpness * scores, axis=1), codes


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("sharpness", [0.5, 3.0])
def test_known_over_and_underconfidence_is_found(classes, sharpness):
    probabilities, codes = overconfident(classes, sharpness)
    fitted = fit_calibration(probabilities, codes)
    assert fitted.slope == pytest.approx(1 / sharpness, rel=0.12)
    assert log_loss(fitted.apply(probabilities), codes) < log_loss(probabilities, codes)


def test_good_probabilities_are_left_nearly_alone():
    probabilities, codes = overconfident(2, 1.0)
    fitted = fit_calibration(probabilities, codes)
    assert np.abs(fitted.apply(probabilities) - probabilities).max() < 0.05


def test_votes_of_zero_no_longer_mean_impossible():
    probabilities = np.array([[0.0, 1.0]] * 50 + [[1.0, 0.0]] * 50)
    codes = np.array([1] * 45 + [0] * 5 + [0] * 45 + [1] * 5)
    fitted = fit_calibration(probabilities, codes)
    assert fitted.apply(probabilities)[0, 1] == pytest.approx(0.9, abs=0.005)


probability_rows = arrays(
    np.float64, st.tuples(st.integers(1, 8), st.integers(2, 4)), elements=st.floats(1e-3, 1)
).map(lambda a: a / a.sum(axis=1, keepdims=True))


@settings(max_examples=40, deadline=None)
@given(probabilities=probability_rows, slope=st.floats(0.1, 10), intercept=st.floats(-2, 2))
def test_calibrated_rows_sum_to_one_and_keep_their_order(probabilities, slope, intercept):
    calibrated = Calibration(slope, intercept, 1e-6).apply(probabilities)
    np.testing.assert_allclose(calibrated.sum(axis=1), 1)
    if probabilities.shape[1] == 2:  # rows keep their ranks, so the AUC cannot change
        order = np.argsort(probabilities[:, 1], kind="stable")
        assert (np.diff(calibrated[order, 1]) >= -1e-12).all()
    else:  # the predicted class stays
        kept = np.take_along_axis(calibrated, probabilities.argmax(axis=1)[:, None], axis=1)[:, 0]
        np.testing.assert_allclose(kept, calibrated.max(axis=1))


def test_numbers_survive_json():
    calibration = Calibration(0.5, -0.1, 0.01)
    assert Calibration.from_dict(calibration.to_dict()) == calibration


@pytest.mark.parametrize(
    "numbers", [{}, {"slope": 0}, {"slope": float("nan")}, {"slope": 1, "other": 2}, {"slope": 1, "floor": 0}]
)
def test_unusable_numbers_are_refused(numbers):
    with pytest.raises(ValueError, match="calibration"):
        Calibration.from_dict(numbers)
