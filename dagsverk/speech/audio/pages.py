"""Formats that are rows of pages or frames: Ogg, MPEG transport streams, AMR, MP3, ADTS: is the last there?

Sources: RFC 3533 (Ogg); RFC 4867 (AMR); ATSC A/52 (AC-3); ISO/IEC 13818-1, 11172-3 and 13818-7; the tags
of Xing, LAME and Fraunhofer. Light.
"""

from __future__ import annotations

from dagsverk.speech.audio.structure import NOTHING, TAGS, Reader, Structure

OGG_HEAD = 27
FIRST, LAST = 2, 4  # flags of a page
SOUND = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ", b"fLaC")  # what a stream of sound begins with
RESYNC_BYTES = 1 << 18  # that are looked through for the next page, should one be damaged
MOST_DAMAGES = 100
TS_PACKET = 188
AMR_NARROW = (12, 13, 15, 17, 19, 20, 26, 31, 5, 6, 5, 5, 0, 0, 0, 0)  # bytes behind a frame's head, by kind
AMR_WIDE = (17, 23, 32, 36, 40, 46, 50, 58, 60, 5, 0, 0, 0, 0, 0, 0)
MPEG_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)  # kbit/s of layer III
MPEG_1_II = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0)  # of layer II
AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
MPEG_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)


def ogg(file: Reader) -> Structure:
    """Ogg: every stream of sound ends with a page that says so."""
    at, open_streams, damages = 0, set[bytes](), 0
    while at < file.size:
        head = file.bytes(at, OGG_HEAD + 255)
        if head[:5] != b"OggS\0" or len(head) < OGG_HEAD:
            following, damages = _next_page(file, at), damages + 1
            if following < 0 or damages > MOST_DAMAGES:
                break
            at = following
            continue
        stream, segments = head[14:18], head[26]
        start = at + OGG_HEAD + segments
        at = start + sum(head[OGG_HEAD : OGG_HEAD + segments])
        if at > file.size:
            return Structure(fault="cut short: an Ogg file that ends inside a page")
        if head[5] & FIRST and file.bytes(start, 8).startswith(SOUND):
            open_streams.add(stream)
        if head[5] & LAST:
            open_streams.discard(stream)
    if open_streams:
        return Structure(fault="cut short: the last page of its sound is not there")
    return NOTHING


def _next_page(file: Reader, at: int) -> int:
    """Where the next page begins behind something else; -1: none does soon."""
    place = file.bytes(at + 1, RESYNC_BYTES).find(b"OggS\0")
    return at + 1 + place if place >= 0 else -1


def mpeg_ts(file: Reader) -> Structure:
    """MPEG transport streams: packets of 188 bytes."""
    rest = file.size % TS_PACKET
    if rest and file.bytes(file.size - rest, 1) == b"\x47":
        return Structure(fault="cut short: an MPEG transport stream that ends inside a packet")
    return NOTHING


def amr(file: Reader) -> Structure:
    """AMR: frames of 20 ms, each of a length by its kind."""
    wide = file.bytes(0, 9) == b"#!AMR-WB\n"
    at, sizes = (9, AMR_WIDE) if wide else (6, AMR_NARROW)
    while at < file.size:
        head = file.number(at, 1)
        if not head or head & 0x83 or file.bytes(at, 8).startswith(TAGS):
            break  # no frame
        at += 1 + sizes[head >> 3 & 15]
    if at > file.size:
        return Structure(fault="cut short: an AMR file that ends inside a frame")
    return Structure(end=at, is_whole=True)


def mp3(file: Reader) -> Structure:
    """MP3: encoders that know it say in the first frame how many follow (Xing, LAME; Fraunhofer's VBRI)."""
    head = file.bytes(0, 192)
    rate_hz, samples, information = _mpeg_form(head)
    mark = head[information : information + 4]
    if mark in (b"Xing", b"Info") and head[information + 7] & 1:
        frames, lame = int.from_bytes(head[information + 8 : information + 12], "big"), information + 120
        padding = _lame_padding(head[lame:]) if head[information + 7] & 0xF == 0xF else 0
    elif head[36:40] == b"VBRI":
        frames, padding = int.from_bytes(head[50:54], "big"), 2 * samples  # it does not say how much
    else:
        return NOTHING
    return Structure(stated_s=max(0, frames * samples - padding) / rate_hz) if frames and rate_hz else NOTHING


def _mpeg_form(head: bytes) -> tuple[int, int, int]:
    """(samples per second, samples of a frame, where Xing's mark would be)."""
    newer = head[1] >> 3 & 1  # MPEG-1; MPEG-2 and 2.5 have half and a quarter of its rates
    half = 0 if newer else 1 if head[1] >> 4 & 1 else 2
    rate_hz = (44_100, 48_000, 32_000, 0)[head[2] >> 2 & 3] >> half
    mono = head[3] >> 6 == 3
    side = (17 if mono else 32) if newer else (9 if mono else 17)
    return rate_hz, 1152 if newer else 576, 4 + side


def _lame_padding(tag: bytes) -> int:
    """Samples before and behind the sound that are none, by LAME's tag."""
    if len(tag) < 24 or not any(tag[:4]):
        return 0
    both = int.from_bytes(tag[21:24], "big")
    return (both >> 12) + (both & 0xFFF)


def last_frame_is_whole(container: str, packet: bytes) -> bool:
    """Whether the last packet of a file of MP3, MP2, ADTS or AC-3 is as long as its head says; True for what
    has none."""
    if container in ("ac3", "eac3") and b"\x0b\x77".startswith(packet[:2]):
        return len(packet) >= 7 and _ac3_frame_bytes(packet) <= len(packet)
    if len(packet) < 7 or packet[0] != 0xFF:
        return True
    if container == "aac" and packet[1] & 0xF6 == 0xF0:
        return (int.from_bytes(packet[3:6], "big") >> 5 & 0x1FFF) <= len(packet)
    if container == "mp3" and packet[1] & 0xE6 == 0xE2:
        return _mp3_frame_bytes(packet) <= len(packet) + 1
    if container == "mp3" and packet[1] & 0xE6 == 0xE4:
        return _mp2_frame_bytes(packet) <= len(packet) + 1
    return True


def _mp2_frame_bytes(head: bytes) -> int:
    """Length of a frame of layer II, of 1,152 samples at any rate; 0 where it says none."""
    rate_hz, samples, _ = _mpeg_form(head)
    kbps = (MPEG_1_II if samples == 1152 else MPEG_2)[head[2] >> 4]
    return 144_000 * kbps // rate_hz + (head[2] >> 1 & 1) if rate_hz else 0


def _ac3_frame_bytes(head: bytes) -> int:
    """Length of a frame of AC-3 or E-AC-3; 0 where it says none."""
    if head[5] >> 3 > 10:  # E-AC-3: its number of words, less one
        return 2 * (((head[2] & 7) << 8 | head[3]) + 1)
    rate, code = head[4] >> 6, head[4] & 0x3F
    if rate == 3 or code >= 2 * len(AC3_KBPS):
        return 0
    kbps = AC3_KBPS[code // 2]
    return (4 * kbps, 2 * (kbps * 320 // 147 + code % 2), 6 * kbps)[rate]  # at 48, 44.1 and 32 kHz


def _mp3_frame_bytes(head: bytes) -> int:
    """Length of a frame of layer III; 0 where it says none."""
    rate_hz, samples, _ = _mpeg_form(head)
    kbps = (MPEG_1 if samples == 1152 else MPEG_2)[head[2] >> 4]
    return samples // 8 * 1000 * kbps // rate_hz + (head[2] >> 1 & 1) if rate_hz else 0
