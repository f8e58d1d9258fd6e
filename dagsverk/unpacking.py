"""What files are packed with: told by their first bytes, and undone while they are read, with limits.

Whoever packs a file also chooses how much memory and how many bytes it asks for. So a window of more than 256
MiB is refused before it is made (Zstandard's own limit is 128), no step gives more than was asked for, and
what grows as nothing honest does ends. All damage is one of two errors, whatever the library calls it.
"""

from __future__ import annotations

import bz2
import copy
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Protocol, cast

BLOCK_BYTES = 1 << 20
FEED_BYTES = (
    1 << 14
)  # given to a machine at a time: what it leaves over is copied, for each of many small streams
MAX_WINDOW_BYTES = 256 << 20  # of memory, which LZMA may ask for; `xz -9` needs 65 MiB
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
    b"Rar!\x1a": ".rar",
    b"7z\xbc\xaf": ".7z",
    b"\x1f\x9d": ".Z",
    b"LZIP\1": ".lz",
    b"\x04\x22\x4d\x18": ".lz4",
    b"\x89LZO": ".lzo",
    b"MSCF\0": ".cab",
    b"xar!\0": ".xar",
}
LZMA_HEAD = b"\5\0"  # length of the five bytes that follow: lc, lp and pb in one, and the dictionary's size


class CutShort(EOFError):
    """It ends before its end is marked."""


class Damaged(ValueError):
    """It is no such file, or asks for more than is given."""


@dataclass(frozen=True)
class Growth:
    """How much larger a file may become when it is unpacked."""

    times: int
    free_bytes: int  # up to here it does not matter

    def most(self, packed_bytes: int) -> int:
        """Bytes that so many may become."""
        return max(self.free_bytes, self.times * packed_bytes)

    def check(self, count: int, packed_bytes: int) -> None:
        """Raises Damaged where so many bytes became `count`."""
        if count > self.most(packed_bytes):
            raise Damaged(f"it grows to more than {self.times} times its size")


class Source(Protocol):
    """A stream of packed bytes that knows how many it gave."""

    def read(self, size: int = ..., /) -> bytes: ...
    def tell(self) -> int: ...


def is_tar(first: bytes) -> bool:
    return first[257:262] == b"ustar"


def packing(first: bytes) -> str:
    """What a file that begins so is packed with; "": nothing known, or a plain tar.

    A tar comes first: its first bytes are the name of a file.
    """
    return "" if is_tar(first) else _of(first, PACKED)


def not_read(first: bytes) -> str:
    """The ending of the kind of archive that begins so, where it is one that is not read; else ""."""
    return "" if is_tar(first) else _of(first, NOT_READ)


def _of(first: bytes, kinds: dict[bytes, str]) -> str:
    return next((kind for start, kind in kinds.items() if first.startswith(start)), "")


class Unpacked(io.RawIOBase):
    """What a stream holds, unpacked. Raises CutShort, Damaged; the source's own errors as they are."""

    def __init__(self, source: Source, packed: str, growth: Growth | None = None) -> None:
        """Args: packed: as of `packing`, but no zip; "" leaves it as it is."""
        self._source, self._packed, self._growth = source, packed, growth
        with _Errors():
            self._plain = OPEN[packed](source)
        self._count = 0

    def read(self, size: int = -1) -> bytes:
        with _Errors():
            block: bytes = self._plain.read(size if size >= 0 else BLOCK_BYTES)
        self._count += len(block)
        if self._packed and self._growth is not None:
            self._growth.check(self._count, self._source.tell())
        return block


class _Errors:
    """Whatever a library calls damage. An OSError with a number is the source's own, or the disk's."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CutShort | Damaged) or getattr(error, "errno", None) is not None:
            return
        if isinstance(error, EOFError) or (isinstance(error, OSError) and "Truncated" in str(error)):
            raise CutShort(str(error)) from error
        if isinstance(error, lzma.LZMAError) and "Memory usage limit" in str(error):
            raise Damaged(f"it asks for more than {MAX_WINDOW_BYTES >> 20} MiB of memory") from error
        if isinstance(error, OSError | zlib.error | lzma.LZMAError | ValueError):
            raise Damaged(str(error)) from error


# ------------------------------------------------------------------ machines


class _Machine(Protocol):
    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: Any, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib as the other two are: what it did not look at yet is kept here. Its checksums are looked at."""

    def __init__(self) -> None:
        self._machine = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._machine.eof

    @property
    def needs_input(self) -> bool:
        return not self._machine.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._machine.unused_data

    def decompress(self, data: Any, max_length: int = -1) -> bytes:
        return self._machine.decompress(self._machine.unconsumed_tail or data, max(max_length, 0))


