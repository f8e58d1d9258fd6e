"""What every store does with tables, versions and promotions of another store, whatever is behind it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from store_backends import BACKENDS, SCHEMA, TABLE, rows

from dagsverk.store import Commit, Conflict, Model, NotFound, SchemaError, Store, Table

DAY_MS = 24 * 3600 * 1000
START = 1_750_000_000_000  # June 2025
FIRST, SECOND, THIRD = (
    Commit(START, 2, 0),
    Commit(START + DAY_MS, 1, 1),
    Commit(START + 2 * DAY_MS, 0, 1),
)
PROMOTIONS = [
    {"version": 1, "promoted_at": "2025-06-15T12:00:00+00:00", "reason": "first"},
    {"version": 3, "promoted_at": "2025-06-16T12:00:00+00:00", "reason": "better"},
]


@pytest.fixture(params=list(BACKENDS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return BACKENDS[request.param](tmp_path)


@pytest.fixture
def filled(store: Store) -> Store:
    store.ensure(TABLE)
    store.restore(TABLE, rows(["a", "b"], value=1.0), FIRST)
    store.restore(TABLE, rows(["a", "b", "c"], value=2.0)[1:], SECOND)
    store.restore(TABLE, rows(["a"], value=3.0), THIRD)
    return store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "weights.bin").write_bytes(bytes(range(256)))
    (tmp_path / "model" / "deep" / "labels.txt").write_text("å")
    return tmp_path / "model"


def version(folder: Path, number: int) -> Model:
    """A version of another store that has the folder's files."""
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return Model(
        name="m",
        version=number,
        metrics={"wer": 0.25},
        description="from elsewhere",
        created=dt.datetime(2025, 6, 15, 12, 30, 15, 123456, dt.UTC),
        info={"data_commit": START, "seeds": [1, 2]},
        files=files,
        input_example={"x": 1.5},
        schema={"x": "double"},
    )


def values(frame: pd.DataFrame) -> dict[str, float]:
    return dict(zip(frame["id"], frame["value"], strict=True))


