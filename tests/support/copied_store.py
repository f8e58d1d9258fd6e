"""A store with something of everything, and whether another one is the same."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
from store_backends import TABLE, rows

from dagsverk.store import Store, Table
from dagsverk.store.moving.journal import own_artefacts

KEYED = Table("settings", 1, pa.schema([("name", pa.string()), ("x", pa.list_(pa.float32()))]), ("name",))
EMPTY = Table("empty", 1, pa.schema([("name", pa.string())]), ("name",), description="nothing yet")


def keyed(x: dict[str, list[float | None] | None]) -> pd.DataFrame:
    return pd.DataFrame({"name": list(x), "x": list(x.values())})


def fill(store: Store, tmp_path: Path) -> Store:
    """Something of everything: rows added and changed, three versions, two promotions, artefacts."""
    for table in (TABLE, KEYED, EMPTY):
        store.ensure(table)
    store.upsert(TABLE, rows(["a", "b"]).assign(value=[1.0, None], n=[2**60 + 1, None], ok=[None, True]))
    store.upsert(TABLE, rows(["a", "b", "c"], value=2.0)[1:])  # one changed, one new
    store.upsert(TABLE, rows(["z"], first_day=20))
    store.upsert(KEYED, keyed({"p": [1.0, None], "q": None, "r": []}))
    store.upsert(KEYED, keyed({"p": [2.0]}))
    folder = tmp_path / "to-save"
    for seed in range(3):
        folder.mkdir(exist_ok=True)
        (folder / "weights.bin").write_bytes(bytes([seed]) * 1000)
        data_commit = store.commits(TABLE)[seed].id
        store.save_model("m", folder, metrics={"wer": seed / 10}, info={"data_commit": data_commit})
    store.promote("m", 1, reason="first", expected=None)
    store.promote("m", 3, reason="better", expected=1)
    for path in ("status/day.json", "speech/sv/shard 1.bin", "speech/sv/å=~x.txt", "top"):
        store.put(path, path.encode() * 50)
    store.put("speech/nothing", b"")
    return store


def quiet(line: str) -> None:
    """Says nothing."""


def have(store: Store, table: Table) -> list[pd.DataFrame]:
    """What every commit of the table reads as."""
    return [store.read(table, as_of=commit.id) for commit in store.commits(table)]


def assert_same(source: Store, target: Store, tmp_path: Path) -> None:
    assert target.tables() == source.tables()
    assert [t.description for t in target.tables()] == [t.description for t in source.tables()]
    for table in source.tables():
        assert target.commits(table) == source.commits(table)
        for ours, theirs in zip(have(source, table), have(target, table), strict=True):
            pd.testing.assert_frame_equal(ours, theirs)
    assert target.model_names() == source.model_names()
    for name in source.model_names():
        assert target.models(name) == source.models(name)
        assert target.champions(name) == source.champions(name)
        for model in target.models(name):
            target.download(model, tmp_path / f"{name}-{model.version}")  # checks every file
    assert own_artefacts(target) == own_artefacts(source)
    assert [target.get(p) for p in own_artefacts(source)] == [source.get(p) for p in own_artefacts(source)]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