class Inflated(io.RawIOBase):
    """What a stream holds, by machines of one kind: one for each stream that was joined to the first."""

    def __init__(self, source: Source, make: Callable[[], Any]) -> None:
        self._source, self._make = source, make
        self._machine: _Machine | None = None
        self._block, self._at = b"", 0
        self._joined = False

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, at least one before the end."""
        while True:
            if self._machine is None:
                if self._joined and not self._skip_padding():
                    return b""
                self._machine, self._joined = self._make(), True
            piece = self._piece() if self._machine.needs_input else b""
            if self._machine.needs_input and not piece:
                raise CutShort("the stream ends before its end is marked")
            block = self._machine.decompress(piece, size if size >= 0 else BLOCK_BYTES)
            if self._machine.eof:
                self._at -= len(self._machine.unused_data)
                self._machine = None
            if block:
                return block

    def _piece(self) -> memoryview:
        if self._at == len(self._block):
            self._block, self._at = self._source.read(BLOCK_BYTES), 0
        start, self._at = self._at, min(self._at + FEED_BYTES, len(self._block))
        return memoryview(self._block)[start : self._at]

    def _skip_padding(self) -> bool:
        """Whether anything but zero bytes follows."""
        while piece := self._piece():
            if rest := bytes(piece).lstrip(b"\0"):
                self._at -= len(rest)
                return True
        return False


def _zstandard(source: Source) -> Any:
    """By the library that reads Parquet; windows of more than 128 MiB are refused by it."""
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(_Readable(source), mode="r"), "zstd")


class _Readable(io.RawIOBase):
    """A stream that says of itself that it is one, and that stays open."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._source.read(size)


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_WINDOW_BYTES)


OPEN: dict[str, Callable[[Any], Any]] = {
    "": lambda source: source,
    "gz": lambda source: Inflated(source, _Gzip),
    "bz2": lambda source: Inflated(source, bz2.BZ2Decompressor),
    "xz": lambda source: Inflated(source, _xz),
    "zst": _zstandard,
}

# ------------------------------------------------------------------ zip


def zip_list_bytes(file: IO[bytes]) -> int:
    """Size of the list of files at a zip's end, which is read whole when the zip is opened.

    Raises: CutShort where there is none; Damaged where the list is not of all that is there: two archives
        that were joined, bytes behind its end.
    """
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if end is None:
        raise CutShort("it has no list of its files, which a .zip has at its end")
    size, offset, note, at = int(end[5]), int(end[6]), int(end[7]), int(end[9])
    before = at - size - offset - (76 if end[0] == b"PK\x06\x06" else 0)  # the two records of zip64
    if before > 0:
        raise Damaged(f"{before:,} bytes come before what its list of files names; are two archives joined?")
    file.seek(at + 22 + note)
    behind = file.read(BLOCK_BYTES)
    if behind.strip(b"\0"):
        raise Damaged(f"{len(behind):,} bytes or more follow its end")
    return size


def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """A file of a zip, with its checksum. Raises CutShort, Damaged, and what `ZipFile.open` does.

    The library unpacks bzip2 and LZMA by four kilobytes at a time, however much these become (5 GB), and
    gives LZMA the memory that it asks for; so these two are unpacked here.
    """
    if member.compress_type in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        return cast(IO[bytes], _Member(archive, member))
    return archive.open(member)


class _Member(io.RawIOBase):
    def __init__(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
        stored = copy.copy(member)
        stored.compress_type, stored.file_size = zipfile.ZIP_STORED, member.compress_size
        del stored.CRC  # which is of what is unpacked
        self._raw = archive.open(stored)
        self._member, self._left, self._crc = member, member.file_size, 0
        with _Errors():
            make = bz2.BZ2Decompressor if member.compress_type == zipfile.ZIP_BZIP2 else self._lzma()
        self._plain = Inflated(cast(Source, self._raw), make)

    def _lzma(self) -> Callable[[], Any]:
        head = self._raw.read(9)
        if len(head) < 9 or head[2:4] != LZMA_HEAD:
            raise Damaged(f"file {self._member.filename!r} has no head of LZMA")
        marks, window = head[4], int.from_bytes(head[5:], "little")
        if window > MAX_WINDOW_BYTES:
            raise Damaged(f"it asks for more than {MAX_WINDOW_BYTES >> 20} MiB of memory")
        filters = {"id": lzma.FILTER_LZMA1, "dict_size": window}
        filters |= {"lc": marks % 9, "lp": marks // 9 % 5, "pb": marks // 45}
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[filters])

    def read(self, size: int = -1) -> bytes:
        with _Errors():
            most = min(self._left, size if size >= 0 else BLOCK_BYTES)
            block = self._plain.read(most) if most else b""
        if most and not block:
            raise CutShort(f"file {self._member.filename!r} ends too early")
        self._crc = zlib.crc32(block, self._crc)
        self._left -= len(block)
        if not self._left and self._crc != self._member.CRC:
            raise Damaged(f"Bad CRC-32 for file {self._member.filename!r}")
        return block

    def close(self) -> None:
        self._raw.close()
        super().close()
