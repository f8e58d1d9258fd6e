"""Evidence that may be looked at every day: have the shares of a column's values changed, and since when?

As in `evidence`, with many values in the place of right and wrong. Reference rows and new rows are one
sample while nothing has changed, whatever the true shares are: Pólya's urn, filled with the reference, says
how likely the new rows are then. So the reference's own error counts, and few reference rows prove little.
Against it stand stated changes, of the reference and of all rows so far: values in order move up, down,
apart or together; one value gains or loses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, logsumexp

from dagsverk.tabular.evidence import DAYS, LEVEL, STILL, Episode, Watched

MOVES = (0.5, 1.0, 2.0, 4.0)  # log-ratio of shares between the least and the middle value, up and down
SPREADS = (1.0, 3.0)  # log-ratio between the middle and the outer values, apart and together
GAINS = (0.1, 0.3, 0.8)  # share of all rows that turn to one value
LOSSES = (0.5, 0.9)  # share of one value's rows that turn to others
PRIOR_ROWS = 20  # of the reference, among the rows that say what a column has changed to

Floats: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Values:
    """One column as counts: of its reference rows, and of new rows per day."""

    reference: Floats  # shape (values,)
    daily: Floats  # shape (days, values)
    ordered: int  # so many values, the first, are in order; the others, such as "missing", are not


def watch_columns(columns: Sequence[Values], *, level: float = LEVEL) -> list[Watched]:
    """Which columns have changed? As of each day, at most `level` false alarms a year over all of them.

    A change, once noticed, stands until the rows after it fit the reference better than most of the change.
    Args: columns: all with the same days.
    """
    if not columns or not len(columns[0].daily):
        return [Watched(evidence=np.zeros(0), episodes=()) for _ in columns]
    state = _State.of(columns, level)
    for day in range(len(columns[0].daily)):
        state.step(day)
    return [
        Watched(evidence=state.evidence[:, c], episodes=tuple(state.episodes[c])) for c in range(len(columns))
    ]


def changes(values: Values) -> tuple[Floats, Floats]:
    """(log of what each stated change multiplies the shares by, shape (changes, values); weights, sum 1).

    The products are shares once they are divided by their sum.
    """
    before = (values.reference + 1) / (values.reference + 1).sum()
    by_value = np.eye(len(before))
    single = [np.log1p(one * gain / (1 - gain) / before) for gain in GAINS for one in by_value]
    single += [np.log(1 - loss * one) for loss in LOSSES for one in by_value]
    moved = _moved(before, values.ordered) if values.ordered > 1 else []
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in (single, moved) if part])
    return np.array([*single, *moved]), weights / weights.sum()


def _moved(before: Floats, ordered: int) -> list[Floats]:
    shares = before[:ordered] / before[:ordered].sum()
    place = 2 * (np.cumsum(shares) - shares / 2) - 1  # from -1, the least, to 1
    tilts = [sign * move * place for move in MOVES for sign in (1, -1)]
    tilts += [sign * spread * place**2 for spread in SPREADS for sign in (1, -1)]
    same = np.zeros(len(before) - ordered)  # the shares of values without an order stay
    return [np.concatenate([tilt - np.log(shares @ np.exp(tilt)), same]) for tilt in tilts]


def _scaled(shares: Floats, factors: Floats) -> Floats:
    scaled = shares * factors
    return np.asarray(scaled / scaled.sum())


@dataclass(kw_only=True, eq=False)
class _State:
    """All columns after some days; columns of fewer values or changes are filled up to the longest."""

    threshold: float  # log, without the days
    urn: Floats  # reference rows and one more of each value, shape (columns, values); 0: no such value
    daily: Floats  # shape (days, columns, values)
    ratios: Floats  # of `changes`, shape (columns, changes, values)
    factors: Floats  # their exponentials
    weights: Floats  # log, shape (columns, 2 changes): of the reference, and of all rows before the day
    gathered: Floats  # log, summed over the days that may be the one, shape (columns, 2 changes)
    best: Floats  # log, of the best of those days
    began: npt.NDArray[np.int64]  # which day that is
    before: Floats  # rows that came since the start, shape (columns, values)
    changed: Mask  # columns whose change stands
    after: Floats  # of those: log of the shares before over those after most of it, (columns, values)
    back: Floats  # log evidence that it is over, shape (columns,)
    evidence: Floats  # shape (days, columns)
    episodes: list[list[Episode]]

    @classmethod
    def of(cls, columns: Sequence[Values], level: float) -> _State:
        days, n = len(columns[0].daily), len(columns)
        width = max(len(c.reference) for c in columns)
        stated = [changes(c) for c in columns]
        most = max(len(weights) for _, weights in stated)
        urn, daily = np.zeros((n, width)), np.zeros((days, n, width))
        ratios, logs = np.zeros((n, most, width)), np.full((n, most), -np.inf)
        for i, (column, (ratio, weights)) in enumerate(zip(columns, stated, strict=True)):
            values = len(column.reference)
            urn[i, :values], daily[:, i, :values] = column.reference + 1, column.daily
            ratios[i, : len(weights), :values], logs[i, : len(weights)] = ratio, np.log(weights)
        return cls(
            threshold=float(np.log(n / level)),
            urn=urn,
            daily=daily,
            ratios=ratios,
            factors=np.exp(ratios),
            weights=np.tile(logs - np.log(2), 2),
            gathered=np.full((n, 2 * most), -np.inf),
            best=np.full((n, 2 * most), -np.inf),
            began=np.zeros((n, 2 * most), dtype=np.int64),
            before=np.zeros((n, width)),
            changed=np.zeros(n, dtype=bool),
            after=np.zeros((n, width)),
            back=np.full(n, -np.inf),
            evidence=np.zeros((days, n)),
            episodes=[[] for _ in range(n)],
        )

    def step(self, day: int) -> None:
        """Take in one day's rows."""
        unchanged = _urn_fit(self.urn + self.before, self.daily[day])[:, None]
        fits = [self._fit(urn, self.daily[day]) for urn in (self.urn, self.urn + self.before)]
        gain = np.concatenate(fits, axis=1) - unchanged
        self.gathered = np.logaddexp(self.gathered, 0) + gain
        self.began = np.where(self.best > 0, self.began, day)
        self.best = np.maximum(self.best, 0) + gain
        self.before += self.daily[day]
        self.back = np.logaddexp(self.back, 0) + (self.daily[day] * self.after).sum(axis=1)
        noticed = logsumexp(self.gathered + self.weights, axis=1)
        needed = self.threshold + np.log(max(DAYS, day + 1))
        self.evidence[day] = np.exp(np.minimum(np.where(self.changed, self.back, noticed) - needed, 0))
        for c in np.flatnonzero(self.evidence[day] >= 1):
            if self.changed[c]:
                self.episodes[c][-1] = replace(self.episodes[c][-1], ended=day)
            else:
                self._notice(int(c), day)
            self.changed[c] = not self.changed[c]
            self.gathered[c], self.best[c], self.back[c], self.before[c] = -np.inf, -np.inf, -np.inf, 0

    def _fit(self, urn: Floats, counts: Floats) -> Floats:
        """Log-probability of a day's rows after each change of the shares in the urn, (columns, changes)."""
        shares = urn / urn.sum(axis=1, keepdims=True)
        total = np.log(np.einsum("cv,cgv->cg", shares, self.factors))
        logs = np.where(urn > 0, np.log(np.where(urn > 0, shares, 1)), 0)
        rows = np.einsum("cv,cgv->cg", counts, self.ratios) - counts.sum(axis=1)[:, None] * total
        return np.asarray(rows + (counts * logs).sum(axis=1)[:, None])

    def _notice(self, c: int, day: int) -> None:
        """A change of column c stands: since when, and what its end is measured by."""
        began = int(self.began[c, (self.best[c] + self.weights[c]).argmax()])
        self.episodes[c].append(Episode(began=began, noticed=day))
        there = self.urn[c] > 0
        before = self.urn[c] / self.urn[c].sum()
        since = self.daily[began : day + 1, c].sum(axis=0) + PRIOR_ROWS * before
        ratio = np.log(since[there] / since.sum()) - np.log(before[there])
        shares = _scaled(before[there], np.exp(STILL * ratio))
        self.after[c, there] = np.log(before[there]) - np.log(shares)


def _urn_fit(urn: Floats, counts: Floats) -> Floats:
    """Log-probability of rows in one given order, drawn from Pólya's urn; shape (columns,)."""
    filled = np.where(urn > 0, urn, 1)  # no such value: no such row
    each = (gammaln(filled + counts) - gammaln(filled)).sum(axis=1)
    return np.asarray(each + gammaln(urn.sum(axis=1)) - gammaln((urn + counts).sum(axis=1)))
