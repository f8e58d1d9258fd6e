"""The chunks of WAV (RIFF, RIFX, RF64, BW64), AVI, W64, AIFF, AIFF-C, CAF, AU, VOC: is all the sound there?

Sources: Microsoft's RIFF, EBU Tech 3306 (RF64), ITU-R BS.2088 (BW64), Sony's W64, Apple's AIFF-C and CAF,
Sun's AU, Creative's VOC. Light.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from dagsverk.speech.audio.structure import MISSING_S, NOTHING, TAGS, Order, Reader, Structure, cut_short

MOST_CHUNKS = 10_000  # before the sound; no writer makes more
UNKNOWN = range(0x7FFF0000, 0x80010000)  # lengths that writers to a pipe (sox, arecord) state instead of none
PCM = {1, 3, 6, 7, 0xFFFE}  # codes of WAV of a fixed size per sample: integers, floats, A-law, mu-law
AIFF_PCM = (b"none", b"sowt", b"twos", b"fl32", b"fl64", b"in24", b"in32", b"raw ")
AU_BITS = {1: 8, 2: 8, 3: 16, 4: 24, 5: 32, 6: 32, 7: 64, 27: 8}
FORMS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM")  # another file begins
FEW_BYTES = 1 << 16  # behind the end of a form, that may be what a careless program left there


@dataclass
class _Sound:
    """What was found on the way to the sound."""

    start: int = 0  # of the sound, in bytes from the beginning
    stated: int | None = None  # its bytes; None: written to a pipe, so it goes to the end
    bytes_per_s: float = 0.0


def riff(file: Reader) -> Structure:
    """WAV: the sound is in `data`, before or behind which any other chunk may stand."""
    order: Order = "big" if file.bytes(0, 4) == b"RIFX" else "little"
    sound, stated_64, form_end = _Sound(), 0, 8 + file.number(4, 4, order)
    at, head = 12, b""
    for _ in range(MOST_CHUNKS):
        name, size = file.bytes(at, 4), file.number(at + 4, 4, order)
        if name == b"data":
            sound.start = at + 8
            sound.stated = _stated(size, stated_64)
            walked = _wav(file, sound, order, form_end)
            return replace(walked, codec=_code(head, order), plain=_plain(file, sound, head, order))
        if len(name) < 4 or not _is_name(name):
            break
        if name == b"ds64":
            form_end, stated_64 = 8 + file.number(at + 8, 8), file.number(at + 16, 8)
        if name == b"fmt ":
            sound.bytes_per_s = _wav_bytes_per_s(file, at + 8, order)
            head = file.bytes(at + 8, min(size, 4096))
        at = _behind(file, at + 8 + size)
    if at >= file.size:
        return Structure(fault="cut short: a WAV file that ends before its sound begins")
    return NOTHING  # no WAV file that we understand; FFmpeg may


def _stated(size: int, size_64: int) -> int | None:
    if size == 0xFFFFFFFF and 0 < size_64 < 1 << 62:
        return size_64
    return None if size == 0 or size >= 0xFFFFFF00 or size in UNKNOWN else size


def _wav_bytes_per_s(file: Reader, at: int, order: Order) -> float:
    """0 where it is not known: what heads of compressed sound state is often another codec's."""
    code, rate_hz, block = (file.number(at + place, size, order) for place, size in ((0, 2), (4, 4), (12, 2)))
    return float(rate_hz * block) if code in PCM else 0.0


def _code(head: bytes, order: Order) -> str:
    return f"0x{int.from_bytes(head[:2], order):04x}" if head else ""


def _plain(file: Reader, sound: _Sound, head: bytes, order: Order) -> tuple[bytes, int] | None:
    """A WAV head of two chunks: FFmpeg refuses some files for what stands in the others."""
    if order == "big" or not head:
        return None
    there = file.size - sound.start
    size = min(there if sound.stated is None else sound.stated, there, 0xFFFFFF00)
    chunks = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", len(chunks) + size) + chunks, sound.start


def _behind(file: Reader, at: int) -> int:
    """Where the next chunk begins: chunks are padded to even lengths, but for those of careless writers."""
    return (
        at if at % 2 == 0 or (_is_name(file.bytes(at, 4)) and not _is_name(file.bytes(at + 1, 4))) else at + 1
    )


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= letter < 127 for letter in name)


def _wav(file: Reader, sound: _Sound, order: Order, form_end: int) -> Structure:
    there = file.size - sound.start
    if sound.stated is None:
        stated_0 = file.number(sound.start - 4, 4, order) == 0
        if stated_0 and there > 0 and _only_chunks(file, sound.start, order):
            return Structure(fault="no sound in it: its data chunk is empty")
        return Structure(is_whole=True)
    if sound.stated - there > 1:  # a pad byte may be left out
        return cut_short("WAV", sound.stated - there, sound.stated, sound.bytes_per_s)
    at = _last_chunk(file, sound.start + sound.stated, order)
    return _untold("WAV", file, at, form_end, sound)


