"""Six ways to draw new rows that look like the real ones; each is fitted once and draws any number.

`columns` and `shared_uniform` are the ways of the course's and a student's original, kept for comparison;
`cart` is the default. How real each one's rows look is measured by `dagsverk.tabular.quality`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr, ndtri

from dagsverk.tabular.cart import FEW_VALUES, CartSampler, decimals, pools_of, round_to
from dagsverk.tabular.days import check_method, check_shares
from dagsverk.tabular.system import Column, System

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Sampler = Callable[[np.random.Generator, Ints], Floats]  # labels (rows,) -> values (rows, columns)
Draw = Callable[[np.random.Generator, int], Floats]  # n -> values (n, columns) or (n,)


@dataclass(frozen=True)
class Codes:
    """Rows as numbers: what samplers are fitted on."""

    values: Floats  # (rows, columns): numbers as they are, categories as codes, NaN for missing
    labels: Ints  # (rows,): codes of the classes
    columns: tuple[Column, ...]
    classes: int


@dataclass(frozen=True)
class Generator:
    """A fitted generator: draws rows of one system."""

    system: System
    method: str
    shares: Floats  # (classes,), of the labels when none are requested
    learned: NDArray[np.bool_]  # (classes,), which had real rows to learn from
    sampler: Sampler

    def draw(
        self, rng: np.random.Generator, n: int, label_shares: Mapping[str, float] | None = None
    ) -> pd.DataFrame:
        """New rows: inputs and label as in the features table, shape (n, inputs + 1), index 0 to n - 1.

        Args:
            rng: its state is the only source of chance: equal states give equal rows.
            label_shares: class -> share, sum 1; None: the method's own.
        Raises: ValueError for shares that are no distribution, or of a class without a real row.
        """
        shares = self.check(label_shares)
        labels = rng.choice(len(shares), size=n, p=shares)
        return _decode(self.system, self.sampler(rng, labels), labels)

    def check(self, label_shares: Mapping[str, float] | None) -> Floats:
        """The share of each class in order, shape (classes,). Raises ValueError as `draw`."""
        if label_shares is None:
            return self.shares
        classes = self.system.classes
        check_shares(label_shares, classes)
        shares = np.array([label_shares.get(name, 0.0) for name in classes])
        if absent := [
            name
            for name, share, learned in zip(classes, shares, self.learned, strict=True)
            if share and not learned
        ]:
            raise ValueError(
                f"no real {self.system.name} row is {' or '.join(absent)}: ask for other classes only"
            )
        requested: Floats = shares / shares.sum()
        return requested


def fit(system: System, rows: pd.DataFrame, method: str, seed: int = 42) -> Generator:
    """Learn from real rows how to draw new ones.

    Args:
        rows: columns of inputs and label, others are ignored; rows without a label are left out.
            Their order does not matter.
        method: one of `days.METHODS`.
        seed: breaks ties between equally good splits of a tree.
    Raises: ValueError for an unknown method, no row with a label, an unknown category or class,
        an empty cell in a required column, an infinite number.
    """
    check_method(method)
    codes = encode(system, rows)
    counts = np.bincount(codes.labels, minlength=codes.classes)
    learned = counts > 0
    shares = learned / learned.sum() if method == "columns" else counts / counts.sum()
    return Generator(system, method, shares, learned, _sampler(codes, method, seed))


def _sampler(codes: Codes, method: str, seed: int) -> Sampler:
    if method == "cart":
        return CartSampler(codes.values, codes.labels, [c.kind == "number" for c in codes.columns], seed)
    if method == "columns":
        return _independent(codes)
    learn = {
        "class_conditional": _class_conditional,
        "shared_uniform": _shared_uniform,
        "fitted": _fitted,
        "copula": _copula,
    }
    return _by_class(learn[method], codes)


def encode(system: System, rows: pd.DataFrame) -> Codes:
    """Rows with a label as numbers, in an order of their own (by value). Raises ValueError as `fit`."""
    labelled = rows[rows[system.label.name].notna()]
    if labelled.empty:
        raise ValueError(
            f"no {system.name} row has a {system.label.name}: a generator needs real rows with one"
        )
    values = np.column_stack([_codes_of(system, column, labelled[column.name]) for column in system.columns])
    labels = _codes_of(system, system.label, labelled[system.label.name]).astype(np.int64)
    order = np.lexsort((*values.T, labels))  # equal rows in another order must give equal draws
    return Codes(values[order], labels[order], system.columns, len(system.classes))


def _codes_of(system: System, column: Column, cells: pd.Series[Any]) -> Floats:
    if column.kind == "category":
        codes: Floats = pd.Categorical(cells, categories=list(column.categories)).codes.astype(np.float64)
        codes[codes < 0] = np.nan
        if (unknown := cells[np.isnan(codes) & cells.notna().to_numpy()]).size:
            raise ValueError(
                f"{system.name}, {column.name}: want one of {column.categories}, got {unknown.iloc[0]!r}"
            )
    else:
        codes = pd.to_numeric(cells).to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isinf(codes).any():
            raise ValueError(f"{system.name}, column {column.name}: want finite numbers, got an infinite one")
    if column.required and np.isnan(codes).any():
        raise ValueError(
            f"{system.name}, column {column.name} is required, and empty in {int(np.isnan(codes).sum())} rows"
        )
    return codes


def _decode(system: System, values: Floats, labels: Ints) -> pd.DataFrame:
    frame = {column.name: _cells(column, values[:, i]) for i, column in enumerate(system.columns)}
    return pd.DataFrame({**frame, system.label.name: _words(system.label, labels.astype(np.float64))})


def _cells(column: Column, values: Floats) -> Any:
    if column.kind == "category":
        return _words(column, values)
    # min and max of None leave the values alone
    limited = (
        values
        if column.minimum is column.maximum is None
        else np.clip(values, column.minimum, column.maximum)
    )
    if column.kind == "number":
        return limited
    whole = np.round(limited)
    if not np.isnan(whole).any():
        return whole.astype(np.int64)
    return pd.array(whole, dtype="Float64").astype("Int64")


def _words(column: Column, codes: Floats) -> NDArray[np.object_]:
    words = np.array([*column.categories, None], dtype=object)
    return words[np.where(np.isnan(codes), len(column.categories), codes).astype(np.int64)]


def _independent(codes: Codes) -> Sampler:
    """Every column from all rows, by itself: no column knows another, nor the label."""
    return lambda rng, labels: _bootstrap(rng, codes.values, len(labels))


def _by_class(learn: Callable[[Codes, Floats], Draw], codes: Codes) -> Sampler:
    """Learn and draw each class by itself."""
    draws = {
        int(label): learn(codes, codes.values[codes.labels == label]) for label in np.unique(codes.labels)
    }

    def sample(rng: np.random.Generator, labels: Ints) -> Floats:
        drawn = np.empty((len(labels), len(codes.columns)))
        for label, draw in draws.items():
            of_class = labels == label
            drawn[of_class] = draw(rng, int(of_class.sum()))
        return drawn

    return sample


def _bootstrap(rng: np.random.Generator, values: Floats, n: int) -> Floats:
    """Each column drawn by itself from a table, shape (n, columns)."""
    columns = values.shape[1]
    return values[rng.integers(len(values), size=(n, columns)), np.arange(columns)]


def _class_conditional(_: Codes, values: Floats) -> Draw:
    """Every column from the rows of its class, by itself."""
    return lambda rng, n: _bootstrap(rng, values, n)


def _shared_uniform(_: Codes, values: Floats) -> Draw:
    """One uniform roll a row picks the same quantile of every column of its class: columns move together."""
    ordered = np.sort(values, axis=0)  # missing cells last
    return lambda rng, n: ordered[(rng.random(n) * len(ordered)).astype(np.int64)]


def _fitted(codes: Codes, values: Floats) -> Draw:
    """Every column from a distribution fitted to the rows of its class, by itself; gaps keep their share."""
    draws = [_fitted_column(column, values[:, i]) for i, column in enumerate(codes.columns)]
    return lambda rng, n: np.column_stack([draw(rng, n) for draw in draws])


def _fitted_column(column: Column, cells: Floats) -> Draw:
    present = np.sort(cells[~np.isnan(cells)])
    if column.kind == "category" or len(np.unique(present)) <= FEW_VALUES:
        return lambda rng, n: cells[rng.integers(len(cells), size=n)]  # shares, the missing one's among them
    family = _best_family(present)
    inside = family.cdf(present[[0, -1]])  # cut off where the real values end
    places = decimals(present)

    def draw(rng: np.random.Generator, n: int) -> Floats:
        drawn = family.ppf(inside[0] + rng.random(n) * (inside[1] - inside[0]))
        drawn = round_to(np.clip(drawn, present[0], present[-1]), places[rng.integers(len(places), size=n)])
        drawn[rng.random(n) >= len(present) / len(cells)] = np.nan
        return np.clip(drawn, present[0], present[-1])

    return draw


def _best_family(present: Floats) -> Any:
    """The fitted scipy distribution nearest to the values by the Kolmogorov-Smirnov statistic."""
    floor = present[0] - 0.01 * (present[-1] - present[0])  # families on (0, inf) refuse their own edge
    fits = [stats.norm(*stats.norm.fit(present))]
    fits += [family(*family.fit(present, floc=floor)) for family in (stats.lognorm, stats.gamma, stats.expon)]
    return min(fits, key=lambda fitted: stats.kstest(present, fitted.cdf).statistic)


def _copula(_: Codes, values: Floats) -> Draw:
    """Gaussian copula: the columns' own distributions, tied by the correlations of their normal scores.

    Whether a cell is missing is a column of its own. Source: Nelsen 2006, "An Introduction to Copulas".
    """
    missing = np.isnan(values)
    gaps = [i for i in range(values.shape[1]) if missing[:, i].any() and not missing[:, i].all()]
    table = np.column_stack([values, missing[:, gaps].astype(np.float64)])
    root = _root(_score_correlations(table))
    margins = [_margin(table[:, i]) for i in range(table.shape[1])]

    def draw(rng: np.random.Generator, n: int) -> Floats:
        uniform = ndtr(rng.standard_normal((n, table.shape[1])) @ root.T)
        drawn = np.column_stack([margin(uniform[:, i]) for i, margin in enumerate(margins)])
        width = values.shape[1]
        for place, column in enumerate(gaps):
            drawn[drawn[:, width + place] == 1, column] = np.nan
        return drawn[:, :width]

    return draw


def _score_correlations(table: Floats) -> Floats:
    """Pairwise correlations of normal scores, over the rows where both are present; 0 where unknown."""
    scores = np.full(table.shape, np.nan)
    for i in range(table.shape[1]):
        present = ~np.isnan(table[:, i])
        scores[present, i] = ndtri((stats.rankdata(table[present, i]) - 0.5) / max(present.sum(), 1))
    correlations = pd.DataFrame(scores).corr(min_periods=3).to_numpy(dtype=np.float64, copy=True)
    correlations[np.isnan(correlations)] = 0.0
    np.fill_diagonal(correlations, 1.0)
    return correlations


def _root(correlations: Floats) -> Floats:
    """A matrix whose product with its transpose is a proper correlation matrix near to the given one."""
    values, vectors = np.linalg.eigh(correlations)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    scaled: Floats = root / np.linalg.norm(root, axis=1, keepdims=True)
    return scaled


def _margin(cells: Floats) -> Callable[[Floats], Floats]:
    """Quantile function of a column's present values: steps where they are few, else in between."""
    present = cells[~np.isnan(cells)]
    if not len(present):
        return lambda uniform: np.full(len(uniform), np.nan)
    pool = pools_of(present, np.zeros(len(present), dtype=np.int64), 1)
    steps = len(np.unique(present)) <= FEW_VALUES
    return lambda uniform: pool.quantile(uniform, np.zeros(len(uniform), dtype=np.int64), between=not steps)
