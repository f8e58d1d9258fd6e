"""One day, and a million rows, on each kind of store: how long it takes, what is asked, where time goes.

A folder, an S3 server (moto, in a process of its own, on this machine) and Hopsworks (the real SDK against
the emulator, its tables on the same S3 server). A day is its steps called as plain functions: with an empty
store, then again with nothing new. Servers on this machine answer in about a millisecond; a cluster or AWS
takes 10 to 100 ms, so round trips carry over and seconds do not: one row adds 30 ms to each. What S3 is asked
is counted by a proxy in front of it; the million rows go without it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from emulator_process import hopsworks_emulator  # noqa: E402
from faulty_proxy import faulty_proxy  # noqa: E402
from s3_server import KEYS, make_bucket, s3_server  # noqa: E402

from dagsverk.store import Store, Table, open_store  # noqa: E402
from tasks import tabular  # noqa: E402

AWAY_S = 0.03
MILLION = Table(
    "million",
    1,
    pa.schema(
        [
            ("id", pa.int64()),
            ("ts", pa.timestamp("us")),
            *((f"x{i}", pa.float64()) for i in range(6)),
            ("t", pa.string()),
        ]
    ),
    ("id",),
    "ts",
)


class Timed:
    """A store that adds up how long each of its methods took."""

    def __init__(self, store: Store, spent: Counter[str]) -> None:
        self._store, self._spent, self._depth = store, spent, 0

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._store, name)
        if not callable(member):
            return member

        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return member(*args, **kwargs)
            finally:
                self._spent[name] += time.perf_counter() - started  # type: ignore[assignment]

        return timed


@dataclass
class Place:
    """A kind of store, and how to count what it was asked."""

    url: str
    asked: Callable[[], dict[str, int]] = dict


@dataclass
class Day:
    """What one day cost."""

    total_s: float
    spent: Counter[str] = field(default_factory=Counter)
    asked: dict[str, int] = field(default_factory=dict)


def main() -> None:
    arguments = parse()
    with ExitStack() as stack:
        room = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dagsverk-bench-")))
        places = stack.enter_context(opened(room))
        for system in arguments.systems.split(","):
            days = {name: [day(place, system) for _ in range(2)] for name, place in places.items()}
            print_days(system, days)
        os.environ["AWS_ENDPOINT_URL"] = os.environ["BENCH_S3"]
        print_rows({name: million(place, arguments.rows) for name, place in places.items()}, arguments.rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", default="iris,titanic")
    parser.add_argument("--rows", type=int, default=1_000_000)
    return parser.parse_args()


@contextmanager
def opened(room: Path) -> Iterator[dict[str, Place]]:
    """The three places. What S3 is asked is counted by a proxy that does nothing else."""
    with s3_server() as server, faulty_proxy(server, seed=0, probability=0.0) as proxy:
        os.environ.update({**KEYS, "AWS_ENDPOINT_URL": proxy.address})
        os.environ["BENCH_S3"] = server
        make_bucket(server, "bench")
        with hopsworks_emulator(_folder(room / "emulator"), bucket="bench") as emulator:
            os.environ.update(emulator.variables())
            yield {
                "folder": Place(str(room / "folder")),
                "S3": Place("s3://bench/embedded", lambda: {"S3": proxy.counts().get("pass", 0)}),
                "Hopsworks": Place(
                    f"{emulator.url}?data_source=lake",
                    lambda: {"S3": proxy.counts().get("pass", 0), "REST": len(emulator.requests())},
                ),
            }


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def day(place: Place, system: str) -> Day:
    """The steps of the flow `day`, on a store whose methods are timed."""
    from dagsverk.tabular.config import TrainingConfig
    from dagsverk.tabular.days import SynthesisConfig

    config, spent, before = (
        TrainingConfig(model_classes=("lda",), folds=3, repeats=1),
        Counter[str](),
        place.asked(),
    )
    started = time.perf_counter()
    tabular.open_store = lambda: Timed(open_store(place.url), spent)  # type: ignore[assignment]
    rows = tabular.ingest.fn(system)
    scores = [tabular.cross_validate.fn(system, rows, name, config) for name in config.model_classes]
    tabular.register_best.fn(system, rows, scores, config)
    tabular.synthesize.fn(system, dt.date(2026, 1, 31), SynthesisConfig(count=10))
    tabular.predict.fn(system)
    tabular.monitor.fn(system)
    total_s = time.perf_counter() - started
    return Day(total_s, spent, {name: n - before[name] for name, n in place.asked().items()})


def print_days(system: str, days: dict[str, list[Day]]) -> None:
    print(f"\n| a day of {system}, first / again | " + " | ".join(days) + " |")
    print("| --- |" + " ---: |" * len(days))
    print_row("total, s", [f"{a.total_s:.2f} / {b.total_s:.2f}" for a, b in days.values()])
    print_row("in the store, s", [f"{a.spent.total():.2f} / {b.spent.total():.2f}" for a, b in days.values()])
    for kind in ("REST", "S3"):
        print_row(
            f"{kind} requests", [f"{a.asked.get(kind, 0)} / {b.asked.get(kind, 0)}" for a, b in days.values()]
        )
    away = [[d.total_s + AWAY_S * sum(d.asked.values()) for d in pair] for pair in days.values()]
    print_row(f"total with {AWAY_S * 1000:.0f} ms per request, s", [f"{a:.1f} / {b:.1f}" for a, b in away])
    names = sorted({name for pair in days.values() for d in pair for name in d.spent})
    for name in names:
        cells = [f"{a.spent[name] * 1000:.0f} / {b.spent[name] * 1000:.0f}" for a, b in days.values()]
        print_row(f"`{name}`, ms", cells)


def print_row(name: str, cells: list[str]) -> None:
    print(f"| {name} | " + " | ".join(cells) + " |")


def million(place: Place, count: int) -> dict[str, float]:
    """Seconds of upserts of many rows (new, the same, one in a hundred changed) and of a read of all."""
    store = open_store(place.url)
    store.ensure(MILLION)
    rows = many(count)
    changed = rows.iloc[: count // 100].assign(x0=0.0)
    times = {}
    for name, act in {
        "all new": lambda: store.upsert(MILLION, rows),
        "nothing changed": lambda: store.upsert(MILLION, rows),
        "1 in 100 changed": lambda: store.upsert(MILLION, changed),
        "read all": lambda: store.read(MILLION),
    }.items():
        started = time.perf_counter()
        act()
        times[name] = time.perf_counter() - started
    if hasattr(store, "_group"):  # the SDK's own way, into a group of its own
        times |= by_sdk(store, rows, changed)
    return times


def by_sdk(store: Any, rows: pd.DataFrame, changed: pd.DataFrame) -> dict[str, float]:
    table = Table("million_by_sdk", 1, MILLION.schema, MILLION.key, MILLION.event_time)
    store.ensure(table)
    group, times = store._group(table), {}
    quiet = {"run_validation": False, "fetch_expectation_suite": False, "schema_validation": False}
    for name, given in (("all new", rows), ("nothing changed", rows), ("1 in 100 changed", changed)):
        started = time.perf_counter()
        group.insert(given, write_options={"wait_for_job": True}, validation_options=quiet)
        times[f"{name}, by the SDK's insert"] = time.perf_counter() - started
    return times


def many(count: int) -> pd.DataFrame:
    """Rows of a hundred days, in the order of time."""
    random = np.random.default_rng(0)
    days = np.sort(random.integers(0, 100, count))
    return pd.DataFrame(
        {
            "id": np.arange(count),
            "ts": pd.Timestamp("2026-01-01") + pd.to_timedelta(days, "D"),
            **{f"x{i}": random.normal(size=count) for i in range(6)},
            "t": random.choice(["a", "b", "c"], count),
        }
    )


def print_rows(by_place: dict[str, dict[str, float]], count: int) -> None:
    print(f"\n| {count:,} rows, s | " + " | ".join(by_place) + " |")
    print("| --- |" + " ---: |" * len(by_place))
    names: dict[str, None] = {}
    for times in by_place.values():
        names |= dict.fromkeys(times)
    for name in names:
        print_row(name, [f"{times[name]:.2f}" if name in times else "" for times in by_place.values()])


if __name__ == "__main__":
    main()