def _only_chunks(file: Reader, at: int, order: Order) -> bool:
    """Whether chunks go on from there to the very end."""
    return file.size - _last_chunk(file, at, order) <= 0


def _last_chunk(file: Reader, at: int, order: Order) -> int:
    """Where the last whole chunk ends."""
    for _ in range(MOST_CHUNKS):
        at = _behind(file, at)
        size = file.number(at + 4, 4, order)
        is_tag = file.bytes(at, 11).startswith(TAGS)
        name = file.bytes(at, 4)
        is_chunk = _is_name(name) and name not in FORMS and at + 8 + size <= file.size + 1
        if is_tag or not is_chunk:
            break
        at += 8 + size
    return at


def _untold(kind: str, file: Reader, at: int, form_end: int, sound: _Sound) -> Structure:
    """Is there sound behind the last chunk that no chunk tells of? Its head then states too little.

    Tags and padding are none; neither are some bytes that are outside the form. Inside it, they are.

    Args: at: where the chunks end. form_end: where the form ends that holds them, as its head has it.
    """
    rest, stated = file.size - at, sound.stated or 0
    few = MISSING_S * sound.bytes_per_s
    if form_end < file.size:
        few = max(few, min(stated / 4, FEW_BYTES))
    if rest <= max(few, 64) or file.bytes(at, 11).startswith(TAGS) or not _any(file, at):
        return Structure(is_whole=True)
    if not sound.bytes_per_s:
        return Structure(fault=f"damaged: {rest:,} bytes follow the sound that its head states")
    stated_s, rest_s = stated / sound.bytes_per_s, rest / sound.bytes_per_s
    what = f"the head of this {kind} file states {stated_s:.2f} s of sound, and {rest_s:.2f} s more follow"
    return Structure(fault=f"damaged: {what}")


