"""What models are chosen by, and which class is spoken of. Light: loads no learning library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Measure = Literal["log_loss", "average_precision", "balanced_accuracy", "f1", "auc", "brier", "accuracy"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
LOWER_IS_BETTER = ("log_loss", "brier", "ece")
# For these the class that is named follows a threshold, chosen for the second name. For the others it is the
# likeliest one.
THRESHOLD_FOR: Mapping[str, Literal["f1", "balanced_accuracy"]] = {
    "average_precision": "f1",
    "balanced_accuracy": "balanced_accuracy",
    "f1": "f1",
}
WORDS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "average_precision": "average precision",
    "recall": "recall",
    "precision": "precision",
    "f1": "F1",
    "auc": "AUC",
    "log_loss": "log-loss",
    "brier": "Brier score",
    "ece": "ECE",
}


REPORTED = tuple(WORDS)  # in this order


def check_measure(name: str, measure: str, positive: str, classes: tuple[str, ...]) -> None:
    """Raises ValueError for a measure that is none to choose by, or a positive class that is no class."""
    where = f"system {name}"
    if measure in ("recall", "precision"):
        raise ValueError(
            f"{where}: measure {measure!r} alone is won by naming one class always, or nearly never; "
            "choose by 'f1', 'average_precision' or 'balanced_accuracy'; both are reported anyway"
        )
    if measure not in MEASURES:
        raise ValueError(f"{where}: no measure {measure!r}; known: {', '.join(MEASURES)}")
    if positive and positive not in classes:
        raise ValueError(f"{where}: positive {positive!r} is none of its classes {', '.join(classes)}")


def loss(measure: str, value: float) -> float:
    """The value, turned so that less is better."""
    return value if measure in LOWER_IS_BETTER else -value


def error(measure: str, value: float) -> float:
    """The value, turned so that less is better and 0 is none: 1 - value where more is better."""
    return value if measure in LOWER_IS_BETTER else 1 - value


def error_words(measure: str) -> str:
    """What `error` is called."""
    return WORDS[measure] if measure in LOWER_IS_BETTER else f"error (1 - {WORDS[measure]})"
