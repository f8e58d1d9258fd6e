"""How far probabilities, shape (rows, classes), are from outcomes: class indices, shape (rows,)."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from dagsverk.tabular.reports import Interval
from dagsverk.tabular.scores import CONFIDENCE

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

ECE_BINS = 15  # of equal width, as in Guo et al. 2017
BOOTSTRAPS = 500  # of the rows, for the interval of the ECE


def log_loss(probabilities: Floats, codes: Integers) -> float:
    """Mean of -log(probability of the true class), in nats; probabilities below 2.2e-16 count as that."""
    true = probabilities[np.arange(len(codes)), codes]
    return float(-np.log(np.maximum(true, np.finfo(np.float64).eps)).mean())


def expected_calibration_error(probabilities: Floats, codes: Integers) -> float:
    """Mean gap between confidence and accuracy of the predicted class, over 15 bins; in [0, 1]."""
    return float(np.abs(_bin_gaps(probabilities, codes).sum(axis=0)).sum() / len(codes))


def brier(probabilities: Floats, codes: Integers) -> float:
    """Half the squared distance to the outcome, summed over classes: with two, the usual Brier score."""
    truth = np.eye(probabilities.shape[1])[codes]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean() / 2)


def auc(probabilities: Floats, codes: Integers) -> float:
    """Area under the ROC curve; with more than two classes the mean of one against the rest.

    NaN when no class has both rows of it and rows of others.
    """
    classes = range(1, 2) if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    areas = (_auc_of(probabilities[:, k], codes == k) for k in classes)
    defined = [area for area in areas if area is not None]
    return float(np.mean(defined)) if defined else float("nan")


def _auc_of(scores: Floats, positive: NDArray[np.bool_]) -> float | None:
    n, positives = len(positive), int(positive.sum())
    if positives in (0, n):
        return None
    ranks = rankdata(scores)[positive].sum()  # Mann-Whitney; ties count half
    return float((ranks - positives * (positives + 1) / 2) / (positives * (n - positives)))


def average_precision(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Mean precision over the positives, found from the highest score down; ties at once.

    0 when nothing is positive.
    """
    if not positive.any():
        return 0.0
    order = np.argsort(-scores, kind="stable")
    hits, ranked = np.cumsum(positive[order]), scores[order]
    ends = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    gained = np.diff(hits[ends], prepend=0)
    return float((gained * hits[ends] / (ends + 1)).sum() / hits[-1])


def class_metrics(predicted: Integers, scores: Floats, codes: Integers, which: int) -> dict[str, float]:
    """Recall, precision and average precision of one class; 0 where nothing is divided by nothing."""
    picked, true = predicted == which, codes == which
    right = int((picked & true).sum())
    return {
        "recall": right / max(int(true.sum()), 1),
        "precision": right / max(int(picked.sum()), 1),
        "average_precision": average_precision(scores, true),
    }


def named_metrics(
    predicted: Integers, codes: Integers, classes: int, positive: int | None
) -> dict[str, float]:
    """Accuracy, balanced accuracy, recall, precision and F1 of the classes named, shape (rows,).

    Args: positive: the class that the last three are about; None: their mean over the classes that occur.
    """
    counts = np.zeros((classes, classes))
    np.add.at(counts, (codes, predicted), 1)
    right, true, picked = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    recall, precision = right / np.maximum(true, 1), right / np.maximum(picked, 1)
    f1 = 2 * right / np.maximum(true + picked, 1)
    about = np.flatnonzero(true > 0) if positive is None else np.array([positive])
    return {
        "accuracy": float(right.sum() / len(codes)),
        "balanced_accuracy": float(recall[true > 0].mean()),
        "recall": float(recall[about].mean()),
        "precision": float(precision[about].mean()),
        "f1": float(f1[about].mean()),
    }


def fold_metrics(
    probabilities: Floats,
    codes: Integers,
    predicted: Integers | None = None,
    positive: int | None = None,
) -> dict[str, float]:
    """Everything that is stated of a fold.

    Args: predicted: the class named for each row; None: the likeliest.
        positive: the class that recall, precision, F1 and average precision are about; None: their mean over
            the classes that occur.
    """
    classes = probabilities.shape[1]
    named = probabilities.argmax(axis=1) if predicted is None else predicted
    about = np.unique(codes) if positive is None else np.array([positive])
    precisions = [average_precision(probabilities[:, k], codes == k) for k in about]
    return {
        "auc": auc(probabilities, codes),
        "log_loss": log_loss(probabilities, codes),
        "brier": brier(probabilities, codes),
        **named_metrics(named, codes, classes, positive),
        "average_precision": float(np.mean(precisions)),
    }


def ece_interval(probabilities: Floats, codes: Integers, tested: Integers, *, seed: int) -> Interval:
    """Expected calibration error of pooled rows, with 95 % limits from 500 bootstraps of the rows.

    `tested` says which row each prediction is of, shape (predictions,): a row is drawn with all its repeats.
    The limits are those of the basic bootstrap, because the ECE of a resample is biased upwards.
    """
    gaps = np.zeros((int(tested.max()) + 1, ECE_BINS))
    np.add.at(gaps, tested, _bin_gaps(probabilities, codes))
    scored = np.unique(tested)
    error = float(np.abs(gaps.sum(axis=0)).sum() / len(tested))
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(len(scored), np.full(len(scored), 1 / len(scored)), BOOTSTRAPS)
    again = np.abs(draws @ gaps[scored]).sum(axis=1) / len(tested)
    low, high = np.quantile(again, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(error, float(max(0.0, 2 * error - high)), float(max(error, 2 * error - low)))


def _bin_gaps(probabilities: Floats, codes: Integers) -> Floats:
    """Correct (0 or 1) minus confidence, in the column of the row's bin; shape (rows, bins)."""
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = np.zeros((len(codes), ECE_BINS))
    gaps[np.arange(len(codes)), bins] = (probabilities.argmax(axis=1) == codes) - confidence
    return gaps
