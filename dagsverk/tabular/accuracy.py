"""Shares of right predictions: their interval, and whether they have fallen below what was promised."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from dagsverk.records import parse
from dagsverk.store.protocol import Model
from dagsverk.tabular.clock import Clock
from dagsverk.tabular.evidence import Share, Watched, log_evidence_of_fall, watch_share
from dagsverk.tabular.expected import Reliability

Z_95 = 1.959963984540054  # standard normal quantile of 0.975
NOTICED_WITHIN_DAYS = 30  # that `AccuracyAlarm.detectable` speaks of
UNKNOWN_ROWS = 100  # that a promise is taken to be from, where nothing says from how many

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Promise:
    """The accuracy that cross-validation promised for a model, and how well it is known."""

    accuracy: float
    low: float | None = None  # its 95 % interval, when it was kept
    version: int | None = None  # of the model; None: whichever
    reliability: tuple[Reliability, ...] = ()  # of its probabilities; empty: not kept
    predicted: Mapping[str, float] = field(
        default_factory=dict
    )  # class -> share of its predictions; as above

    def __post_init__(self) -> None:
        if not 0 <= self.accuracy <= 1:
            raise ValueError(f"promised accuracy must be in [0, 1], got {self.accuracy}")

    def share(self, rows: int) -> Share:
        """As a share of rows: of `rows`, or of fewer where the interval is wider than theirs would be."""
        spread = (self.accuracy - self.low) / Z_95 if self.low is not None else 0.0
        worth = self.accuracy * (1 - self.accuracy) / spread**2 if spread > 0 else 0.0
        n = min(n for n in (float(rows or UNKNOWN_ROWS), worth) if n > 0)
        return Share(right=self.accuracy * n, wrong=(1 - self.accuracy) * n)


@dataclass(frozen=True, kw_only=True)
class AccuracyAlarm:
    """The newest outcomes against the accuracy promised, and whether it stands that it has fallen.

    The alarm may be looked at every day: see `evidence`.
    """

    correct: int
    n: int  # newest rows with a known outcome
    accuracy: float | None  # None: no outcome known
    low: float | None  # Wilson 95 % interval of `accuracy`
    high: float | None
    promised: float | None  # cross-validated accuracy at training; None: no promise, nothing to fall below
    alarm: bool | None  # None: nothing to test
    evidence: float | None = (
        None  # on the last day: of a fall or, while an alarm stands, of its end; 1 suffices
    )
    since: dt.datetime | None = None  # UTC day since which the outcomes fit a fall best; None: no alarm
    noticed: dt.datetime | None = None  # UTC day on which the evidence sufficed
    correct_since: int = 0
    n_since: int = 0
    detectable: float | None = None  # fall that is noticed within 30 days at the present number of outcomes


def promise_of(champion: Model | None) -> Promise | None:
    """What cross-validation promised for the model in use. None without a champion or an accuracy."""
    accuracy = None if champion is None else champion.metrics.get("accuracy")
    if champion is None or accuracy is None or math.isnan(accuracy):
        return None
    spread = promised_interval(champion)
    return Promise(
        accuracy=accuracy,
        low=spread[0] if spread else None,
        version=champion.version,
        reliability=tuple(parse(part, Reliability) for part in champion.info.get("reliability", ())),
        predicted=dict(champion.info.get("predicted", {})),
    )


def promised_interval(model: Model) -> tuple[float, float] | None:
    """The 95 % interval of the accuracy that cross-validation promised for the model, when it was kept."""
    for row in model.info.get("compared", []):
        if row.get("model_class") == model.info.get("model_class") and "accuracy" in row:
            return row["accuracy"]["low"], row["accuracy"]["high"]
    return None


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


def watch_accuracy(
    history: pd.DataFrame, promise: Promise | None, reference_rows: int, *, window_rows: int
) -> tuple[AccuracyAlarm, Watched | None, Clock]:
    """Has the accuracy fallen below its promise? With the evidence per day, and the days.

    Args:
        history: rows from `monitoring.history`; only those with an outcome that this promise is of count.
        reference_rows: how many rows the promise was measured on.
        window_rows: newest outcomes whose accuracy is shown.
    """
    outcomes = history[history["outcome"].notna()]
    newest = outcomes["correct"].tail(window_rows)
    if promise is not None and promise.version is not None:
        outcomes = outcomes[outcomes["model_version"] == promise.version]
    clock = Clock.of(outcomes)
    right = outcomes["correct"].to_numpy(dtype=np.int64)
    k = np.bincount(clock.day, right, len(clock)).astype(np.float64)
    n = np.bincount(clock.day, minlength=len(clock)).astype(np.float64)
    correct, count = int(newest.sum()), len(newest)
    low, high = (None if math.isnan(end) else float(end) for end in wilson(correct, count))
    alarm = AccuracyAlarm(
        correct=correct,
        n=count,
        accuracy=correct / count if count else None,
        low=low,
        high=high,
        promised=None if promise is None else promise.accuracy,
        alarm=None,
    )
    if promise is None or not len(clock):
        return alarm, None, clock
    share = promise.share(reference_rows)
    return _judged(alarm, k, n, watch_share(k, n, share), clock, share)


def _judged(
    alarm: AccuracyAlarm, right: Floats, n: Floats, watched: Watched, clock: Clock, share: Share
) -> tuple[AccuracyAlarm, Watched, Clock]:
    """The alarm with what the evidence came to."""
    standing = watched.standing
    began = standing.began if standing else len(n)
    done = replace(
        alarm,
        alarm=standing is not None,
        evidence=float(watched.evidence[-1]),
        since=clock.at(standing.began if standing else None),
        noticed=clock.at(standing.noticed if standing else None),
        correct_since=int(right[began:].sum()),
        n_since=int(n[began:].sum()),
        detectable=detectable_fall(share, int(n[-NOTICED_WITHIN_DAYS:].mean() * NOTICED_WITHIN_DAYS)),
    )
    return done, watched, clock


def detectable_fall(promise: Share, n: int) -> float | None:
    """The least fall below the promise that n rows, right as often as it says, prove by themselves.

    To a thousandth; None: not even a fall to nothing would be noticed.
    """
    falls = np.arange(0.001, promise.mean, 0.001)
    proved = log_evidence_of_fall((promise.mean - falls) * n, n, promise) >= 0
    return float(falls[proved.argmax()]) if proved.any() else None
