"""What every store does with rows that are written, whatever is behind it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from store_backends import BACKENDS, SCHEMA, TABLE, rows

from dagsverk.store import SchemaError, Store


@pytest.fixture(params=list(BACKENDS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    store = BACKENDS[request.param](tmp_path)
    store.ensure(TABLE)
    return store


def test_an_empty_table_reads_as_no_rows_with_its_columns(store: Store) -> None:
    assert store.read(TABLE).columns.tolist() == SCHEMA.names
    assert len(store.read(TABLE)) == len(store.latest(TABLE, 5)) == 0
    assert store.commits(TABLE) == []


def test_types_survive_the_round_trip(store: Store) -> None:
    store.upsert(TABLE, rows(["a", "b"]))
    rows_read = store.read(TABLE)
    dtypes = {"ts": "datetime64[us]", "value": "float64", "n": "int64", "ok": "bool", "small": "int32"}
    assert {name: str(rows_read[name].dtype) for name in dtypes} == dtypes
    first = rows_read.iloc[0]
    assert (first.id, first.note, first.day, first.raw) == ("a", "a", dt.date(2026, 1, 1), b"\x00\xff")
    assert isinstance(first.vector, np.ndarray) and first.vector.tolist() == [0.25, 0.75]


def test_missing_values_come_back_as_missing_in_exact_types(store: Store) -> None:
    big = 2**53 + 1  # a float64 cannot hold it
    given = rows(["a", "b"]).assign(
        value=[np.nan, 1.0],
        n=pd.array([big, None], "Int64"),
        ok=[None, True],
        note=[None, "x"],
        vector=[None, [0.5, np.nan]],
    )
    store.upsert(TABLE, given)
    rows_read = store.read(TABLE)
    assert (str(rows_read.n.dtype), str(rows_read.ok.dtype)) == ("Int64", "boolean")
    assert rows_read.n[0] == big and rows_read.n.isna().tolist() == [False, True]
    assert (
        rows_read.value.isna().tolist()
        == rows_read.ok.isna().tolist()
        == rows_read.note.isna().tolist()
        == [True, False]
    )
    assert rows_read.vector[0] is None and np.isnan(rows_read.vector[1][1])


def test_an_upsert_inserts_new_rows_and_updates_known_ones(store: Store) -> None:
    first = store.upsert(TABLE, rows(["a", "b"]))
    second = store.upsert(TABLE, rows(["a", "b", "c"], value=2.0))
    assert (first.inserted, first.updated, second.inserted, second.updated) == (2, 0, 1, 2)
    assert store.read(TABLE).value.tolist() == [2.0, 2.0, 2.0]
    assert store.commits(TABLE) == [first, second]


def test_an_update_leaves_its_neighbours_alone(store: Store) -> None:
    store.upsert(TABLE, rows(list("abcdef")))
    store.upsert(TABLE, rows(list("abcdef"), value=9.0).iloc[[1, 4]])
    assert store.read(TABLE).value.tolist() == [1.0, 9.0, 1.0, 1.0, 9.0, 1.0]


def test_a_repeated_upsert_makes_no_commit(store: Store) -> None:
    first = store.upsert(TABLE, rows(["a", "b"]))
    version = store.version(TABLE)
    again = store.upsert(TABLE, rows(["a", "b"]).iloc[::-1])  # in another order
    assert (again.id, again.inserted, again.updated) == (first.id, 0, 0)
    assert store.version(TABLE) == version and store.commits(TABLE) == [first]


@pytest.mark.parametrize(
    "change",
    [
        {"value": np.nan},
        {"n": None},
        {"ok": False},
        {"note": None},
        {"day": dt.date(2026, 1, 2)},
        {"raw": b""},
        {"vector": [[0.25, 0.5]]},
        {"vector": [[0.25]]},
        {"vector": [[0.25, None]]},
        {"vector": None},
    ],
    ids=str,
)
def test_a_change_of_one_value_is_seen_there_and_back(store: Store, change: dict[str, object]) -> None:
    store.upsert(TABLE, rows(["a"]))
    for given in (rows(["a"]).assign(**change), rows(["a"])):
        commit = store.upsert(TABLE, given)
        assert (commit.inserted, commit.updated) == (0, 1)
        assert store.upsert(TABLE, given).updated == 0


def test_no_rows_make_no_commit(store: Store) -> None:
    commit = store.upsert(TABLE, rows([]))
    assert (commit.inserted, commit.updated) == (0, 0) and store.commits(TABLE) == []


def test_the_last_of_equal_identities_wins_in_the_first_write_and_the_next(store: Store) -> None:
    store.upsert(TABLE, pd.concat([rows(["a"], 1.0), rows(["a"], 2.0)]))
    assert store.read(TABLE).value.tolist() == [2.0]
    store.upsert(TABLE, pd.concat([rows(["a"], 3.0), rows(["a"], 4.0)]))
    assert store.read(TABLE).value.tolist() == [4.0]


def test_identity_is_key_and_event_time(store: Store) -> None:
    store.upsert(TABLE, rows(["a"], first_day=1))
    store.upsert(TABLE, rows(["a"], first_day=2))
    assert len(store.read(TABLE)) == 2


def test_a_microsecond_makes_another_row(store: Store) -> None:
    moments = [pd.Timestamp("2026-01-01 00:00:00.000001"), pd.Timestamp("2026-01-01 00:00:00.000002")]
    store.upsert(TABLE, rows(["a", "a"]).assign(ts=moments))
    store.upsert(TABLE, rows(["a"], value=2.0).assign(ts=moments[:1]))
    assert store.read(TABLE).value.tolist() == [2.0, 1.0]
    assert store.read(TABLE, since=moments[1]).ts.tolist() == moments[1:]


def test_event_times_before_1970_and_far_ahead_are_kept(store: Store) -> None:
    moments = [pd.Timestamp("1912-04-14 23:40:00.5"), pd.Timestamp("2199-12-31")]
    for value in (1.0, 2.0):
        store.upsert(TABLE, rows(["a", "a"], value).assign(ts=moments))
    assert store.read(TABLE).ts.tolist() == moments and store.read(TABLE).value.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows.assign(extra=1),
        lambda rows: rows.drop(columns="value"),
        lambda rows: rows.assign(id=None),
        lambda rows: rows.assign(ts=pd.NaT),
        lambda rows: rows.assign(value="abc"),
        lambda rows: rows.assign(value="1.5"),
        lambda rows: rows.assign(id=7),
        lambda rows: rows.assign(n=1.5),
        lambda rows: rows.assign(n=True),
        lambda rows: rows.assign(small=2**40),
        lambda rows: rows.assign(ts="yesterday"),
        lambda rows: rows.assign(vector=0.5),
        lambda rows: rows.assign(note=[object()]),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_nothing_is_written(
    store: Store, spoil: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    store.upsert(TABLE, rows(["kept"]))
    with pytest.raises(SchemaError, match="rows"):
        store.upsert(TABLE, spoil(rows(["a"])))
    assert store.read(TABLE).id.tolist() == ["kept"]


def test_integers_fill_float_columns_and_whole_floats_integer_columns(store: Store) -> None:
    store.upsert(TABLE, rows(["a", "b"]).assign(value=1, n=[3.0, np.nan], note=None))
    rows_read = store.read(TABLE)
    assert rows_read.value.tolist() == [1.0, 1.0] and rows_read.n[0] == 3 and rows_read.n.isna()[1]
    assert rows_read.note.isna().all()


def test_zoned_moments_become_utc(store: Store) -> None:
    moments = pd.to_datetime(["2026-07-01 01:00"]).tz_localize("Europe/Stockholm")
    store.upsert(TABLE, rows(["a"]).assign(ts=moments))
    assert store.read(TABLE).ts[0] == pd.Timestamp("2026-06-30 23:00")
    assert len(store.read(TABLE, since=moments[0], until="2026-06-30T23:00:01Z")) == 1


def test_categories_and_long_text_are_kept_as_text(store: Store) -> None:
    store.upsert(TABLE, rows(["a"]).assign(note=pd.Categorical(["x"])))
    store.upsert(TABLE, rows(["b"]).assign(note="åäö\n" * 5000))
    assert sorted(store.read(TABLE).note.str.len()) == [1, 20000]


def test_arrow_tables_are_rows_too(store: Store) -> None:
    given = pa.Table.from_pandas(rows(["a", "b"]), preserve_index=False)
    assert store.upsert(TABLE, given).inserted == 2
    assert store.upsert(TABLE, rows(["a", "b"])).updated == 0
