"""What archives are called and packed with, and the streams that one is read through."""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO

from dagsverk import unpacking
from dagsverk.speech.errors import CorpusError
from dagsverk.unpacking import BLOCK_BYTES, CutShort, Growth

MAX_TIMES = 100  # sound and texts grow by less when they are unpacked,
ENDS = 16  # times that somebody may ask for more at the end
FREE_BYTES = 1 << 30  # and up to here it does not matter
END = 1024  # zero bytes end every tar file
ARCHIVES = (
    ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".zip",
)  # fmt: skip
REFUSED = (".rar", ".7z", ".tar.lz", ".tar.z", ".tar.lz4", ".tar.lzo")
WANTED = "a .tar (plain, .gz, .bz2, .xz or .zst) or a .zip"


def packing(first: bytes, url: str) -> str:
    """What a file that begins so is packed with; "": a plain tar, or nothing known.

    Raises: CorpusError for a kind that is not read.
    """
    if kind := unpacking.not_read(first):
        raise refused(url, kind)
    return unpacking.packing(first)


def refused(url: str, kind: str) -> CorpusError:
    return CorpusError(f"{url} is a {kind}, which is not read; unpack it and give the folder, or {WANTED}")


def bare_name(url: str) -> str:
    """An archive's name without its endings."""
    name = url.rstrip("/").rsplit("/", 1)[-1]
    ending = next((end for end in sorted(ARCHIVES, key=len)[::-1] if name.lower().endswith(end)), "")
    return name[: len(name) - len(ending)]


class Unpacked(io.RawIOBase):
    """What a stream holds, unpacked. Raises CutShort and Damaged, also when it grows as no sound and no text
    does, and when it is read on behind its end: tarfile would for years, to pass over a member that claims
    such a size."""

    def __init__(self, source: Any, packed: str) -> None:
        self._plain = unpacking.Unpacked(source, packed, Growth(MAX_TIMES, FREE_BYTES))
        self._ends = 0

    def read(self, size: int = -1) -> bytes:
        block = self._plain.read(size)
        self._ends += not block
        if self._ends > ENDS:
            raise CutShort("unexpected end of data")
        return block


class Hashing(io.RawIOBase):
    """A stream that knows how many bytes went by, and their SHA-256."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.count = 0
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._source.read(size)
        self.count += len(block)
        self.digest.update(block)
        return block

    def tell(self) -> int:
        return self.count

    def drain(self) -> None:
        while self.read(BLOCK_BYTES):
            pass

    def close(self) -> None:
        self._source.close()
        super().close()


class Tail(io.RawIOBase):
    """A stream that remembers the last bytes that went by."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.tail = b""

    def read(self, size: int = -1) -> bytes:
        block = self._source.read(size)
        if block:
            self.tail = (self.tail + block[-END:])[-END:]
        return block

    def drain(self) -> None:
        while self.read(BLOCK_BYTES):
            pass
