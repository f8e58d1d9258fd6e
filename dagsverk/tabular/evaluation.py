"""How good a recipe is on rows it was not fitted on: repeated stratified cross-validation, with intervals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from dagsverk import threads
from dagsverk.tabular import folding
from dagsverk.tabular.calibration import fit_calibration
from dagsverk.tabular.config import EvaluationConfig
from dagsverk.tabular.expected import Reliability, reliability
from dagsverk.tabular.features import model_inputs
from dagsverk.tabular.folding import Split, Things
from dagsverk.tabular.metrics import (
    Floats,
    Integers,
    class_metrics,
    ece_interval,
    expected_calibration_error,
    fold_metrics,
    log_loss,
)
from dagsverk.tabular.models import class_codes, fit
from dagsverk.tabular.near_equal import twice, twins
from dagsverk.tabular.recipes import Recipe
from dagsverk.tabular.reports import Interval, RowsTwice
from dagsverk.tabular.scores import ClassScores, Difference, Group, Scores, compare, mean_interval
from dagsverk.tabular.system import System
from dagsverk.tabular.tables import HISTORIC
from dagsverk.tabular.tuning import positive_class

__all__ = [
    "Difference",
    "EvaluationConfig",
    "Group",
    "Interval",
    "Partition",
    "Scores",
    "compare",
    "cross_validate",
    "holdout",
    "in_fixed_order",
]

Mask: TypeAlias = NDArray[np.bool_]
Fold: TypeAlias = tuple[Floats, Integers, Floats]
Progress: TypeAlias = Callable[[str], None]  # told, again and again, how far the work is

MIN_GROUP_ROWS = 30
MAX_GROUP_VALUES = 5  # an integer column with more values than this is not a grouping
WEAKEST_GROUPS = 10
MAX_THREADS = 8


def silent(words: str) -> None:
    """A progress that tells nobody."""


@dataclass(frozen=True)
class _Data:
    """Rows with outcomes, in an order that does not depend on how they came."""

    inputs: pd.DataFrame
    labels: NDArray[Any]
    codes: Integers
    scored: Integers  # positions of the real rows
    fit_on: Mask  # rows that fitting may use
    things: Things | None  # of the scored rows: what each is of, where one thing has several; else None
    twice: RowsTwice  # of the scored rows, by their values


@dataclass(frozen=True)
class _Folds:
    """Out-of-fold probabilities, fold by fold: by the model, and by the class shares of its rows."""

    codes: Integers  # of all rows
    tested: list[Integers]
    by_model: tuple[Floats, ...]
    named: tuple[Integers, ...]  # by the model's threshold, if it has one
    by_shares: tuple[Floats, ...]
    positive: int | None  # see `tuning.positive_class`

    @property
    def pooled(self) -> tuple[Floats, Integers, Integers]:
        """Probabilities, class indices and positions of all tested rows, each row once per repeat."""
        tested = np.concatenate(self.tested)
        return np.concatenate(self.by_model), self.codes[tested], tested

    def per_fold(self) -> dict[str, tuple[float, ...]]:
        folds = zip(self.by_model, self.named, self.tested, strict=True)
        return _by_name(
            fold_metrics(fold, self.codes[test], picked, self.positive) for fold, picked, test in folds
        )

    def metrics(self, config: EvaluationConfig) -> dict[str, Interval]:
        means = {
            name: mean_interval(values, config.folds, high=float("inf") if name == "log_loss" else 1.0)
            for name, values in self.per_fold().items()
        }
        return {**means, "ece": ece_interval(*self.pooled, seed=config.seed)}

    def baseline(self) -> dict[str, float]:
        folds = zip(self.by_shares, self.tested, strict=True)
        constant = _by_name(
            fold_metrics(fold, self.codes[test], positive=self.positive) for fold, test in folds
        )
        means = {name: float(np.mean(values)) for name, values in constant.items()}
        return {**means, "ece": expected_calibration_error(np.concatenate(self.by_shares), self.pooled[1])}

    def reliability(self, repeats: int) -> tuple[Reliability, ...]:
        probabilities, codes, _ = self.pooled
        predicted = np.concatenate(self.named)
        return reliability(probabilities[np.arange(len(codes)), predicted], predicted == codes, repeats)

    def per_class(self, system: System, scored: Integers, folds: int) -> tuple[ClassScores, ...]:
        """Of each class that occurs."""
        counts = np.bincount(self.codes[scored], minlength=len(system.classes))
        parts = list(zip(self.by_model, self.named, self.tested, strict=True))

        def of(which: int) -> ClassScores:
            values = _by_name(
                class_metrics(picked, fold[:, which], self.codes[test], which) for fold, picked, test in parts
            )
            spread = {name: mean_interval(each, folds, high=1.0) for name, each in values.items()}
            return ClassScores(system.classes[which], int(counts[which]), **spread)

        return tuple(of(int(which)) for which in np.flatnonzero(counts))

    def predicted(self, system: System) -> dict[str, float]:
        """class -> share of the rows tested that the model names so."""
        counts = np.bincount(np.concatenate(self.named), minlength=len(system.classes))
        return {name: float(share) for name, share in zip(system.classes, counts / counts.sum(), strict=True)}

    def calibration_gain(self) -> float:
        probabilities, codes, _ = self.pooled
        calibrated = fit_calibration(probabilities, codes).apply(probabilities)
        return log_loss(probabilities, codes) - log_loss(calibrated, codes)


def _by_name(folds: Iterable[dict[str, float]]) -> dict[str, tuple[float, ...]]:
    each = list(folds)
    return {name: tuple(fold[name] for fold in each) for name in each[0]}


def cross_validate(
    system: System,
    rows: pd.DataFrame,
    recipe: Recipe,
    config: EvaluationConfig,
    *,
    calibrate: bool = False,
    tune: bool = True,
    fit_on: Mask | None = None,
    progress: Progress = silent,
) -> Scores:
    """Score a recipe by repeated stratified K-fold; everything that is fitted is fitted inside the fold.

    Rows without an outcome are left out. Where rows have an `origin`, only historic ones are scored;
    others are fitted on in every fold. Rows of one `row_id`, at several times, are tested in one fold, and so
    are rows that are one thing by their values (`near_equal`). Folds
    are fewer than asked where an outcome has fewer rows, repeats where there are many rows
    (`EvaluationConfig.repeats_for`).

    Args: rows: layout of the features table (at least the inputs and the label), shape (rows, columns).
        calibrate: calibrate each fold's model inside its training rows.
        tune: choose weights and threshold, if the measure asks for it, inside each fold's training rows.
        fit_on: shape (rows,); fitting may use only these (an older model, on the same folds).
        progress: told of each fold, in the thread of the caller.
    Raises: ValueError: fewer than two classes, or fewer than two rows of one, among the rows scored.
    """
    data = _prepare(system, rows, fit_on)
    splits, config = _splits(system, data, config)
    one = partial(_fold, system, data, recipe, config.seed, calibrate=calibrate, tune=tune)
    positive = positive_class(system, data.codes[data.scored])
    results = _counted(_in_threads(one, splits), len(splits), _name(recipe, calibrate), progress)
    by_model, picked, by_shares = zip(*results, strict=True)
    folds = _Folds(data.codes, [test for _, test in splits], by_model, picked, by_shares, positive)
    return Scores(
        system=system.name,
        model_class=recipe.model_class,
        parameters=dict(recipe.parameters),
        calibrated=calibrate,
        folds=config.folds,
        repeats=config.repeats,
        seed=config.seed,
        rows=len(data.scored),
        rows_known=int(data.fit_on.sum()),
        folds_id=_folds_id(data, splits),
        metrics=folds.metrics(config),
        per_fold=folds.per_fold(),
        baseline=folds.baseline(),
        calibration_gain=folds.calibration_gain(),
        groups=_weakest_groups(system, data, folds),
        reliability=folds.reliability(config.repeats),
        measure=system.measure,
        positive="" if positive is None else system.classes[positive],
        per_class=folds.per_class(system, data.scored, config.folds),
        predicted=folds.predicted(system),
        twice=data.twice,
    )


def holdout(
    system: System, rows: pd.DataFrame, recipe: Recipe, seed: int = 42, *, calibrate: bool = False
) -> dict[str, float]:
    """The one 80/20 split of the original systems, reported beside the cross-validation, never chosen by.

    Seeded and stratified, which theirs was not. One such split of Titanic ranges from 0.74 to 0.90 by luck.
    Empty where there are too few rows of some class to split.
    """
    data = _prepare(system, rows, None)
    codes = data.codes[data.scored]
    split = folding.one_split(system, codes, data.things, seed)
    if split is None:
        return {}
    train, test = (data.scored[part] for part in split)
    probabilities, picked, _ = _fold(system, data, recipe, seed, (train, test), calibrate=calibrate)
    metrics = fold_metrics(probabilities, data.codes[test], picked, positive_class(system, codes))
    return {**metrics, "rows": float(len(train)), "test_rows": float(len(test))}


class Partition:
    """The folds of a protocol on these rows, each scored by itself, with whichever recipe.

    `rows` must all have an outcome and be in fixed order. Raises ValueError like `cross_validate`.
    """

    def __init__(self, system: System, rows: pd.DataFrame, config: EvaluationConfig) -> None:
        self._system, self._data = system, _prepare(system, rows, None)
        self.splits, self.config = _splits(system, self._data, config)

    def metrics(
        self, fold: int, recipe: Recipe, seed: int, fit_on: Integers | None = None
    ) -> dict[str, float]:
        """Of the rows that it tests. Args: fit_on: positions of rows; None: all that the fold leaves."""
        data, (train, test) = self._data, self.splits[fold]
        split = (train if fit_on is None else fit_on, test)
        probabilities, picked, _ = _fold(self._system, data, recipe, seed, split, calibrate=False)
        return fold_metrics(probabilities, data.codes[test], picked, positive_class(self._system, data.codes))


def in_fixed_order(rows: pd.DataFrame) -> pd.DataFrame:
    """By identity, where there is one: then neither folds nor models depend on the order of reading."""
    identity = ["row_id", "event_time"]
    return rows.sort_values(identity, kind="stable") if set(identity) <= set(rows.columns) else rows


def _prepare(system: System, rows: pd.DataFrame, fit_on: Mask | None) -> _Data:
    if fit_on is not None and len(fit_on) != len(rows):
        raise ValueError(f"fit_on marks {len(fit_on)} rows, there are {len(rows)}")
    usable = np.ones(len(rows), dtype=bool) if fit_on is None else np.asarray(fit_on, dtype=bool)
    frame = rows.reset_index(drop=True).assign(_fit_on=usable)
    frame = in_fixed_order(frame[frame[system.label.name].notna()])
    labels = frame[system.label.name].to_numpy(dtype=object)
    real = frame["origin"] == HISTORIC if "origin" in frame else pd.Series(True, index=frame.index)
    ids = frame.loc[real, "row_id"] if "row_id" in frame else pd.Series(dtype=object)
    inputs, codes = model_inputs(system, frame), class_codes(system, labels)
    scored = np.flatnonzero(real.to_numpy()).astype(np.int64)
    doubled = twins(system, inputs.iloc[scored], list(ids))
    return _Data(
        inputs=inputs,
        labels=labels,
        codes=codes,
        scored=scored,
        fit_on=frame["_fit_on"].to_numpy(dtype=bool),
        things=folding.things(ids, doubled, codes[scored]),
        twice=twice(doubled, list(ids), list(labels[scored])),
    )


def _splits(system: System, data: _Data, config: EvaluationConfig) -> tuple[list[Split], EvaluationConfig]:
    codes, labels = data.codes[data.scored], data.labels[data.scored]
    pairs, config = folding.splits(system, codes, labels, data.things, config)
    return [(data.scored[train], data.scored[test]) for train, test in pairs], config


def _fold(
    system: System,
    data: _Data,
    recipe: Recipe,
    seed: int,
    split: Split,
    *,
    calibrate: bool,
    tune: bool = True,
) -> Fold:
    """Of the tested rows: probabilities, the classes named, and the class shares of the rows fitted on."""
    train, test = split
    extra = np.setdiff1d(np.arange(len(data.codes)), data.scored)  # synthetic rows are never tested
    train = np.concatenate([train, extra])
    train = train[data.fit_on[train]]
    inputs = data.inputs.iloc[train]
    classifier = fit(system, recipe, inputs, data.labels[train], seed, calibrate=calibrate, tune=tune)
    probabilities = classifier.predict_proba(data.inputs.iloc[test])
    shares = np.bincount(data.codes[train], minlength=len(system.classes)) / len(train)
    return probabilities, classifier.named(probabilities), np.tile(shares, (len(test), 1))


def _name(recipe: Recipe, calibrate: bool) -> str:
    return f"{recipe.model_class}, calibrated" if calibrate else recipe.model_class


def _counted(results: Iterable[Fold], total: int, name: str, progress: Progress) -> Iterator[Fold]:
    for done, result in enumerate(results, start=1):
        progress(f"{name}: {done} of {total} folds")
        yield result


def _in_threads(one: Callable[[Split], Fold], splits: list[Split]) -> Iterator[Fold]:
    """Folds side by side, each on one core: nested threads would only wait for one another."""
    libraries = ThreadpoolController()
    most = min(threads.allowed(), len(splits), MAX_THREADS)
    limit = partial(libraries.limit, limits=1, user_api="openmp")  # OpenMP's limit is each thread's own
    with libraries.limit(limits=1), ThreadPoolExecutor(most, initializer=limit) as pool:
        yield from pool.map(one, splits)


def _folds_id(data: _Data, splits: list[Split]) -> str:
    digest = hashlib.sha256(pd.util.hash_pandas_object(data.inputs, index=False).to_numpy().tobytes())
    digest.update(data.codes.tobytes())
    for _, test in splits:
        digest.update(test.tobytes() + b"|")
    return digest.hexdigest()[:16]


def _weakest_groups(system: System, data: _Data, folds: _Folds) -> tuple[Group, ...]:
    """Groups by each category or small whole number, and by each two of them, from the weakest on."""
    _, codes, tested = folds.pooled
    right = np.zeros(len(data.codes))
    np.add.at(right, tested, np.concatenate(folds.named) == codes)
    repeats = len(tested) / len(data.scored)
    rows = data.inputs.iloc[data.scored].reset_index(drop=True)
    hits = pd.Series(right[data.scored] / repeats)
    small = [
        column
        for column in system.columns
        if column.kind == "category"
        or (column.kind == "integer" and rows[column.name].nunique() <= MAX_GROUP_VALUES)
    ]
    groups = []
    for columns in [*combinations(small, 1), *combinations(small, 2)]:
        names = [column.name for column in columns]
        for values, group in hits.groupby([rows[name] for name in names], observed=True):
            if len(group) >= MIN_GROUP_ROWS:
                words = {c.name: c.words(value) for c, value in zip(columns, values, strict=True)}
                groups.append(Group(words, len(group), float(group.mean())))
    return tuple(sorted(groups, key=lambda group: group.accuracy)[:WEAKEST_GROUPS])
