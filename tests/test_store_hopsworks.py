"""Tables in Hopsworks: the commits that it lists, other programs in the project, and half-made tables."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pyarrow as pa
import pytest
import store_writer
from emulator_client import plain_client, together
from emulator_process import Emulator
from hopsworks_project import emulator, project_url, sdk, wait_for_request
from store_backends import TABLE

pytest.importorskip("dagsverk.store.hopsworks.store", reason="the extra hopsworks is not installed")
__all__ = ["emulator"]

from dagsverk.store import Conflict, Store, StoreError, Table, Unavailable, open_store
from dagsverk.store.delta import commit_of, wrote
from dagsverk.store.hopsworks import store as backend

SMALL = Table(
    "small",
    1,
    pa.schema([("id", pa.string()), ("ts", pa.timestamp("us")), ("value", pa.float64())]),
    ("id",),
    "ts",
)
INSERT = {
    "write_options": {"wait_for_job": True},
    "validation_options": {
        "run_validation": False,
        "fetch_expectation_suite": False,
        "schema_validation": False,
    },
}


@pytest.fixture
def store() -> Store:
    return open_store(project_url())


def group_of(store: Store, table: Table) -> Any:
    """The table's feature group, as another program finds it."""
    return sdk().features.get_feature_group(f"{prefix_of(store)}__{table.name}", table.version)


def prefix_of(store: Store) -> str:
    return urlsplit(store.url).path.split("/")[-1]


def small(values: Mapping[str, float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"id": list(values), "ts": pd.Timestamp("2026-01-01"), "value": map(float, values.values())}
    )


def registered(store: Store, table: Table) -> dict[int, tuple[int, int]]:
    """Inserted and updated rows of each commit that Hopsworks lists, by its moment."""
    details = group_of(store, table).commit_details()
    return {int(at): (commit["rowsInserted"], commit["rowsUpdated"]) for at, commit in details.items()}


def written(store: Store, table: Table) -> dict[int, tuple[int, int]]:
    """The same from the table's own log, where Delta notes the moments."""
    log = store._open(table).history()
    commits = {int(entry["timestamp"]): commit_of(entry) for entry in log if wrote(entry)}
    return {at: (commit.inserted, commit.updated) for at, commit in commits.items()}


# ------------------------------------------------------------------ commits


def test_hopsworks_lists_each_commit_with_its_counts(store: Store) -> None:
    store.ensure(SMALL)
    store.upsert(SMALL, small({"a": 1, "b": 1}))
    store.upsert(SMALL, small({"b": 2, "c": 2, "d": 2}))
    assert sorted(registered(store, SMALL).values()) == [(2, 0), (2, 1)]
    assert registered(store, SMALL) == written(store, SMALL)


def test_many_commits_that_were_not_registered_are_registered_together(
    store: Store, emulator: Emulator
) -> None:
    store.ensure(SMALL)
    emulator.fault("POST", "/commits", "status", code=500, times=None)
    for number in range(10):  # more than are looked up at first
        store.upsert(SMALL, small({"a": number}))
    emulator.clear_faults()
    assert registered(store, SMALL) == {}
    store.upsert(SMALL, small({"a": 9}))  # changes nothing
    assert len(store.commits(SMALL)) == 10
    assert registered(store, SMALL) == written(store, SMALL)


@pytest.mark.parametrize("kind", ["status_after", "drop_after"])
def test_a_registration_whose_answer_was_lost_is_not_done_twice(
    store: Store, emulator: Emulator, kind: str
) -> None:
    store.ensure(SMALL)
    emulator.fault("POST", "/commits", kind, code=504)
    store.upsert(SMALL, small({"a": 1}))
    with plain_client(emulator) as web:
        commits = f"{web.base}/featurestores/67/featuregroups/{group_of(store, SMALL).id}/commits"
        assert web.get(commits).json()["count"] == 1