def test_restored_commits_have_their_ids_their_counts_and_their_rows(filled: Store) -> None:
    assert filled.commits(TABLE) == [FIRST, SECOND, THIRD]
    assert values(filled.read(TABLE, as_of=FIRST.id)) == {"a": 1, "b": 1}
    assert values(filled.read(TABLE, as_of=SECOND.id)) == {"a": 1, "b": 2, "c": 2}
    assert values(filled.read(TABLE, as_of=SECOND.id + DAY_MS // 2)) == {"a": 1, "b": 2, "c": 2}
    assert values(filled.read(TABLE)) == {"a": 3, "b": 2, "c": 2}


def test_a_moment_finds_the_restored_commit_of_its_time(filled: Store) -> None:
    noon = dt.datetime.fromtimestamp((SECOND.id + DAY_MS // 2) / 1000, dt.UTC)
    assert values(filled.read(TABLE, as_of=noon)) == {"a": 1, "b": 2, "c": 2}


def test_a_commit_that_is_there_or_older_is_left_alone(filled: Store) -> None:
    before = filled.version(TABLE)
    for commit in (FIRST, SECOND, THIRD, Commit(START - 1, 5, 0)):
        filled.restore(TABLE, rows(["a", "b", "c", "d"], value=9.0), commit)
    assert filled.version(TABLE) == before
    assert values(filled.read(TABLE)) == {"a": 3, "b": 2, "c": 2}


def test_rows_that_a_commit_rewrote_as_they_were_change_nothing(filled: Store) -> None:
    kept = pa.Table.from_pandas(filled.read(TABLE), schema=SCHEMA, preserve_index=False)
    later = Commit(START + 3 * DAY_MS, 1, 0)
    new = pa.Table.from_pandas(rows(["a", "b", "c", "d"], value=4.0)[3:], schema=SCHEMA, preserve_index=False)
    filled.restore(TABLE, pa.concat_tables([kept, new]), later)
    assert filled.commits(TABLE)[-1] == later
    assert values(filled.read(TABLE)) == {"a": 3, "b": 2, "c": 2, "d": 4}


def test_a_write_after_the_restored_ones_gets_a_greater_id(store: Store) -> None:
    future = Commit(4_000_000_000_000, 2, 0)  # a clock that was wrong
    store.ensure(TABLE)
    store.restore(TABLE, rows(["a", "b"]), future)
    assert store.upsert(TABLE, rows(["a", "b"], value=2.0)).id > future.id


def test_rows_that_do_not_fit_are_refused_when_restored_too(store: Store) -> None:
    with pytest.raises(NotFound):
        store.restore(TABLE, rows(["a"]), FIRST)
    store.ensure(TABLE)
    with pytest.raises(SchemaError):
        store.restore(TABLE, rows(["a"]).drop(columns="ts"), FIRST)
    assert store.commits(TABLE) == []


def test_tables_are_listed_with_their_whole_definition(store: Store) -> None:
    assert store.tables() == []
    nested = pa.schema([("k", pa.int32()), pa.field("v", pa.list_(pa.list_(pa.float32())), nullable=False)])
    others = [Table("rows", 2, nested, ("k",), description="of lists"), Table("a", 1, nested, ("k",))]
    for table in (TABLE, *others):
        store.ensure(table)
    tables = store.tables()
    assert tables == [others[1], TABLE, others[0]]
    assert [table.description for table in tables] == ["", "", "of lists"]
    assert tables[2].schema.equals(nested)


def test_a_restored_version_is_the_one_that_it_was(store: Store, folder: Path, tmp_path: Path) -> None:
    model = version(folder, 3)
    for _ in range(2):  # a repeat changes nothing
        store.restore_model(model, folder)
    assert store.models("m") == [model] and store.model_names() == ["m"]
    downloaded = store.download(store.model("m", 3), tmp_path / "back")
    assert (downloaded / "weights.bin").read_bytes() == bytes(range(256))
    assert (downloaded / "deep" / "labels.txt").read_text() == "å"


def test_versions_saved_after_a_restored_one_go_on_from_its_number(store: Store, folder: Path) -> None:
    store.restore_model(version(folder, 3), folder)
    assert store.save_model("m", folder, metrics={"wer": 0.1}).version == 4


def another(model: Model) -> Model:
    return dataclasses.replace(model, metrics={"wer": 0.5})


def renamed_file(model: Model) -> Model:
    return dataclasses.replace(model, files={f"x{path}": digest for path, digest in model.files.items()})


@pytest.mark.parametrize("change, error", [(another, Conflict), (renamed_file, SchemaError)])
def test_a_version_that_is_another_one_is_refused(
    store: Store, folder: Path, change: Callable[[Model], Model], error: type[Exception]
) -> None:
    model = version(folder, 1)
    store.restore_model(model, folder)
    with pytest.raises(error, match="model 'm' version 1"):
        store.restore_model(change(model), folder)
    assert store.models("m") == [model]


def test_restored_promotions_are_there_once_and_go_on(store: Store, folder: Path) -> None:
    for number in (1, 3):
        store.restore_model(version(folder, number), folder)
    for promotions in (PROMOTIONS[:1], PROMOTIONS, PROMOTIONS):
        store.restore_promotions("m", promotions)
    assert store.champions("m") == PROMOTIONS
    champion = store.champion("m")
    assert champion is not None and champion.version == 3
    store.promote("m", 1, reason="back", expected=3)
    assert [promotion["version"] for promotion in store.champions("m")] == [1, 3, 1]


def test_promotions_that_are_others_are_refused(store: Store, folder: Path) -> None:
    store.restore_model(version(folder, 1), folder)
    store.promote("m", 1, reason="here", expected=None)
    with pytest.raises(Conflict, match="promotion 1 of 'm'"):
        store.restore_promotions("m", PROMOTIONS)
    assert [promotion["reason"] for promotion in store.champions("m")] == ["here"]
