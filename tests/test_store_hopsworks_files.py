"""Small files in HopsFS: every name, one file of many generations, and what a failed write leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from emulator_client import together
from emulator_process import Emulator
from hopsworks_project import emulator, project_url, sdk
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("dagsverk.store.hopsworks.store", reason="the extra hopsworks is not installed")
__all__ = ["emulator"]

from dagsverk.store import Conflict, Store, StoreError, Unavailable, open_store
from dagsverk.store.hopsworks import connection, hopsfs
from dagsverk.store.hopsworks import files as hopsworks_files
from dagsverk.store.hopsworks.files import GENERATION, _numbered, _unnumbered, decoded, encoded
from dagsverk.store.hopsworks.hopsfs import HopsFS

NAMES = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..", ".tmp") and "/" not in name and "\\" not in name
)


@pytest.fixture
def store() -> Store:
    return open_store(project_url())


def held(store: Store, folder: str) -> list[str]:
    """Names in a folder of the store as HopsFS has them."""
    root = store.url.partition("?")[0].rsplit("/", 1)[-1]
    return [entry.name for entry in HopsFS(sdk()).entries(f"Resources/dagsverk/{root}/{folder}".rstrip("/"))]


# ------------------------------------------------------------------ names


@given(st.lists(NAMES, min_size=1, max_size=4).map("/".join))
def test_any_path_is_read_back_from_letters_that_every_file_system_takes(path: str) -> None:
    assert decoded(encoded(path)) == path
    assert set(encoded(path)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-=/")


@given(NAMES, st.integers(1, 10**6))
def test_any_name_with_any_number_is_a_generation_of_that_name(name: str, number: int) -> None:
    numbered = _numbered(encoded(name), number)
    match = GENERATION.fullmatch(numbered)
    assert match is not None and int(match["number"]) == number
    assert _unnumbered(f"folder/{numbered}") == f"folder/{encoded(name)}"


@given(NAMES, NAMES)
def test_different_names_have_different_generations(one: str, other: str) -> None:
    assert (_numbered(encoded(one), 1) == _numbered(encoded(other), 1)) == (one == other)


def test_files_with_strange_names_are_kept_apart(store: Store) -> None:
    names = [
        "a",
        "a~1",
        "a~1.json",
        "a.json",
        "a.b.json",
        ".hidden",
        "dot.",
        "a=41",
        "A",
        "åäö 1.txt",
        "a.json/inner",
        "漢字/ß%20.bin",
        "?query#part",
    ]
    for name in names:
        store.put(name, name.encode())
    assert store.list("") == sorted(names)
    assert [store.get(name) for name in names] == [name.encode() for name in names]
    assert store.list("a.json") == ["a.json/inner"]


def test_a_folder_of_many_files_is_listed_page_by_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        store.put(f"{number}", b"")
    monkeypatch.setattr(hopsfs, "PAGE", 2)
    assert store.list("") == ["0", "1", "2", "3", "4"]


# ------------------------------------------------------------------ generations


def test_a_file_that_is_replaced_keeps_two_generations(store: Store) -> None:
    for number in range(5):
        store.put("report.json", str(number).encode(), overwrite=True)
        assert store.get("report.json") == str(number).encode()
    assert held(store, "artefacts") == ["report~4.json", "report~5.json"]
    assert store.list("") == ["report.json"]


def test_of_two_writers_at_once_each_writes_its_own_generation(store: Store, emulator: Emulator) -> None:
    contents = [letter * 100_000 for letter in (b"a", b"b", b"c")]
    emulator.barrier("POST", "action=move", parties=3)
    together([lambda content=content: store.put("x", content, overwrite=True) for content in contents])
    assert store.get("x") in contents
    assert held(store, "artefacts") == ["x~2", "x~3"]
    assert held(store, ".tmp") == []


def test_of_two_who_create_a_file_at_once_one_is_refused(store: Store, emulator: Emulator) -> None:
    outcomes = []

    def create(content: bytes) -> None:
        try:
            store.put("x", content)
            outcomes.append(content)
        except Conflict:
            outcomes.append(b"refused")

    emulator.barrier("POST", "action=move", parties=2)
    together([lambda content=content: create(content) for content in (b"a", b"b")])
    assert sorted(outcomes) == sorted([store.get("x"), b"refused"])
    assert held(store, ".tmp") == []


def test_a_reader_that_has_listed_an_old_generation_finds_the_new_one(store: Store, monkeypatch) -> None:
    files = store._files
    store.put("x", b"0")
    listed = files._newest("artefacts/x")
    for number in (1, 2):
        store.put("x", str(number).encode(), overwrite=True)  # and the listed one is gone
    answers = iter([listed, files._newest("artefacts/x")])
    monkeypatch.setattr(files, "_newest", lambda _: next(answers))
    assert store.get("x") == b"2"


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("kind", ["status", "status_after", "drop", "drop_after"])
@pytest.mark.parametrize("step", ["dataset/upload", "action=move", "action=create"])
def test_a_write_is_done_once_whatever_happens_to_the_answer(
    store: Store, emulator: Emulator, tmp_path: Path, kind: str, step: str, times: int
) -> None:
    emulator.fault("POST", step, kind, code=504, times=times)
    store.put("new/x", b"1")
    emulator.fault("POST", step, kind, code=504, times=times)
    (tmp_path / "y").write_bytes(b"2" * 3_000_000)
    store.put_file("other/y", tmp_path / "y")
    assert store.get("new/x") == b"1"
    assert store.fetch("other/y", tmp_path / "cache").read_bytes() == b"2" * 3_000_000
    assert held(store, "artefacts/new") == ["x~1"] and held(store, "artefacts/other") == ["y~1"]
    assert held(store, ".tmp") == []


@pytest.mark.parametrize("step", ["dataset/upload", "action=move", "action=create"])
def test_a_request_that_is_handled_after_it_was_given_up_does_no_harm(
    store: Store, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(connection, "READ_S", 0.1)
    emulator.fault("POST", step, "stall", seconds=60)
    store.put("new/x", b"1")
    emulator.clear_faults()  # now it is handled
    store.put("new/x", b"2", overwrite=True)
    assert store.get("new/x") == b"2" and store.list("") == ["new/x"]


def test_a_question_is_asked_as_often_as_it_should_and_no_more(store: Store, emulator: Emulator) -> None:
    emulator.fault("GET", "action=listing", "drop", times=None)
    emulator.forget_requests()
    with pytest.raises(Unavailable):
        store.list("")
    assert len(emulator.requests()) == connection.TRIES


# ------------------------------------------------------------------ what is left behind


@pytest.mark.parametrize("step", ["dataset/upload", "action=move"])
def test_a_write_that_fails_is_not_seen_and_the_file_stays_as_it_was(
    store: Store, emulator: Emulator, step: str
) -> None:
    store.put("old", b"before")
    emulator.fault("POST", step, "status", code=503, times=None)
    for name in ("old", "new"):
        with pytest.raises(Unavailable):
            store.put(name, b"after", overwrite=True)
    emulator.clear_faults()
    assert store.list("") == ["old"]
    assert store.get("old") == b"before"


def test_what_a_killed_upload_leaves_is_swept_when_a_store_is_opened_a_day_later(
    store: Store, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.fault("POST", "action=move", "status", times=None)
    with pytest.raises(Unavailable):
        store.put("x", b"1")
    emulator.clear_faults()
    assert len(held(store, ".tmp")) == 1
    assert open_store(store.url).list("") == []
    assert len(held(store, ".tmp")) == 1  # its writer may still be at it
    monkeypatch.setattr(hopsworks_files, "ABANDONED_S", -5.0)
    open_store(store.url)
    assert held(store, ".tmp") == []


def test_a_folder_that_somebody_removed_since_is_made_again(store: Store) -> None:
    store.put("f/g/a", b"1")
    open_store(store.url).remove("f")
    store.put("f/g/b", b"2")
    assert store.list("f") == ["f/g/b"]


def test_a_server_that_fails_is_no_absent_file(store: Store, emulator: Emulator) -> None:
    emulator.fault("GET", "action=listing", "status", code=403, times=None)
    with pytest.raises(StoreError, match=r"403.*give it the scopes"):
        store.get("x")
