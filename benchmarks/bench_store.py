"""The embedded store against plain delta-rs: a year of daily writes, and a large upsert.

Run from the root: python benchmarks/bench_store.py [--days 365] [--rows-per-day 100] [--upsert-rows 200000]

"plain" is what the deltalake documentation shows: `write_deltalake(mode="append")` for new rows, and
`DeltaTable.merge(...).when_matched_update_all().when_not_matched_insert_all()` for an upsert. The plain
append is not idempotent and the plain merge rewrites equal rows: peers for cost, not for behaviour.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from dagsverk.store import Store, Table, open_store

FLOATS = [f"x{i}" for i in range(6)]
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("ts", pa.timestamp("us")),
        ("kind", pa.string()),
        *((name, pa.float64()) for name in FLOATS),
    ]
)
TABLE = Table("bench", 1, SCHEMA, ("id",), "ts")
START = np.datetime64("2015-01-01", "us")
READS = 3  # the best of


def batch(first: int, count: int, per_day: int, seed: int) -> pa.Table:
    """Rows first .. first + count, `per_day` of them on each day."""
    chance = np.random.default_rng(seed)
    numbers = np.arange(first, first + count)
    times = START + (numbers // per_day).astype("timedelta64[D]")
    kinds = np.where(chance.random(count) < 0.5, "left", "right")
    columns = [pa.array([f"row-{n:09d}" for n in numbers]), pa.array(times), pa.array(kinds)]
    return pa.table([*columns, *(pa.array(chance.normal(size=count)) for _ in FLOATS)], schema=SCHEMA)


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """The best of several runs."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


# ------------------------------------------------------------------ days


class Plain:
    """Tables as the deltalake documentation writes and reads them."""

    def __init__(self, folder: Path) -> None:
        self.url = str(folder / "plain")
        DeltaTable.create(self.url, SCHEMA)

    def append(self, rows: pa.Table) -> None:
        write_deltalake(self.url, rows, mode="append")

    def merge(self, rows: pa.Table) -> None:
        merger = DeltaTable(self.url).merge(
            rows, "s.id = u.id AND s.ts = u.ts", source_alias="u", target_alias="s"
        )
        merger.when_matched_update_all().when_not_matched_insert_all().execute()

    def read(self, since: pd.Timestamp | None = None) -> pd.DataFrame:
        filters = None if since is None else [("ts", ">=", since.to_pydatetime())]
        return (
            DeltaTable(self.url)
            .to_pyarrow_table(filters=filters)
            .sort_by([("ts", "ascending"), ("id", "ascending")])
            .to_pandas()
        )


def days(folder: Path, count: int, per_day: int, *, alone: bool) -> None:
    store, plain = open_store(str(folder / "store")), None if alone else Plain(folder)
    store.ensure(TABLE)
    batches = [batch(day * per_day, per_day, per_day, day) for day in range(count)]
    print(f"\n{f'{count} daily writes of {per_day} rows':<40}{'store':>10}{'plain':>14}{'ratio':>10}")
    ours = seconds(lambda: [store.upsert(TABLE, rows) for rows in batches])
    theirs = seconds(lambda: [plain.append(rows) for rows in batches]) if plain else None
    line("one write, mean, ms", ours / count * 1e3, theirs and theirs / count * 1e3)
    line("active files", files(f"{store.url}/tables/bench_1"), plain and files(plain.url))
    month = pd.Timestamp(START) + pd.Timedelta(days=count - 30)
    reads(store, plain, month)
    line("compact(), ms", seconds(lambda: store.compact(TABLE)) * 1e3, None)
    reads(store, plain, month)
    line("a repeated write, ms", best(lambda: store.upsert(TABLE, batches[-1])), None)
    line("folder, MB", size(folder / "store") / 1e6, plain and size(Path(plain.url)) / 1e6)


