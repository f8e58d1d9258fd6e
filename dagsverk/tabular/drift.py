"""Has the input changed? One test per column, corrected for the number of columns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from dagsverk.tabular.system import Column, System

MIN_ROWS = 14  # below, every verdict is "too few rows": only gross changes could be seen
LEVEL = 0.05  # greatest share of no-drift windows in which any column may be called drifted
FEW_VALUES = 10  # an integer column with no more distinct values is compared value by value
MIN_EXPECTED = 5.0  # chi-square's approximation serves from about here on (Cochran 1954)

Counts: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Test = Literal["ks", "chi-square", "fisher"]


@dataclass(frozen=True, kw_only=True)
class ColumnDrift:
    """One column of a window of rows, compared with the reference rows."""

    column: str
    test: Test
    statistic: float | None  # ks: greatest distance of the distribution functions; else Pearson's chi-square
    p_value: float | None
    p_holm: float | None  # p_value after Holm's correction over all columns of the table
    psi: float | None  # population stability index: how large a change is, never whether there is one
    drifted: bool | None  # does it stand that it has changed? None: too few rows to say
    n: int  # rows in the window, missing values included
    n_reference: int
    change: str  # from reference to window, in words
    evidence: float | None = None  # on the last day: of a change or, while it stands, of its end; 1 suffices
    since: dt.datetime | None = None  # UTC day since which rows fit a change best; None: it does not stand
    noticed: dt.datetime | None = None  # UTC day on which the evidence sufficed

    @property
    def verdict(self) -> str:
        """The result as a person reads it."""
        if self.drifted is None:
            return "too few rows"
        return "drifted" if self.drifted else "no drift seen"


def drift(
    system: System, reference: pd.DataFrame, window: pd.DataFrame, *, level: float = LEVEL
) -> list[ColumnDrift]:
    """Compare each input column of `window` with `reference`, in the order of `system.columns`: one look.

    Who looks daily wants `watched.with_evidence`: of 365 such looks some alarm, drift or not.

    Numbers: two-sample Kolmogorov-Smirnov. Categories, and integers of few values: chi-square over the
    values, rare ones pooled; Fisher's exact test when two groups are left and one is rare. Missing is a value
    of its own. The p-values are corrected over the columns (Holm 1979), so that at most about `level` of the
    windows without drift raise an alarm. Fewer than 14 rows on a side: "too few rows".

    Each column is looked at by itself: how columns go together, or go with the outcome, may change unseen.
    That is left to the test of the accuracy.
    Raises: ValueError for rows without an input column.
    """
    if absent := [name for name in system.inputs if name not in reference or name not in window]:
        raise ValueError(
            f"drift of {system.name}: no column {absent} in the rows; wanted {list(system.inputs)}"
        )
    results = [_compare(column, reference[column.name], window[column.name]) for column in system.columns]
    tested = [r.p_value for r in results if r.p_value is not None]
    if len(tested) < len(results):
        return results
    corrected = holm(tested)
    return [
        replace(result, p_holm=p, drifted=p <= level) for result, p in zip(results, corrected, strict=True)
    ]


def label_drift(system: System, reference: pd.DataFrame, window: pd.DataFrame) -> ColumnDrift:
    """The known outcomes of a window, compared in the same way with those of the reference.

    Args: window: rows from `monitoring.history`; the others: layout of the features table.
    """
    outcomes = [side.dropna() for side in (reference[system.label.name], window["outcome"])]
    result = _compare(system.label, *outcomes)
    return result if result.p_value is None else replace(result, drifted=False)  # one look decides nothing


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected by Holm's step-down method, in the order given (Holm 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in corrected]


def ks(reference: Floats, window: Floats) -> tuple[float, float]:
    """Two-sample Kolmogorov-Smirnov (distance, p-value); NaN counts as one value below all numbers.

    So the share of missing values is part of the distance. The p-value is that of one sample of
    n * m / (n + m) values, rounded, against a known distribution: exact enough from 14 rows on, cheap for
    millions, and conservative where values repeat.
    """
    a, b = (np.sort(np.where(np.isnan(x), -np.inf, x)) for x in (reference, window))
    places = np.concatenate([a, b])
    gap = np.searchsorted(a, places, "right") / len(a) - np.searchsorted(b, places, "right") / len(b)
    distance = float(np.abs(gap).max())
    effective = max(round(len(a) * len(b) / (len(a) + len(b))), 1)
    return distance, float(np.clip(stats.kstwo.sf(distance, effective), 0.0, 1.0))


def homogeneity(counts: Counts) -> tuple[Test, float, float]:
    """(test, Pearson's chi-square, p-value) for equal shares in both rows of `counts`, shape (2, values).

    Values expected fewer than 5 times are pooled, rarest first, down to two groups; if one is rare even then,
    the p-value is that of Fisher's exact test. One value only: nothing differs, p = 1.
    """
    pooled = _pool(counts[:, counts.sum(axis=0) > 0])
    if pooled.shape[1] < 2:
        return "chi-square", 0.0, 1.0
    expected = stats.contingency.expected_freq(pooled)
    statistic = float(((pooled - expected) ** 2 / expected).sum())
    if expected.min() < MIN_EXPECTED:
        return "fisher", statistic, float(min(stats.fisher_exact(pooled).pvalue, 1.0))
    return "chi-square", statistic, float(stats.chi2.sf(statistic, pooled.shape[1] - 1))


def psi(counts: Counts) -> float:
    """Population stability index between both rows of `counts`, shape (2, bins); 0: equal shares.

    Half a row is added to each bin, or one empty bin would make it infinite. Even without drift its mean is
    about (bins - 1) * (1/n + 1/m): it tells how large a change is and cannot decide whether there is one.
    """
    shares = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def bin_counts(reference: Floats, window: Floats) -> Counts:
    """Rows per tenth of the reference's values, and missing ones last, shape (2, bins up to 11)."""
    present = reference[~np.isnan(reference)]
    edges = np.unique(np.quantile(present, np.arange(0.1, 0.95, 0.1))) if len(present) else np.empty(0)
    # NaN sorts above every edge, infinity included, once it has a bin of its own
    bins = [np.where(np.isnan(x), len(edges) + 1, np.searchsorted(edges, x)) for x in (reference, window)]
    counts = np.stack([np.bincount(b, minlength=len(edges) + 2) for b in bins])
    return counts[:, counts.sum(axis=0) > 0]


def value_counts(reference: pd.Series, window: pd.Series) -> tuple[list[str], Counts]:
    """(values sorted as text, rows per value of shape (2, values)); "missing" is among them if any is."""
    both = pd.concat([reference, window], ignore_index=True)
    codes, values = pd.factorize(both.astype(object), sort=False, use_na_sentinel=True)
    names = [_number_words(value) for value in values]
    if (codes < 0).any():
        codes, names = np.where(codes < 0, len(names), codes), [*names, "missing"]
    sides = (codes[: len(reference)], codes[len(reference) :])
    counts = np.stack([np.bincount(side, minlength=len(names)) for side in sides])
    order = np.argsort(names, kind="stable")  # or the order of the rows would break ties
    return [names[i] for i in order], counts[:, order]


def _compare(column: Column, reference: pd.Series, window: pd.Series) -> ColumnDrift:
    """One column's test, not yet corrected for the others."""
    by_value = column.kind == "category" or (column.kind == "integer" and reference.nunique() <= FEW_VALUES)
    blank = ColumnDrift(
        column=column.name,
        test="chi-square" if by_value else "ks",
        statistic=None,
        p_value=None,
        p_holm=None,
        psi=None,
        drifted=None,
        n=len(window),
        n_reference=len(reference),
        change="",
    )
    if min(len(window), len(reference)) < MIN_ROWS:
        return blank
    return (_by_value if by_value else _by_number)(blank, column, reference, window)


def _by_value(blank: ColumnDrift, column: Column, reference: pd.Series, window: pd.Series) -> ColumnDrift:
    names, counts = value_counts(reference, window)
    test, statistic, p_value = homogeneity(counts)
    before, after = counts / counts.sum(axis=1, keepdims=True)
    most = int(np.argmax(np.abs(after - before)))
    change = f"share of {column.words(names[most])} {_from_to(before[most], after[most])}"
    return replace(blank, test=test, statistic=statistic, p_value=p_value, psi=psi(counts), change=change)


def _by_number(blank: ColumnDrift, column: Column, reference: pd.Series, window: pd.Series) -> ColumnDrift:
    before, after = (side.to_numpy(dtype=np.float64, na_value=np.nan) for side in (reference, window))
    distance, p_value = ks(before, after)
    size, change = psi(bin_counts(before, after)), _number_change(column, before, after)
    return replace(blank, statistic=distance, p_value=p_value, psi=size, change=change)


def _number_change(column: Column, before: Floats, after: Floats) -> str:
    """The missing share if it moved by a tenth or more, else the median."""
    absent = float(np.isnan(before).mean()), float(np.isnan(after).mean())
    if abs(absent[1] - absent[0]) >= 0.1 or max(absent) == 1.0:
        return f"share of missing {_from_to(*absent)}"
    return f"median from {np.nanmedian(before):.3g} to {np.nanmedian(after):.3g} {column.unit}".rstrip()


def _from_to(before: float, after: float) -> str:
    return f"from {before * 100:.0f} % to {after * 100:.0f} %"


def _pool(counts: Counts) -> Counts:
    """Merge the values that are expected too rarely, and more if need be, but leave two groups."""
    totals = counts.sum(axis=0)
    order = np.argsort(totals, kind="stable")
    expected = totals[order] * (counts.sum(axis=1).min() / counts.sum())
    rare = int((expected < MIN_EXPECTED).sum())
    if rare == 0 or len(totals) <= 2:
        return counts
    enough = int((np.cumsum(expected) < MIN_EXPECTED).sum()) + 1
    merge = min(max(rare, enough), len(totals) - 1)
    return np.column_stack([counts[:, order[:merge]].sum(axis=1), counts[:, order[merge:]]])


def _number_words(value: object) -> str:
    """2.0 and 2 are one value: integers with missing ones arrive as floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
