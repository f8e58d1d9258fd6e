"""Where a corpus lies: a local folder, or a prefix of an S3 bucket. Nothing is ever written there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit

from dagsverk.speech.errors import CorpusError

MAX_CLIP_BYTES = 256 << 20  # no clip of 30 s needs more; an hours-long file is not brought into memory
NEAR_FOLDERS = 50  # looked into, to tell what a place holds
TOGETHER = 32  # objects fetched from S3 at the same time


@dataclass(frozen=True)
class Entry:
    """A file of a place: its size, and a stamp that changes when its content does."""

    size: int
    stamp: str


class Place(Protocol):
    """A tree of files. Paths are relative, with `/` between parts. Each method raises CorpusError."""

    name: str  # for people
    url: str  # without secrets
    sequential: bool  # True: whoever reads one file reads all before it

    def near(self) -> set[str]:
        """Some paths, enough to tell what the place holds without listing it: those at most two folders down
        (of an archive, its first files). What is below a folder `clips` is left out; folders end with `/`."""

    def files(self) -> dict[str, Entry]:
        """Every file, in the order in which reading is cheapest."""

    def table(self, path: str) -> bytes:
        """The content of a file of text that `files` lists."""

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Files with their content; in the place's order where it is sequential, else as asked. Absent or
        unreadable files are left out."""


def check_address(source: str) -> str:
    """The address, if it is a local path or s3://bucket/path without a password in it. Raises CorpusError."""
    scheme = source.split("://", 1)[0] if "://" in source else ""
    if scheme and scheme != "s3":
        raise CorpusError(
            f"a corpus cannot be read from {scheme}://…; want a local path, s3://bucket/path, hub:NAME or "
            "spoken (download the archive first)"
        )
    if scheme:
        parts = urlsplit(source)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise CorpusError(
                "an s3:// address holds a user, password or query (not shown); give keys in AWS_* variables"
            )
        if not parts.netloc or "//" in parts.path:
            raise CorpusError(f"{source} does not name a bucket; want s3://bucket/path")
    return source.rstrip("/") or source


def local_path(source: str) -> Path:
    return Path(source).expanduser()


class LocalPlace:
    """A folder. Links are followed, as they are in every folder (data managers keep files behind links)."""

    sequential = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = folder.resolve().name
        self.url = str(folder)

    def near(self) -> set[str]:
        try:
            return walk_near(self._level)
        except OSError as error:
            raise CorpusError(
                f"cannot list {self.url}: {error.strerror}; check path and permissions"
            ) from error

    def _level(self, below: str) -> list[str]:
        with os.scandir(self._folder / below) as entries:
            return [f"{below}{entry.name}{'/' * entry.is_dir()}" for entry in entries]

    def files(self) -> dict[str, Entry]:
        try:
            return dict(self._walk("", frozenset()))
        except OSError as error:
            raise CorpusError(
                f"cannot list {self.url}: {error.strerror}; check path and permissions"
            ) from error

    def _walk(self, below: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, Entry]]:
        here = (self._folder / below).stat()
        if (here.st_dev, here.st_ino) in above:  # a link back to where we came from
            return
        with os.scandir(self._folder / below) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        for entry in listed:
            path = f"{below}{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from self._walk(f"{path}/", above | {(here.st_dev, here.st_ino)})
            else:
                with contextlib.suppress(FileNotFoundError):  # a link to nothing
                    found = entry.stat()
                    yield path, Entry(found.st_size, f"{found.st_size}-{found.st_mtime_ns}")

    def table(self, path: str) -> bytes:
        try:
            return (self._folder / path).read_bytes()
        except OSError as error:
            raise CorpusError(
                f"cannot read {self.url}/{path}: {error.strerror}; check permissions"
            ) from error

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for path in paths:
            with contextlib.suppress(OSError):
                yield path, (self._folder / path).read_bytes()


