"""How often a learning curve's interval holds what more data then brought.

    python -m benchmarks.bench_learning_curve halves --out halves.json
    python -m benchmarks.bench_learning_curve drawn --out drawn.json
    python -m benchmarks.bench_learning_curve table halves.json drawn.json

`halves`, of the systems here and of `table_systems`: the law through 1/16 to 1/2 of the rows foretells
all. `drawn`, of tables from a law that is known: twice and four times the rows can be had, and tested on rows
enough to be the truth.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dagsverk.learning_curve import fit_curve
from dagsverk.tabular.errors import UntrainableRows
from dagsverk.tabular.evaluation import in_fixed_order
from dagsverk.tabular.features import model_inputs, validate
from dagsverk.tabular.learning_curve import CurvePlan, TabularCurveConfig
from dagsverk.tabular.learning_curve_points import Measured, conclude, replicates
from dagsverk.tabular.measures import error
from dagsverk.tabular.metrics import fold_metrics
from dagsverk.tabular.models import class_codes, fit
from dagsverk.tabular.recipes import recipe
from dagsverk.tabular.sources import read_source
from dagsverk.tabular.system import Column, System, load_system
from dagsverk.tabular.tables import HISTORIC
from dagsverk.tabular.tuning import positive_class

OWN = ("titanic", "iris")
OTHERS = ("breast_cancer", "digits", "penguins", "rare", "wide", "wine")
CLASSES = ("knn", "logistic", "xgboost", "lda")
SIXTEENTHS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
MOST_ROWS = 2000
TRUTHS, TRUE_ROWS = 8, 3000
AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def system_of(name: str) -> System:
    """A system of the product, or of the benchmarks."""
    if name in OWN:
        return load_system(name)
    made: System = importlib.import_module(f"benchmarks.table_systems.{name}").SYSTEM
    return made


def rows_of(system: System) -> pd.DataFrame:
    """Its checked rows; of many, a draw."""
    rows = validate(system, read_source(system), pd.Timestamp.now("UTC")).rows.assign(origin=HISTORIC)
    return rows if len(rows) <= MOST_ROWS else rows.sample(MOST_ROWS, random_state=0)


def _plan(model_class: Any) -> CurvePlan:
    parameters = recipe(model_class).parameters
    return CurvePlan(model_class=model_class, parameters=parameters, model_version=None)


def halves(seeds: int) -> Iterator[dict[str, Any]]:
    """Each system with each class: the law through 1/16 to 1/2 of the rows, and what all then came to."""
    for name, model_class in itertools.product((*OWN, *OTHERS), CLASSES):
        system = system_of(name)
        rows = rows_of(system)
        plan = CurvePlan(
            model_class=model_class, parameters=recipe(model_class).parameters, model_version=None
        )
        for seed in range(seeds):
            config = TabularCurveConfig(shares=SIXTEENTHS, folds=5, repeats=2, seed=seed)
            measured = Measured(system, rows, config, plan)
            points = [measured.point(share, lambda _: None) for share in SIXTEENTHS]
            usable = [point for point in points if not point.reason]
            if len(usable) < 5:
                yield {"of": name, "class": model_class, "seed": seed, "verdict": "too few points"}
                continue
            yield {"of": name, "class": model_class, "seed": seed, **_half(system, measured, usable)}


def _half(system: System, measured: Measured, points: list[Any]) -> dict[str, Any]:
    cells = np.array([[error(system.measure, v) for v in p.values[system.measure]] for p in points]).T
    drawn = replicates(cells, measured.folds.config.folds, 0)
    law = fit_curve(
        SIXTEENTHS[:4],
        [p.rows for p in points[:4]],
        drawn[:, :4],
        errors=cells.mean(axis=0)[:4].tolist(),
        runs=[len(cells)] * 4,
        size_now=points[3].rows,
    )
    twice = law.forecasts[0]
    gains = drawn[:, 3] - drawn[:, 4]
    return {
        "verdict": "trusted" if law.trusted else "flat" if law.flat and len(law.doubts) == 1 else "doubted",
        "now": float(cells.mean(axis=0)[3]),
        "gain": twice.gain,
        "low": twice.gain_low,
        "high": twice.gain_high,
        "true": float(cells.mean(axis=0)[3] - cells.mean(axis=0)[4]),
        "true_noise": float(gains.std()),
        "times": 2,
    }


def drawn(count: int, size: int) -> Iterator[dict[str, Any]]:
    """Tables from known laws: the curve of one draw, against fits on draws twice and four times as large."""
    for shape, model_class in itertools.product(range(4), ("logistic", "knn", "lda")):
        system, make = _law(shape)
        tested = make(TRUE_ROWS, 10**6)
        true = {
            times: float(
                np.mean(
                    [
                        _error(system, model_class, make(size * times, 10**5 + i), tested)
                        for i in range(TRUTHS)
                    ]
                )
            )
            for times in (1, 2, 4)
        }
        plan = CurvePlan(
            model_class=model_class, parameters=recipe(model_class).parameters, model_version=None
        )
        for seed in range(count):
            measured = Measured(system, make(size, seed), TabularCurveConfig(repeats=2, seed=seed), plan)
            points = [measured.point(share, lambda _: None) for share in measured.config.shares]
            about = {"of": f"law {shape}", "class": model_class, "seed": seed}
            try:
                report = conclude(measured, points, 0)
            except UntrainableRows:
                yield {**about, "verdict": "too few points"}
                continue
            law = report.fit
            verdict = "trusted" if law.trusted else "flat" if law.flat and len(law.doubts) == 1 else "doubted"
            for forecast in law.forecasts:
                yield {
                    **about,
                    "verdict": verdict,
                    "now": true[1],
                    "gain": forecast.gain,
                    "low": forecast.gain_low,
                    "high": forecast.gain_high,
                    "true": true[1] - true[int(forecast.times)],
                    "true_noise": 0.0,
                    "times": int(forecast.times),
                }


def _law(shape: int) -> tuple[System, Any]:
    """Ten numbers and two outcomes: a plane, one in noise, a curved border, three of ten count."""
    columns = tuple(
        Column(name=f"x{i}", description=f"number {i}", kind="number", example=0.0) for i in range(10)
    )
    label = Column(name="outcome", description="outcome", kind="category", categories=("no", "yes"))
    system = System(
        name=f"law_{shape}",
        title="A law",
        description="Drawn.",
        row_name="row",
        id_column="id",
        columns=columns,
        label=label,
        read=pd.DataFrame,
        event_time=AT,
    )
    weights = np.random.default_rng(shape).normal(size=10)

    def make(rows: int, seed: int) -> pd.DataFrame:
        chance = np.random.default_rng([shape, seed])
        x = chance.normal(size=(rows, 10))
        score = (
            x @ weights,
            0.4 * (x @ weights),
            2 * (x[:, 0] * x[:, 1] + x[:, 2] ** 2 - 1),
            2 * np.sin(2 * x[:, 0]) + x[:, 1] - x[:, 2],
        )[shape]
        yes = chance.random(rows) < 1 / (1 + np.exp(-score))
        table = pd.DataFrame(x, columns=[column.name for column in columns])
        ids = [f"{seed}-{i:06d}" for i in range(rows)]
        return table.assign(outcome=np.where(yes, "yes", "no"), row_id=ids, event_time=pd.Timestamp(AT))

    return system, make


def _error(system: System, model_class: str, rows: pd.DataFrame, tested: pd.DataFrame) -> float:
    rows = in_fixed_order(rows)
    names = rows[system.label.name].to_numpy(dtype=object)
    model = fit(system, recipe(model_class), model_inputs(system, rows), names, 0)
    codes = class_codes(system, tested[system.label.name].to_numpy(dtype=object))
    probabilities = model.predict_proba(model_inputs(system, tested))
    metrics = fold_metrics(probabilities, codes, model.named(probabilities), positive_class(system, codes))
    return error(system.measure, metrics[system.measure])


def table(paths: list[Path]) -> None:
    """Coverage and error of what was foretold, by verdict and times."""
    for path in paths:
        cases = [case for case in json.loads(path.read_text()) if "gain" in case]
        left = len(json.loads(path.read_text())) - len(cases)
        print(f"\n{path.stem}: {len(cases)} foretold, {left} with too few points\n")
        print("| verdict | times | cases | held | width / error | off / error |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
        for verdict, times in itertools.product(("trusted", "flat", "doubted"), (2, 4)):
            kept = [case for case in cases if (case["verdict"], case["times"]) == (verdict, times)]
            if kept:
                print(_line(verdict, times, kept))


def _line(verdict: str, times: int, cases: list[dict[str, Any]]) -> str:
    held = [_held(case) for case in cases]
    wide = [(case["high"] - case["low"]) / case["now"] for case in cases if case["now"] > 1e-6]
    off = [abs(case["gain"] - case["true"]) / case["now"] for case in cases if case["now"] > 1e-6]
    return (
        f"| {verdict} | {times} | {len(cases)} | {np.mean(held):.0%} | {np.median(wide):.1%} | "
        f"{np.median(off):.1%} |"
    )


def _held(case: dict[str, Any]) -> bool:
    """Within the interval, widened by what the gain that came out is itself uncertain of."""
    low, high, noise = case["gain"] - case["low"], case["high"] - case["gain"], 1.96 * case["true_noise"]
    return bool(case["gain"] - np.hypot(low, noise) <= case["true"] <= case["gain"] + np.hypot(high, noise))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = asked.add_subparsers(dest="part", required=True)
    for name in ("halves", "drawn"):
        part = parts.add_parser(name)
        part.add_argument("--out", type=Path, required=True)
        part.add_argument("--seeds", type=int, default=3)
        part.add_argument("--rows", type=int, default=400)
    parts.add_parser("table").add_argument("paths", type=Path, nargs="+")
    given = asked.parse_args()
    if given.part == "table":
        table(given.paths)
        return
    started, cases = time.monotonic(), []
    for case in halves(given.seeds) if given.part == "halves" else drawn(given.seeds, given.rows):
        cases.append(case)
        given.out.write_text(json.dumps(cases))
        print(f"{time.monotonic() - started:.0f} s: {case}", flush=True)


if __name__ == "__main__":
    main()