def reads(store: Store, plain: Plain | None, month: pd.Timestamp) -> None:
    line("read all, ms", best(lambda: store.read(TABLE)), plain and best(plain.read))
    line(
        "read the last 30 days, ms",
        best(lambda: store.read(TABLE, since=month)),
        plain and best(lambda: plain.read(month)),
    )
    line(
        "latest 20, ms",
        best(lambda: store.latest(TABLE, 20)),
        plain and best(lambda: plain.read().tail(20)),
    )
    line(
        "version, ms",
        best(lambda: store.version(TABLE)),
        plain and best(lambda: DeltaTable(plain.url).version()),
    )
    commits = store.commits(TABLE)
    line(
        "read as of the middle, ms",
        best(lambda: store.read(TABLE, as_of=commits[len(commits) // 2].id)),
        None,
    )


def best(work: Callable[[], object]) -> float:
    return seconds(work, READS) * 1e3


def files(url: str) -> int:
    return len(DeltaTable(url).file_uris())


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def line(what: str, ours: float, theirs: float | None) -> None:
    peer = "" if theirs is None else f"{theirs:14.1f}   {theirs / max(ours, 1e-9):6.2f}x"
    print(f"  {what:<38}{ours:10.1f}{peer}")


# ------------------------------------------------------------------ large upserts


def upsert_case(folder: str, case: str, which: str, count: int) -> tuple[float, float, float]:
    """(seconds, CPU seconds, peak MB above the start) of one upsert of `count` rows."""
    stored, given = batch(0, count, 1000, 1), batch(0, count, 1000, 1)
    if case == "all new, later":
        given = batch(count, count, 1000, 2)
    elif case == "1 in 100 changed":
        changed = np.where(np.arange(count) % 100 == 0, 9.0, given.column("x0").to_numpy())
        given = given.set_column(SCHEMA.get_field_index("x0"), "x0", pa.array(changed))
    elif case == "all changed":
        given = batch(0, count, 1000, 2)
    write = writer(Path(folder), which)
    if case != "into an empty table":
        write(stored)
    del stored
    pa.default_memory_pool().release_unused()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = memory("VmRSS")
    busy = time.process_time()
    taken = seconds(lambda: write(given))
    return taken, time.process_time() - busy, memory("VmHWM") - before


def writer(folder: Path, which: str) -> Callable[[pa.Table], object]:
    if which == "plain":
        return Plain(folder).merge
    store = open_store(str(folder / "store"))
    store.ensure(TABLE)
    return lambda rows: store.upsert(TABLE, rows)


def memory(name: str) -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{name}:")[1].split()[0]) / 1e3


def upserts(folder: Path, count: int) -> None:
    size_mb = batch(0, count, 1000, 1).nbytes / 1e6
    print(f"\nan upsert of {count} rows of {len(SCHEMA)} columns ({size_mb:.0f} MB in Arrow)")
    print(f"{'':<24}{'seconds':>17}{'CPU seconds':>18}{'ratio':>9}{'peak MB':>15}")
    print(f"{'':<24}{'store / plain':>17}{'store / plain':>18}{'(CPU)':>9}{'store / plain':>15}")
    for case in (
        "into an empty table",
        "nothing changed",
        "1 in 100 changed",
        "all changed",
        "all new, later",
    ):
        costs = {}
        for which in ("store", "plain"):
            place = folder / f"{which} {case}"
            with multiprocessing.get_context("spawn").Pool(1) as process:
                costs[which] = process.apply(upsert_case, (str(place), case, which, count))
            shutil.rmtree(place)
        (ours, our_cpu, our_mb), (theirs, their_cpu, their_mb) = costs["store"], costs["plain"]
        print(
            f"  {case:<22}{ours:8.2f} /{theirs:7.2f}{our_cpu:9.2f} /{their_cpu:7.2f}"
            f"{their_cpu / our_cpu:8.2f}x{our_mb:7.0f} /{their_mb:6.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--days", type=int, default=365, help="daily writes (3650: ten years); 0 leaves them out"
    )
    parser.add_argument("--rows-per-day", type=int, default=100)
    parser.add_argument("--upsert-rows", type=int, default=200_000, help="0 leaves the large upserts out")
    parser.add_argument("--alone", action="store_true", help="daily writes without the plain peer")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.days:
            days(Path(folder), arguments.days, arguments.rows_per_day, alone=arguments.alone)
        if arguments.upsert_rows:
            upserts(Path(folder), arguments.upsert_rows)


if __name__ == "__main__":
    main()
