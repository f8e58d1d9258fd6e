"""Corrections of over- or under-confident probabilities, as a few plain numbers.

Two classes: a sigmoid on the log-odds (Platt 1999). More: one temperature (Guo et al. 2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

from dagsverk.tabular.metrics import Floats, Integers, log_loss

FLOORS = (1e-6, 1e-4, 1e-2)  # the last is for neighbour votes, where 0 of 15 does not mean impossible
SLOPES = (0.01, 100.0)  # positive, so that no correction reverses the order of the rows


@dataclass(frozen=True)
class Calibration:
    """softmax(slope · log(p + floor) + intercept); the intercept is for the second of two classes."""

    slope: float  # 1 / temperature
    intercept: float = 0.0
    floor: float = FLOORS[0]

    def __post_init__(self) -> None:
        numbers = (self.slope, self.intercept, self.floor)
        if not all(np.isfinite(numbers)) or self.slope <= 0 or self.floor <= 0:
            raise ValueError(f"a calibration needs finite numbers, slope and floor above 0; got {numbers}")

    def apply(self, probabilities: Floats) -> Floats:
        """Corrected probabilities, same shape (rows, classes); each row sums to 1."""
        scores = self.slope * np.log(probabilities + self.floor)
        if probabilities.shape[1] == 2:
            scores[:, 1] += self.intercept
        return np.asarray(softmax(scores, axis=1))

    def to_dict(self) -> dict[str, float]:
        """The numbers, by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> Calibration:
        """Raises ValueError when a number is missing, extra or not usable."""
        try:
            return cls(**{name: float(value) for name, value in numbers.items()})
        except TypeError as error:
            raise ValueError(f"not a calibration: {dict(numbers)}") from error


def fit_calibration(probabilities: Floats, labels: Integers) -> Calibration:
    """The correction with the lowest log-loss.

    Args: probabilities: shape (rows, classes), of rows that their model was not fitted on.
        labels: class index of each row, shape (rows,).
    """
    fits = [_fit(probabilities, labels, floor) for floor in FLOORS]
    return min(fits, key=lambda fit: log_loss(fit.apply(probabilities), labels))


def _fit(probabilities: Floats, labels: Integers, floor: float) -> Calibration:
    logs = np.log(probabilities + floor)
    truth = np.eye(probabilities.shape[1])[labels]
    two = probabilities.shape[1] == 2

    def loss(numbers: Floats) -> tuple[float, Floats]:
        """Log-loss and its gradient; it is convex in slope and intercept."""
        scores = numbers[0] * logs
        if two:
            scores[:, 1] += numbers[1]
        excess = softmax(scores, axis=1) - truth
        peak = scores.max(axis=1, keepdims=True)
        value = (np.log(np.exp(scores - peak).sum(axis=1)) + peak[:, 0] - (scores * truth).sum(axis=1)).mean()
        gradient = [(excess * logs).sum(axis=1).mean(), *([excess[:, 1].mean()] if two else [])]
        return float(value), np.array(gradient)

    start, limits = ([1.0, 0.0], [SLOPES, (-20.0, 20.0)]) if two else ([1.0], [SLOPES])
    best = minimize(loss, start, jac=True, bounds=limits, method="L-BFGS-B").x
    return Calibration(float(best[0]), float(best[1]) if two else 0.0, floor)