def _any(file: Reader, at: int) -> bool:
    """Whether anything but zeros stands in some places of the rest."""
    step = max(1024, (file.size - at) // 64)
    return any(any(file.bytes(place, 1024)) for place in range(at, file.size, step))


def avi(file: Reader) -> Structure:
    """AVI: what its lists of sound and picture state, and is not there; large films have several forms."""
    at, lacks, stated = 0, 0, 0
    while at < file.size and file.bytes(at, 4) == b"RIFF":
        end, at = at + 8 + file.number(at + 4, 4), at + 12
        for _ in range(MOST_CHUNKS):
            if at + 8 > min(end, file.size):
                break
            size = file.number(at + 4, 4)
            is_film = file.bytes(at, 4) == b"LIST" and file.bytes(at + 8, 4) == b"movi"
            if is_film and size:
                stated += size
                lacks += max(0, at + 8 + size - file.size)
            if is_film and not size:  # written to a pipe
                return NOTHING
            at += 8 + size + size % 2
    return cut_short("AVI", lacks, stated, 0) if lacks else NOTHING


def w64(file: Reader) -> Structure:
    """Sony's Wave64: names of 16 bytes, lengths of 8 that count their own heads, padded to 8."""
    sound, at = _Sound(), 40
    for _ in range(MOST_CHUNKS):
        name, size = file.bytes(at, 4), file.number(at + 16, 8)
        if name == b"fmt ":
            sound.bytes_per_s = _wav_bytes_per_s(file, at + 24, "little")
        if name == b"data":
            sound.start, sound.stated = at + 24, size - 24
            if not 0 < size - 24 < 1 << 62:  # written to a pipe
                return Structure(is_whole=True)
            lacks = sound.stated - (file.size - sound.start)
            if lacks > 0:
                return cut_short("W64", lacks, sound.stated, sound.bytes_per_s)
            return _untold("W64", file, _last_of_w64(file, at + size), file.number(16, 8), sound)
        if size < 24 or len(name) < 4:
            break
        at += size + -size % 8
    if at >= file.size:
        return Structure(fault="cut short: a W64 file that ends before its sound begins")
    return NOTHING


def _last_of_w64(file: Reader, at: int) -> int:
    for _ in range(MOST_CHUNKS):
        at += -at % 8
        size = file.number(at + 16, 8)
        if size < 24 or at + size > file.size:
            break
        at += size
    return at


def aiff(file: Reader) -> Structure:
    """AIFF and AIFF-C: how many frames there are stands in `COMM`, the sound in `SSND`, in any order."""
    sound, at, frames, rate_hz = _Sound(), 12, 0, 0.0
    for _ in range(MOST_CHUNKS):
        name, size = file.bytes(at, 4), file.number(at + 4, 4, "big")
        if len(name) < 4 or not _is_name(name):
            break
        if name == b"COMM":
            channels, frames = file.number(at + 8, 2, "big"), file.number(at + 10, 4, "big")
            bits, rate_hz = file.number(at + 14, 2, "big"), _extended(file.bytes(at + 16, 10))
            code = file.bytes(at + 26, 4) if size >= 22 else b"NONE"
            if code.lower() in AIFF_PCM:
                sound.bytes_per_s = rate_hz * channels * -(-bits // 8)
        if name == b"SSND":
            sound.start, sound.stated = at + 16, size - 8
        at = at + 8 + size + size % 2
    return _aiff(file, sound, frames / rate_hz if rate_hz else None)


def _aiff(file: Reader, sound: _Sound, stated_s: float | None) -> Structure:
    if sound.stated is None:
        return Structure(fault="cut short: an AIFF file that ends before its sound begins")
    if sound.stated <= 0 or sound.stated + 8 in UNKNOWN or sound.stated + 8 >= 0xFFFFFF00:  # to a pipe
        return Structure(is_whole=True)
    lacks = sound.stated - (file.size - sound.start)
    if lacks > 1:
        return cut_short("AIFF", lacks, sound.stated, sound.bytes_per_s)
    if sound.bytes_per_s and stated_s and stated_s - sound.stated / sound.bytes_per_s > MISSING_S:
        there_s = sound.stated / sound.bytes_per_s
        return Structure(fault=f"cut short: {there_s:.2f} s of the {stated_s:.2f} s that it states are there")
    at = _last_chunk(file, sound.start + sound.stated, "big")
    return _untold("AIFF", file, at, 8 + file.number(4, 4, "big"), sound)


def _extended(number: bytes) -> float:
    """A floating-point number of 80 bits, as AIFF has its rate."""
    if len(number) < 10:
        return 0.0
    exponent = (int.from_bytes(number[:2], "big") & 0x7FFF) - 16383 - 63
    return float(int.from_bytes(number[2:], "big")) * 2.0**exponent if -100 < exponent < 100 else 0.0


def caf(file: Reader) -> Structure:
    """Apple's Core Audio Format: the sound in `data`, of length -1 if it goes to the end."""
    sound, at = _Sound(), 8
    for _ in range(MOST_CHUNKS):
        name, size = file.bytes(at, 4), file.number(at + 4, 8, "big")
        if len(name) < 4 or not _is_name(name):
            break
        if name == b"desc":
            (rate_hz,) = struct.unpack(">d", file.bytes(at + 12, 8).ljust(8, b"\0"))
            packet, frames = file.number(at + 28, 4, "big"), file.number(at + 32, 4, "big")
            sound.bytes_per_s = packet * rate_hz / frames if frames and packet else 0.0
        if name == b"data":
            sound.start, sound.stated = at + 16, size - 4  # after a count of edits
            if size >= 1 << 63:
                return Structure(is_whole=True)
            lacks = at + 12 + size - file.size
            if lacks > 0:
                return cut_short("CAF", lacks, sound.stated, sound.bytes_per_s)
        at += 12 + size
    if not sound.start:
        return Structure(fault="cut short: a CAF file that ends before its sound begins")
    return _untold("CAF", file, at, at, sound)


def au(file: Reader) -> Structure:
    """Sun's AU: a head, then sound of a length that may be left out."""
    start, stated = file.number(4, 4, "big"), file.number(8, 4, "big")
    bits, rate_hz = AU_BITS.get(file.number(12, 4, "big"), 0), file.number(16, 4, "big")
    bytes_per_s = bits / 8 * rate_hz * file.number(20, 4, "big")
    if stated in (0, 0xFFFFFFFF) or stated in UNKNOWN:
        return Structure(is_whole=True)
    lacks = start + stated - file.size
    if lacks > 0:
        return cut_short("AU", lacks, stated, bytes_per_s)
    walked = _untold("AU", file, start + stated, start + stated, _Sound(start, stated, bytes_per_s))
    return replace(walked, end=start + stated)


def voc(file: Reader) -> Structure:
    """Creative's VOC: blocks of a kind and a length of 3 bytes, to a block of kind 0."""
    at = file.number(20, 2)
    while 0 < at < file.size and file.number(at, 1) in range(1, 10):
        at += 4 + file.number(at + 1, 3)
    return Structure(fault="cut short: a VOC file that ends inside a block") if at > file.size else NOTHING
