"""Small files below one root: the few primitives on which models, artefacts and definitions are kept.

Paths are relative to the root, with `/` between parts. A file is seen whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from dagsverk.store.protocol import NotFound, SchemaError, StoreError, Unavailable

TEMPORARY = ".tmp"  # unfinished files; on the root's own file system, so that a rename is atomic
ABANDONED_S = 24 * 3600.0  # an unfinished write older than this belongs to nobody
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Location:
    """Where a Delta table lives and how to reach it. The options may hold secrets and are never shown."""

    url: str
    options: Mapping[str, str] | None = field(default=None, repr=False)


class Files(Protocol):
    """Where a store's small files live. Each method raises Unavailable if the place does not answer."""

    url: str

    def read(self, path: str) -> bytes:
        """Raises NotFound."""

    def write(self, path: str, data: bytes) -> None:
        """Create or replace a file in one step."""

    def create(self, path: str, data: bytes) -> bool:
        """Create a file that is not there yet; False, and nothing written, if it is."""

    def paths(self, folder: str) -> list[str]:
        """Paths of all files in the folder and below it, sorted; [] if there is none."""

    def stamps(self, folder: str) -> dict[str, str]:
        """A stamp per file in the folder and below it: another one means that its bytes may differ."""

    def upload(self, source: Path, path: str) -> str:
        """Copy a local file of any size to `path` in one step. Returns the SHA-256 of the bytes copied."""

    def download(self, path: str, target: Path) -> str:
        """Copy a file to a local path. Returns the SHA-256 of the bytes copied. Raises NotFound."""

    def fetch(self, path: str, cache: Path) -> Path:
        """A local file with the same bytes: the very one, or a copy below `cache`. Raises NotFound."""

    def remove(self, folder: str) -> None:
        """Remove a folder and all below it; absent is done."""

    def foreign(self) -> list[str]:
        """Names of a few things at the root; [] if it is empty or absent."""

    def sweep(self) -> None:
        """Remove unfinished files that were abandoned more than a day ago."""

    def prove(self) -> None:
        """Raises StoreError if two writers could create the same file here: commits would get lost."""


class TableFiles(Files, Protocol):
    """Files among which Delta tables can lie too."""

    def delta(self, path: str) -> Location:
        """Where delta-rs finds a table kept at `path`."""


def checked_path(path: str) -> str:
    """The path, if it names something below a root. Raises SchemaError."""
    parts = str(path).split("/")
    if any(part in ("", ".", "..", TEMPORARY) for part in parts) or "\\" in path or not path.isprintable():
        raise SchemaError(
            f"illegal path {path!r}: want names joined by '/', none empty, '.', '..' or {TEMPORARY!r}, "
            "no backslash and no control character"
        )
    return path


def hashed_copy(source: BinaryIO, target: BinaryIO) -> str:
    """Copy all bytes; the SHA-256 of them, in hex."""
    digest = hashlib.sha256()
    while block := source.read(BLOCK_BYTES):
        digest.update(block)
        target.write(block)
    return digest.hexdigest()


@contextlib.contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A path to write to; what is written there becomes `target` in one step when the block ends well.

    What a killed writer leaves is removed by a later writer of the same target.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}.*"):
        with contextlib.suppress(FileNotFoundError):  # its writer finished in this moment
            if left.stat().st_mtime < time.time() - ABANDONED_S:
                left.unlink()
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())  # else a loss of power could leave a whole name with half the bytes
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


class LocalFiles:
    """Files in a folder of a local or shared file system that has hard links."""

    def __init__(self, root: Path, *, create: bool = True) -> None:
        """Raises StoreError if this user may not write there, NotFound if it is absent and not to be made."""
        self.root = root
        self.url = str(root)
        if not create and not root.is_dir():
            raise NotFound(f"there is no store at {root}: no such folder; check the address")
        with self._errors("open"):
            (root / TEMPORARY).mkdir(parents=True, exist_ok=True)
            if not os.access(root, os.W_OK | os.X_OK):
                raise PermissionError(13, "no permission to write")

    def read(self, path: str) -> bytes:
        with self._errors("read", path):
            return (self.root / path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        with self._errors("write", path), self._temporary() as temporary:
            self._save(temporary, data)
            temporary.replace(self._parent(path))
            _sync_folder((self.root / path).parent)

    def create(self, path: str, data: bytes) -> bool:
        with self._errors("create", path), self._temporary() as temporary:
            self._save(temporary, data)
            try:
                os.link(temporary, self._parent(path))  # unlike a rename, it never replaces
            except FileExistsError:
                return False
            _sync_folder((self.root / path).parent)
            return True

    def paths(self, folder: str) -> list[str]:
        top = self.root / folder
        with self._errors("list", folder):
            files = (Path(where, name) for where, _, names in os.walk(top, onerror=_raise) for name in names)
            return sorted(path.relative_to(self.root).as_posix() for path in files)

    def stamps(self, folder: str) -> dict[str, str]:
        stamps = {}
        for path in self.paths(folder):
            with contextlib.suppress(FileNotFoundError):  # removed in this moment
                seen = (self.root / path).stat()  # a file is replaced, never changed: so the inode too
                stamps[path] = f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ino}"
        return stamps

    def upload(self, source: Path, path: str) -> str:
        with self._errors("write", path), self._temporary() as temporary:
            with source.open("rb") as read, temporary.open("wb") as write:
                digest = hashed_copy(read, write)
                _sync(write)
            temporary.replace(self._parent(path))
            _sync_folder((self.root / path).parent)
            return digest

    def download(self, path: str, target: Path) -> str:
        with self._errors("read", path), (self.root / path).open("rb") as read:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as write:
                return hashed_copy(read, write)

    def fetch(self, path: str, cache: Path) -> Path:  # noqa: ARG002  the file itself serves
        with self._errors("read", path):
            if not stat.S_ISREG((self.root / path).stat().st_mode):
                raise FileNotFoundError
            return self.root / path

    def remove(self, folder: str) -> None:
        with self._errors("remove", folder):
            for file in self.paths(folder):
                (self.root / file).unlink(missing_ok=True)  # another sweep may be at it too
            shutil.rmtree(self.root / folder, ignore_errors=True)  # the empty folders

    def foreign(self) -> list[str]:
        with self._errors("list"):
            return sorted(entry.name for entry in os.scandir(self.root) if entry.name != TEMPORARY)[:5]

    def delta(self, path: str) -> Location:
        return Location(str(self.root / path))

    def sweep(self) -> None:
        oldest = time.time() - ABANDONED_S
        with self._errors("list", TEMPORARY):
            for entry in os.scandir(self.root / TEMPORARY):
                with contextlib.suppress(FileNotFoundError):  # its writer finished in this moment
                    if entry.stat().st_mtime < oldest:
                        Path(entry.path).unlink()

    def prove(self) -> None:
        """Nothing to do: a file system creates a name once."""

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        path = self.root / TEMPORARY / uuid.uuid4().hex
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _save(self, path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data)
            _sync(file)

    def _parent(self, path: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    @contextlib.contextmanager
    def _errors(self, verb: str, path: str = "") -> Iterator[None]:
        where = str(self.root / path) if path else self.url
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"cannot {verb} {where}: there is no such file") from error
        except (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
            raise StoreError(
                f"cannot {verb} {where}: {error.strerror}; give the store a folder that this user may write"
            ) from error
        except OSError as error:
            raise Unavailable(f"cannot {verb} {where}: {error.strerror or error}") from error


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _raise(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):  # nothing is below these
        raise error
