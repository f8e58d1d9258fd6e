"""A writer process, for tests that kill one or run several: python store_writer.py FOLDER KIND NAME COUNT."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa

from dagsverk.store import Store, Table, open_store

TABLE = Table(
    "days",
    1,
    pa.schema([("writer", pa.string()), ("n", pa.int64()), ("ts", pa.timestamp("us")), ("turn", pa.int64())]),
    ("writer", "n"),
    "ts",
)
ROWS = 50  # rows of one upsert, all of one turn: whole or absent


def upsert(store: Store, writer: str, turn: int) -> None:
    """Rewrite the writer's own rows and the ones that all writers share."""
    names = [writer] * ROWS + ["shared"] * ROWS
    numbers = [*range(ROWS), *range(ROWS)]
    rows = pd.DataFrame({"writer": names, "n": numbers, "ts": pd.Timestamp("2026-01-01"), "turn": turn})
    store.upsert(TABLE, rows)


def save(store: Store, writer: str, turn: int) -> None:
    """Save a model whose files all say which turn they are of."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.bin", "b.bin", "c.bin"):
            (Path(folder) / name).write_bytes(f"{writer} {turn} ".encode() * 20_000)
        model = store.save_model("m", Path(folder), metrics={}, info={"writer": writer, "turn": turn})
        current = store.champion("m")
        store.promote("m", model.version, reason=writer, expected=current.version if current else None)


def main() -> None:
    folder, kind, writer, count = sys.argv[1:]
    store = open_store(folder)
    store.ensure(TABLE)
    print("ready", flush=True)
    for turn in range(int(count)):
        (upsert if kind == "upsert" else save)(store, writer, turn)
        print(turn, flush=True)


if __name__ == "__main__":
    main()