class S3Place:
    """Objects below a prefix. Keys, region and endpoint come from the AWS variables or profile."""

    sequential = False

    def __init__(self, url: str) -> None:
        self.url = url
        self._root = url.removeprefix("s3://").strip("/")
        self.name = self._root.rsplit("/", 1)[-1]
        self._s3 = connect(url)

    def near(self) -> set[str]:
        with s3_errors("list", self.url):
            return walk_near(self._level)

    def _level(self, below: str) -> list[str]:
        """The first thousand: one request."""
        bucket, _, root = self._root.partition("/")
        root = f"{root}/" if root else ""
        found = self._s3.call_s3("list_objects_v2", Bucket=bucket, Prefix=f"{root}{below}", Delimiter="/")
        keys = [one["Key"] for one in found.get("Contents", [])]
        keys += [one["Prefix"] for one in found.get("CommonPrefixes", [])]
        return [key.removeprefix(root) for key in keys if key != f"{root}{below}"]

    def files(self) -> dict[str, Entry]:
        with s3_errors("list", self.url):
            found = self._s3.find(self._root, detail=True)
        return {
            path.removeprefix(f"{self._root}/"): Entry(
                int(info["size"]), str(info.get("ETag", "")).strip('"')
            )
            for path, info in sorted(found.items())
            if path != self._root and not path.endswith("/")
        }

    def table(self, path: str) -> bytes:
        with s3_errors("read", f"{self.url}/{path}"):
            return bytes(self._s3.cat_file(f"{self._root}/{path}"))

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for start in range(0, len(paths), TOGETHER):
            some = paths[start : start + TOGETHER]
            keys = [f"{self._root}/{path}" for path in some]
            with s3_errors("read", self.url):
                found = self._s3.cat_ranges(keys, None, None, on_error="return")  # whole; cat would glob
            for path, content in zip(some, found, strict=True):
                if isinstance(content, bytes):
                    yield path, content
                elif not isinstance(content, FileNotFoundError):
                    with s3_errors("read", f"{self.url}/{path}"):
                        raise content if isinstance(content, BaseException) else OSError("no answer")


def walk_near(level: Callable[[str], list[str]]) -> set[str]:
    """Paths at most two folders down; `level` lists one folder."""
    found: set[str] = set()
    folders = [""]
    for _ in range(3):
        listed = [path for folder in folders for path in level(folder)]
        found.update(listed)
        folders = [path for path in listed if path.endswith("/") and not path.endswith("clips/")][
            :NEAR_FOLDERS
        ]
    return found


def connect(url: str) -> Any:
    """A file system of S3, after a look at the bucket. Raises CorpusError."""
    import s3fs

    bucket = url.removeprefix("s3://").split("/")[0]
    s3 = s3fs.S3FileSystem(use_listings_cache=False)
    with s3_errors("open", f"s3://{bucket}"):
        s3.call_s3("head_bucket", Bucket=bucket)
    return s3


def open_object(s3: Any, url: str) -> BinaryIO:
    """An object as a stream that is read from front to end, a little ahead."""
    with s3_errors("open", url):
        file: BinaryIO = s3.open(url.removeprefix("s3://"), "rb", block_size=16 << 20, cache_type="readahead")
        return file


@contextlib.contextmanager
def s3_errors(verb: str, where: str) -> Iterator[None]:
    """Turns what S3 answers into a CorpusError that says the next move. Keys are in no message."""
    from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

    try:
        yield
    except FileNotFoundError as error:
        raise CorpusError(
            f"cannot {verb} {where}: there is no such bucket or object; check its name"
        ) from error
    except PermissionError as error:
        raise CorpusError(
            f"cannot {verb} {where}: access denied; check the AWS_* variables and what the key may read"
        ) from error
    except (OSError, BotoCoreError) as error:
        raise CorpusError(
            f"cannot {verb} {where}: {type(error).__name__}; check AWS_ENDPOINT_URL and network, try again"
        ) from error
