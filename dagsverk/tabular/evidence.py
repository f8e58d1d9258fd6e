"""Evidence that may be looked at every day: has a share fallen below what was promised, and since when?

One question per day that a change may have begun on: how much better do the rows since then fit a fall than
the promise? Each answer is an e-value (Grünwald, de Heide, Koolen 2024); their sum over the days is a
Shiryaev-Roberts statistic, an e-detector of Shin, Ramdas and Rinaldo (2023). Where nothing has changed it
grows by one a day on average, so Doob's inequality bounds how often it ever reaches days / level: at most
`level` of systems alarm falsely within their first year, however often they are looked at. Later years
divide by the greater number of days (Hájek and Rényi 1955): within y years at most level * (1 + ln y).

All of it is a function of counts per day. Neither the order of a day's rows nor the order in which outcomes
became known plays a part, and nothing is remembered from look to look.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, logsumexp

LEVEL = 0.05  # greatest share of systems that alarm falsely within a year
DAYS = 365  # in that year: each may be the one on which a change begins
STILL = 2 / 3  # a change has ended when its rows fit the promise better than this much of the fall
ODDS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)  # falls looked for, as what the log-odds of the share lose

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share that was measured on rows, as its Beta distribution: (right + 1, wrong + 1)."""

    right: float
    wrong: float

    @property
    def mean(self) -> float:
        return (self.right + 1) / (self.right + self.wrong + 2)


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A change, in positions of days: it began, was noticed, and has ended if it has."""

    began: int  # the day since which the rows fit a change best
    noticed: int  # the first day on which the evidence sufficed
    ended: int | None = None  # the first day on which the evidence for its end sufficed; None: it stands


@dataclass(frozen=True, kw_only=True, eq=False)
class Watched:
    """What the evidence came to, day by day."""

    evidence: Floats  # per day; from 1 on it suffices: to notice a change or, within one, its end
    episodes: tuple[Episode, ...]  # in order; only the last may stand

    @property
    def standing(self) -> Episode | None:
        """The change that stands on the last day."""
        return self.episodes[-1] if self.episodes and self.episodes[-1].ended is None else None


def watch_share(right: npt.ArrayLike, n: npt.ArrayLike, promise: Share, *, level: float = LEVEL) -> Watched:
    """Has the share of right rows fallen below its promise? As of each day, in the order given.

    The promise is itself a measurement: the rows it was measured on and the new ones are compared as two
    samples, and a promise from few rows is hard to break. Rows before a day count as further rows of the
    promise; rows since that day which are as right as promised are no fall, whatever came before. A change,
    once noticed, stands until the rows after it speak as strongly for the promise as the earlier ones spoke
    against it; then all begins anew.

    Args:
        right, n: per day, shape (days,), 0 <= right <= n.
    Raises: ValueError for other counts.
    """
    k, m = np.asarray(right, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if k.shape != m.shape or k.ndim != 1 or not np.all((k >= 0) & (k <= m)):
        raise ValueError(f"want 0 <= right <= n for each day, got right = {right!r}, n = {n!r}")
    falls = np.array(ODDS)
    log_q, so_far = _log_shares(promise.mean, falls), _so_far(k, m)
    evidence = np.zeros(len(k))
    episodes: list[Episode] = []
    start, fallen = 0, None  # the first day that may be the one; within a change: the share it fell to
    for day in range(len(k)):
        if fallen is None:
            logs = _against(so_far, start, day, promise, log_q)
        else:
            logs = _back(so_far, start, day, promise, fallen)
        evidence[day] = np.exp(min(logsumexp(logs) - np.log(logs.shape[1] * max(DAYS, day + 1) / level), 0))
        if evidence[day] < 1:
            continue
        if fallen is None:
            weights = np.exp(logs - logs.max())  # of each day and fall, how well the rows fit it
            began = start + int(weights.sum(axis=1).argmax())
            episodes.append(Episode(began=began, noticed=day))
            lost = float(weights.sum(axis=0) @ falls / weights.sum())
            fallen = _log_shares(promise.mean, np.array([lost * STILL]))
        else:
            episodes[-1] = replace(episodes[-1], ended=day)
            fallen = None
        start = day + 1
    return Watched(evidence=evidence, episodes=tuple(episodes))


def log_evidence_of_fall(right: npt.ArrayLike, n: int, promise: Share, *, level: float = LEVEL) -> Floats:
    """Log-evidence of a fall that `right` of n rows of one day in the first year give; 0 suffices."""
    k = np.asarray(right, dtype=np.float64)
    counts = np.stack([k, n - k], axis=-1)
    kept = _polya(counts, np.array([promise.right + 1, promise.wrong + 1]))
    fit = logsumexp(counts @ _log_shares(promise.mean, np.array(ODDS)).T, axis=-1)
    return np.asarray(fit - kept - np.log(len(ODDS) * DAYS / level))


def _so_far(right: Floats, n: Floats) -> Floats:
    """Right and wrong rows before each day, and in all, shape (days + 1, 2)."""
    return np.concatenate([np.zeros((1, 2)), np.cumsum(np.stack([right, n - right], axis=1), axis=0)])


def _log_shares(promised: float, falls: Floats) -> Floats:
    """Log-shares (right, wrong) once the log-odds have lost so much, shape (falls, 2)."""
    odds = np.log(promised) - np.log1p(-promised) - falls
    return -np.stack([np.logaddexp(0, -odds), np.logaddexp(0, odds)], axis=1)


def _against(so_far: Floats, start: int, day: int, promise: Share, log_q: Floats) -> Floats:
    """Log e-values that the share fell on each of the days start..day, by each fall, shape (days, falls)."""
    since, before = so_far[day + 1] - so_far[start : day + 1], so_far[start : day + 1] - so_far[start]
    kept = _polya(since, np.array([promise.right + 1, promise.wrong + 1]) + before)
    below = since[:, 0] < promise.mean * since.sum(axis=1)
    return np.where(below[:, None], since @ log_q.T - kept[:, None], -np.inf)


def _back(so_far: Floats, start: int, day: int, promise: Share, fallen: Floats) -> Floats:
    """Log e-values that the share came back on each of the days start..day, shape (days, 1)."""
    since = so_far[day + 1] - so_far[start : day + 1]
    return np.asarray(since @ (np.log([promise.mean, 1 - promise.mean]) - fallen).T)


def _polya(counts: Floats, urn: Floats) -> Floats:
    """Log-probability of rows in one given order, from an urn: Pólya's urn. Shapes (..., values)."""
    total = gammaln(urn.sum(axis=-1)) - gammaln((urn + counts).sum(axis=-1))
    return np.asarray(total + (gammaln(urn + counts) - gammaln(urn)).sum(axis=-1))
