"""Rows that are one thing written down twice: equal but for an id, rounding, case or spaces.

Equal values alone say little: of passengers of whom a class, a sex and a fare are known, many agree by
chance, as rows to come will. Two rows are taken for one only where chance hardly makes such a pair in the
whole table. How likely it does is reckoned from each column's values, given the value of whichever earlier
column tells most about it, in the other rows. Light: numpy, pandas and scipy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from dagsverk.tabular.reports import RowsTwice
from dagsverk.tabular.system import System

Matrix = NDArray[np.float64]
Places = NDArray[np.int64]

BY_CHANCE = 0.01  # pairs like it that chance may make in the table, at most
NEIGHBOURS = 3  # rows that one is compared with, beside those it equals
MOST_DIMENSIONS = 8  # columns that neighbours are looked for in
APART = 1e-9  # between rows that lie on one point, at most: a tree cannot part those, and looks at all
FARTHEST = 0.1  # of all ranks, together: what is rounded has its like nearer
LEAST_DECIMALS, MOST_DECIMALS = -3, 6  # a number with more is not taken for a rounded one
MOST_ROWS = 5_000  # that chance is reckoned from, given another column
MOST_JUDGED = 2_000  # pairs, given another column; others by each column alone
MOST_SEEN = 8  # tables whose twins are kept in memory
EXAMPLES = 5
LEAST_SEEN = 10  # rows with a value, before it tells of another column
MISSING = 1e300


@dataclass(frozen=True)
class Twins:
    """What a table has twice."""

    equal: int  # rows with another that has the same values, otherwise spelt or not; mostly by chance
    groups: tuple[tuple[int, ...], ...]  # places of rows that are one thing

    @property
    def rows(self) -> int:
        return sum(map(len, self.groups))


@dataclass(frozen=True)
class _Pairs:
    """Two rows each, with the values that both are within `within` of."""

    first: Places
    second: Places
    values: Matrix  # shape (pairs, columns)
    within: Matrix

    def only(self, which: NDArray[np.bool_]) -> _Pairs:
        return _Pairs(self.first[which], self.second[which], self.values[which], self.within[which])


def twins(system: System, rows: pd.DataFrame, ids: Sequence[object] = ()) -> Twins:
    """Rows that are one thing, in the order of the rows.

    Args: rows: their inputs, as models get them. ids: of the rows; those of one id are known to be one thing.
    """
    every = _of_values(system, rows)
    if not len(ids):
        return every
    return replace(every, groups=tuple(g for g in every.groups if len({ids[place] for place in g}) > 1))


def _of_values(system: System, rows: pd.DataFrame) -> Twins:
    table, decimals = _numbers(system, rows)
    if len(table) < 2:
        return Twins(0, ())
    key = hashlib.sha256(table.tobytes() + decimals.tobytes()).digest()
    if key not in _SEEN:  # each class of model asks, of the same rows
        if len(_SEEN) >= MOST_SEEN:
            _SEEN.clear()
        _SEEN[key] = _twins(table, decimals)
    return _SEEN[key]


_SEEN: dict[bytes, Twins] = {}


def _twins(table: Matrix, decimals: Matrix) -> Twins:
    equal, pairs = _candidates(table, decimals)
    return Twins(equal, _groups(pairs.only(_beyond_chance(table, pairs)), len(table)))


def twice(doubled: Twins, ids: Sequence[str], labels: Sequence[object]) -> RowsTwice:
    """The same in words for reports. Args: ids: of the rows, if they have any."""
    return RowsTwice(
        equal=doubled.equal,
        rows=doubled.rows,
        things=len(doubled.groups),
        with_other_outcomes=sum(len({labels[place] for place in group}) > 1 for group in doubled.groups),
        examples=tuple(tuple(ids[place] for place in group[:3]) for group in doubled.groups[:EXAMPLES])
        if len(ids)
        else (),
    )


def joined(groups: Sequence[Sequence[int]], things: Places) -> Places:
    """What each row is of, where rows of a group are of one thing, too."""
    rows, count = len(things), int(things.max()) + 1
    first = np.concatenate([np.arange(rows), *(np.full(len(group), group[0]) for group in groups)])
    second = np.concatenate([rows + things, *(np.asarray(group) for group in groups)])
    links = coo_array((np.ones(len(first)), (first, second)), shape=(rows + count, rows + count))
    of: Places = connected_components(links, directed=False)[1][:rows].astype(np.int64)
    return of


def _numbers(system: System, rows: pd.DataFrame) -> tuple[Matrix, Matrix]:
    """Values as numbers, and with how many decimals each is written; infinite: not to be rounded."""
    values, decimals = [], []
    for column in system.columns:
        own = rows[column.name]
        if column.kind == "category":
            folded = own.astype("string").str.casefold().str.split().str.join(" ")
            values.append(np.where(own.isna(), MISSING, pd.factorize(folded)[0]))
            decimals.append(np.full(len(own), np.inf))
        else:
            numbers = own.to_numpy(np.float64, na_value=np.nan)
            values.append(np.where(np.isnan(numbers), MISSING, numbers))
            decimals.append(_decimals(numbers) if column.kind == "number" else np.full(len(own), np.inf))
    return np.column_stack(values), np.column_stack(decimals)


def _decimals(numbers: Matrix) -> Matrix:
    """Below 0: a round number of tens, hundreds or thousands."""
    fewest = np.full(len(numbers), np.inf)
    for count in reversed(range(LEAST_DECIMALS, MOST_DECIMALS + 1)):
        whole = np.abs(np.round(numbers, count) - numbers) <= 1e-12 * np.maximum(1, np.abs(numbers))
        fewest[whole] = count
    return fewest


def _candidates(table: Matrix, decimals: Matrix) -> tuple[int, _Pairs]:
    """How many rows another one equals; each with the next of these, and with its nearest neighbours."""
    exact = pd.util.hash_pandas_object(pd.DataFrame(table), index=False).to_numpy()
    order = np.argsort(exact, kind="stable")
    same = exact[order[1:]] == exact[order[:-1]]
    equal = int((np.r_[same, False] | np.r_[False, same]).sum())
    first, second = order[:-1][same], order[1:][same]
    numeric = np.isfinite(decimals).any(axis=0)
    if numeric.any():
        own = np.unique(exact, return_index=True)[1]  # one of each that are equal: those are paired already
        near = own[_neighbours(table[np.ix_(own, numeric)])]
        first, second = np.r_[first, near[:, 0]], np.r_[second, near[:, 1]]
    return equal, _agreeing(table, decimals, first, second)


def _neighbours(numbers: Matrix) -> Places:
    """Pairs of rows that lie next to each other in the columns with the most values, by their ranks."""
    ranks = pd.DataFrame(numbers).rank().to_numpy() / len(numbers)
    values = np.array([len(np.unique(column)) for column in numbers.T])
    points = ranks[:, np.argsort(-values, kind="stable")[:MOST_DIMENSIONS]]
    points = points + np.random.default_rng(0).uniform(0, APART, points.shape)
    count = min(NEIGHBOURS + 1, len(points))
    near = KDTree(points).query(points, k=count, distance_upper_bound=FARTHEST)[1].reshape(len(points), -1)
    own = np.repeat(np.arange(len(points)), near.shape[1])
    pairs = np.column_stack([own, near.ravel()])
    pairs = np.sort(pairs[(pairs[:, 1] < len(points)) & (pairs[:, 0] != pairs[:, 1])], axis=1)
    return np.unique(pairs, axis=0).astype(np.int64)


def _agreeing(table: Matrix, decimals: Matrix, first: Places, second: Places) -> _Pairs:
    fewest = np.minimum(decimals[first], decimals[second])
    within = np.where(np.isfinite(fewest), 0.5 * 10.0**-fewest, 0.0)
    apart = np.abs(table[first] - table[second])
    agree = (apart <= within * (1 + 1e-9)).all(axis=1)
    coarse = np.where(decimals[first] <= decimals[second], table[first], table[second])
    return _Pairs(first, second, coarse, within * (1 + 1e-9)).only(np.asarray(agree, bool))


def _beyond_chance(table: Matrix, pairs: _Pairs) -> NDArray[np.bool_]:
    """Whether chance makes fewer than BY_CHANCE pairs like each."""
    needed = np.log2(len(table) ** 2 / 2 / BY_CHANCE)
    bits = np.zeros(len(pairs.first))
    for column in range(table.shape[1]):
        ordered = np.sort(table[:, column])
        value, within = pairs.values[:, column], pairs.within[:, column]
        seen = np.searchsorted(ordered, value + within, "right") - np.searchsorted(
            ordered, value - within, "left"
        )
        bits -= np.log2(np.maximum(seen - 1, 1) / len(table))
    beyond = bits > needed
    others = table[:: max(1, len(table) // MOST_ROWS)]
    for place in np.flatnonzero(beyond)[:MOST_JUDGED]:
        beyond[place] = _surprise(others, pairs.values[place], pairs.within[place]) > needed
    return np.asarray(beyond, bool)


def _surprise(table: Matrix, values: Matrix, within: Matrix) -> float:
    """In bits: each column's value, given that of the earlier column that makes it likeliest."""
    same = (np.abs(table - values) <= within).astype(np.float32)
    same = same[~same.all(axis=1)]  # without the rows in question
    together = same.T @ same
    alone = np.diag(together)
    bits = 0.0
    for column in range(len(values)):
        likely = [(alone[column] + 1) / (len(same) + 2)]
        likely += [
            (together[before, column] + 1) / (alone[before] + 2)
            for before in range(column)
            if alone[before] >= LEAST_SEEN
        ]
        bits -= float(np.log2(max(likely)))
    return bits


def _groups(pairs: _Pairs, rows: int) -> tuple[tuple[int, ...], ...]:
    """Rows that are joined by pairs, in the order of their first."""
    of = joined(np.column_stack([pairs.first, pairs.second]).tolist(), np.arange(rows))
    members: dict[int, list[int]] = {}
    for place in np.unique(np.concatenate([pairs.first, pairs.second])).tolist():
        members.setdefault(int(of[place]), []).append(place)
    return tuple(sorted(map(tuple, members.values())))
