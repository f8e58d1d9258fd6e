"""What a file's own structure says of its length; `chunks`, `boxes` and `pages` find it out. Light.

A recording that was cut short has a text that says more than is heard, so each container is walked as its
description has it, chunk by chunk; nothing is searched for, since a comment may hold any four letters. Only
heads are read, never the sound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import BinaryIO, Literal, TypeAlias

Order: TypeAlias = Literal["little", "big"]  # of bytes

MISSING_S = 0.25  # a file may lack this much of the length that it states; beyond, it was cut short
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN", b"3DI")  # what players write behind the end of a file
MOST_SHARE = 0.5  # ... and no more than this: a file of 0.3 s may not lack all but 0.05 s


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What was found in a file before it is decoded."""

    fault: str = ""  # why it is damaged or was cut short; empty: nothing says so
    stated_s: float | None = None  # its length in s, where its head states one
    lacks_share: float = 0.0  # of the bytes that it states, those that are not there, in [0, 1)
    codec: str = ""  # the number that its head has for the codec, where that was looked at
    begin: int = 0  # of the file, behind tags of players; all else counts from there
    end: int | None = None  # of what is sound, where FFmpeg does not see that itself
    plain: tuple[bytes, int] | None = None  # the shortest head that says the same, and where its sound is
    is_whole: bool = False  # the structure goes to its end, and nothing is missing: no other sign counts


NOTHING = Structure()


class Reader:
    """Numbers from a file of `size` bytes, without the tag of `skipped` bytes that stands before it."""

    def __init__(self, file: BinaryIO, size: int, skipped: int = 0) -> None:
        self._file, self.size, self._skipped = file, size - skipped, skipped

    def bytes(self, at: int, count: int) -> bytes:
        """As many as are there; none beyond the end."""
        if not 0 <= at < self.size:
            return b""
        self._file.seek(self._skipped + at)
        return self._file.read(count)

    def number(self, at: int, count: int, order: Order = "little") -> int:
        """Unsigned; 0 beyond the end."""
        return int.from_bytes(self.bytes(at, count), order)


def cut_short(
    kind: str, lacks_bytes: int, stated_bytes: int, bytes_per_s: float, stated_s: float | None = None
) -> Structure:
    """What is to be said of sound of which so many bytes are not there.

    Args: bytes_per_s: 0 where it is not known; the share that is missing is then judged once it is decoded.
    """
    if lacks_bytes <= 0:
        return Structure(stated_s=stated_s, is_whole=True)
    if not bytes_per_s or not math.isfinite(bytes_per_s):
        return Structure(stated_s=stated_s, lacks_share=lacks_bytes / max(stated_bytes, lacks_bytes + 1))
    lacks_s, all_s = lacks_bytes / bytes_per_s, stated_bytes / bytes_per_s
    if lacks_s <= MISSING_S and lacks_bytes <= MOST_SHARE * stated_bytes:
        return Structure(is_whole=True)
    there = f"{max(all_s - lacks_s, 0):.2f} s of the {all_s:.2f} s that this {kind} file states"
    return Structure(fault=f"cut short: {there} are there")
