"""In which encoding a table's text is: Unicode where it can be, else the old encoding of its letters."""

from __future__ import annotations

import codecs
from collections.abc import Collection

from dagsverk.tabular.errors import SourceError

BLOCK_BYTES = 1 << 20
OLD = (
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "cp932",
    "gb18030",
    "big5",
    "euc_kr",
    "mac_roman",
    "cp850",
)
MARKS = (  # that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(name: str, data: bytes, words: Collection[str] = ()) -> tuple[str, tuple[str, ...]]:
    """The encoding as Python calls it, and what is to be said of the choice.

    Args: words: what is likely to be in it: they tell old encodings apart.
    Raises: SourceError: it is no text, or in none of the encodings.
    """
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return _whole(name, data, encoding), () if encoding == "utf-8-sig" else (f"read as {encoding}",)
    if encoding := _of_two_bytes(data):
        return _whole(name, data, encoding), (f"read as {encoding}",)
    if b"\0" in data:
        raise SourceError(f"{name} is not text (byte {data.find(0)} is 0); want CSV or Parquet")
    if (place := _fault(data, "utf-8")) is None:
        return "utf-8", ()
    encoding = _old(name, data, words)
    line = data.count(b"\n", 0, place) + 1
    start = data.rfind(b"\n", 0, place) + 1
    text = data[max(start, place - 20) : place + 20].decode(encoding, "replace").splitlines()[0]
    return encoding, (f"not UTF-8: read as {encoding}, so that line {line} has {text!r}",)


def _of_two_bytes(data: bytes) -> str:
    """UTF-16 without its mark: every other byte of what is mostly ASCII is 0."""
    sample = data[: 1 << 12]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) * 5 < len(sample) or min(even, odd) * 10 > max(even, odd):
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"


def _whole(name: str, data: bytes, encoding: str) -> str:
    if (place := _fault(data, encoding)) is not None:
        raise SourceError(f"{name} is not whole {encoding} text (byte {place}); is it cut short?")
    return encoding


def _fault(data: bytes, encoding: str) -> int | None:
    """The first byte that is not of the encoding; block by block, for all at once takes much memory."""
    decoder = codecs.getincrementaldecoder(encoding)()
    for start in range(0, len(data), BLOCK_BYTES):
        block = data[start : start + BLOCK_BYTES]
        waiting = len(decoder.getstate()[0])
        try:
            decoder.decode(block, final=start + BLOCK_BYTES >= len(data))
        except UnicodeDecodeError as error:
            return start - waiting + error.start
    return None


def _old(name: str, data: bytes, words: Collection[str]) -> str:
    """The encoding in which most of the words occur; without any, that of Western Windows.

    No statistics: of a few letters they make anything (tried with charset-normalizer: of nine short Western
    texts it had eight wrong).
    """
    beyond = [word for word in words if not word.isascii()]
    occur = {encoding: sum(_written(word, encoding, data) for word in beyond) for encoding in OLD}
    encoding = max(OLD, key=lambda one: occur[one])  # the first of those that are equal
    place = _fault(data, encoding)
    if place is not None:
        raise SourceError(
            f"{name} is neither UTF-8 nor UTF-16 nor Windows-1252 text (byte {place}); save it as CSV UTF-8"
        )
    return encoding


def _written(word: str, encoding: str, data: bytes) -> bool:
    try:
        return word.encode(encoding) in data
    except UnicodeEncodeError:
        return False
