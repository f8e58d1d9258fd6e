"""Reading what others have put there: regular files only, and never more than was expected.

Whoever brings a folder also chooses what its names stand for: a link to a key, a pipe that never ends, a
device. So names are followed here part by part, from folders that are open already: what is swapped meanwhile
leads nowhere else. A file is looked at before it is opened, for to open a device may do something, and after.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

MAX_LINKS = 40  # followed on the way to one file, as Linux does
MAX_PARTS = 200  # of a path: each may be a folder that is held open
BLOCK_BYTES = 1 << 20
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
OUT = "a link out of the folder"
# What stays so however often it is tried. The rest is a disk or file server that does not answer, or want of
# memory or handles.
SETTLED = (
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG,
    errno.EINVAL, errno.ENXIO, errno.ENODEV,
)  # fmt: skip


class NotRegular(Exception):
    """It is no regular file, or lies elsewhere; the text says what it is: "a pipe"."""


class TooLarge(Exception):
    """There are more bytes than `most`."""

    def __init__(self, most: int) -> None:
        super().__init__(f"more than {most:,} bytes")
        self.most = most


def open_regular(path: Path) -> BinaryIO:
    """A file that the user names: links are followed. Raises NotRegular, OSError."""
    path = Path(os.path.realpath(path))
    return _checked_open(str(path), path.lstat(), None)


def read_at_most(file: IO[bytes], most: int) -> bytes:
    """All that is left of it. Raises TooLarge as soon as there is more."""
    data = bytearray()
    while block := file.read(min(BLOCK_BYTES, most + 1 - len(data))):
        data += block
        if len(data) > most:
            raise TooLarge(most)
    return bytes(data)


def may_pass(error: OSError) -> bool:
    """Whether a later try may read what this one could not."""
    return error.errno is not None and error.errno not in SETTLED


class Below:
    """What lies below a folder. A link is followed if it leads to something below the same folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._real = os.path.realpath(folder)

    def read(self, path: str, most: int) -> bytes:
        """Raises NotRegular, TooLarge, OSError."""
        with self.open(path) as file:
            return read_at_most(file, most)

    def open(self, path: str) -> BinaryIO:
        """Raises NotRegular, OSError."""
        with self._top() as opened:
            name = self._follow(path, opened)
            if not name:
                raise NotRegular(KINDS[stat.S_IFDIR])
            return _checked_open(name, _look(name, opened[-1]), opened[-1])

    @contextmanager
    def folder(self, path: str) -> Iterator[int]:
        """A folder below, opened. Raises NotRegular, OSError."""
        with self._top() as opened:
            if self._follow(path, opened):
                raise NotRegular("no folder")
            yield opened[-1]

    @contextmanager
    def _top(self) -> Iterator[list[int]]:
        opened = [os.open(self._folder, FOLDER & ~os.O_NOFOLLOW)]  # this one the user has named
        try:
            yield opened
        finally:
            for handle in opened:
                os.close(handle)

    def _follow(self, path: str, opened: list[int]) -> str:
        """Opens the folders on the way, one below the other; returns the name at its end, "" for a folder."""
        if "\0" in path:
            raise NotRegular("no name that a file can have")
        waiting, links = _parts(path), 0
        while waiting:
            name = waiting.pop()
            if name == "..":
                if len(opened) == 1:
                    raise NotRegular(OUT)
                os.close(opened.pop())
                continue
            kind = stat.S_IFMT(_look(name, opened[-1]).st_mode)
            if kind == stat.S_IFLNK:
                links += 1
                if links > MAX_LINKS:
                    raise NotRegular("a link that leads round in a circle")
                waiting += self._target(os.readlink(name, dir_fd=opened[-1]), opened)
            elif kind == stat.S_IFDIR:
                if len(opened) > MAX_PARTS:
                    raise NotRegular(f"more than {MAX_PARTS} folders deep")
                opened.append(os.open(name, FOLDER, dir_fd=opened[-1]))
            elif waiting:
                raise NotRegular(f"below {name}, which is no folder")
            else:
                return name
        return ""

    def _target(self, target: str, opened: list[int]) -> list[str]:
        """The parts of a link's target, last first; a whole path begins anew at the top."""
        if not target.startswith("/"):
            return _parts(target)
        if target != self._real and not target.startswith(f"{self._real.rstrip('/')}/"):
            raise NotRegular(OUT)
        while len(opened) > 1:
            os.close(opened.pop())
        return _parts(target[len(self._real) :])


def kind_of(mode: int) -> str:
    """In words, such as "a pipe"."""
    return KINDS.get(stat.S_IFMT(mode), "no regular file")


def _parts(path: str) -> list[str]:
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _look(name: str, above: int) -> os.stat_result:
    return os.stat(name, dir_fd=above, follow_symlinks=False)


def _checked_open(name: str, seen: os.stat_result, above: int | None) -> BinaryIO:
    if not stat.S_ISREG(seen.st_mode):
        raise NotRegular(kind_of(seen.st_mode))
    handle = os.open(name, FILE, dir_fd=above)
    now = os.fstat(handle)
    if not stat.S_ISREG(now.st_mode):  # it was swapped since
        os.close(handle)
        raise NotRegular(kind_of(now.st_mode))
    return os.fdopen(handle, "rb")
