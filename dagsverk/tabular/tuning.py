"""What is chosen for a measure of the classes named: weights of rows in fitting, of classes after.

Both are chosen on out-of-fold probabilities inside the rows that a model may be fitted on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dagsverk.tabular.measures import THRESHOLD_FOR
from dagsverk.tabular.metrics import Floats, Integers, fold_metrics
from dagsverk.tabular.system import System
from dagsverk.tabular.thresholds import Weights, choose, named

MIN_ROWS = 10  # of the rarest outcome: with fewer, whatever is chosen is luck
# Neighbours and discriminants have no weights of rows; those of histogram boosting make scikit-learn sort
# each column for each of its bins, which takes ten times as long as the fit.
WEIGHABLE = ("logistic", "gradient_boosting", "xgboost")
LEAST_HELP = 0.005  # of the measure, that weighing the rows must gain


@dataclass(frozen=True)
class Tuning:
    """What was chosen; nothing, where models are chosen by log-loss or the like."""

    measure: str = ""  # that it was chosen for
    balanced: bool = False  # rows weighed in fitting so that each class counts the same
    weights: Weights | None = None  # probabilities are multiplied by them before the greatest is named

    def __post_init__(self) -> None:
        if self.weights is not None and not all(np.isfinite(w) and w > 0 for w in self.weights):
            raise ValueError(f"weights of classes must be above 0, got {self.weights}")

    def to_dict(self) -> dict[str, Any]:
        """In JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any] | None, classes: int) -> Tuning:
        """None, from a model of before: nothing was chosen. Raises ValueError, TypeError."""
        if content is None:
            return cls()
        weights = content["weights"]
        if weights is not None:
            weights = tuple(float(weight) for weight in weights)
            if len(weights) != classes:
                raise ValueError(f"want a weight for each of {classes} classes, found {len(weights)}")
        return cls(str(content["measure"]), bool(content["balanced"]), weights)


def positive_class(system: System, codes: Integers) -> int | None:
    """The class that recall, precision, F1 and average precision are about, by its index.

    The one that the system names; else the rarer of two (of equals the second); None: all of many alike.
    """
    if system.positive:
        return system.classes.index(system.positive)
    if len(system.classes) > 2:
        return None
    counts = np.bincount(codes, minlength=2)
    return 0 if counts[0] < counts[1] else 1


def tunes(system: System, codes: Integers) -> bool:
    """Whether there is something to choose, and rows enough to choose by."""
    return system.measure in THRESHOLD_FOR and int(np.unique(codes, return_counts=True)[1].min()) >= MIN_ROWS


def choose_balance(
    system: System, model_class: str, codes: Integers, out_of_fold: Callable[[bool], Floats]
) -> tuple[bool, Floats]:
    """Whether to weigh the rows, and out-of-fold probabilities of models fitted so, shape (rows, classes).

    Args: out_of_fold: those probabilities, of models fitted with the rows weighed or not.
    """
    plain = out_of_fold(False)
    if model_class not in WEIGHABLE:
        return False, plain
    even, positive = out_of_fold(True), positive_class(system, codes)

    def value(probabilities: Floats) -> float:
        weights = choose(probabilities, codes, THRESHOLD_FOR[system.measure], positive)
        return fold_metrics(probabilities, codes, named(probabilities, weights), positive)[system.measure]

    return (True, even) if value(even) >= value(plain) + LEAST_HELP else (False, plain)


def choose_tuning(system: System, balanced: bool, probabilities: Floats, codes: Integers) -> Tuning:
    """That choice, and the threshold (of many classes: weights) for these out-of-fold probabilities."""
    weights = choose(probabilities, codes, THRESHOLD_FOR[system.measure], positive_class(system, codes))
    return Tuning(system.measure, balanced, weights)
