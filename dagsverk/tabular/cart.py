"""Sequential CART: each column is drawn in the leaf of a tree grown on the columns before it.

Source: Reiter 2005, "Using CART to generate partially synthetic public use microdata"; the numbers
are drawn between a leaf's values instead of copied from them (compare `smoothing` of synthpop,
Nowok, Raab & Dibben 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from dagsverk import threads

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAF_ROWS = 20  # smaller leaves copy real rows
LEAVES = 20  # as many a small table shall still have, down to ...
MIN_LEAF_ROWS = 5
FEW_VALUES = 20  # up to here the values of an integer are classes of a tree; beyond, a quantity
GAPPY = 0.05  # columns with a greater missing share come last among their like
MAX_DECIMALS = 6
MAX_ROWS = (
    8192  # that trees are grown on; of more, so many are drawn, or a day would be spent on growing them
)
MIN_CLASS_ROWS = 200  # of those, of a class that has so many
MAX_THREADS = 8


def decimals(values: Floats) -> Ints:
    """How many decimals each value is written with, 0 to 6, same shape."""
    needed = np.full(values.shape, MAX_DECIMALS, dtype=np.int64)
    for places in reversed(range(MAX_DECIMALS)):
        needed[np.abs(np.round(values, places) - values) < 1e-9] = places
    return needed


def round_to(values: Floats, places: Ints) -> Floats:
    """Each value at its own number of decimals, same shape."""
    scale = np.power(10.0, places)
    rounded: Floats = np.round(values * scale) / scale
    return rounded


@dataclass(frozen=True)
class Pools:
    """Sorted real values, pool after pool: what a leaf, or a class, can give."""

    values: Floats  # (all values,), ascending within a pool
    places: Ints  # their decimals
    start: Ints  # (pools,)
    size: Ints  # (pools,), 1 or more where a pool is drawn from

    def pick(self, rng: np.random.Generator, pools: Ints) -> Floats:
        """One of the values of each row's pool, shape (rows,)."""
        picked: Floats = self.values[self.start[pools] + rng.integers(self.size[pools])]
        return picked

    def quantile(self, uniform: Floats, pools: Ints, *, between: bool) -> Floats:
        """Quantiles of each row's pool, shape (rows,): one of its values or, with `between`, a value
        between two neighbours, with the decimals of the lower one."""
        position = np.clip(uniform * self.size[pools] - 0.5, 0, self.size[pools] - 1)
        last = self.start[pools] + self.size[pools] - 1
        if not between:
            step: Floats = self.values[self.start[pools] + np.round(position).astype(np.int64)]
            return step
        low = self.start[pools] + position.astype(np.int64)
        below, above = self.values[low], self.values[np.minimum(low + 1, last)]
        mixed = below + (position - np.floor(position)) * (above - below)
        kept: Floats = np.clip(round_to(mixed, self.places[low]), below, above)
        return kept


def pools_of(values: Floats, pools: Ints, count: int) -> Pools:
    """Group values, shape (rows,), by pool number, shape (rows,), below `count`."""
    order = np.lexsort((values, pools))
    size = np.bincount(pools, minlength=count)
    ordered = values[order]
    return Pools(ordered, decimals(ordered), np.cumsum(size) - size, size)


def drawing_order(values: Floats, numeric: Sequence[bool]) -> list[int]:
    """Columns in the order in which they are drawn: discrete before numbers, nearly complete before
    gappy, few different values before many. For Titanic: sex, class, port, siblings, parents, fare, age."""

    def rank(column: int) -> tuple[bool, bool, int, int]:
        cells = values[:, column]
        present = cells[~np.isnan(cells)]
        gappy = len(present) < (1 - GAPPY) * len(cells)
        return numeric[column], gappy, len(np.unique(present)), column

    return sorted(range(values.shape[1]), key=rank)


