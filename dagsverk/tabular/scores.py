"""What an evaluation measured. Light: loads no learning library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import stdtrit

from dagsverk.tabular.expected import Reliability
from dagsverk.tabular.measures import loss
from dagsverk.tabular.recipes import Recipe
from dagsverk.tabular.reports import Interval, RowsTwice

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Group:
    """Accuracy on the rows that share one value, or two."""

    values: Mapping[str, str]  # column -> value
    rows: int
    accuracy: float


@dataclass(frozen=True)
class ClassScores:
    """How one outcome is recognised: means over the folds, with their intervals."""

    name: str
    rows: int  # real rows of it
    recall: Interval
    precision: Interval  # 0 in a fold that never names it
    average_precision: Interval


@dataclass(frozen=True)
class Scores:
    """What cross-validation measured of one recipe; kept as JSON by `dagsverk.records`.

    Intervals of fold means are Nadeau & Bengio's (2003); that of the ECE is from 500 bootstraps of the rows.
    """

    system: str
    model_class: str
    parameters: Mapping[str, Any]
    calibrated: bool
    folds: int  # used: fewer than asked where an outcome has fewer rows
    repeats: int
    seed: int
    rows: int  # scored, each once per repeat
    rows_known: int  # that a fold could be fitted on, if it did not test them
    folds_id: str  # equal for scores on the same folds of the same rows
    metrics: Mapping[str, Interval]
    per_fold: Mapping[str, tuple[float, ...]]  # the same but for ece; one value per fold
    baseline: Mapping[str, float]  # "always the commonest class", on the same folds
    calibration_gain: float  # log-loss that a calibration fitted on these very outcomes would take off
    groups: tuple[Group, ...] = ()  # the weakest
    holdout: Mapping[str, float] = field(
        default_factory=dict
    )  # one split: accuracy, auc, ..., rows, test_rows
    reliability: tuple[Reliability, ...] = ()  # by probability of the predicted class, from the least on
    measure: str = "log_loss"  # that models are chosen by
    positive: str = ""  # class that recall, precision, F1 and average precision are about; "": their mean
    per_class: tuple[ClassScores, ...] = ()
    predicted: Mapping[str, float] = field(default_factory=dict)  # class -> share of the predictions
    twice: RowsTwice | None = (
        None  # rows that are one by their values; None: scored before that was looked for
    )
    seconds: float = field(default=0.0, compare=False)  # that it took; 0: scored before that was kept

    @property
    def recipe(self) -> Recipe:
        """The recipe scored."""
        return Recipe(self.model_class, dict(self.parameters))

    @property
    def log_loss(self) -> float:
        """Mean over the folds, in nats."""
        return self.metrics["log_loss"].mean

    @property
    def value(self) -> float:
        """Mean over the folds of the measure that models are chosen by."""
        return self.metrics[self.measure].mean

    @property
    def loss(self) -> float:
        """The value, turned so that less is better."""
        return loss(self.measure, self.value)


@dataclass(frozen=True)
class Difference:
    """First minus second scores of a metric, over the same folds, with its 95 % limits."""

    metric: str
    mean: float
    low: float
    high: float


def compare(first: Scores, second: Scores, metric: str = "log_loss") -> Difference:
    """Mean of first - second over their folds, with a corrected paired interval (Nadeau & Bengio 2003).

    Raises ValueError when the two were not scored on the same folds.
    """
    if first.folds_id != second.folds_id:
        raise ValueError(
            f"scores on different folds cannot be compared: {first.model_class} on {first.folds_id}, "
            f"{second.model_class} on {second.folds_id}; score both on the same rows and protocol"
        )
    differences = tuple(a - b for a, b in zip(first.per_fold[metric], second.per_fold[metric], strict=True))
    interval = mean_interval(differences, first.folds, low=-np.inf)
    return Difference(metric, interval.mean, interval.low, interval.high)


def mean_interval(
    values: Sequence[float], folds: int, *, low: float = 0.0, high: float = float("inf")
) -> Interval:
    """Mean of fold values and its 95 % t limits, cut to [low, high].

    Folds share training rows, so their plain variance is too small: n_test / n_train is added to 1 / n
    (Nadeau & Bengio 2003).
    """
    n, mean = len(values), float(np.mean(values))
    variance = np.var(values, ddof=1) * (1 / n + 1 / (folds - 1))
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2) * np.sqrt(variance))
    return Interval(mean, max(low, mean - half), min(high, mean + half))
