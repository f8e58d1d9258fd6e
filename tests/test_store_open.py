"""Which places a store opens, and what it says of the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from dagsverk.store import NotFound, StoreError, Table, open_store
from dagsverk.store.files import ABANDONED_S


def test_an_absent_or_empty_folder_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "a/b/c"):
        open_store(str(tmp_path / name))
        assert json.loads((tmp_path / name / "dagsverk-store.json").read_text()) == {"format": 1}


def test_a_store_opens_again_with_what_it_held(tmp_path: Path) -> None:
    open_store(str(tmp_path)).put("a", b"1")
    assert open_store(f"file://{tmp_path}").get("a") == b"1"


def test_without_url_the_variable_decides_then_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSVERK_STORE", raising=False)
    assert open_store().url == str(tmp_path / ".dagsverk/store")
    monkeypatch.setenv("DAGSVERK_STORE", str(tmp_path / "other"))
    assert open_store().url == str(tmp_path / "other")


def test_a_folder_may_have_spaces_and_letters_of_any_language(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "my store å (2)"))
    table = Table("t", 1, pa.schema([("id", pa.string()), ("ts", pa.timestamp("us"))]), ("id",), "ts")
    store.ensure(table)
    store.upsert(table, pd.DataFrame({"id": ["a"], "ts": [pd.Timestamp(2026, 1, 1)]}))
    assert store.read(table).id.tolist() == ["a"]


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match=r"not a Dagsverk store.*thesis\.tex"):
        open_store(str(tmp_path))
    assert (tmp_path / "thesis.tex").read_text() == "x" and not (tmp_path / "dagsverk-store.json").exists()


@pytest.mark.parametrize("marker", ['{"format": 2}', "{}", "[]", "", '{"format": '])
def test_a_store_of_a_newer_or_unreadable_format_is_refused(tmp_path: Path, marker: str) -> None:
    (tmp_path / "dagsverk-store.json").write_text(marker)
    with pytest.raises(StoreError, match=r"format|damaged"):
        open_store(str(tmp_path))


def test_a_store_that_must_exist_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent"):
        with pytest.raises(NotFound, match="there is no store at"):
            open_store(str(tmp_path / name), create=False)
    assert not (tmp_path / "absent").exists()
    open_store(str(tmp_path / "empty"))
    open_store(str(tmp_path / "empty"), create=False)


@pytest.mark.parametrize("below", ["", "/deeper"])
def test_a_path_below_a_regular_file_is_refused_with_the_next_move(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="give the store a folder"):
        open_store(f"{tmp_path}/file{below}")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    open_store(str(tmp_path / "store"))
    (tmp_path / "store").chmod(0o500)
    with pytest.raises(StoreError, match="give the store a folder"):
        open_store(str(tmp_path / "store"))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("hopsworks://host", "want hopsworks://HOST"),
        ("gs://bucket", "unknown form gs://"),
        ("file://elsewhere/folder", "names the host"),
        ("s3://", "does not name a bucket"),
        ("", "no folder is named"),
        ("half%20", "with '%' in its name"),
        ("what?", r"with '\?' in its name"),
        ("file://", "no folder is named"),
    ],
)
def test_other_urls_are_refused_by_their_reason(url: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOPSWORKS_API_KEY", raising=False)
    with pytest.raises(StoreError, match=says):
        open_store(url)


def test_hopsworks_without_its_sdk_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hopsworks", None)  # as where it is not installed
    with pytest.raises(StoreError, match="make hopsworks"):
        open_store("hopsworks://host/project")


def test_a_url_with_keys_is_refused_without_repeating_them() -> None:
    with pytest.raises(StoreError) as refusal:
        open_store("s3://AKIAKEY:sEcReT@bucket/prefix")
    assert "AKIAKEY" not in str(refusal.value) and "sEcReT" not in str(refusal.value)


def test_many_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        stores = list(threads.map(lambda _: open_store(str(tmp_path / "new")), range(16)))
    stores[0].put("a", b"1")
    assert stores[-1].get("a") == b"1"


def test_opening_removes_only_what_was_abandoned_over_a_day_ago(tmp_path: Path) -> None:
    open_store(str(tmp_path))
    old, fresh = tmp_path / ".tmp" / "old", tmp_path / ".tmp" / "fresh"
    for path in (old, fresh):
        path.write_bytes(b"half")
    then = fresh.stat().st_mtime - ABANDONED_S - 60
    os.utime(old, (then, then))
    open_store(str(tmp_path))
    assert fresh.exists() and not old.exists()


def test_importing_the_store_loads_nothing_heavy() -> None:
    heavy = "torch xgboost sklearn scipy gradio prefect hopsworks s3fs botocore"
    code = f"import sys, dagsverk.store; print(sorted(set({heavy.split()!r}) & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
