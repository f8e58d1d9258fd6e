"""Alarms that are looked at every day for a year: how often they are false, and how late they are.

    python benchmarks/bench_monitoring.py [--systems 100] [--rows 1 10 100] [--parts accuracy drift expected]
    PEER/bin/python benchmarks/bench_monitoring.py --parts evidently        (or: nannyml)

Three tables: the passengers, the flowers (both drawn with replacement from the real rows, the reference anew
for each system), and one of ten columns with 1 % positives. Of a false alarm: the share of systems in which
nothing changes and which yet alarm on any of 365 daily looks. Of a delay: days from a change on day 100 to
the first alarm after it, median over the systems; "inf": not within 265 days. The rule before this one stands
beside: the exact test (accuracy), or the tests of all columns with Holm's correction (drift), of the newest
90 rows at 5 %, every day. The last parts run in an environment of their own that holds Evidently or NannyML.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dagsverk.tabular.system import Column, System, load_system

DAYS, CHANGE_DAY, WINDOW = 365, 100, 90
PEER_DAYS = 60  # a peer's look takes seconds


@dataclass(frozen=True)
class Table:
    """A table's true rows, and what changes in them."""

    system: System
    rows: pd.DataFrame  # inputs and label
    reference_rows: int
    accuracy: float  # that its model truly has
    fallen: float  # and after the change
    shift: Callable[[pd.DataFrame], pd.DataFrame]
    what: str  # the change, in words


def tables() -> dict[str, Table]:
    titanic, iris = load_system("titanic"), load_system("iris")
    rare, rows = _rare()
    return {
        "passengers": Table(
            titanic, _real(titanic), 891, 0.82, 0.72, lambda r: r.assign(age=r["age"] + 10), "10 years older"
        ),
        "flowers": Table(
            iris,
            _real(iris),
            150,
            0.97,
            0.87,
            lambda r: r.assign(sepal_length_cm=r["sepal_length_cm"] + 0.5),
            "sepals 0.5 cm longer",
        ),
        "1 % positive": Table(
            rare, rows, 2000, 0.99, 0.97, lambda r: r.assign(x0=r["x0"] + 0.5), "one of ten by half a s.d."
        ),
    }


def _real(system: System) -> pd.DataFrame:
    raw = system.read()
    typed = {
        c.name: raw[c.name] if c.kind == "category" else pd.to_numeric(raw[c.name]) for c in system.columns
    }
    label = raw[system.label.name].replace(dict(system.label.aliases))
    return pd.DataFrame(typed | {system.label.name: label})


