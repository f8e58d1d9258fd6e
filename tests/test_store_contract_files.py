"""What every store does with artefacts of any size, whatever is behind it."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
from store_backends import BACKENDS

from dagsverk.store import NotFound, SchemaError, Store, StoreError


@pytest.fixture(params=list(BACKENDS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return BACKENDS[request.param](tmp_path)


def put(store: Store, path: str, data: bytes, folder: Path) -> str:
    source = folder / "source"
    source.write_bytes(data)
    return store.put_file(path, source)


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_a_file_comes_back_byte_for_byte_with_its_digest(store: Store, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    assert put(store, "a/b.bin", data, tmp_path) == hashlib.sha256(data).hexdigest()
    fetched = store.fetch("a/b.bin", tmp_path / "cache")
    assert fetched.read_bytes() == store.get("a/b.bin") == data and fetched.name == "b.bin"


def test_files_and_small_artefacts_share_their_names(store: Store, tmp_path: Path) -> None:
    put(store, "a/file", b"1", tmp_path)
    store.put("a/small", b"2")
    assert store.list("a") == ["a/file", "a/small"]
    assert store.fetch("a/small", tmp_path / "cache").read_bytes() == b"2"


def test_a_file_replaces_what_was_there_and_is_fetched_anew(store: Store, tmp_path: Path) -> None:
    for data in (b"old", b"new", b""):
        put(store, "a", data, tmp_path)
        assert store.fetch("a", tmp_path / "cache").read_bytes() == data


def test_a_second_fetch_is_the_same_file_left_untouched(store: Store, tmp_path: Path) -> None:
    put(store, "a", b"1", tmp_path)
    first = store.fetch("a", tmp_path / "cache")
    written = first.stat().st_mtime_ns
    assert store.fetch("a", tmp_path / "cache") == first and first.stat().st_mtime_ns == written


def test_a_copy_cut_short_in_the_cache_is_not_used(store: Store, tmp_path: Path) -> None:
    put(store, "a", b"whole", tmp_path)
    fetched = store.fetch("a", tmp_path / "cache")
    if fetched.is_relative_to(tmp_path / "cache"):  # else it is the store's own file
        fetched.write_bytes(b"who")
    assert store.fetch("a", tmp_path / "cache").read_bytes() == b"whole"


def test_equal_names_in_different_folders_do_not_share_a_copy(store: Store, tmp_path: Path) -> None:
    put(store, "a/x", b"1", tmp_path)
    put(store, "b/x", b"1", tmp_path)
    put(store, "b/x", b"2", tmp_path)
    assert [store.fetch(f"{name}/x", tmp_path / "cache").read_bytes() for name in "ab"] == [b"1", b"2"]


def test_nothing_is_fetched_that_is_not_there(store: Store, tmp_path: Path) -> None:
    put(store, "folder/a", b"1", tmp_path)
    for path in ("absent", "folder"):
        with pytest.raises(NotFound, match=path):
            store.fetch(path, tmp_path / "cache")


def test_a_source_that_is_no_file_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    for source in (tmp_path / "absent", tmp_path):
        with pytest.raises(StoreError, match="not a file"):
            store.put_file("a", source)
    assert store.list("") == []


class Breaking:
    """A source that gives a block and then fails, as a disk may."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def is_file(self) -> bool:
        return True

    def open(self, *_: str) -> Breaking:
        return self

    def __enter__(self) -> Breaking:
        return self

    def __exit__(self, *failure: object) -> None:
        self.blocks = 0

    blocks = 70  # over one part of a multipart upload

    def read(self, size: int) -> bytes:
        self.blocks -= 1
        if self.blocks < 0:
            raise OSError(5, "the disk failed")
        return bytes(size)


def test_a_source_that_fails_halfway_leaves_what_was_there(store: Store, tmp_path: Path) -> None:
    put(store, "kept", b"1", tmp_path)
    for path in ("kept", "new"):
        with pytest.raises(StoreError, match="the disk failed"):
            store.put_file(path, Breaking(tmp_path))  # type: ignore[arg-type]
    assert store.list("") == ["kept"] and store.get("kept") == b"1"


def test_readers_see_the_old_file_or_the_new_one_and_nothing_between(store: Store, tmp_path: Path) -> None:
    sizes = {bytes([letter]) * 300_000 for letter in b"abc"}
    put(store, "a", min(sizes), tmp_path)
    done = threading.Event()

    def write() -> None:
        for data in sorted(sizes) * 3:
            put(store, "a", data, tmp_path)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert store.get("a") in sizes
    writer.join()


def test_remove_takes_a_folder_and_leaves_its_neighbours(store: Store, tmp_path: Path) -> None:
    for path in ("run/a", "run/deep/b*", "run2/c", "run.json"):
        store.put(path, b"1")
    store.remove("run/")
    assert store.list("") == ["run.json", "run2/c"]
    store.remove("run")
    store.remove("run.json")  # a file is no folder
    assert store.list("") == ["run.json", "run2/c"]


@pytest.mark.parametrize("path", ["", "/", "..", "a/../b", "a//b", ".tmp/a"])
def test_paths_outside_the_artefacts_are_refused(store: Store, tmp_path: Path, path: str) -> None:
    (tmp_path / "source").write_bytes(b"1")
    for act in (
        lambda: store.put_file(path, tmp_path / "source"),
        lambda: store.fetch(path, tmp_path / "cache"),
        lambda: store.remove(path),
    ):
        with pytest.raises(SchemaError, match="illegal path"):
            act()
