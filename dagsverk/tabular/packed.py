"""Tables that are packed: gzip, bzip2, xz, Zstandard, or a zip archive of one file.

Unpacked only as far as is allowed. What a file is, its first bytes say; its name may be wrong, or lack
its suffix.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from dagsverk.reading import read_at_most
from dagsverk.tabular.errors import SourceError
from dagsverk.tabular.headers import listed

MAX_LAYERS = 2  # a .csv.gz in a .zip
KINDS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # an empty one
}
OPEN: dict[str, Callable[[Any], Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
SPREADSHEET = {"[Content_Types].xml", "mimetype"}  # of Excel, of LibreOffice
DAMAGED = (EOFError, OSError, ValueError, NotImplementedError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
NEXT = "save it as CSV (UTF-8), and give that"


def unpack(name: str, data: bytes, most: int) -> tuple[bytes, tuple[str, ...]]:
    """What is inside, and what is to be said of it; data that are not packed as they are.

    Raises: SourceError: damaged, cut short, encrypted, several files; TooLarge.
    """
    notes: tuple[str, ...] = ()
    for _ in range(MAX_LAYERS):
        kind = next((kind for start, kind in KINDS.items() if data.startswith(start)), None)
        if kind is None:
            return data, notes
        try:
            data, inside = _inside(kind, name, data, most)
        except DAMAGED as error:
            raise SourceError(f"{name} is not a whole {kind} file ({error}); is it cut short?") from error
        notes = (*notes, f"unpacked {inside}")
    if any(data.startswith(start) for start in KINDS):
        raise SourceError(f"{name} is packed more than {MAX_LAYERS} times; unpack it, and give the table")
    return data, notes


def _inside(kind: str, name: str, data: bytes, most: int) -> tuple[bytes, str]:
    if kind == "zip":
        return _from_zip(name, data, most)
    file = io.BytesIO(data)
    if kind == "Zstandard":
        with pa.CompressedInputStream(file, "zstd") as stream:
            return read_at_most(stream, most), kind
    with OPEN[kind](file) as stream:
        return read_at_most(stream, most), kind


def _from_zip(name: str, data: bytes, most: int) -> tuple[bytes, str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = [one for one in archive.infolist() if not one.is_dir() and not _is_litter(one.filename)]
        names = [one.filename for one in files]
        if SPREADSHEET & set(names):
            raise SourceError(f"{name} is a spreadsheet or another office document; {NEXT}")
        if len(files) != 1:
            raise SourceError(
                f"{name} holds {len(files)} files ({listed(names)}), want one; unpack it, and give the table"
            )
        if files[0].flag_bits & 1:
            raise SourceError(f"{name} is encrypted; unpack it, and give the table")
        with archive.open(files[0]) as file:
            return read_at_most(file, most), f"{files[0].filename!r} of the zip archive"


def _is_litter(name: str) -> bool:
    """What Macs add to an archive."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")
