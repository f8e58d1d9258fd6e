"""The boxes of MP4 and QuickTime, elements of Matroska and WebM, objects of ASF, tags of FLV: are all there?

Light.

Sources: ISO/IEC 14496-12; RFC 8794 (EBML) and RFC 9559 (Matroska); Microsoft's ASF; Adobe's FLV.
"""

from __future__ import annotations

from dagsverk.speech.audio.structure import NOTHING, Reader, Structure, cut_short

MP4_FIRST = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx"}
MOST_BOXES = 1_000_000

UNKNOWN_SIZE = -1  # of an element that was written before its end was known
EBML, SEGMENT, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
SIMPLE_BLOCK, BLOCK_GROUP = 0xA3, 0xA0
IN_SEGMENT = {CLUSTER, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
IN_CLUSTER = {SIMPLE_BLOCK, BLOCK_GROUP, 0xE7, 0xAB, 0xA7, 0x5854}
EVERYWHERE = {0xEC, 0xBF}  # padding, a checksum
HOLD_SOUND = {CLUSTER, SIMPLE_BLOCK, BLOCK_GROUP}

ASF_HEAD = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")


def mp4(file: Reader) -> Structure:
    """MP4 and its kin: sound in `mdat`, before or behind the table of contents, `moov`; or in fragments."""
    at, has_contents, is_live, lacks, stated = 0, False, False, 0, 0
    for _ in range(MOST_BOXES):
        size, name, head = file.number(at, 4, "big"), file.bytes(at + 4, 4), 8
        if size == 1:
            size, head = file.number(at + 8, 8, "big"), 16
        if size == 0 and len(name) == 4:
            size = file.size - at  # to the end
        if size < head or len(name) < 4:
            break
        if name in (b"mdat", b"moof"):
            stated += size
            lacks += max(0, at + size - file.size)
        is_live = is_live or name == b"moof"
        has_contents = has_contents or (name == b"moov" and at + size <= file.size)
        at += size
    if not has_contents:
        return Structure(fault="cut short: an MP4 file without its table of contents, often at its end")
    if lacks and is_live:  # nothing says how many more there were
        return Structure(fault="cut short: an MP4 file in parts that ends inside one")
    return cut_short("MP4", lacks, stated, 0) if lacks else NOTHING


def matroska(file: Reader) -> Structure:
    """Matroska and WebM. Live recordings state no length: they were cut if they end inside an element."""
    identity, size, at = _element(file, 0)
    if identity != EBML or size < 0:
        return NOTHING
    identity, size, at = _element(file, at + size)
    while identity in EVERYWHERE and size >= 0:
        identity, size, at = _element(file, at + size)
    if identity != SEGMENT:
        return NOTHING
    if size != UNKNOWN_SIZE:
        return cut_short("Matroska", at + size - file.size, size, 0)
    return _live(file, at)


def _live(file: Reader, at: int) -> Structure:
    while at < file.size:
        identity, size, start = _element(file, at)
        if identity not in IN_SEGMENT | IN_CLUSTER | EVERYWHERE:
            break  # what stands behind it is no part of it
        if size == UNKNOWN_SIZE:  # a cluster: its elements are looked at
            at = start
            continue
        at = start + size
        if at > file.size and identity in HOLD_SOUND:
            return Structure(fault="cut short: a live recording that ends inside a block of sound or picture")
    return NOTHING


def _element(file: Reader, at: int) -> tuple[int, int, int]:
    """(identity, size or UNKNOWN_SIZE, where its content begins); (0, 0, at) where there is none."""
    head = file.bytes(at, 12)
    length = _length_of(head[:1], most=4)
    size_length = _length_of(head[length : length + 1], most=8) if length else 0
    start = length + size_length
    if not size_length or len(head) < start:
        return 0, 0, at
    bits = int.from_bytes(head[length:start], "big")
    unknown = (1 << (7 * size_length)) - 1
    size = bits & unknown
    return int.from_bytes(head[:length], "big"), UNKNOWN_SIZE if size == unknown else size, at + start


def _length_of(first: bytes, most: int) -> int:
    """Bytes of a number that says so by the zeros that it begins with; 0: it is none."""
    length = 9 - first[0].bit_length() if first else 0
    return length if length <= most else 0


def asf(file: Reader) -> Structure:
    """ASF, WMA, WMV: the data object, unless it was broadcast."""
    at = 0
    for _ in range(100):
        name, size = file.bytes(at, 16), file.number(at + 16, 8)
        if size < 24 or len(name) < 16:
            break
        if name == ASF_DATA:
            return cut_short("ASF", at + size - file.size, size, 0) if at + size > file.size else NOTHING
        at += size
    if at >= file.size:
        return Structure(fault="cut short: an ASF file that ends before its sound begins")
    return NOTHING


def flv(file: Reader) -> Structure:
    """FLV: tags, each behind the length of the one before."""
    at = file.number(5, 4, "big")
    while 0 < at < file.size - 15:
        kind, size = file.number(at + 4, 1) & 0x1F, file.number(at + 5, 3, "big")
        if kind not in (8, 9, 18):
            break
        at += 4 + 11 + size
        if at > file.size:
            return Structure(fault="cut short: an FLV file that ends inside a tag")
    return NOTHING
