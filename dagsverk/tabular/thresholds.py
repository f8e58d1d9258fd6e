"""Which class is named, given probabilities: the likeliest, or that of the greatest weighted one.

With two classes weights are a threshold on the probability of one of them. They are chosen on probabilities
of rows that the model was not fitted on, inside the rows that it may see: what is tested never takes part.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dagsverk.tabular.metrics import Floats, Integers, named_metrics

Weights: TypeAlias = tuple[float, ...]  # by class, above 0

LEAST_HELP = 0.01  # that weights must gain where they are chosen: a smaller gain is likely to be luck
POWERS = (0.25, 0.5, 0.75, 1.0)  # many classes: weights are powers of 1 / share
FACTORS = np.geomspace(0.02, 50, 40)  # many classes, one that matters: what its probability is multiplied by


def named(probabilities: Floats, weights: Weights | None) -> Integers:
    """The class named for each row, shape (rows,)."""
    weighted = probabilities if weights is None else probabilities * np.asarray(weights)
    return np.asarray(weighted.argmax(axis=1), dtype=np.int64)


def choose(probabilities: Floats, codes: Integers, measure: str, positive: int | None) -> Weights | None:
    """The weights under which `measure` (f1 or balanced_accuracy) is best; None: the likeliest does as well.

    Args: probabilities: shape (rows, classes), of rows that their model was not fitted on.
        positive: the class whose F1 is meant; None: the mean over all classes.
    """
    if probabilities.shape[1] == 2:
        candidates = [_threshold(probabilities, codes, measure, 1 if positive is None else positive)]
    else:
        candidates = _candidates(probabilities.shape[1], codes, positive)

    def value(weights: Weights | None) -> float:
        return named_metrics(named(probabilities, weights), codes, probabilities.shape[1], positive)[measure]

    best = max(candidates, key=value)
    return best if value(best) >= value(None) + LEAST_HELP else None


def _candidates(classes: int, codes: Integers, positive: int | None) -> list[Weights]:
    if positive is not None:
        rows = np.ones((len(FACTORS), classes))
        rows[:, positive] = FACTORS
        return [tuple(map(float, row)) for row in rows]
    shares = (np.bincount(codes, minlength=classes) + 1) / (len(codes) + classes)
    return [tuple(map(float, (shares.max() / shares) ** power)) for power in POWERS]


def _threshold(probabilities: Floats, codes: Integers, measure: str, positive: int) -> Weights:
    """All thresholds between two different probabilities, tried at once."""
    scores, truth = probabilities[:, positive], codes == positive
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(truth[order])
    ends = np.flatnonzero(np.append(np.diff(scores) != 0, True))  # after each row that differs from the next
    right, picked, positives, n = hits[ends], ends + 1, int(truth.sum()), len(codes)
    if measure == "f1":
        values = 2 * right / (picked + positives)
    else:
        values = (right / max(positives, 1) + 1 - (picked - right) / max(n - positives, 1)) / 2
    best = int(values.argmax())
    below = scores[ends[best] + 1] if ends[best] + 1 < n else 0.0
    threshold = float(np.clip((scores[ends[best]] + below) / 2, 1e-6, 1 - 1e-6))
    return (threshold, 1 - threshold) if positive == 1 else (1 - threshold, threshold)


def threshold_of(weights: Weights, positive: int) -> float:
    """Two classes: the probability from which the positive one is named."""
    return weights[1 - positive] / (weights[0] + weights[1])


def balanced_weights(codes: Integers) -> NDArray[np.float64]:
    """A weight per row, mean 1, so that every class that is there weighs the same."""
    counts = np.bincount(codes)
    present = counts > 0
    per_class = np.zeros(len(counts))
    per_class[present] = len(codes) / (present.sum() * counts[present])
    return per_class[codes]
