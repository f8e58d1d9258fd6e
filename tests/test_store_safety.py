"""What the embedded store withstands: killed writers, many writers, changed files, years of small writes."""

from __future__ import annotations

import datetime as dt
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import store_writer
from hypothesis import given, settings
from hypothesis import strategies as st
from store_writer import TABLE

from dagsverk.store import Model, NotFound, SchemaError, Store, StoreError, Table, open_store, upsert

WRITER = Path(store_writer.__file__)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def model(store: Store, tmp_path: Path) -> Model:
    (tmp_path / "model").mkdir()
    for name in ("a.bin", "b.bin"):
        (tmp_path / "model" / name).write_bytes(name.encode())
    return store.save_model("m", tmp_path / "model", metrics={})


def start(store: Store, kind: str, writer: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WRITER), store.url, kind, writer, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_during_turn(process: subprocess.Popen[str], turn: int, spin: int) -> None:
    """SIGKILL at a moment that `spin` decides, after the turn before was reported."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == ("ready" if turn == 0 else str(turn - 1)):
            break
    sum(range(spin))
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_upsert_is_there_whole_or_not_at_all(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    turn = chance.randrange(3)
    kill_during_turn(start(store, "upsert", "w", 1000), turn, chance.randrange(3_000_000))
    turns = Counter(store.read(TABLE)[["writer", "turn"]].itertuples(index=False, name=None))
    assert set(turns.values()) <= {store_writer.ROWS} and len(turns) in (0, 2)
    assert len({turn for _, turn in turns}) <= 1
    store_writer.upsert(store, "w", 7)  # and the table can be written as before
    assert set(store.read(TABLE).turn) == {7}


@pytest.mark.parametrize("seed", range(3))
def test_after_a_killed_save_every_version_is_whole(store: Store, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    kill_during_turn(start(store, "save", "w", 1000), chance.randrange(4), chance.randrange(1_500_000))
    store_writer.save(store, "after", 0)
    versions = store.models("m")
    assert [model.version for model in versions] == list(range(1, len(versions) + 1))
    for model in versions:
        folder = store.download(model, tmp_path / str(model.version))
        wanted = f"{model.info['writer']} {model.info['turn']} ".encode() * 20_000
        assert [path.read_bytes() == wanted for path in sorted(folder.iterdir())] == [True] * 3
    champion = store.champion("m")
    assert champion is not None and champion.info["writer"] == "after"


def test_processes_that_write_at_once_lose_nothing_and_double_nothing(store: Store) -> None:
    writers = [start(store, "upsert", f"w{i}", 4) for i in range(3)]
    for process in writers:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    rows = store.read(TABLE)
    assert not rows.duplicated(["writer", "n", "ts"]).any()
    last = rows.groupby("writer").turn.agg(["count", "min", "max"])
    assert last.loc[["w0", "w1", "w2", "shared"], "count"].tolist() == [store_writer.ROWS] * 4
    assert last.loc[["w0", "w1", "w2"]].to_numpy()[:, 1:].tolist() == [[3, 3]] * 3
    ids = [commit.id for commit in store.commits(TABLE)]
    assert ids == sorted(set(ids))


# ------------------------------------------------------------------ changed files


def file_of(store: Store, name: str) -> Path:
    return next(path for path in Path(store.url, "models").rglob(name))


def test_a_changed_model_file_is_refused_by_name(store: Store, model: Model, tmp_path: Path) -> None:
    file_of(store, "b.bin").write_bytes(b"b.bit")
    with pytest.raises(StoreError, match=r"b\.bin.*SHA-256"):
        store.download(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_or_extra_model_file_is_refused_by_name(store: Store, model: Model, tmp_path: Path) -> None:
    stray = file_of(store, "a.bin").with_name("run_me.py")
    stray.write_text("")
    with pytest.raises(StoreError, match=r"besides its own.*run_me\.py"):
        store.download(model, tmp_path / "out")
    stray.unlink()
    file_of(store, "a.bin").unlink()
    with pytest.raises(StoreError, match=r"lacks the file 'a\.bin'"):
        store.download(model, tmp_path / "out")


@pytest.mark.parametrize("change", [{"files": {"../../evil": "0"}}, {"upload": "../../.."}])
def test_a_record_that_points_outside_is_refused(
    store: Store, model: Model, tmp_path: Path, change: dict[str, object]
) -> None:
    record = Path(store.url, "models/m/versions/000001.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), **change}))
    with pytest.raises(SchemaError, match="illegal path"):
        store.download(model, tmp_path / "out")


def test_a_damaged_record_is_named(store: Store, model: Model) -> None:
    Path(store.url, "models/m/versions/000001.json").write_text('{"name"')
    with pytest.raises(StoreError, match=r"000001\.json is damaged"):
        store.model("m", 1)


def test_a_table_that_lacks_a_file_says_so(store: Store) -> None:
    store.ensure(TABLE)
    store_writer.upsert(store, "w", 0)
    next(Path(store.url, "tables/days_1").glob("*.parquet")).unlink()
    with pytest.raises(StoreError, match="table days version 1"):
        store.read(TABLE)


def test_a_save_sweeps_uploads_that_no_version_names_after_a_day(
    store: Store, model: Model, tmp_path: Path
) -> None:
    uploads = Path(store.url, "models/m/uploads")
    kept = next(uploads.iterdir())
    now = dt.datetime.now(dt.UTC)
    for age in (dt.timedelta(days=2), dt.timedelta(hours=2)):
        half = uploads / f"{(now - age).strftime('%Y%m%dT%H%M%SZ')}-0000abcd"
        half.mkdir()
        (half / "a.bin").write_bytes(b"")
    (tmp_path / "model" / "b.bin").write_bytes(b"other")
    second = store.save_model("m", tmp_path / "model", metrics={})
    assert len(list(uploads.iterdir())) == 3 and kept.exists()  # two versions and the upload of two hours ago
    for each in (model, second):
        store.download(each, tmp_path / f"out{each.version}")


# ------------------------------------------------------------------ many small writes


DAYS = Table(
    "daily",
    1,
    pa.schema([("id", pa.int64()), ("ts", pa.timestamp("us")), ("x", pa.float64())]),
    ("id",),
    "ts",
)


def day(number: int, x: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame({"id": [0, 1], "ts": pd.Timestamp("2020-01-01") + pd.Timedelta(days=number), "x": x})


def test_many_small_writes_are_compacted_by_themselves(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upsert, "SMALL_FILES", 4)
    store.ensure(DAYS)
    commits = [store.upsert(DAYS, day(number)) for number in range(12)]
    assert store.version(DAYS) > len(commits)  # compactions are versions of their own
    assert store.commits(DAYS) == commits
    assert [len(store.read(DAYS, as_of=commit.id)) for commit in commits] == [2 * n for n in range(1, 13)]
    assert store.read(DAYS, since="2020-01-05", until="2020-01-07").ts.dt.day.tolist() == [5, 5, 6, 6]
    assert store.latest(DAYS, 3).ts.dt.day.tolist() == [12, 12, 11]


def test_compaction_that_fails_does_not_fail_the_upsert(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.ensure(DAYS)
    store.upsert(DAYS, day(0))
    next(Path(store.url, "tables/daily_1").glob("*.parquet")).unlink()  # compaction will want to read it
    monkeypatch.setattr(upsert, "SMALL_FILES", 1)
    assert store.upsert(DAYS, day(1)).inserted == 2
    assert "compaction is left for the next write" in caplog.text
    assert len(store.read(DAYS, since="2020-01-02")) == 2


def test_an_upsert_larger_than_a_block_is_compared_in_blocks(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upsert, "BLOCK_ROWS", 2)
    store.ensure(DAYS)
    everything = pd.concat([day(number) for number in range(6)])
    for number in range(0, 6, 2):
        store.upsert(DAYS, day(number))
    commit = store.upsert(DAYS, everything.assign(x=[1.0] + [0.0] * 11))
    assert (commit.inserted, commit.updated) == (6, 1)
    assert store.read(DAYS).x.tolist() == [1.0] + [0.0] * 11


ROW = st.tuples(st.integers(0, 3), st.integers(0, 2), st.one_of(st.none(), st.integers(-2, 2)))


@given(st.lists(st.lists(ROW, max_size=5), max_size=5), st.booleans())
@settings(max_examples=12, deadline=None)
def test_any_sequence_of_upserts_is_a_dict_keyed_by_identity(
    tmp_path_factory, batches, compact: bool
) -> None:
    store = open_store(str(tmp_path_factory.mktemp("store")))
    store.ensure(DAYS)
    expected: dict[tuple[int, pd.Timestamp], float | None] = {}
    history = []
    for batch in batches:
        rows = [(id_, pd.Timestamp(2020, 1, 1 + number), x) for id_, number, x in batch]
        latest = {(id_, ts): x for id_, ts, x in rows}
        commit = store.upsert(DAYS, pd.DataFrame(rows, columns=["id", "ts", "x"]))
        assert commit.inserted == len(set(latest) - set(expected))
        assert commit.updated == sum(k in expected and expected[k] != x for k, x in latest.items())
        expected.update(latest)
        history.append((commit, dict(expected)))
        if compact:
            store.compact(DAYS)
    assert found(store) == expected
    for commit, then in history:
        assert found(store, commit.id) == then


def found(store: Store, as_of: int | None = None) -> dict[tuple[int, pd.Timestamp], float | None]:
    rows = store.read(DAYS, as_of=as_of)
    assert rows.equals(rows.sort_values(["ts", "id"]))
    return {(r.id, r.ts): None if pd.isna(r.x) else r.x for r in rows.itertuples()}


def test_a_store_without_its_table_is_not_found_by_name(store: Store) -> None:
    with pytest.raises(NotFound, match="table daily version 1"):
        store.commits(DAYS)
