"""Tables that are packed: gzip, bzip2, xz, Zstandard, or a zip archive of one file.

Unpacked only as far as is allowed. What a file is, its first bytes say; its name may be wrong, or lack
its suffix.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import IO, cast

from dagsverk.reading import TooLarge, read_at_most
from dagsverk.tabular.errors import SourceError
from dagsverk.tabular.headers import listed
from dagsverk.unpacking import (
    FIRST_BYTES,
    CutShort,
    Growth,
    Unpacked,
    is_tar,
    not_read,
    open_member,
    packing,
    zip_list_bytes,
)

MAX_LAYERS = 2  # a .csv.gz in a .zip
NAMES = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "Zstandard", "zip": "zip"}
GROWTH = Growth(times=200, free_bytes=64 << 20)  # of all layers; tables grow by 3 to 30
MAX_LIST_BYTES = 1 << 20  # of a zip's list of files; one is wanted
SPREADSHEET = {"[Content_Types].xml", "mimetype"}  # of Excel, of LibreOffice
NEXT = "save it as CSV (UTF-8), and give that"
UNPACK = "unpack it, and give the table"


def unpack(name: str, data: bytes, most: int) -> tuple[bytes, tuple[str, ...]]:
    """What is inside, and what is to be said of it; data that are not packed as they are.

    Raises: SourceError: damaged, cut short, encrypted, several files, asks for or becomes too much; TooLarge.
    """
    notes: tuple[str, ...] = ()
    size = len(data)
    for layer in range(MAX_LAYERS + 1):
        if kind := ".tar" if is_tar(data) else not_read(data[:FIRST_BYTES]):
            raise SourceError(f"{name} {'holds' if layer else 'is'} a {kind} archive; {UNPACK}")
        if not (kind := packing(data[:FIRST_BYTES])):
            return data, notes
        if layer < MAX_LAYERS:
            data, inside = _layer(kind, name, data, most, size)
            notes = (*notes, f"unpacked {inside}")
    raise SourceError(f"{name} is packed more than {MAX_LAYERS} times; {UNPACK}")


def _layer(kind: str, name: str, data: bytes, most: int, size: int) -> tuple[bytes, str]:
    """Args: size: of the file as it came, bytes."""
    allowed = min(most, GROWTH.most(size))
    try:
        if kind == "zip":
            return _from_zip(name, data, allowed)
        return read_at_most(cast(IO[bytes], Unpacked(io.BytesIO(data), kind)), allowed), NAMES[kind]
    except TooLarge as error:
        if allowed == most:
            raise
        raise SourceError(f"{name} grows to more than {GROWTH.times} times its size; {UNPACK}") from error
    except CutShort as error:
        raise SourceError(f"{name} is not a whole {NAMES[kind]} file ({error}); is it cut short?") from error
    except (ValueError, NotImplementedError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise SourceError(f"{name} is damaged or no {NAMES[kind]} file ({error}); {UNPACK}") from error


def _from_zip(name: str, data: bytes, most: int) -> tuple[bytes, str]:
    if (list_bytes := zip_list_bytes(io.BytesIO(data))) > MAX_LIST_BYTES:
        raise SourceError(f"{name} has a list of files of {list_bytes:,} bytes, want one file; {UNPACK}")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = [one for one in archive.infolist() if not one.is_dir() and not _is_litter(one.filename)]
        names = [one.filename for one in files]
        if SPREADSHEET & set(names):
            raise SourceError(f"{name} is a spreadsheet or another office document; {NEXT}")
        if len(files) != 1:
            raise SourceError(f"{name} holds {len(files)} files ({listed(names)}), want one; {UNPACK}")
        if files[0].flag_bits & 1:
            raise SourceError(f"{name} is encrypted; {UNPACK}")
        with open_member(archive, files[0]) as file:
            return read_at_most(file, most), f"{files[0].filename!r} of the zip archive"


def _is_litter(name: str) -> bool:
    """What Macs add to an archive."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")