def sample(labels: Ints, seed: int, most: int = MAX_ROWS) -> Ints:
    """Places of about `most` rows, ascending: of each class its share, but 200 if it has so many; or all."""
    if len(labels) <= most:
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    parts = []
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        wanted = min(count, max(round(count * most / len(labels)), MIN_CLASS_ROWS))
        parts.append(rng.choice(np.flatnonzero(labels == label), wanted, replace=False))
    return np.sort(np.concatenate(parts))


class _Step:
    """One column given the columns before it."""

    def __init__(self, given: Floats, target: Floats, *, discrete: bool, seed: int, leaf_rows: int) -> None:
        self.present: _Step | None = None  # draws whether there is a value at all
        self.tree: Any = None
        missing = np.isnan(target)
        if missing.all():
            return
        if not discrete and missing.any():
            flags = (~missing).astype(np.float64)
            self.present = _Step(given, flags, discrete=True, seed=seed, leaf_rows=leaf_rows)
            given, target = given[~missing], target[~missing]
        self.discrete = discrete
        self.tree = (DecisionTreeClassifier if discrete else DecisionTreeRegressor)(
            min_samples_leaf=leaf_rows, random_state=seed
        )
        # A missing category is a category of its own; -1 is the code of none.
        self.tree.fit(given, np.where(np.isnan(target), -1.0, target))
        self.pools = pools_of(target, self.tree.apply(given), self.tree.tree_.node_count)

    def draw(self, rng: np.random.Generator, given: Floats) -> Floats:
        """Values, shape (rows,), for the rows' earlier columns, shape (rows, earlier)."""
        if self.tree is None:
            return np.full(len(given), np.nan)
        leaves = self.tree.apply(given)
        if self.discrete:
            return self.pools.pick(rng, leaves)
        drawn = self.pools.quantile(rng.random(len(given)), leaves, between=True)
        if self.present is not None:
            drawn[self.present.draw(rng, given) == 0] = np.nan
        return drawn


class CartSampler:
    """Draws whole rows, column by column, the label first."""

    def __init__(
        self, values: Floats, labels: Ints, numeric: Sequence[bool], seed: int, leaf_rows: int | None = None
    ) -> None:
        """Grow a tree per column.

        Args:
            values: shape (rows, columns), categories as codes, NaN for missing.
            labels: shape (rows,), codes of the classes.
            numeric: per column, whether it is a number (not a category or an integer).
            seed: breaks ties between equally good splits.
            leaf_rows: fewest real rows in a leaf; None: 20, less for tables under 400 rows, 5 at least.
        """
        if leaf_rows is None:
            leaf_rows = min(LEAF_ROWS, max(MIN_LEAF_ROWS, len(labels) // LEAVES))
        places = sample(labels, seed)
        values, labels = values[places], labels[places]
        self.order = drawing_order(values, numeric)
        # Column by column, so that the columns before one lie side by side without being copied.
        table = np.asfortranarray(np.column_stack([labels.astype(np.float64), values[:, self.order]]))

        def grow(place: int) -> _Step:
            target = table[:, place]
            discrete = not numeric[self.order[place - 1]] and len(np.unique(target)) <= FEW_VALUES
            return _Step(table[:, :place], target, discrete=discrete, seed=seed, leaf_rows=leaf_rows)

        # A tree knows the real columns before it, never the drawn ones, so that all grow at once.
        with ThreadPoolExecutor(min(threads.allowed(), MAX_THREADS)) as pool:
            self.steps = list(pool.map(grow, range(1, table.shape[1])))

    def __call__(self, rng: np.random.Generator, labels: Ints) -> Floats:
        """Rows for these labels, shape (rows, columns)."""
        given = np.empty((len(labels), len(self.order) + 1))
        given[:, 0] = labels
        for place, step in enumerate(self.steps, start=1):
            given[:, place] = step.draw(rng, given[:, :place])
        drawn = np.empty((len(labels), len(self.order)))
        drawn[:, self.order] = given[:, 1:]
        return drawn
