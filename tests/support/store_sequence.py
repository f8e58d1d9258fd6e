"""A small history of a store in steps, each safe to repeat as a task is: python store_sequence.py URL.

What is done is noted in the store, so a process that was killed goes on where it was.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from dagsverk.store import Model, NotFound, Store, StoreError, Table, open_store

TABLE = Table(
    "sizes",
    1,
    pa.schema([("id", pa.string()), ("ts", pa.timestamp("us")), ("size", pa.float64())]),
    ("id",),
    "ts",
)
NOTE = "progress"
LONGEST_S = 60.0
LINEAGE = {"lineage": {"table": "sizes", "table_version": 1, "label": "size"}}
SCHEMA = {"id": "string", "size": "double"}


def steps() -> list[Callable[[Store], Any]]:
    return [
        lambda store: store.ensure(TABLE),
        lambda store: upsert(store, "ab", 1.0),
        lambda store: store.put("notes/a.json", b"1", overwrite=True),
        lambda store: upsert(store, "bcd", 2.0),  # one changes, two are new
        lambda store: save(store, "first"),
        lambda store: promote(store, "first"),
        lambda store: store.put("notes/a.json", b"2", overwrite=True),
        lambda store: put_file(store, b"x" * 100_000),
        lambda store: upsert(store, "bcd", 2.0),  # nothing changes
        lambda store: save(store, "second"),
        lambda store: put_file(store, b"y" * 100_000),
        lambda store: promote(store, "second"),
        lambda store: upsert(store, "a", 3.0),
        lambda store: store.put("gone/b", b"1", overwrite=True),
        lambda store: store.remove("gone"),
    ]


def upsert(store: Store, ids: str, size: float) -> None:
    ts = [pd.Timestamp(2026, 1, 1 + "abcd".index(id_)) for id_ in ids]
    store.upsert(TABLE, pd.DataFrame({"id": list(ids), "ts": ts, "size": size}))


def save(store: Store, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "inner").mkdir()
        for path in ("a.bin", "inner/b.bin"):
            (Path(folder) / path).write_bytes(f"{name} {path} ".encode() * 1000)
        more = {"info": {"name": name, **LINEAGE}, "schema": SCHEMA}
        store.save_model("m", Path(folder), metrics={"loss": 0.5}, **more)


def promote(store: Store, name: str) -> None:
    (version,) = [model.version for model in store.models("m") if model.info["name"] == name]
    champion = store.champion("m")
    store.promote("m", version, reason=name, expected=champion.version if champion else None)


def put_file(store: Store, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        store.put_file("files/big", path)


def run(store: Store) -> None:
    """All steps that are not done yet; each again until it succeeds, as a task's retries do."""
    for number, step in enumerate(steps()):
        if number >= done(store):
            persist(lambda step=step: step(store))
            persist(lambda number=number: store.put(NOTE, str(number + 1).encode(), overwrite=True))


def done(store: Store) -> int:
    def ask() -> int:
        try:
            return int(store.get(NOTE))
        except NotFound:
            return 0

    return int(persist(ask))


def persist(act: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + LONGEST_S
    while True:
        try:
            return act()
        except StoreError:
            if time.monotonic() > deadline:
                raise


def state(store: Store) -> dict[str, Any]:
    """Everything that the store shows, but for moments and numbers that may have gaps."""
    champion = store.champion("m")
    return {
        "tables": store.tables(),
        "rows": store.read(TABLE).to_dict("list"),
        "commits": [(commit.inserted, commit.updated) for commit in store.commits(TABLE)],
        "then": [store.read(TABLE, as_of=commit.id).to_dict("list") for commit in store.commits(TABLE)],
        "artefacts": {path: store.get(path) for path in store.list("")},
        "names": store.model_names(),
        "models": [contents(store, model) for model in store.models("m")],
        "champion": champion and champion.info,
        "champions": [record["reason"] for record in store.champions("m")],
    }


def contents(store: Store, model: Model) -> tuple[Any, ...]:
    with tempfile.TemporaryDirectory() as room:
        folder = store.download(model, Path(room) / "files")
        files = {path: (folder / path).read_bytes() for path in sorted(model.files)}
    return model.metrics, model.info, model.schema, files


if __name__ == "__main__":
    run(persist(lambda: open_store(sys.argv[1])))
