"""Paired tests of what two models say of the same rows: bootstrap, sign flips, McNemar, corrected folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit
from scipy.stats import binomtest

from dagsverk.tabular.compared import Change, CompareRowsConfig, RowExample, RowGroup
from dagsverk.tabular.scores import CONFIDENCE
from dagsverk.tabular.system import System

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Part = tuple[Integers, Floats, Integers]  # rows tested, their probabilities, the classes named
MOST_VALUES = 5  # of an integer column, to be a grouping
BLOCK = 5_000_000  # draws at a time


@dataclass(frozen=True)
class Judged:
    """What a model says of each row: means over the times that it was asked."""

    probabilities: Floats  # (rows, classes)
    right: Floats  # share of the times
    loss: Floats  # -log(probability of the outcome), in nats
    brier: Floats
    truth: Floats  # probability of the outcome
    answered: NDArray[np.bool_]
    folds: Mapping[str, Floats] = field(default_factory=dict)  # metric -> of each fold
    per_repeat: int = 0  # folds of one repeat
    labels_only: bool = False
    aside: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def once(
        cls,
        probabilities: Floats,
        named: Integers,
        codes: Integers,
        answered: NDArray[np.bool_] | None = None,
    ) -> Judged:
        """By one model, asked once."""
        every = np.ones(len(codes), bool)
        truth, loss, brier = _of(probabilities, codes)
        right = (named == codes).astype(np.float64)
        return cls(probabilities, right, loss, brier, truth, every if answered is None else answered)

    @classmethod
    def of_folds(cls, parts: Sequence[Part], codes: Integers, per_repeat: int) -> Judged:
        """By a model per fold; each row is tested once in every repeat."""
        count, classes = len(codes), parts[0][1].shape[1]
        sums = {name: np.zeros(count) for name in ("right", "loss", "brier", "truth")}
        shares, times = np.zeros((count, classes)), np.zeros(count)
        folds: dict[str, list[float]] = {"accuracy": [], "log_loss": [], "brier": []}
        for tested, probabilities, named in parts:
            truth, loss, brier = _of(probabilities, codes[tested])
            right = (named == codes[tested]).astype(np.float64)
            for name, values in (("right", right), ("loss", loss), ("brier", brier), ("truth", truth)):
                sums[name][tested] += values
            shares[tested] += probabilities
            times[tested] += 1
            for name, values in (("accuracy", right), ("log_loss", loss), ("brier", brier)):
                folds[name].append(float(values.mean()))
        answered, times = times > 0, np.maximum(times, 1)
        return cls(
            shares / times[:, None],
            right=sums["right"] / times,
            loss=sums["loss"] / times,
            brier=sums["brier"] / times,
            truth=sums["truth"] / times,
            answered=answered,
            folds={name: np.array(values) for name, values in folds.items()},
            per_repeat=per_repeat,
        )

    def only(self, rows: NDArray[np.bool_]) -> Judged:
        """Of some of the rows. What folds say is of all rows, and is kept only if these are all."""
        kept = {name: getattr(self, name)[rows] for name in _OF_ROWS}
        return replace(self, **kept, folds=self.folds if rows.all() else {})

    def labels(self) -> Judged:
        """The same, where no probabilities were given."""
        return replace(self, labels_only=True)

    def with_aside(self, aside: Mapping[str, int]) -> Judged:
        return replace(self, aside=aside)

    def metric(self, name: str) -> Floats:
        """Of each row."""
        return {"accuracy": self.right, "log_loss": self.loss, "brier": self.brier}[name]


_OF_ROWS = ("probabilities", "right", "loss", "brier", "truth", "answered")


def _of(probabilities: Floats, codes: Integers) -> tuple[Floats, Floats, Floats]:
    truth = probabilities[np.arange(len(codes)), codes]
    loss = -np.log(np.maximum(truth, np.finfo(np.float64).eps))
    brier = ((probabilities - np.eye(probabilities.shape[1])[codes]) ** 2).sum(axis=1) / 2
    return truth, loss, brier


def changes(one: Judged, two: Judged, things: Sequence[str], config: CompareRowsConfig) -> dict[str, Change]:
    """First minus second of each metric, over rows; rows of one id are drawn together."""
    names = ("accuracy",) if one.labels_only or two.labels_only else ("log_loss", "accuracy", "brier")
    return {name: change(one.metric(name) - two.metric(name), things, config) for name in names}


def change(differences: Floats, things: Sequence[str], config: CompareRowsConfig) -> Change:
    """Mean of paired differences with its bootstrap t interval, and p by flipping signs of whole things."""
    codes = pd.factorize(pd.Series(list(things), dtype=object))[0]
    count = int(codes.max(initial=-1)) + 1
    sums: Floats = np.bincount(codes, differences, count).astype(np.float64)
    sizes: Floats = np.bincount(codes, minlength=count).astype(np.float64)
    value = float(differences.mean())
    generator = np.random.default_rng(config.seed)
    means = np.concatenate(
        [_drawn(generator, part, sums, sizes) for part in _blocks(config.resamples, count)]
    )
    error = float(means.std(ddof=1)) * np.sqrt(count / max(count - 1, 1))
    half = float(stdtrit(max(count - 1, 1), (1 + CONFIDENCE) / 2)) * error
    flipped = np.concatenate(
        [
            generator.choice((-1.0, 1.0), size=(part, count)) @ sums
            for part in _blocks(config.resamples, count)
        ]
    )
    beyond = int((np.abs(flipped) >= abs(sums.sum()) - 1e-12).sum())
    return Change(
        value=value,
        low=float(value - half),
        high=float(value + half),
        p=(1 + beyond) / (1 + config.resamples),
    )


def _drawn(generator: np.random.Generator, part: int, sums: Floats, sizes: Floats) -> Floats:
    count = len(sums)
    times = generator.multinomial(count, np.full(count, 1 / count), part).astype(np.float64)
    return np.asarray((times @ sums) / np.maximum(times @ sizes, 1))


def _blocks(resamples: int, count: int) -> list[int]:
    size = max(1, BLOCK // max(count, 1))
    return [min(size, resamples - start) for start in range(0, resamples, size)]


def over_folds(one: Judged, two: Judged) -> dict[str, Change]:
    """The same over the folds, where both were fitted in the same ones (Nadeau and Bengio 2003)."""
    if not (one.folds and two.folds) or len(one.folds["accuracy"]) != len(two.folds["accuracy"]):
        return {}
    made = {}
    for name in ("log_loss", "accuracy", "brier"):
        each = one.folds[name] - two.folds[name]
        n, value = len(each), float(each.mean())
        error = float(np.sqrt(each.var(ddof=1) * (1 / n + 1 / (one.per_repeat - 1))))
        half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * error
        p = 2 * float(stdtr(n - 1, -abs(value) / error)) if error else float(value == 0)
        made[name] = Change(value=value, low=value - half, high=value + half, p=p)
    return made


def mcnemar(one: Judged, two: Judged) -> tuple[int, int, float]:
    """Rows that only the first has right, that only the second has, and p, exact and two-sided.

    A row that was asked for several times is right if it is so more often than not.
    """
    first, second = one.right > 0.5, two.right > 0.5
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    if not only_first + only_second:
        return 0, 0, 1.0
    return only_first, only_second, float(binomtest(only_first, only_first + only_second).pvalue)


def groups(
    system: System,
    rows: pd.DataFrame,
    one: Judged,
    two: Judged,
    things: Sequence[str],
    config: CompareRowsConfig,
    measure: str,
) -> tuple[RowGroup, ...]:
    """By outcome, and by each category or small whole number; p-values are Holm's."""
    differences = one.metric(measure) - two.metric(measure)
    small = [
        column
        for column in (*system.columns, system.label)
        if column.kind == "category"
        or (column.kind == "integer" and rows[column.name].nunique() <= MOST_VALUES)
    ]
    made: list[tuple[str, str, int, Change]] = []
    names = np.array(things, dtype=object)
    for column in small:
        for value, places in rows.groupby(rows[column.name], observed=True).indices.items():
            if config.min_group_rows <= len(places) < len(rows):
                of = change(differences[places], list(names[places]), config)
                made.append((column.name, column.words(value), len(places), of))
    order = sorted(range(len(made)), key=lambda i: made[i][3].p)
    adjusted, least = {}, 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, made[place][3].p * (len(made) - rank)))
        adjusted[place] = least
    return tuple(
        RowGroup(by=by, value=value, rows=count, change=of, p_adjusted=adjusted[place])
        for place, (by, value, count, of) in enumerate(made)
    )


def examples(
    system: System, rows: pd.DataFrame, one: Judged, two: Judged, most: int
) -> tuple[RowExample, ...]:
    """Rows to whose outcome the two give the most different probabilities."""
    apart = np.abs(one.truth - two.truth)
    order = [int(i) for i in np.argsort(-apart, kind="stable")[:most] if apart[i] > 0]
    return tuple(
        RowExample(
            row_id=str(rows["row_id"].iloc[i]),
            inputs={c.name: _shown(c.words(rows[c.name].iloc[i])) for c in system.columns},
            outcome=system.label.words(rows[system.label.name].iloc[i]),
            first=float(one.truth[i]),
            second=float(two.truth[i]),
        )
        for i in order
    )


def _shown(words: str) -> str:
    return "" if words in ("nan", "None", "<NA>") else words[:200]
