"""A table's columns as counts of values per day, and what the evidence of their change comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from dagsverk.tabular.clock import Clock
from dagsverk.tabular.drift import FEW_VALUES, ColumnDrift
from dagsverk.tabular.evidence import LEVEL, Watched
from dagsverk.tabular.shift import Values, watch_columns
from dagsverk.tabular.system import Column, System

MIN_REFERENCE = 2  # rows; fewer say nothing of how values vary
TENTHS = np.arange(0.1, 0.95, 0.1)

Integers: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WatchedTable:
    """What the evidence says of each column, and of the label where its outcomes are known."""

    clock: Clock
    columns: dict[str, Watched]

    @property
    def by_key(self) -> dict[str, Watched]:
        """By the key of their alarms."""
        return {f"drift:{name}": watched for name, watched in self.columns.items()}


def watch_table(
    system: System, reference: pd.DataFrame, rows: pd.DataFrame, *, level: float = LEVEL
) -> WatchedTable:
    """Have the inputs or the outcomes changed? At most `level` false alarms a year over all columns.

    Args:
        reference: the rows that the champion was fitted on, with inputs and label.
        rows: from `monitoring.history`: those that came since, their label as `outcome`.
    """
    clock = Clock.of(rows)
    watched = [*system.columns, system.label]
    if len(reference) < MIN_REFERENCE or not len(clock):
        return WatchedTable(clock, {})
    came = rows.rename(columns={"outcome": system.label.name})
    values = [
        _values(c, reference[c.name], came[c.name], clock, skip_missing=c is system.label) for c in watched
    ]
    evidence = watch_columns(values, level=level)
    return WatchedTable(clock, {c.name: e for c, e in zip(watched, evidence, strict=True)})


def with_evidence(columns: Sequence[ColumnDrift], table: WatchedTable) -> list[ColumnDrift]:
    """The comparison of the newest rows, judged by the evidence of all days."""
    return [_judged(column, table) for column in columns]


def _judged(column: ColumnDrift, table: WatchedTable) -> ColumnDrift:
    watched = table.columns.get(column.column)
    if watched is None:
        return replace(column, drifted=None)
    standing = watched.standing
    return replace(
        column,
        drifted=True if standing else (False if column.drifted is not None else None),
        evidence=float(watched.evidence[-1]),
        since=table.clock.at(standing.began if standing else None),
        noticed=table.clock.at(standing.noticed if standing else None),
    )


def _values(
    column: Column, reference: pd.Series, rows: pd.Series, clock: Clock, *, skip_missing: bool
) -> Values:
    """Counts of the column's values; which values there are is decided by the reference alone."""
    whole = column.kind == "integer" and reference.nunique() <= FEW_VALUES
    if column.kind == "category" or whole:
        names = pd.Index(column.categories or sorted(reference.dropna().unique()))
        size = len(names) + 2  # others, missing
        codes = [_places(names, side) for side in (reference, rows)]
        ordered = len(names) if whole else 0
    else:
        edges = _edges(reference.to_numpy(dtype=np.float64, na_value=np.nan))
        size = len(edges) + 2  # above the last edge, missing
        codes = [_bins(edges, side.to_numpy(dtype=np.float64, na_value=np.nan)) for side in (reference, rows)]
        ordered = size - 1
    before = np.bincount(codes[0], minlength=size)
    daily = np.bincount(clock.day * size + codes[1], minlength=len(clock) * size).reshape(len(clock), size)
    if skip_missing:
        before[-1], daily[:, -1] = 0, 0
    return Values(reference=before.astype(np.float64), daily=daily.astype(np.float64), ordered=ordered)


def _places(names: pd.Index, side: pd.Series) -> Integers:
    """Position of each value; one more is a value that is not among them, two more a missing one."""
    there = side.notna().to_numpy(dtype=bool)
    places = np.full(len(side), len(names) + 1, dtype=np.int64)
    positions = names.get_indexer(pd.Index(side[there]))
    places[there] = np.where(positions < 0, len(names), positions)
    return places


def _edges(reference: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Tenths of the reference, and its least and greatest value: what lies outside is a bin of its own."""
    present = reference[~np.isnan(reference)]
    if not len(present):
        return np.zeros(1)
    inner = np.quantile(present, TENTHS)
    return np.unique([np.nextafter(present.min(), -np.inf), *inner, present.max()])


def _bins(edges: npt.NDArray[np.float64], numbers: npt.NDArray[np.float64]) -> Integers:
    return np.where(np.isnan(numbers), len(edges) + 1, np.searchsorted(edges, numbers)).astype(np.int64)
