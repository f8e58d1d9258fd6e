"""Is a recording whole? Asked of its structure before it is decoded, and of its length after that. Light."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from dagsverk.speech.audio import boxes, chunks, pages
from dagsverk.speech.audio.structure import MISSING_S, NOTHING, Reader, Structure
from dagsverk.speech.errors import AudioError

Walk = Callable[[Reader], Structure]
BY_FIRST_BYTES: dict[bytes, Walk] = {
    b"RIFX": chunks.riff,
    b"RF64": chunks.riff,
    b"BW64": chunks.riff,
    b"riff\x2e\x91\xcf\x11": chunks.w64,
    b"FORM": chunks.aiff,
    b"caff": chunks.caf,
    b".snd": chunks.au,
    b"Creative Voice File": chunks.voc,
    b"OggS": pages.ogg,
    b"#!AMR": pages.amr,
    b"\x1a\x45\xdf\xa3": boxes.matroska,
    boxes.ASF_HEAD: boxes.asf,
    b"FLV": boxes.flv,
}
MOST_TAGS = 10


def look(file: BinaryIO, *, partly: bool = False) -> Structure:
    """What the file's structure says; nothing for formats without one. The file is then anywhere.

    Args: partly: what is there is wanted, be it the whole or not: a fault is told once it is decoded.
    Raises: AudioError "undecodable" for what is damaged or was cut short.
    """
    size = file.seek(0, io.SEEK_END)
    begin = _behind_tags(Reader(file, size))
    reader = Reader(file, size, begin)
    walk = _walk(reader)
    structure = walk(reader) if walk else NOTHING
    if structure.fault and not partly:
        raise AudioError("undecodable", structure.fault)
    return replace(structure, begin=begin) if begin else structure


def check_length(structure: Structure, seconds: float, stated_s: float | None) -> None:
    """Nothing, if so many decoded seconds are all that the file has.

    Args: stated_s: by the head of a format whose structure says nothing.
    Raises: AudioError "undecodable": its text would say more than is heard.
    """
    share = structure.lacks_share
    if structure.fault:
        raise AudioError("undecodable", structure.fault)
    if share and seconds * share / (1 - share) > MISSING_S:
        raise AudioError("undecodable", f"cut short: {share:.0%} of the bytes that it states are missing")
    stated = structure.stated_s if structure.stated_s is not None else stated_s
    if stated is not None and not structure.is_whole and seconds < stated - MISSING_S:
        raise AudioError("undecodable", f"cut short: {seconds:.2f} s of {stated:.2f} s are there")


def _behind_tags(file: Reader) -> int:
    """Where the file begins behind the ID3v2 tags that any format may be given."""
    at = 0
    for _ in range(MOST_TAGS):
        head = file.bytes(at, 10)
        if head[:3] != b"ID3" or len(head) < 10:
            break
        length = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        at += 10 + length + 10 * (head[5] >> 4 & 1)  # with a foot
    return at


def _walk(file: Reader) -> Walk | None:
    first = file.bytes(0, 32)
    if len(first) < 32:
        return None
    if first[:4] == b"RIFF":
        return {b"WAVE": chunks.riff, b"AVI ": chunks.avi}.get(first[8:12])
    if first[:1] == b"\xff" and first[1] & 0xE6 == 0xE2:
        return pages.mp3
    if first[4:8] in boxes.MP4_FIRST:
        return boxes.mp4
    if file.size > pages.TS_PACKET * 3 and {file.bytes(pages.TS_PACKET * n, 1) for n in range(3)} == {
        b"\x47"
    }:
        return pages.mpeg_ts
    return next((walk for begin, walk in BY_FIRST_BYTES.items() if first.startswith(begin)), None)
