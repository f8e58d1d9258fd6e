"""Where a corpus lies: a tree of files, here a local folder. Nothing is ever written there."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from dagsverk.addresses import refuse_keys
from dagsverk.reading import Below, NotRegular, TooLarge, kind_of, may_pass
from dagsverk.speech.errors import CorpusError, CorpusUnavailable

MAX_CLIP_BYTES = 256 << 20  # no clip of 30 s needs more; an hours-long file is not brought into memory
MAX_TABLE_BYTES = 512 << 20  # the largest of Common Voice has about 400 million
MAX_FILES = 5_000_000  # twice the clips of Common Voice's largest language
MAX_NAME_LETTERS = 500  # of a path in an archive
CLIPS = ("clips", "audios")  # folders of a release of Common Voice: too many files to look at
MADE_BY_SYSTEMS = {"__MACOSX", "Thumbs.db", "desktop.ini", "lost+found"}  # beside what a person has put there
PIECE_BYTES = 4096
MAX_DEPTH = 50  # of folders in folders
NEAR_FOLDERS = 50  # looked into, to tell what a place holds
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
REGULAR = "want a regular file below the folder"


@dataclass(frozen=True)
class Entry:
    """A file of a place: its size, and a stamp that changes when its content does."""

    size: int
    stamp: str
    fault: str = ""  # what it is if no regular file below the place, such as "a pipe": it is never read
    digest: str = ""  # of its bytes, where the place knows it anyway


class Place(Protocol):
    """A tree of files. Paths are relative, with `/` between parts. Each method raises CorpusError, and
    CorpusUnavailable where another try may do."""

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
        """Files with their content; in the place's order where it is sequential, else as asked. Left out are
        files that are absent, too large or not to be read by us; never those that were only not reached."""


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
        with self._errors("list", self.url):
            return walk_near(self._level)

    def _level(self, below: str) -> list[str]:
        try:
            with self._below.folder(below) as handle, os.scandir(handle) as entries:
                return [f"{below}{entry.name}{'/' * _is_folder(entry)}" for entry in entries]
        except NotRegular:  # a folder linked from elsewhere: that it is there tells enough
            return []

    def files(self, denied: list[str] | None = None) -> dict[str, Entry]:
        """As `Place.files`. Args: denied: takes folders below that may not be read; None: an error."""
        entries: dict[str, Entry] = {}
        with self._errors("list", self.url):
            for path, entry in self._walk("", MAX_DEPTH, denied):
                entries[path] = entry
                if len(entries) > MAX_FILES:
                    raise CorpusError(f"{self.url} holds more than {MAX_FILES:,} files; divide it")
        return entries

    def _walk(self, below: str, depth: int, denied: list[str] | None) -> Iterator[tuple[str, Entry]]:
        try:
            with self._below.folder(below) as handle, os.scandir(handle) as entries:
                looked = [
                    (one.name, one.stat(follow_symlinks=False))
                    for one in entries
                    if one.name[0] != "." and one.name not in MADE_BY_SYSTEMS
                ]
        except PermissionError:
            if denied is None or not below:
                raise
            denied.append(below)
            return
        for name, seen in sorted(looked):
            path, kind = f"{below}{name}", stat.S_IFMT(seen.st_mode)
            if kind == stat.S_IFDIR and depth:
                with contextlib.suppress(NotRegular, FileNotFoundError):  # swapped or removed since
                    yield from self._walk(f"{path}/", depth - 1, denied)
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

    def open(self, path: str) -> BinaryIO:
        """A file of any size. Raises NotRegular, OSError."""
        return self._below.open(path)

    def table(self, path: str) -> bytes:
        where = f"{self.url}/{path}"
        with self._errors("read", where):
            try:
                return self._below.read(path, MAX_TABLE_BYTES)
            except (NotRegular, TooLarge) as error:
                raise unreadable(where, error) from error

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for path in paths:
            if (content := self._clip(path)) is not None:
                yield path, content

    def pieces(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The beginning, the middle and the end of files: what tells most of them apart."""
        for path in paths:
            with contextlib.suppress(NotRegular, OSError), self._below.open(path) as file:
                size = os.fstat(file.fileno()).st_size
                starts = (0, size // 2, max(size - PIECE_BYTES, 0))
                yield path, b"".join(os.pread(file.fileno(), PIECE_BYTES, start) for start in starts)

    def _clip(self, path: str) -> bytes | None:
        with self._errors("read", f"{self.url}/{path}"):
            try:
                return self._below.read(path, MAX_CLIP_BYTES)
            except (NotRegular, TooLarge):
                return None
            except OSError as error:
                if may_pass(error):
                    raise
                return None

    @contextlib.contextmanager
    def _errors(self, verb: str, where: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise local_trouble(f"cannot {verb} {where}", error) from error


def local_trouble(what: str, error: OSError) -> CorpusError:
    """Why a file or folder is not read: wrong, or to be tried again."""
    if may_pass(error):
        return CorpusUnavailable(f"{what}: {error.strerror}; see that its disk or file server answers")
    return CorpusError(f"{what}: {error.strerror or error}; check path and permissions")


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


def name_below(stated: str) -> str:
    """A name in an archive or bucket as a path; "" for one that leads out, is hidden or made by a system."""
    parts = stated.split("/")
    kept = [part for part in parts if part not in ("", ".")]
    bad = any(part.startswith(".") or part in MADE_BY_SYSTEMS or "\0" in part for part in kept)
    too_long = len(stated) > MAX_NAME_LETTERS
    return "" if bad or too_long or not parts[0] else "/".join(kept)


def folders_of_clips(paths: Iterable[str]) -> set[str]:
    """Those folders above the paths that hold the clips of a release; they end with `/`."""
    above = {path.rpartition("/")[0] for path in paths}
    return {f"{folder}/" for folder in above if folder.rpartition("/")[2] in CLIPS}


def walk_near(level: Callable[[str], list[str]]) -> set[str]:
    """Paths at most two folders down; `level` lists one folder."""
    paths: set[str] = set()
    folders = [""]
    for _ in range(3):
        listed = [path for folder in folders for path in level(folder)]
        paths.update(listed)
        folders = [path for path in listed if path.endswith("/") and not _holds_clips(path)][:NEAR_FOLDERS]
    return paths


def _holds_clips(folder: str) -> bool:
    return folder.rstrip("/").rpartition("/")[2] in CLIPS
