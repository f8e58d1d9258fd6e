"""What archives are packed with: told by their first bytes, and undone while they are read, with limits."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol, cast

from dagsverk.speech.errors import CorpusError

BLOCK_BYTES = 1 << 20
MAX_TIMES = 100  # sound and texts grow by less when they are unpacked,
ENDS = 16  # times that somebody may ask for more at the end
FREE_BYTES = 1 << 30  # and up to here it does not matter
END = 1024  # zero bytes end every tar file
MAX_WINDOW_BYTES = 256 << 20  # of memory, which an .xz may ask for; `xz -9` needs 65 MiB
FIRST_BYTES = 300  # that tell what a file is packed with
PACKED = {
    b"\x1f\x8b": "gz",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zst",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # an empty one
}
NOT_READ = {
    b"Rar!": ".rar",
    b"7z\xbc\xaf": ".7z",
    b"\x1f\x9d": ".Z",
    b"LZIP": ".lz",
    b"\x04\x22\x4d\x18": ".lz4",
    b"\x89LZO": ".lzo",
    b"MSCF": ".cab",
    b"xar!": ".xar",
}
ARCHIVES = (
    ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".zip",
)  # fmt: skip
REFUSED = (".rar", ".7z", ".tar.lz", ".tar.z", ".tar.lz4", ".tar.lzo")
WANTED = "a .tar (plain, .gz, .bz2, .xz or .zst) or a .zip"


def packing(first: bytes, url: str) -> str:
    """What a file that begins so is packed with; "": a plain tar, or nothing known.

    Raises: CorpusError for a kind that is not read.
    """
    if first[257:262] == b"ustar":  # its first bytes are the name of a file
        return ""
    for start, kind in NOT_READ.items():
        if first.startswith(start):
            raise refused(url, kind)
    return next((kind for start, kind in PACKED.items() if first.startswith(start)), "")


def refused(url: str, kind: str) -> CorpusError:
    return CorpusError(f"{url} is a {kind}, which is not read; unpack it and give the folder, or {WANTED}")


def bare_name(url: str) -> str:
    """An archive's name without its endings."""
    name = url.rstrip("/").rsplit("/", 1)[-1]
    ending = next((end for end in sorted(ARCHIVES, key=len)[::-1] if name.lower().endswith(end)), "")
    return name[: len(name) - len(ending)]


def plain(source: BinaryIO, packed: str) -> BinaryIO:
    """The stream, unpacked. Raises EOFError when it ends too early, zlib.error when it is damaged."""
    if packed == "gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=source))
    if packed == "bz2":
        import bz2

        return cast(BinaryIO, Inflated(source, bz2.BZ2Decompressor))
    if packed == "xz":
        import lzma

        return cast(
            BinaryIO,
            Inflated(source, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_WINDOW_BYTES)),
        )
    return cast(BinaryIO, Zstandard(source)) if packed == "zst" else source


class _Machine(Protocol):
    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class Inflated(io.RawIOBase):
    """What a stream holds, by machines of bz2 or lzma: one for each stream that was joined to the first."""

    def __init__(self, source: BinaryIO, make: Callable[[], Any]) -> None:
        self._source, self._make = source, make
        self._machine: _Machine | None = None
        self._waiting = b""

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, at least one before the end."""
        from lzma import LZMAError

        try:
            return self._read(size if size >= 0 else BLOCK_BYTES)
        except (OSError, LZMAError) as error:  # bz2 calls damage an OSError
            if getattr(error, "errno", None) is not None:
                raise
            raise zlib.error(str(error)) from error

    def _read(self, size: int) -> bytes:
        while True:
            if self._machine is None:
                waiting = (self._waiting or self._source.read(BLOCK_BYTES)).lstrip(b"\0")  # padding
                if not waiting:
                    return b""
                self._machine, self._waiting = self._make(), waiting
            wanting = self._machine.needs_input and not self._waiting
            data = self._source.read(BLOCK_BYTES) if wanting else self._waiting
            if wanting and not data:
                raise EOFError("the stream ends before its end is marked")
            block = self._machine.decompress(data, size)
            self._waiting = b""
            if self._machine.eof:
                self._waiting, self._machine = self._machine.unused_data, None
            if block:
                return block


class Zstandard(io.RawIOBase):
    """What a stream of Zstandard holds, by the library that reads Parquet."""

    def __init__(self, source: BinaryIO) -> None:
        import pyarrow as pa

        self._file = pa.CompressedInputStream(pa.PythonFile(Readable(source), mode="r"), "zstd")

    def read(self, size: int = -1) -> bytes:
        try:
            return bytes(self._file.read(size if size >= 0 else BLOCK_BYTES))
        except OSError as error:
            if error.errno is not None:
                raise
            if "Truncated" in str(error):
                raise EOFError(str(error)) from error
            raise zlib.error(str(error)) from error


class Readable(io.RawIOBase):
    """A stream that says of itself that it is one, and that stays open."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._source.read(size)


class Unpacked(io.RawIOBase):
    """What a stream holds, unpacked. Raises ReadError when it grows as no sound and no text does, and when it
    is read on behind its end: tarfile would for years, to pass over a member that claims such a size."""

    def __init__(self, source: BinaryIO, packed: str) -> None:
        self._source, self._compressed = source, bool(packed)
        self._plain = plain(source, packed)
        self._count = self._ends = 0

    def read(self, size: int = -1) -> bytes:
        block = self._plain.read(size)
        self._count += len(block)
        self._ends += not block
        if self._ends > ENDS:
            raise tarfile.ReadError("unexpected end of data")
        grown = self._compressed and self._count > FREE_BYTES
        if grown and self._count > MAX_TIMES * self._source.tell():
            raise tarfile.ReadError(f"it grows to more than {MAX_TIMES} times its size")
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