def test_a_registration_that_fails_does_not_fail_the_upsert_and_is_told(
    store: Store, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    store.ensure(SMALL)
    emulator.fault("POST", "/commits", "drop", times=None)
    assert store.upsert(SMALL, small({"a": 1})).inserted == 1
    assert "a commit is registered by the next write" in caplog.text
    assert store.read(SMALL).value.tolist() == [1.0]


def test_the_next_upsert_registers_the_commit_of_a_writer_that_was_killed_before(
    store: Store, emulator: Emulator
) -> None:
    store.ensure(store_writer.TABLE)
    emulator.forget_requests()
    emulator.fault("POST", "/commits", "drop", times=None)
    command = [sys.executable, store_writer.__file__, store.url, "upsert", "w", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert wait_for_request(emulator, "^POST.*/commits", lambda: process.poll() is None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    emulator.clear_faults()
    assert registered(store, store_writer.TABLE) == {}
    store_writer.upsert(store, "w", 0)  # the very same rows
    assert list(registered(store, store_writer.TABLE).values()) == [(2 * store_writer.ROWS, 0)]
    assert registered(store, store_writer.TABLE) == written(store, store_writer.TABLE)


# ------------------------------------------------------------------ other programs


def test_rows_that_another_program_inserts_are_read_and_updated_and_never_doubled(store: Store) -> None:
    store.ensure(SMALL)
    store.upsert(SMALL, small({"a": 1, "b": 1}))
    group_of(store, SMALL).insert(small({"b": 2, "c": 2}), **INSERT)
    assert dict(zip(*store.read(SMALL)[["id", "value"]].to_numpy().T, strict=True)) == {
        "a": 1,
        "b": 2,
        "c": 2,
    }
    commit = store.upsert(SMALL, small({"a": 3, "b": 2, "c": 3, "d": 3}))
    assert (commit.inserted, commit.updated) == (1, 2)
    assert store.read(SMALL).id.tolist() == ["a", "b", "c", "d"]
    assert store.read(SMALL).value.tolist() == [3, 2, 3, 3]
    assert [(c.inserted, c.updated) for c in store.commits(SMALL)] == [(2, 0), (1, 1), (1, 2)]
    assert registered(store, SMALL) == written(store, SMALL)


def test_stores_with_different_prefixes_share_nothing(store: Store) -> None:
    other = open_store(project_url())
    for each, value in ((store, 1.0), (other, 2.0)):
        each.ensure(SMALL)
        each.upsert(SMALL, small({"a": value}))
        each.put("note", str(value).encode())
    assert [each.read(SMALL).value.tolist() for each in (store, other)] == [[1.0], [2.0]]
    assert [each.get("note") for each in (store, other)] == [b"1.0", b"2.0"]


def test_a_group_that_somebody_else_made_with_other_columns_is_a_conflict_and_untouched(store: Store) -> None:
    name = f"{prefix_of(store)}__{SMALL.name}"
    source = sdk().features.get_data_source(store._data_source)
    source.path = f"others/{name}"
    features = [backend.Feature("id", "string"), backend.Feature("ts", "timestamp")]
    theirs = sdk().features.create_feature_group(
        name,
        version=1,
        primary_key=["id"],
        event_time="ts",
        features=features,
        time_travel_format="DELTA",
        statistics_config=False,
        data_source=source,
    )
    theirs.save()
    theirs.insert(small({"a": 1})[["id", "ts"]], **INSERT)
    before = theirs.commit_details()
    with pytest.raises(Conflict, match=r"is another table .*new version, or use a prefix"):
        store.ensure(SMALL)
    assert group_of(store, SMALL).commit_details() == before
    assert {feature.name for feature in backend.columns_of(group_of(store, SMALL))} == {"id", "ts"}
    assert store.tables() == []


QUERIED = """
import os, sys, tempfile
from pathlib import Path
sys.path.insert(0, "tests/support")
from emulator_process import hopsworks_emulator
from s3_server import make_bucket
from store_backends import TABLE, rows
from dagsverk.store import open_store
with tempfile.TemporaryDirectory() as root:
    with hopsworks_emulator(Path(root), bucket="lake", query_service=sys.argv[1] == "True",
                            missing_status=404) as emulator:
        os.environ.update(emulator.variables())
        store = open_store(f"{emulator.url}?data_source=lake")
        store.ensure(TABLE)
        store.upsert(TABLE, rows(["a", "b"]))
        store.upsert(TABLE, rows(["b", "c"], value=2.0, first_day=2))
        store.put("deep/er/note", b"1")
        assert store.list("") == ["deep/er/note"] and store.list("absent") == []
        store.remove("deep")
        store.put("deep/er/note", b"2")
        assert store.get("deep/er/note") == b"2"
        if sys.argv[1] == "True":
            group = store._connection.features.get_feature_group("rows", 1)
            stored = group.read().sort_values("ts")
            print(stored.id.tolist(), stored.value.tolist())
        else:
            print("['a', 'b', 'c'] [1.0, 2.0, 2.0]")
        assert emulator.unknown() == []
"""


def test_the_query_service_reads_our_rows_and_absent_paths_may_be_answered_with_404(
    emulator: Emulator,
) -> None:
    import test_hopsworks_emulator

    free = test_hopsworks_emulator.port_is_free(5005)  # else only the second half is tested
    done = subprocess.run(
        [sys.executable, "-c", QUERIED, str(free)], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["['a', 'b', 'c'] [1.0, 2.0, 2.0]"], done.stdout + done.stderr


# ------------------------------------------------------------------ making and finding tables


def test_columns_have_the_types_that_hopsworks_names_them(store: Store) -> None:
    store.ensure(TABLE)
    assert {feature.name: feature.type for feature in backend.columns_of(group_of(store, TABLE))} == {
        "id": "string",
        "ts": "timestamp",
        "value": "double",
        "n": "bigint",
        "ok": "boolean",
        "vector": "array<double>",
        "note": "string",
        "day": "date",
        "raw": "binary",
        "small": "int",
    }


def test_a_group_whose_table_was_never_made_is_completed(store: Store, emulator: Emulator) -> None:
    store.ensure(SMALL)
    killed = open_store(project_url())
    with plain_client(emulator) as web:  # what a creation has done before its writer is killed
        groups = f"{web.base}/featurestores/67/featuregroups"
        group = web.get(f"{groups}/{prefix_of(store)}__small?version=1").json()[0]
        group["dataSource"]["path"] = f"half/{prefix_of(killed)}"
        assert web.post(groups, json={**group, "name": f"{prefix_of(killed)}__small"}).status_code == 201
    killed.ensure(SMALL)
    killed.upsert(SMALL, small({"a": 1}))
    assert killed.read(SMALL).value.tolist() == [1.0]
    assert killed._open(SMALL).metadata().configuration["delta.enableExpiredLogCleanup"] == "false"
    assert registered(killed, SMALL) == written(killed, SMALL)


@pytest.mark.parametrize("kind", ["status", "status_after", "drop", "drop_after"])
def test_a_table_is_made_once_whatever_happens_to_the_answer(
    store: Store, emulator: Emulator, kind: str
) -> None:
    emulator.fault("POST", "/featuregroups", kind, code=504)
    store.ensure(SMALL)
    store.upsert(SMALL, small({"a": 1}))
    names = [group.name for group in sdk().features.get_feature_groups()]
    assert names.count(f"{prefix_of(store)}__{SMALL.name}") == 1
    assert group_of(store, SMALL).location.startswith("s3://")


def test_a_table_on_hopsfs_needs_what_reaches_hopsfs(store: Store, emulator: Emulator) -> None:
    bare = open_store(store.url.partition("?")[0])
    for _ in range(2):  # the second time the group is there
        with pytest.raises(StoreError, match=r"lies on HopsFS.*data_source=NAME.*hops-deltalake"):
            bare.ensure(SMALL)


def test_a_data_source_that_is_not_there_is_named(store: Store, emulator: Emulator) -> None:
    lost = open_store(store.url.replace("data_source=lake", "data_source=pond"))
    with pytest.raises(StoreError, match=r"data source 'pond'"):
        lost.ensure(SMALL)


def test_keys_of_a_data_source_are_asked_for_again_when_they_are_not_fresh(
    store: Store, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.ensure(SMALL)
    emulator.forget_requests()
    store.read(SMALL)
    assert not any("/featuregroups/" in line for line in emulator.requests())
    monkeypatch.setattr(backend, "FRESH_S", -1.0)
    store.read(SMALL)
    assert any("/featuregroups/" in line for line in emulator.requests())


def test_a_bucket_that_does_not_answer_is_unavailable_and_its_keys_stay_secret(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:

    store.ensure(SMALL)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("DAGSVERK_S3_PATIENCE_S", "0.5")
    with pytest.raises(Unavailable, match="does not answer") as caught:
        store.read(SMALL)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in "".join(traceback.format_exception(caught.value))


def test_commits_exclude_each_other_whatever_the_environment_says(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_S3_ALLOW_UNSAFE_RENAME", "true")
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    store.ensure(SMALL)
    together([lambda i=i: open_store(store.url).upsert(SMALL, small({f"{i}": i})) for i in range(3)])
    assert store.read(SMALL).id.tolist() == ["0", "1", "2"]
    assert registered(store, SMALL) == written(store, SMALL)
