"""Packed files made to do harm: small ones that ask for much, lie about sizes, or end too early."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib

import pyarrow as pa

SQUEEZE = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: bytes(pa.compress(data, "zstd", asbytes=True)),
}
METHODS = {
    "deflate": zipfile.ZIP_DEFLATED,
    "zip-bz2": zipfile.ZIP_BZIP2,
    "zip-lzma": zipfile.ZIP_LZMA,
    "stored": zipfile.ZIP_STORED,
}


def zipped(data: bytes, method: int = zipfile.ZIP_DEFLATED, name: str = "rows.csv") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr(name, data)
    return made.getvalue()


def packed(kind: str, data: bytes) -> bytes:
    return SQUEEZE[kind](data) if kind in SQUEEZE else zipped(data, METHODS[kind])


def xz_with_window(content: bytes) -> bytes:
    """An .xz whose reader is asked for 4 GiB."""
    made = bytearray(lzma.compress(content))
    size = (made[12] + 1) * 4  # of the block's header; its last four bytes are a checksum
    at = made.index(b"\x21\x01", 12) + 2
    made[at] = 40
    made[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(made[12 : 12 + size - 4]))
    return bytes(made)


def zstandard_with_window(content: bytes, window_log: int = 31) -> bytes:
    """A frame of one raw block whose reader is asked for a window of 2 GiB."""
    block = struct.pack("<I", len(content) << 3 | 1)[:3] + content
    return b"\x28\xb5\x2f\xfd\x00" + bytes([(window_log - 10) << 3]) + block


def zstandard_of_one_byte(blocks: int) -> bytes:
    """128 KiB of the same byte for each four bytes."""
    block = struct.pack("<I", (128 << 10) << 3 | 1 << 1)[:3] + b"x"
    last = struct.pack("<I", 1)[:3]
    return b"\x28\xb5\x2f\xfd\x00" + bytes([(20 - 10) << 3]) + block * blocks + last


def bzip2_of_zeros(mebibytes: int) -> bytes:
    """46 MiB for each 40 bytes or so."""
    return bz2.compress(bytes(mebibytes << 20))


def zip_by_hand(method: int, raw: bytes, size: int, crc: int, name: bytes = b"rows.csv") -> bytes:
    """A zip that claims of its one file what it likes."""
    common = struct.pack("<HHHHHIII", 20, 0, method, 0, 33, crc, len(raw), size)
    common += struct.pack("<HH", len(name), 0)
    body = b"PK\x03\x04" + common + name + raw
    listed = b"PK\x01\x02\x14\x03" + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(listed), len(body), 0)
    return body + listed + b"PK\x05\x06" + end


def zip_of_lzma_with_window(content: bytes, window: int = 0xFFFFFFFF) -> bytes:
    """A member packed by LZMA whose reader is asked for 4 GiB."""
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 3, "lp": 0, "pb": 2}]
    raw = lzma.compress(content, lzma.FORMAT_RAW, filters=filters)
    head = b"\x09\x04\x05\x00" + bytes([3 + 9 * (0 + 5 * 2)]) + struct.pack("<I", window)
    return zip_by_hand(zipfile.ZIP_LZMA, head + raw, len(content), zlib.crc32(content))