def _rare() -> tuple[System, pd.DataFrame]:
    names = [f"x{i}" for i in range(10)]
    system = System(
        name="rare",
        title="Rare",
        description="ten normal columns, one row in a hundred positive",
        row_name="row",
        id_column="id",
        columns=tuple(Column(name=name, description=name, kind="number") for name in names),
        label=Column(name="y", description="y", kind="category", categories=("no", "yes")),
        read=pd.DataFrame,
        event_time=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({name: rng.normal(size=100_000) for name in names})
    return system, rows.assign(y=np.where(np.arange(len(rows)) % 100 == 0, "yes", "no"))


def drawn(table: Table, n: int, rng: np.random.Generator, days: int, *, change: bool) -> pd.DataFrame:
    """n rows a day, as of `monitoring.history`."""
    rows = table.rows.iloc[rng.integers(0, len(table.rows), n * days)].reset_index(drop=True)
    if change:
        late = np.arange(len(rows)) >= n * CHANGE_DAY
        rows = pd.concat([rows[~late], table.shift(rows[late])])
    times = pd.date_range("2026-01-01", periods=days, tz="UTC").repeat(n)
    return rows.rename(columns={table.system.label.name: "outcome"}).assign(
        event_time=times, predicted_at=times
    )


def first_after(alarmed: np.ndarray, day: int) -> float:
    """Days from `day` to the first alarm on or after it, that day being 1; infinite: none."""
    later = np.flatnonzero(alarmed[day:])
    return float(later[0] + 1) if len(later) else np.inf


def accuracy(table: Table, n: int, systems: int) -> dict[str, float]:
    """False alarms and delays of the alarm of accuracy, ours and the exact test of the last 90 outcomes."""
    from scipy import stats

    from dagsverk.tabular.evidence import Share, watch_share

    rng = np.random.default_rng([n, table.reference_rows])
    false, late, before, before_late = [], [], [], []
    for _ in range(systems):
        known = rng.binomial(table.reference_rows, table.accuracy)
        promise = Share(right=known, wrong=table.reference_rows - known)
        for change in (False, True):
            truth = np.full(DAYS * n, table.accuracy)
            if change:
                truth[CHANGE_DAY * n :] = table.fallen
            right = rng.random(DAYS * n) < truth
            daily = right.reshape(DAYS, n).sum(axis=1)
            episodes = watch_share(daily, np.full(DAYS, n), promise).episodes
            so_far = np.concatenate([[0], right.cumsum()])
            ends = n * np.arange(1, DAYS + 1)
            starts = np.maximum(ends - WINDOW, 0)
            exact = stats.binom.cdf(
                so_far[ends] - so_far[starts], ends - starts, known / promise_rows(promise)
            )
            if change:
                noticed = [e.noticed for e in episodes if e.ended is None or e.ended >= CHANGE_DAY]
                late.append(max(noticed[0] - CHANGE_DAY + 1, 1) if noticed else np.inf)
                before_late.append(first_after(exact <= 0.05, CHANGE_DAY))
            else:
                false.append(bool(episodes))
                before.append(bool((exact <= 0.05).any()))
    return {
        "false": np.mean(false),
        "before": np.mean(before),
        "delay": np.median(late),
        "before delay": np.median(before_late),
    }


def promise_rows(promise: object) -> float:
    return promise.right + promise.wrong  # type: ignore[attr-defined]


def drift(table: Table, n: int, systems: int) -> dict[str, float]:
    """False alarms over all columns and the outcome, and delays in the column that changes."""
    from dagsverk.tabular.watched import watch_table

    rng = np.random.default_rng([n, table.reference_rows, 1])
    false, late, before, before_late = [], [], [], []
    for i in range(systems):
        reference = table.rows.iloc[rng.integers(0, len(table.rows), table.reference_rows)]
        for change in (False, True):
            rows = drawn(table, n, rng, DAYS, change=change)
            watched = watch_table(table.system, reference, rows).columns.values()
            noticed = sorted(e.noticed for w in watched for e in w.episodes)
            if change:
                after = [day for day in noticed if day >= CHANGE_DAY]
                late.append(after[0] - CHANGE_DAY + 1 if after else np.inf)
            else:
                false.append(bool(noticed))
            if i < max(systems // 20, 5):  # 365 looks of it take seconds
                (before_late if change else before).append(
                    _exact_drift(table, reference, rows, n, change=change)
                )
    return {
        "false": np.mean(false),
        "before": np.mean(before),
        "delay": np.median(late),
        "before delay": np.median(before_late),
    }


def _exact_drift(table: Table, reference: pd.DataFrame, rows: pd.DataFrame, n: int, *, change: bool) -> float:
    """Whether one daily test of the last 90 rows alarms in a year; of a change: after how many days."""
    from dagsverk.tabular.drift import drift as look

    for day in range(CHANGE_DAY if change else 0, DAYS):
        window = rows.iloc[max(n * (day + 1) - WINDOW, 0) : n * (day + 1)]
        if any(column.drifted for column in look(table.system, reference, window)):
            return float(day - CHANGE_DAY + 1) if change else 1.0
    return np.inf if change else 0.0


def evidently(table: Table, n: int, systems: int) -> dict[str, float]:
    """Evidently's default drift test of the last 90 rows, daily for 60 days: share of systems that alarm."""
    os.environ["DO_NOT_TRACK"] = "1"  # before the import, or it reports its use
    from evidently import DataDefinition, Dataset, Report  # type: ignore[import-not-found,unused-ignore]
    from evidently.presets import DataDriftPreset  # type: ignore[import-not-found,unused-ignore]

    names = list(table.system.inputs)
    text = [c.name for c in table.system.columns if c.kind == "category"]
    definition = DataDefinition(
        numerical_columns=[name for name in names if name not in text], categorical_columns=text
    )

    def share(reference: pd.DataFrame, window: pd.DataFrame) -> float:
        sides = [
            Dataset.from_pandas(side[names].reset_index(drop=True), data_definition=definition)
            for side in (window, reference)
        ]
        metrics = Report([DataDriftPreset()]).run(*sides).dict()["metrics"]
        return float(next(m["value"]["share"] for m in metrics if "DriftedColumnsCount" in m["metric_name"]))

    rng = np.random.default_rng([n, table.reference_rows, 1])
    any_column, half = [], []
    for _ in range(systems):
        reference = table.rows.iloc[rng.integers(0, len(table.rows), table.reference_rows)]
        rows = drawn(table, n, rng, PEER_DAYS, change=False)
        shares = []
        for day in range(13 // n, PEER_DAYS):
            shares.append(share(reference, rows.iloc[max(n * (day + 1) - WINDOW, 0) : n * (day + 1)]))
            if shares[-1] > 0:
                break
        any_column.append(max(shares) > 0)
        half.append(max(shares) >= 0.5)
    delays = []
    for _ in range(systems):
        reference = table.rows.iloc[rng.integers(0, len(table.rows), table.reference_rows)]
        rows = drawn(table, n, rng, CHANGE_DAY + PEER_DAYS, change=True)
        for day in range(CHANGE_DAY, CHANGE_DAY + PEER_DAYS):
            if share(
                reference, rows.iloc[n * (day + 1) - WINDOW if n * (day + 1) > WINDOW else 0 : n * (day + 1)]
            ):
                delays.append(float(day - CHANGE_DAY + 1))
                break
        else:
            delays.append(np.inf)
    return {"false in 60 days": np.mean(any_column), "half": np.mean(half), "delay": np.median(delays)}


def nannyml(table: Table, n: int, systems: int) -> dict[str, float]:
    """NannyML's default univariate drift, a chunk a day (of 10 rows at least), for a year."""
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
    import nannyml as nml  # type: ignore[import-not-found,unused-ignore]

    names = list(table.system.inputs)
    size = max(n, 10)
    rng = np.random.default_rng([n, table.reference_rows, 1])

    def alarms(change: bool) -> np.ndarray:
        reference = table.rows.iloc[rng.integers(0, len(table.rows), table.reference_rows)]
        rows = drawn(table, n, rng, DAYS, change=change)
        calculator = nml.UnivariateDriftCalculator(column_names=names, chunk_size=size)
        found = calculator.fit(reference[names].reset_index(drop=True)).calculate(rows[names]).to_df()
        flags = found.xs("alert", axis=1, level=2).to_numpy(dtype=bool)
        return np.repeat(flags.any(axis=1), max(size // n, 1))

    false = [bool(alarms(False).any()) for _ in range(systems)]
    delays = [first_after(alarms(True), CHANGE_DAY) for _ in range(systems)]
    return {"false": np.mean(false), "delay": np.median(delays)}


def expected(systems: int) -> None:
    """How often the limits of the expected accuracy hold what comes out, on held-out real rows."""
    from dagsverk.tabular.expected import expect, reliability
    from dagsverk.tabular.features import model_inputs
    from dagsverk.tabular.models import fit, recipe

    system = load_system("titanic")
    rows = _real(system)
    cases: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
        "as trained": lambda r: pd.Series(1.0, r.index),
        "women five times as often": lambda r: r["sex"].map({"female": 3 * 0.65, "male": 0.35}),
        "third class mostly": lambda r: r["pclass"].map({1: 0.2, 2: 0.5, 3: 3.0}),
        "older (weights by age)": lambda r: (r["age"].fillna(30) / 30) ** 2,
        "outcomes turned for one in five": lambda r: pd.Series(1.0, r.index),
    }
    print(
        f"\nexpected accuracy: share of {systems} splits whose limits hold the accuracy of 150 held-out rows"
    )
    heads = f"{'probabilities alone':>21}{'corrected (ours)':>18}{'mean width':>12}{'error':>8}"
    print(f"{'rows that wait':<34}{heads}")
    results: dict[str, list[list[float]]] = {name: [] for name in cases}
    for split in range(systems):
        rng = np.random.default_rng(split)
        order = rng.permutation(len(rows))
        train, rest = rows.iloc[order[:500]].reset_index(drop=True), rows.iloc[order[500:]]
        inputs, labels = model_inputs(system, train), train[system.label.name].to_numpy(dtype=object)
        probability, right = np.zeros(500), np.zeros(500, dtype=bool)
        for part in np.array_split(np.arange(500), 5):
            others = np.setdiff1d(np.arange(500), part)
            model = fit(system, recipe("logistic"), inputs.iloc[others], labels[others], 0)
            chances = model.predict_proba(inputs.iloc[part])
            probability[part] = chances.max(axis=1)
            right[part] = np.array(system.classes)[chances.argmax(axis=1)] == labels[part]
        whole, bins = fit(system, recipe("logistic"), inputs, labels, 0), reliability(probability, right)
        for name, weigh in cases.items():
            weights = weigh(rest).to_numpy(dtype=float)
            waiting = rest.iloc[rng.choice(len(rest), 150, replace=False, p=weights / weights.sum())]
            chances = whole.predict_proba(model_inputs(system, waiting))
            hit = np.array(system.classes)[chances.argmax(axis=1)] == waiting[system.label.name].to_numpy()
            if name.startswith("outcomes"):
                hit = np.where(rng.random(150) < 0.2, ~hit, hit)
            bare, ours = expect(chances.max(axis=1), ()), expect(chances.max(axis=1), bins)
            assert bare is not None
            assert ours is not None
            results[name].append(
                [
                    bare.low <= hit.mean() <= bare.high,
                    ours.low <= hit.mean() <= ours.high,
                    ours.high - ours.low,
                    ours.mean - hit.mean(),
                ]
            )
    for name, rows_of in results.items():
        bare_share, share, width, error = np.mean(rows_of, axis=0)
        print(f"{name:<34}{bare_share:>21.2f}{share:>18.2f}{width:>12.2f}{error:>+8.3f}", flush=True)


PARTS: dict[str, Callable[[Table, int, int], dict[str, float]]] = {
    "accuracy": accuracy,
    "drift": drift,
    "evidently": evidently,
    "nannyml": nannyml,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--systems", type=int, default=200)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 10, 100], help="rows a day")
    parser.add_argument("--parts", nargs="+", choices=[*PARTS, "expected"], default=["accuracy", "drift"])
    parser.add_argument("--tables", nargs="+", default=["passengers", "flowers", "1 % positive"])
    options = parser.parse_args()
    for part in options.parts:
        if part == "expected":
            expected(options.systems)
            continue
        print(f"\n{part}: {options.systems} systems, a year of daily looks", flush=True)
        for name in options.tables:
            table = tables()[name]
            for n in options.rows:
                start_s = time.perf_counter()
                values = PARTS[part](table, n, options.systems)
                words = "".join(f"{key} {value:>6.3g}   " for key, value in values.items())
                spent_s = time.perf_counter() - start_s
                changed = f"{table.accuracy} to {table.fallen}" if part == "accuracy" else table.what
                print(f"{name:<14}{n:>4} a day   {words} ({changed}; {spent_s:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
