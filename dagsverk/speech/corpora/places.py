"""Where a corpus lies: a local folder, or a prefix of an S3 bucket. Nothing is ever written there."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from dagsverk.addresses import refuse_keys
from dagsverk.objects import read_object, read_objects
from dagsverk.reading import Below, NotRegular, TooLarge, kind_of
from dagsverk.speech.errors import CorpusError

MAX_CLIP_BYTES = 256 << 20  # no clip of 30 s needs more; an hours-long file is not brought into memory
MAX_TABLE_BYTES = 512 << 20  # the largest of Common Voice has about 400 million
MAX_FILES = 5_000_000  # twice the clips of Common Voice's largest language
MAX_DEPTH = 50  # of folders in folders
NEAR_FOLDERS = 50  # looked into, to tell what a place holds
TOGETHER = 32  # objects fetched from S3 at the same time
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
REGULAR = "want a regular file below the folder"


@dataclass(frozen=True)
class Entry:
    """A file of a place: its size, and a stamp that changes when its content does."""

    size: int
    stamp: str
    fault: str = ""  # what it is if no regular file below the place, such as "a pipe": it is never read


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
        """The content of a file of text that `files` lists, of at most MAX_TABLE_BYTES."""

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Files with their content; in the place's order where it is sequential, else as asked. Absent or
        unreadable files are left out."""


def check_address(source: str) -> str:
    """The address, if it is a local path or s3://bucket/path without a password in it. Raises CorpusError."""
    try:
        refuse_keys(source)
    except ValueError as error:
        raise CorpusError(str(error)) from error
    scheme = source.split("://", 1)[0] if "://" in source else ""
    if scheme and scheme != "s3":
        raise CorpusError(
            f"a corpus cannot be read from {scheme}://…; want a local path, s3://bucket/path, hub:NAME or "
            "spoken (download the archive first)"
        )
    if scheme:
        bucket, _, path = source.removeprefix("s3://").partition("/")
        if not BUCKET.fullmatch(bucket) or "//" in path:
            raise CorpusError(f"{source} does not name a bucket; want s3://bucket/path")
    return source.rstrip("/") or source


def local_path(source: str) -> Path:
    """Raises CorpusError if no file can have this name."""
    try:
        path = Path(source).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such user, no right to look
        raise CorpusError(f"{source!r} cannot be looked up ({error}); check the path") from error
    return path


class LocalPlace:
    """A folder. Only regular files below it are read; of links, those to a file below the same folder."""

    sequential = False

    def __init__(self, folder: Path) -> None:
        self._below = Below(folder)
        self.name = folder.resolve().name
        self.url = str(folder)

    def near(self) -> set[str]:
        with self._listing():
            return walk_near(self._level)

    def _level(self, below: str) -> list[str]:
        try:
            with self._below.folder(below) as handle, os.scandir(handle) as entries:
                return [f"{below}{entry.name}{'/' * _is_folder(entry)}" for entry in entries]
        except NotRegular:  # a folder linked from elsewhere: that it is there tells enough
            return []

    def files(self) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        with self._listing():
            for path, entry in self._walk("", MAX_DEPTH):
                found[path] = entry
                if len(found) > MAX_FILES:
                    raise CorpusError(f"{self.url} holds more than {MAX_FILES:,} files; divide it")
        return found

    def _walk(self, below: str, depth: int) -> Iterator[tuple[str, Entry]]:
        with self._below.folder(below) as handle, os.scandir(handle) as entries:
            looked = [(one.name, one.stat(follow_symlinks=False)) for one in entries if one.name[0] != "."]
        for name, seen in sorted(looked):
            path, kind = f"{below}{name}", stat.S_IFMT(seen.st_mode)
            if kind == stat.S_IFDIR and depth:
                with contextlib.suppress(NotRegular, FileNotFoundError):  # swapped or removed since
                    yield from self._walk(f"{path}/", depth - 1)
            elif kind == stat.S_IFLNK:
                with contextlib.suppress(FileNotFoundError):  # a link to nothing
                    yield path, self._linked(path)
            else:
                yield path, _entry(seen)

    def _linked(self, path: str) -> Entry:
        try:
            with self._below.open(path) as file:
                return _entry(os.fstat(file.fileno()))
        except NotRegular as fault:
            return Entry(0, "", str(fault) if "link" in str(fault) else f"a link to {fault}")
        except PermissionError:
            return Entry(0, "", "a link to what may not be read")

    @contextlib.contextmanager
    def _listing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CorpusError(
                f"cannot list {self.url}: {error.strerror}; check path and permissions"
            ) from error

    def table(self, path: str) -> bytes:
        try:
            return self._below.read(path, MAX_TABLE_BYTES)
        except (NotRegular, TooLarge) as error:
            raise unreadable(f"{self.url}/{path}", error) from error
        except OSError as error:
            raise CorpusError(
                f"cannot read {self.url}/{path}: {error.strerror}; check permissions"
            ) from error

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for path in paths:
            with contextlib.suppress(OSError, NotRegular, TooLarge):
                yield path, self._below.read(path, MAX_CLIP_BYTES)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle, or to where we may not look
        return False


def unreadable(where: str, error: NotRegular | TooLarge) -> CorpusError:
    """Why a table is not read."""
    if isinstance(error, TooLarge):
        return CorpusError(f"{where} has {error}, which is not brought into memory; divide the table")
    return CorpusError(f"{where} is {error}; {REGULAR}")


def _entry(seen: os.stat_result) -> Entry:
    if not stat.S_ISREG(seen.st_mode):
        deep = stat.S_ISDIR(seen.st_mode)
        return Entry(0, "", f"more than {MAX_DEPTH} folders deep" if deep else kind_of(seen.st_mode))
    return Entry(seen.st_size, f"{seen.st_size}-{seen.st_mtime_ns}")


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
        where = f"{self.url}/{path}"
        with s3_errors("read", where):
            try:
                return read_object(self._s3, f"{self._root}/{path}", MAX_TABLE_BYTES)
            except TooLarge as error:
                raise unreadable(where, error) from error

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for start in range(0, len(paths), TOGETHER):
            some = paths[start : start + TOGETHER]
            found = read_objects(self._s3, [f"{self._root}/{path}" for path in some], MAX_CLIP_BYTES)
            for path in some:
                with s3_errors("read", f"{self.url}/{path}"):
                    content = next(found)
                    if isinstance(content, bytes):
                        yield path, content
                    elif not isinstance(content, (FileNotFoundError, TooLarge)):
                        raise content


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
