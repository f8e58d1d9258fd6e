"""What every store does when it is read, and with a table's definition."""

from __future__ import annotations

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from store_backends import BACKENDS, SCHEMA, TABLE, rows

from dagsverk.store import Conflict, NotFound, SchemaError, Store, Table

UNTIMED = Table(
    "facts",
    1,
    pa.schema([("source", pa.string()), ("line", pa.int64()), ("x", pa.float64())]),
    ("source", "line"),
)


@pytest.fixture(params=list(BACKENDS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    store = BACKENDS[request.param](tmp_path)
    store.ensure(TABLE)
    return store


def test_since_is_inclusive_and_until_exclusive(store: Store) -> None:
    store.upsert(TABLE, rows(["a", "b", "c"]))
    assert store.read(TABLE, since="2026-01-02", until="2026-01-03").id.tolist() == ["b"]
    assert store.read(TABLE, since="2027-01-01").columns.tolist() == SCHEMA.names


def test_reads_are_sorted_by_event_time_and_key_whatever_the_order_of_writes(store: Store) -> None:
    moment = pd.Timestamp(2026, 1, 1)
    store.upsert(TABLE, rows(["c", "a"]).assign(ts=moment))
    store.upsert(TABLE, rows(["b"]).assign(ts=moment))
    store.upsert(TABLE, rows(["z"]).assign(ts=moment - pd.Timedelta(days=1)))
    assert store.read(TABLE).id.tolist() == ["z", "a", "b", "c"]


def test_columns_come_as_asked_for(store: Store) -> None:
    store.upsert(TABLE, rows(["a", "b"]))
    assert store.read(TABLE, columns=["value", "id"]).columns.tolist() == ["value", "id"]
    assert store.latest(TABLE, 1, columns=["n"]).columns.tolist() == ["n"]
    with pytest.raises(SchemaError, match="nothing_here"):
        store.read(TABLE, columns=["nothing_here"])


@pytest.mark.parametrize(("n", "expected"), [(0, ""), (1, "c"), (2, "cb"), (9, "cba")])
def test_latest_gives_the_newest_first(store: Store, n: int, expected: str) -> None:
    store.upsert(TABLE, rows(["a", "b", "c"]))
    assert "".join(store.latest(TABLE, n).id) == expected


def test_latest_of_equal_moments_is_by_key(store: Store) -> None:
    store.upsert(TABLE, rows(list("bdac")).assign(ts=pd.Timestamp(2026, 1, 1)))
    assert store.latest(TABLE, 2).id.tolist() == ["d", "c"]
    with pytest.raises(SchemaError):
        store.latest(TABLE, -1)


def test_a_read_as_of_a_commit_sees_what_was_then(store: Store) -> None:
    first = store.upsert(TABLE, rows(["a"]))
    second = store.upsert(TABLE, rows(["a", "b"], value=9.0))
    assert second.id > first.id  # even within one millisecond
    assert store.read(TABLE, as_of=first.id).value.tolist() == [1.0]
    assert store.read(TABLE, as_of=second.id).value.tolist() == [9.0, 9.0]
    assert len(store.read(TABLE, as_of=dt.datetime.now(dt.UTC) + dt.timedelta(days=1))) == 2
    with pytest.raises(NotFound, match="commit"):
        store.read(TABLE, as_of=1)


def test_compaction_changes_no_row_and_no_history(store: Store) -> None:
    commits = [store.upsert(TABLE, rows([name])) for name in "abcd"]
    before = store.read(TABLE)
    store.compact(TABLE)
    store.compact(TABLE)
    pd.testing.assert_frame_equal(store.read(TABLE), before)
    assert store.commits(TABLE) == commits
    assert [len(store.read(TABLE, as_of=commit.id)) for commit in commits] == [1, 2, 3, 4]
    assert store.upsert(TABLE, rows(["e"])).id > commits[-1].id


def test_the_version_changes_with_the_rows_only(store: Store) -> None:
    versions = [store.version(TABLE)]
    for given in (rows(["a"]), rows(["a"]), rows(["a"], 2.0)):
        store.upsert(TABLE, given)
        versions.append(store.version(TABLE))
    assert versions[0] != versions[1] == versions[2] != versions[3]


def test_ensure_twice_is_once_and_another_definition_conflicts(store: Store) -> None:
    store.upsert(TABLE, rows(["a"]))
    store.ensure(TABLE)
    store.ensure(Table("rows", 1, SCHEMA, ("id",), "ts", description="described otherwise"))
    assert len(store.read(TABLE)) == 1
    for other in (
        Table("rows", 1, SCHEMA.append(pa.field("extra", pa.int64())), ("id",), "ts"),
        Table("rows", 1, SCHEMA, ("id", "n"), "ts"),
        Table("rows", 1, SCHEMA, ("id",), None),
    ):
        with pytest.raises(Conflict, match="new version"):
            store.ensure(other)


def test_many_may_ensure_a_table_at_once_and_one_definition_wins(store: Store) -> None:
    ready = threading.Barrier(4)

    def ensure(key: str) -> bool:
        ready.wait()
        try:
            store.ensure(Table("raced", 1, SCHEMA, (key,), "ts"))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        won = list(threads.map(ensure, ["id", "note", "id", "note"]))
    assert won in ([True, False] * 2, [False, True] * 2)
    winner = Table("raced", 1, SCHEMA, ("id" if won[0] else "note",), "ts")
    assert store.upsert(winner, rows(["a"])).inserted == 1


def test_versions_of_a_table_are_apart(store: Store) -> None:
    second = Table("rows", 2, SCHEMA, ("id",), "ts")
    store.ensure(second)
    store.upsert(second, rows(["a"]))
    assert (len(store.read(TABLE)), len(store.read(second))) == (0, 1)


@pytest.mark.parametrize(
    "kind", [pa.uint64(), pa.duration("s"), pa.list_(pa.struct([("a", pa.int64())]))], ids=str
)
def test_types_that_a_backend_would_change_are_refused(store: Store, kind: pa.DataType) -> None:
    with pytest.raises(SchemaError, match="want"):
        store.ensure(Table("odd", 1, pa.schema([("id", pa.string()), ("x", kind)]), ("id",)))


def test_a_table_without_event_time_is_known_by_its_key(store: Store) -> None:
    store.ensure(UNTIMED)
    given = pd.DataFrame({"source": ["b", "a", "a"], "line": [1, 2, 1], "x": [1.0, 2.0, 3.0]})
    assert store.upsert(UNTIMED, given).inserted == 3
    assert store.upsert(UNTIMED, given.assign(x=[1.0, 2.0, 4.0])).updated == 1
    assert store.read(UNTIMED).values.tolist() == [["a", 1, 4.0], ["a", 2, 2.0], ["b", 1, 1.0]]
    for needs_time in (lambda: store.latest(UNTIMED, 1), lambda: store.read(UNTIMED, since="2026-01-01")):
        with pytest.raises(SchemaError, match="no event time"):
            needs_time()


@pytest.mark.parametrize("call", ["read", "upsert", "latest", "commits", "version", "compact"])
def test_a_table_that_was_never_ensured_is_not_found(store: Store, call: str) -> None:
    absent = Table("absent", 1, SCHEMA, ("id",), "ts")
    arguments = {"upsert": (rows(["a"]),), "latest": (1,)}.get(call, ())
    with pytest.raises(NotFound, match=r"store\.ensure"):
        getattr(store, call)(absent, *arguments)


def test_a_split_is_deterministic_disjoint_and_grows_with_its_share(store: Store) -> None:
    commit = store.upsert(TABLE, rows([f"k{i}" for i in range(28)]))
    training, test = store.split(TABLE, 0.3, by=["id"])
    store.upsert(TABLE, rows(["later"], first_day=31))
    again = store.split(TABLE, 0.3, by=["id"], as_of=commit.id)
    assert training.equals(again[0]) and test.equals(again[1])
    assert sorted([*training.id, *test.id]) == sorted(f"k{i}" for i in range(28))
    assert 0 < len(test) < 28
    assert set(test.id) < set(store.split(TABLE, 0.6, by=["id"], as_of=commit.id)[1].id)
    assert set(test.id) != set(store.split(TABLE, 0.3, by=["id"], salt="other", as_of=commit.id)[1].id)


def test_a_split_keeps_rows_with_equal_values_together(store: Store) -> None:
    store.upsert(TABLE, rows(list("aabbccdd")))
    training, test = store.split(TABLE, 0.5, by=["id"])
    assert not set(training.id) & set(test.id)


@pytest.mark.parametrize(
    ("share", "by"), [(1.5, ["id"]), (-0.1, ["id"]), (float("nan"), ["id"]), (0.5, []), (0.5, ["x"])]
)
def test_a_split_that_makes_no_sense_is_refused(store: Store, share: float, by: list[str]) -> None:
    with pytest.raises(SchemaError):
        store.split(TABLE, share, by=by)


def test_concurrent_upserts_all_land_once(store: Store) -> None:
    with ThreadPoolExecutor(4) as threads:
        commits = list(threads.map(lambda i: store.upsert(TABLE, rows([f"w{i}", "shared"])), range(4)))
    assert sorted(store.read(TABLE).id) == ["shared", "w0", "w1", "w2", "w3"]
    assert len({commit.id for commit in commits}) == 4
