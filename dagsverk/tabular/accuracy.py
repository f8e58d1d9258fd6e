"""Shares of right predictions: their interval, and a test against the accuracy that was promised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special, stats

Z_95 = 1.959963984540054  # standard normal quantile of 0.975
LEVEL = 0.05  # share of looks at a kept promise that alarm

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AccuracyAlarm:
    """Is the accuracy seen lower than the accuracy promised? One-sided exact binomial test."""

    correct: int
    n: int  # rows with a known outcome
    accuracy: float | None  # None: no outcome known
    low: float | None  # Wilson 95 % interval of `accuracy`
    high: float | None
    promised: float | None  # cross-validated accuracy at training; None: no promise, no test
    p_value: float | None
    alarm: bool | None  # None: nothing to test
    detectable: (
        float | None
    )  # fall below the promise that this n reveals with a power of 0.8; None: no fall would


def wilson(correct: npt.ArrayLike, n: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Wilson's 95 % score interval (Wilson 1927) of the shares correct / n, as arrays (low, high).

    It stays inside [0, 1] and keeps its level at small n and at shares near 0 and 1, where the usual
    p +- 1.96 s does not. NaN where n is 0. Raises ValueError unless 0 <= correct <= n.
    """
    k, m = np.asarray(correct, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if not np.all((k >= 0) & (k <= m)):
        raise ValueError(f"want 0 <= correct <= n, got correct = {correct!r}, n = {n!r}")
    safe = np.where(m > 0, m, np.nan)
    share, shrink = k / safe, 1 + Z_95**2 / safe
    centre = (share + Z_95**2 / (2 * safe)) / shrink
    half = Z_95 / shrink * np.sqrt(share * (1 - share) / safe + Z_95**2 / (4 * safe**2))
    return np.clip(centre - half, 0.0, share), np.clip(centre + half, share, 1.0)


def accuracy_alarm(
    correct: int, n: int, promised: float | None, *, level: float = LEVEL, power: float = 0.8
) -> AccuracyAlarm:
    """Test `correct` of `n` against the accuracy promised: exact binomial, one-sided, at `level`.

    One look errs in at most `level` of cases; who looks daily at a rolling window sees a false alarm now and
    then. `detectable` says what the test can do at this n: the fall that it reveals with `power`. With n = 90
    and 0.82 promised that is 0.11; a smaller fall mostly goes unseen.
    Raises: ValueError unless 0 <= correct <= n and `promised` is None, NaN or in [0, 1].
    """
    low, high = (None if math.isnan(end) else float(end) for end in wilson(correct, n))
    if promised is not None and math.isnan(promised):
        promised = None
    if promised is not None and not 0 <= promised <= 1:
        raise ValueError(f"promised accuracy must be in [0, 1], got {promised}")
    p_value = None if promised is None or n == 0 else float(stats.binom.cdf(correct, n, promised))
    return AccuracyAlarm(
        correct=correct,
        n=n,
        accuracy=correct / n if n else None,
        low=low,
        high=high,
        promised=promised,
        p_value=p_value,
        alarm=None if p_value is None else p_value <= level,
        detectable=None if promised is None else _detectable_fall(n, promised, level, power),
    )


def below_promise(
    correct: npt.ArrayLike, n: npt.ArrayLike, promised: float, *, level: float = LEVEL
) -> npt.NDArray[np.bool_]:
    """The verdict of `accuracy_alarm` for many counts at once."""
    return np.asarray(stats.binom.cdf(np.asarray(correct), np.asarray(n), promised) <= level)


def _detectable_fall(n: int, promised: float, level: float, power: float) -> float | None:
    """Least fall below `promised` for which the binomial test at `level` has `power`."""
    counts = np.arange(n + 1)
    critical = int(np.sum(stats.binom.cdf(counts, n, promised) <= level)) - 1  # greatest count that alarms
    if critical < 0:
        return None
    # P(X <= critical; n, p) is the regularised incomplete beta function of 1 - p: solve it for p
    seen = 1 - float(special.betaincinv(n - critical, critical + 1, power))
    return max(promised - seen, 0.0)
