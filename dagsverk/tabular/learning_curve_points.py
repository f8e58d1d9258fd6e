"""The points of a table's learning curve: the same tested rows for nested parts of the rows fitted on."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from dagsverk.learning_curve import Floats, fit_curve
from dagsverk.records import remembered
from dagsverk.store import Store
from dagsverk.tabular.config import MODEL_CLASSES, EvaluationConfig, TrainingConfig
from dagsverk.tabular.errors import UntrainableRows
from dagsverk.tabular.evaluation import Partition, in_fixed_order
from dagsverk.tabular.learning_curve import (
    CHAMPION,
    CurvePlan,
    TabularCurve,
    TabularCurveConfig,
    TabularPoint,
)
from dagsverk.tabular.measures import error
from dagsverk.tabular.prediction import load_champion
from dagsverk.tabular.recipes import Recipe, recipe
from dagsverk.tabular.system import System
from dagsverk.tabular.tables import real_rows
from dagsverk.tabular.training import training_key

FORMAT = 1
DEFAULT_CLASS = "xgboost"  # where no model is in use and none was asked for
LEAST_OF_A_CLASS = 2  # rows of an outcome in a part: cross-validation inside it wants as many
REPLICATES = 2000

Integers = npt.NDArray[np.int64]


def plan(store: Store, system: System, config: TabularCurveConfig) -> CurvePlan:
    """What is fitted: the class of the model in use with its parameters, or the class that was asked for."""
    champion = store.champion(system.name) if config.model_class == CHAMPION else None
    if champion is None:
        made = recipe(DEFAULT_CLASS if config.model_class == CHAMPION else config.model_class)
    else:
        made = load_champion(system, store).classifier.recipe
    version = champion.version if champion else None
    name = next(one for one in MODEL_CLASSES if one == made.model_class)
    return CurvePlan(model_class=name, parameters=dict(made.parameters), model_version=version)


class Measured:
    """A curve's rows in their folds, and what is fitted. `rows`: labelled ones, of any origin and order.

    Raises UntrainableRows where they cannot be folded.
    """

    def __init__(
        self, system: System, rows: pd.DataFrame, config: TabularCurveConfig, plan: CurvePlan
    ) -> None:
        self.system, self.config, self.plan = system, config, plan
        self.rows = in_fixed_order(real_rows(rows)).reset_index(drop=True)
        protocol = EvaluationConfig(folds=config.folds, repeats=config.repeats, seed=config.seed)
        try:
            self.folds = Partition(system, self.rows, protocol)
        except ValueError as problem:
            raise UntrainableRows(
                f"{system.name}: no learning curve of {len(self.rows)} rows: {problem}; bring more rows"
            ) from problem
        self._recipe = Recipe(plan.model_class, dict(plan.parameters))

    def path(self, share: float) -> str:
        """The artefact of a point: named by all that it depends on."""
        c = self.config
        key = training_key(self.system, self.rows, TrainingConfig(seed=c.seed))
        content = [FORMAT, key, c.folds, c.repeats, c.seed, self._recipe.to_dict(), share]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        return f"learning_curves/{self.system.name}/{digest}.json"

    def part(self, fold: int, share: float) -> Integers:
        """Positions of a share of the rows that a fold leaves. A smaller share is a part of a larger.

        Rows of one id stay together. Each outcome has about its share of the rows.
        """
        train = self.folds.splits[fold][0]
        if share >= 1:
            return train
        drawn = np.random.default_rng([self.config.seed, fold])
        labels = self.rows[self.system.label.name].iloc[train].astype(str)
        ids = self.rows["row_id"].iloc[train].astype(str) if "row_id" in self.rows else pd.Series(train)
        table = pd.DataFrame({"at": train, "id": ids.to_numpy(), "label": labels.to_numpy()})
        things = table.drop_duplicates("id")[["id", "label"]].reset_index(drop=True)
        things["chance"] = drawn.random(len(things))
        of_class = things.groupby("label")["chance"]
        things["place"] = (of_class.rank(method="first") - 0.5) / of_class.transform("size")
        order = things.sort_values(["place", "chance"])["id"].tolist()
        kept = set(order[: math.ceil(share * len(order))])
        return np.sort(table.loc[table["id"].isin(kept), "at"].to_numpy(dtype=np.int64))

    def point(self, share: float, progress: Callable[[str], None]) -> TabularPoint:
        """Fitted and tested now; a part that cannot be fitted on is a point that says why."""
        started, cells, sizes = time.monotonic(), [], []
        measures = tuple(dict.fromkeys((self.system.measure, "accuracy", "log_loss")))
        total = len(self.folds.splits)
        with ThreadpoolController().limit(limits=1):
            for fold in range(total):
                part = self.part(fold, share)
                if problem := self._unfit(part):
                    return _none(share, len(part), problem)
                try:
                    cells.append(self.folds.metrics(fold, self._recipe, self.config.seed, part))
                except Exception as error:  # noqa: BLE001 - whatever a library makes of few rows
                    reason = f"{self.plan.model_class} cannot be fitted: {error or type(error).__name__}"
                    return _none(share, len(part), reason)
                sizes.append(len(part))
                progress(f"{share:.3g} of the rows: {fold + 1} of {total} fits")
        values: dict[str, tuple[float, ...]] = {
            name: tuple(cell[name] for cell in cells) for name in measures
        }
        if not all(np.isfinite(each).all() for each in map(np.asarray, values.values())):
            return _none(share, float(np.mean(sizes)), "a score is no number")
        seconds = time.monotonic() - started
        return TabularPoint(share=share, rows=float(np.mean(sizes)), values=values, seconds=seconds)

    def _unfit(self, part: Integers) -> str:
        """Why nothing can be fitted on these rows; "" if something can."""
        names = self.rows[self.system.label.name]
        counts = names.iloc[part].value_counts().reindex(names.unique(), fill_value=0)
        few = [f"{name} {count}" for name, count in counts.items() if count < LEAST_OF_A_CLASS]
        return f"{len(part)} rows hold too few of an outcome: {', '.join(few)}" if few else ""

    def kept_point(self, store: Store, share: float, progress: Callable[[str], None]) -> TabularPoint:
        """The point in the store; measured if it is not there."""
        return remembered(store, self.path(share), TabularPoint, lambda: self.point(share, progress))


def _none(share: float, rows: float, reason: str) -> TabularPoint:
    return TabularPoint(share=share, rows=float(rows), values={}, reason=reason)


def conclude(measured: Measured, points: Sequence[TabularPoint], data_commit: int) -> TabularCurve:
    """The curve through the points that there are. Raises UntrainableRows where there are not two."""
    usable, set_aside = _usable(points)
    system, folds = measured.system, measured.folds.config
    if len(usable) < 2:
        reasons = "; ".join(f"{share} of the rows: {why}" for share, why in set_aside.items())
        raise UntrainableRows(
            f"{system.name}: a learning curve wants two points, {len(measured.rows)} rows give "
            f"{len(usable)}: {reasons}; bring more rows, or ask for larger shares"
        )
    cells = np.array([[error(system.measure, v) for v in p.values[system.measure]] for p in usable]).T
    fit = fit_curve(
        [point.share for point in usable],
        [point.rows for point in usable],
        replicates(cells, folds.folds, measured.config.seed),
        errors=cells.mean(axis=0).tolist(),
        runs=[len(cells)] * len(usable),
        size_now=float(len(measured.rows)),
        seed=measured.config.seed,
    )
    return TabularCurve(
        data_commit=data_commit,
        rows=len(measured.rows),
        measure=system.measure,
        model_class=measured.plan.model_class,
        parameters=dict(measured.plan.parameters),
        model_version=measured.plan.model_version,
        folds=folds.folds,
        repeats=folds.repeats,
        fit=fit,
        accuracy={f"{point.share:.4g}": float(np.mean(point.values["accuracy"])) for point in usable},
        set_aside=set_aside,
        seconds=sum(point.seconds for point in points),
        config=measured.config.to_dict(),
    )


def _usable(points: Sequence[TabularPoint]) -> tuple[list[TabularPoint], Mapping[str, str]]:
    """Those with values, by size, one of each; and why the others are none."""
    usable: list[TabularPoint] = []
    set_aside = {}
    for point in sorted(points, key=lambda one: one.share):
        if point.reason:
            set_aside[f"{point.share:.4g}"] = point.reason
        elif usable and usable[-1].rows >= point.rows:
            set_aside[f"{usable[-1].share:.4g}"] = f"{point.share:.4g} are the same {point.rows:.0f} rows"
            usable[-1] = point
        else:
            usable.append(point)
    return usable, set_aside


def replicates(cells: Floats, folds: int, seed: int) -> Floats:
    """The mean errors as they might have come out: Student's t around them, paired over the points.

    Folds share rows fitted on, so that 1 / (folds - 1) is added to 1 / n, as in `scores.mean_interval`.
    Args: cells: shape (fits, points).
    """
    n, points = cells.shape
    covariance = np.atleast_2d(np.cov(cells, rowvar=False)) * (1 / n + 1 / (folds - 1))
    drawn = np.random.default_rng(seed)
    root = np.linalg.cholesky(covariance + 1e-12 * np.eye(points) * max(1e-9, float(np.trace(covariance))))
    heavy = np.sqrt((n - 1) / drawn.chisquare(n - 1, size=(REPLICATES, 1)))
    spread: Floats = drawn.standard_normal((REPLICATES, points)) @ root.T * heavy
    errors: Floats = np.maximum(0.0, cells.mean(axis=0) + spread)
    return errors
