"""How real a generator's rows are, in numbers.

Every number is about real rows that the generator has not seen: in each fold it is fitted on the
other folds. Measured against the rows it was fitted on, a generator that copies looks perfect, or better:
the area of the real-or-synthetic classifier then falls under 0.5.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import xgboost
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold, StratifiedKFold

from dagsverk import threads
from dagsverk.tabular import generators
from dagsverk.tabular.cart import sample
from dagsverk.tabular.days import check_method
from dagsverk.tabular.evaluation import Progress, in_fixed_order, silent
from dagsverk.tabular.generators import Codes
from dagsverk.tabular.reports import Quality
from dagsverk.tabular.system import System

Floats = NDArray[np.float64]

# A yardstick must not change with the models in use, so it has its own, fixed booster.
YARDSTICK = {
    "n_estimators": 150,
    "max_depth": 4,
    "learning_rate": 0.05,
    "min_child_weight": 3,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
    "reg_lambda": 2,
    "n_jobs": 1,
}
C2ST_FOLDS = 5
REPEATS = 2  # one partition of 891 rows moves the mean area by 0.016 (standard deviation)
ENOUGH_ROWS = 2000  # from here on once is enough ...
MAX_ROWS = 4000  # ... and so many are: of more, so many are drawn
MAX_THREADS = 8


class Drawing(Protocol):
    """What is measured: `generators.Generator`, or another package's behind the same call."""

    def draw(self, rng: np.random.Generator, n: int) -> pd.DataFrame:
        """n rows of inputs and label."""


def measure(
    system: System,
    rows: pd.DataFrame,
    method: str,
    *,
    n: int = 2000,
    seed: int = 42,
    progress: Progress = silent,
) -> Quality:
    """Cross-validated quality of a method; a few seconds.

    Twice five folds of the real rows, three folds when they are fewer than 500: with few unseen rows
    nothing can be told apart. Above 2,000 rows once is enough; of more than 4,000 so many are drawn.
    In each fold n rows are drawn; the unseen real ones and as many of these are what the classifier of
    C2ST (Lopez-Paz & Oquab 2017) is cross-validated on. TSTR: Esteban et al. 2017.
    What to compare with: real rows drawn again with replacement (a bootstrap of the seen ones) reach a
    C2ST of 0.54 for Titanic, by their repetitions.

    Args: rows: real rows with label, as for `generators.fit`.
    Raises: ValueError as `generators.fit`; for n under 100; for a class with fewer rows than folds.
    """
    check_method(method)
    return measure_with(
        system,
        rows,
        lambda seen: generators.fit(system, seen, method, seed),
        name=method,
        n=n,
        seed=seed,
        progress=progress,
    )


def measure_with(
    system: System,
    rows: pd.DataFrame,
    fit: Callable[[pd.DataFrame], Drawing],
    *,
    name: str,
    n: int,
    seed: int,
    progress: Progress = silent,
) -> Quality:
    """As `measure`, for anything that is fitted to real rows and draws frames of inputs and label."""
    if n < 100:
        raise ValueError(f"n must be 100 synthetic rows or more to measure anything, got {n}")
    labelled = _drawn(system, rows[rows[system.label.name].notna()], seed).reset_index(drop=True)
    folds, repeats = _folds(system, labelled), REPEATS if len(labelled) <= ENOUGH_ROWS else 1
    splits = RepeatedStratifiedKFold(n_splits=folds, n_repeats=repeats, random_state=seed)

    def one(fold: int, seen: NDArray[np.int64], unseen: NDArray[np.int64]) -> _Fold:
        drawn = fit(labelled.iloc[seen]).draw(np.random.default_rng([seed, fold]), n)
        parts = (drawn, labelled.iloc[seen], labelled.iloc[unseen])
        return _measure_fold(*(generators.encode(system, part) for part in parts), seed=seed)

    results = []
    with ThreadPoolExecutor(min(threads.allowed(), MAX_THREADS)) as pool:
        parts = zip(*splits.split(labelled, labelled[system.label.name]), strict=True)
        for result in pool.map(one, range(folds * repeats), *parts):
            results.append(result)
            progress(f"quality of {name}: {len(results)} of {folds * repeats} folds")
    return _summary(system, name, len(labelled), n, results)


