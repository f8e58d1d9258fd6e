"""A copied store is the store: same commits, versions, promotions, artefacts; whatever happens on the way."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import copying_process
import pandas as pd
import pyarrow as pa
import pytest
from copied_store import assert_same, everything, fill, quiet
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st
from store_backends import BACKENDS, TABLE, rows

from dagsverk.store import Store, Table, open_store
from dagsverk.store.moving.copying import copy
from dagsverk.store.moving.history import written

PAIRS = [("folder", name) for name in BACKENDS] + [(name, "folder") for name in BACKENDS if name != "folder"]


@pytest.fixture
def source(tmp_path: Path) -> Store:
    return fill(open_store(str(tmp_path / "from")), tmp_path)


@pytest.fixture
def target(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "to"))


# ------------------------------------------------------------------ what arrives


@pytest.mark.parametrize("one, other", PAIRS, ids=lambda name: name)
def test_a_copy_is_the_store(one: str, other: str, tmp_path: Path) -> None:
    source = fill(BACKENDS[one](tmp_path / "one"), tmp_path)
    target = BACKENDS[other](tmp_path / "other")
    counts = copy(source, target, quiet, read_back=True)
    assert_same(source, target, tmp_path / "checked")
    assert counts == {"artefacts": 5, "commits": 5, "versions": 3, "promotions": 2, "bytes": counts["bytes"]}


def test_the_source_is_only_read(source: Store, target: Store) -> None:
    before = everything(Path(source.url))
    copy(source, target, quiet, read_back=True)
    assert everything(Path(source.url)) == before


def test_a_copy_of_a_copy_is_the_store(source: Store, target: Store, tmp_path: Path) -> None:
    copy(source, target, quiet)
    third = open_store(str(tmp_path / "third"))
    copy(target, third, quiet)
    assert_same(source, third, tmp_path / "checked")
    assert not any(copy(target, third, quiet).values())


WRITES = st.lists(
    st.dictionaries(
        st.sampled_from("abcdef"), st.tuples(st.integers(1, 3), st.sampled_from([None, 0.5, 1.5]))
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=8, deadline=None)
@given(writes=WRITES, first=st.integers(0, 6))
def test_any_history_reads_the_same_as_of_every_commit(
    writes: list[dict[str, tuple[int, float | None]]], first: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path = tmp_path_factory.mktemp("any")
    source, target = open_store(str(tmp_path / "from")), open_store(str(tmp_path / "to"))
    plain = pa.schema([("id", pa.string()), ("ts", pa.timestamp("us")), ("value", pa.float64())])
    for name, time in (("timed", "ts"), ("keyed", None)):
        source.ensure(Table(name, 1, plain, ("id",), time))
    for number, write in enumerate(writes):
        given = pd.DataFrame(
            {
                "id": list(write),
                "ts": [pd.Timestamp(2026, 1, day) for day, _ in write.values()],
                "value": pd.Series([value for _, value in write.values()], dtype=float),
            }
        )
        for table in source.tables():
            source.upsert(table, given)
        if number == first:  # a first copy on the way, and what came since with the second
            copy(source, target, quiet)
    source.compact(source.tables()[0])
    copy(source, target, quiet)
    assert_same(source, target, tmp_path)


def test_each_commit_brings_only_the_rows_of_its_own_files(source: Store) -> None:
    """So a history costs what its files cost: 40 appended days of one row are 40 rows, not 820."""
    for day in range(40):
        source.upsert(TABLE, rows([f"day{day}"], first_day=day % 28 + 1).assign(n=day))
    commits = source.commits(TABLE)
    brought = list(written(source, TABLE, after=commits[2].id))
    assert [commit for commit, _ in brought] == commits[3:]
    assert {len(rows_) for _, rows_ in brought} == {1}


def test_where_old_files_are_gone_history_begins_later_and_the_copy_says_so(
    source: Store, target: Store
) -> None:
    DeltaTable(f"{source.url}/tables/rows_1").vacuum(0, dry_run=False, enforce_retention_duration=False)
    lines: list[str] = []
    copy(source, target, lines.append)
    commits = source.commits(TABLE)
    kept = target.commits(TABLE)
    assert 0 < len(kept) < len(commits) and kept == commits[-len(kept) :]
    pd.testing.assert_frame_equal(target.read(TABLE), source.read(TABLE))
    lost = commits[-len(kept) - 1].id
    assert f"{len(commits) - len(kept)} up to {lost} are lost" in "\n".join(lines)
    source.upsert(TABLE, rows(["new"]))
    copy(source, target, quiet)
    assert target.commits(TABLE)[:-1] == kept and target.commits(TABLE)[-1] == source.commits(TABLE)[-1]


# ------------------------------------------------------------------ again, and after a kill


def test_a_second_copy_finds_nothing_missing_and_sends_nothing(source: Store, target: Store) -> None:
    copy(source, target, quiet)
    before = everything(Path(target.url))
    assert not any(copy(source, target, quiet, read_back=True).values())
    assert everything(Path(target.url)) == before


def test_a_second_copy_brings_what_is_new(source: Store, target: Store, tmp_path: Path) -> None:
    copy(source, target, quiet)
    source.upsert(TABLE, rows(["a", "y"], value=7.0))
    source.put("status/day.json", b"another day", overwrite=True)
    source.put("status/new", b"new")
    source.save_model("m", tmp_path / "to-save", metrics={"wer": 0.01})
    source.promote("m", 4, reason="best", expected=3)
    counts = copy(source, target, quiet)
    assert_same(source, target, tmp_path / "checked")
    bytes_ = counts["bytes"]
    assert counts == {"commits": 1, "artefacts": 2, "versions": 1, "promotions": 1, "bytes": bytes_}


def test_an_artefact_is_not_sent_again_when_only_its_stamp_changed(source: Store, target: Store) -> None:
    copy(source, target, quiet)
    source.put("top", source.get("top"), overwrite=True)
    assert copy(source, target, quiet)["artefacts"] == 0


def assert_nothing_dangles(store: Store) -> None:
    """Every version has the rows that it was trained on, and every promotion its version."""
    for model in store.models("m"):
        assert model.info["data_commit"] in [commit.id for commit in store.commits(TABLE)]
    assert {p["version"] for p in store.champions("m")} <= {model.version for model in store.models("m")}


@pytest.mark.parametrize("at", [0, 2, 4, 5])
def test_a_copy_of_a_store_at_work_holds_no_reference_to_what_it_lacks(
    source: Store, target: Store, at: int, tmp_path: Path
) -> None:
    """A day's work comes in after the line `at`: artefacts are lines 0 to 2, tables 3 to 5."""
    lines: list[str] = []

    def work(line: str) -> None:
        if len(lines) == at:
            commit = source.upsert(TABLE, rows(["new"], first_day=9))
            source.put("status/day.json", b"another day", overwrite=True)
            model = source.save_model("m", tmp_path / "to-save", metrics={}, info={"data_commit": commit.id})
            source.promote("m", model.version, reason="newest", expected=3)
        lines.append(line)

    copy(source, target, work)
    assert_nothing_dangles(target)
    copy(source, target, quiet)
    assert_same(source, target, tmp_path / "checked")


@pytest.fixture(scope="module")
def one_source(tmp_path_factory: pytest.TempPathFactory) -> Store:
    tmp_path = tmp_path_factory.mktemp("one")
    return fill(open_store(str(tmp_path / "from")), tmp_path)


def copy_and_die(source: Store, target: Path, line: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, copying_process.__file__, source.url, str(target), str(line)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def lines(one_source: Store, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many lines of the store's code a whole copy runs."""
    return int(copy_and_die(one_source, tmp_path_factory.mktemp("whole") / "to", 0).stdout)


@pytest.mark.parametrize("seed", range(4))
def test_a_copy_killed_at_any_line_goes_on_to_the_same_end(
    one_source: Store, lines: int, seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    for share in (1, 0.7):  # the second time there is less left to run
        done = copy_and_die(one_source, tmp_path / "to", chance.randrange(1, int(lines * share)))
        assert done.returncode in (-signal.SIGKILL, 0), done.stderr
    target = open_store(str(tmp_path / "to"))
    assert_nothing_dangles(target)
    copy(one_source, target, quiet, read_back=True)
    assert_same(one_source, target, tmp_path / "checked")
