"""The accuracy to expect of rows whose outcome is not known, from the probabilities they were predicted with.

As good as the probabilities are: how often rows of like probability were right in cross-validation corrects
them, and how well that is known widens the interval. A change in how outcomes follow from inputs (concept
drift) cannot be seen in it, by anyone: neither inputs nor probabilities change. It is no measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

MOST_BINS = 10
MIN_BIN_ROWS = 20
DRAWS = 4000
LIMITS = (0.025, 0.975)

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Rows of like probability in cross-validation, each row counted once."""

    upto: float  # greatest probability of the bin; of the last bin 1
    probability: float  # mean, of the predicted class
    rows: float
    right: float  # of those


@dataclass(frozen=True, kw_only=True)
class ExpectedAccuracy:
    """Of rows still without outcome: what share should turn out right, and that share's 95 % limits."""

    n: int
    mean: float
    low: float
    high: float
    calibration_known: bool  # False: of an older model; the limits leave out the error of its probabilities


def reliability(
    probability: Floats, right: npt.NDArray[np.bool_], repeats: int = 1
) -> tuple[Reliability, ...]:
    """Up to ten bins of as many rows each, by probability of the predicted class.

    Args: probability, right: of all tested rows, each row `repeats` times, shape (rows * repeats,).
    """
    order = np.argsort(probability, kind="stable")
    count = int(np.clip(len(order) / repeats // MIN_BIN_ROWS, 1, MOST_BINS))
    bins = [part for part in np.array_split(order, count) if len(part)]
    return tuple(
        Reliability(
            upto=1.0 if part is bins[-1] else float(probability[part].max()),
            probability=float(probability[part].mean()),
            rows=len(part) / repeats,
            right=float(right[part].sum()) / repeats,
        )
        for part in bins
    )


def expect(probability: Floats, bins: Sequence[Reliability]) -> ExpectedAccuracy | None:
    """The accuracy to expect of rows predicted with these probabilities. None without rows.

    The share right of each bin is drawn from what cross-validation leaves open (Beta, Jeffreys), then the
    outcomes are drawn; always the same draws for the same rows. Few bins' rows or few new ones: wide limits.
    """
    n = len(probability)
    if not n:
        return None
    rng = np.random.default_rng(0)
    if bins:
        place = np.searchsorted([b.upto for b in bins[:-1]], probability)
        offsets = [rng.beta(b.right + 0.5, b.rows - b.right + 0.5, DRAWS) - b.probability for b in bins]
    else:
        place, offsets = np.zeros(n, dtype=np.int64), [np.zeros(DRAWS)]
    right, share = np.zeros(DRAWS), np.zeros(DRAWS)
    for i, offset in enumerate(offsets):
        here = np.sort(probability[place == i])
        # rows of a bin are right at like rates, so that their sum is all but binomial
        rate = np.clip(here.mean() + offset, 0, 1) if len(here) else np.zeros(DRAWS)
        share += rate * len(here)
        right += rng.binomial(len(here), rate)
    low, high = np.quantile(right / n, LIMITS)
    return ExpectedAccuracy(
        n=n,
        mean=float(share.mean() / n),
        low=float(low),
        high=float(high),
        calibration_known=bool(bins),
    )