def _folds(system: System, rows: pd.DataFrame) -> int:
    folds = 5 if len(rows) >= 500 else 3
    counts = rows[system.label.name].value_counts()
    if len(counts) < 2 or counts.min() < folds:
        raise ValueError(
            f"{system.name}: quality needs {folds} real rows or more of each of two classes or more, "
            f"found {counts.to_dict()}; add real rows, or leave the small class out"
        )
    return folds


def _drawn(system: System, rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """All rows, or enough of them, whatever their order; no class loses its last 200."""
    if len(rows) <= MAX_ROWS:
        return rows
    ordered = in_fixed_order(rows)
    codes = pd.Categorical(ordered[system.label.name], categories=list(system.classes)).codes
    return ordered.iloc[sample(np.asarray(codes, dtype=np.int64), seed, MAX_ROWS)]


@dataclass(frozen=True)
class _Fold:
    c2st_auc: float
    tstr_accuracy: float
    trtr_accuracy: float
    live_accuracy: float
    copies_share: float
    real_copies_share: float
    label_shares: Floats


def _measure_fold(drawn: Codes, seen: Codes, unseen: Codes, *, seed: int) -> _Fold:
    from_real = _classifier(seen, seed)
    return _Fold(
        c2st_auc=_c2st(unseen, drawn, seed),
        tstr_accuracy=_accuracy(_classifier(drawn, seed), unseen),
        trtr_accuracy=_accuracy(from_real, unseen),
        live_accuracy=_accuracy(from_real, drawn),
        copies_share=_share_in(drawn, seen),
        real_copies_share=_share_in(unseen, seen),
        label_shares=np.bincount(drawn.labels, minlength=drawn.classes) / len(drawn.labels),
    )


def _summary(system: System, method: str, rows: int, n: int, results: list[_Fold]) -> Quality:
    def mean(name: str) -> float:
        return float(np.mean([getattr(result, name) for result in results]))

    areas = [result.c2st_auc for result in results]
    shares = np.mean([result.label_shares for result in results], axis=0)
    return Quality(
        system=system.name,
        method=method,
        rows=rows,
        synthetic_rows=n,
        c2st_auc_se=float(np.std(areas, ddof=1) / np.sqrt(len(areas))),
        label_shares={name: float(share) for name, share in zip(system.classes, shares, strict=True)},
        **{name: mean(name) for name in _Fold.__dataclass_fields__ if name != "label_shares"},
    )


def _table(codes: Codes) -> Floats:
    """Columns and label side by side, shape (rows, columns + 1)."""
    return np.column_stack([codes.values, codes.labels.astype(np.float64)])


def _c2st(real: Codes, synthetic: Codes, seed: int) -> float:
    """Cross-validated area of a classifier that is to tell the real rows from as many synthetic ones."""
    chosen = np.random.default_rng(seed).permutation(len(synthetic.labels))[: len(real.labels)]
    table = np.vstack([_table(real), _table(synthetic)[chosen]])
    is_synthetic = np.arange(len(table)) >= len(real.labels)
    folds = StratifiedKFold(C2ST_FOLDS, shuffle=True, random_state=seed)
    scores = np.empty(len(table))
    for train, test in folds.split(table, is_synthetic):
        booster = xgboost.XGBClassifier(**YARDSTICK, random_state=seed)
        booster.fit(table[train], is_synthetic[train].astype(int))
        scores[test] = booster.predict_proba(table[test])[:, 1]
    return float(roc_auc_score(is_synthetic, scores))


def _classifier(codes: Codes, seed: int) -> tuple[Any, NDArray[np.int64]]:
    """A booster for the label, and the classes that it knows (a booster wants them without gaps)."""
    present, labels = np.unique(codes.labels, return_inverse=True)
    return xgboost.XGBClassifier(**YARDSTICK, random_state=seed).fit(codes.values, labels), present


def _accuracy(classifier: tuple[Any, NDArray[np.int64]], codes: Codes) -> float:
    booster, present = classifier
    return float(np.mean(present[booster.predict(codes.values)] == codes.labels))


def _share_in(rows: Codes, others: Codes) -> float:
    """The share of rows that equal one of the others in every column and the label; gaps are equal."""
    patterns = {row.tobytes() for row in _comparable(others)}
    return float(np.mean([row.tobytes() in patterns for row in _comparable(rows)]))


def _comparable(codes: Codes) -> Floats:
    # one bit pattern for each value: no -0.0, no rounding residue, no NaN
    table: Floats = np.nan_to_num(_table(codes).round(9), nan=-1e300) + 0.0
    return table
