"""Recordings that are made to do harm, and what decodes them; small, made when a test asks for them."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

CRC8 = [0] * 256
for byte in range(256):
    value = byte
    for _ in range(8):
        value = ((value << 1) ^ 0x07) & 0xFF if value & 0x80 else value << 1
    CRC8[byte] = value
CRC16 = [0] * 256
for byte in range(256):
    value = byte << 8
    for _ in range(8):
        value = ((value << 1) ^ 0x8005) & 0xFFFF if value & 0x8000 else value << 1
    CRC16[byte] = value
FRAME = 65_535  # samples, the most that FLAC knows


def silent_flac(seconds: float, rate_hz: int, *, stated: bool) -> bytes:
    """Silence in 15 bytes for each 65,535 samples; `stated`: its head tells how long it is."""
    frames = round(seconds * rate_hz / FRAME)
    form = rate_hz << 44 | 15 << 36 | (frames * FRAME if stated else 0)  # one channel, 16 bits
    head = struct.pack(">HH6xQ16x", FRAME, FRAME, form)
    return b"fLaC\x80\0\0\x22" + head + b"".join(map(_flac_frame, range(frames)))


def _flac_frame(number: int) -> bytes:
    head = b"\xff\xf8\x70\x00" + chr(number).encode("utf-8", "surrogatepass") + struct.pack(">H", FRAME - 1)
    check = 0
    for found in head:
        check = CRC8[check ^ found]
    frame = head + bytes([check]) + b"\0\0\0"  # one value for all its samples: 0
    check = 0
    for found in frame:
        check = ((check << 8) & 0xFFFF) ^ CRC16[(check >> 8) ^ found]
    return frame + struct.pack(">H", check)


def lying_wav(rate_hz: int, *, samples: int = 8000, channels: int = 1) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((channels, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(bytes(2 * samples * channels))
    return target.getvalue()


def integers_of_64_bits() -> bytes:
    """A WAV file of a form that FFmpeg reads and numpy is not given."""
    samples = bytes(8 * 800)
    form = struct.pack("<HHIIHH", 1, 1, 16_000, 16_000 * 8, 8, 64)
    body = (
        b"WAVEfmt "
        + struct.pack("<I", len(form))
        + form
        + b"data"
        + struct.pack("<I", len(samples))
        + samples
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def unknown_codec() -> bytes:
    """A WAV file of a code that nobody knows."""
    found = bytearray(lying_wav(16_000))
    found[20:22] = b"\x34\x12"
    return bytes(found)


def playlists(path: Path, address: str) -> dict[str, bytes]:
    """Files that name another file or an address, as FFmpeg would follow them."""
    texts = {
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}/a.ts\n#EXTINF:9,\nfile://{path}\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{path}'\nfile '{address}/b.wav'\n",
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{address}\n"
        "m=audio 9999 RTP/AVP 0\n",
        "mpd": "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static' "
        "mediaPresentationDuration='PT9S'><Period><AdaptationSet mimeType='audio/mp4'><Representation id='a' "
        f"bandwidth='9'><BaseURL>{address}/c.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "pls": f"[playlist]\nFile1={address}/d.mp3\nLength1=9\nNumberOfEntries=1\n",
        "ram": f"rtsp://127.0.0.1/e.rm\n{address}/e.rm\n",
        "asx": f"<asx version='3.0'><entry><ref href='{address}/f.asf'/></entry></asx>",
        "hds": f"<manifest xmlns='http://ns.adobe.com/f4m/1.0'><media url='{address}/g'/></manifest>",
        "lavfi": f"amovie={path}",
        "image2": f"{path.parent}/%d.wav",
        "name": f"file:{path}",
        "address": f"{address}/h.wav",
    }
    return {name: text.encode() for name, text in texts.items()} | {"mov": _mov_elsewhere(str(path))}


def _mov_elsewhere(path: str) -> bytes:
    """A film whose sound is said to lie in another file."""

    def box(kind: bytes, *content: bytes) -> bytes:
        inside = b"".join(content)
        return struct.pack(">I", 8 + len(inside)) + kind + inside

    drefs = box(b"dref", struct.pack(">II", 0, 2), box(b"url ", bytes(4), f"file://{path}\0".encode()),
                box(b"alis", bytes(4), path.encode()))  # fmt: skip
    sound = box(b"sowt", bytes(6), struct.pack(">HHHIHHHHI", 1, 0, 0, 0, 1, 16, 0, 0, 16_000 << 16))
    table = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), sound),
        box(b"stts", struct.pack(">IIII", 0, 1, 800, 1)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, 800, 1)),
        box(b"stsz", struct.pack(">III", 0, 2, 800)),
        box(b"stco", struct.pack(">III", 0, 1, 0)),
    )
    media = box(
        b"mdia",
        box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, 16_000, 800, 0, 0)),
        box(b"hdlr", bytes(8), b"soun", bytes(13)),
        box(b"minf", box(b"smhd", bytes(8)), box(b"dinf", drefs), table),
    )
    head = struct.pack(">IIIII", 0, 0, 0, 16_000, 800) + bytes(80)
    track = box(b"trak", box(b"tkhd", struct.pack(">IIIIII", 7, 0, 0, 1, 0, 800) + bytes(60)), media)
    return box(b"ftyp", b"qt  ", bytes(4), b"qt  ") + box(b"moov", box(b"mvhd", head), track)


def decoders_of(parent: int) -> dict[int, float]:
    """Processes that decode for another one: pid -> seconds of work so far."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _stat(folder)
        if fields and int(fields[1]) == parent and b"audio.process" in _command(folder) and fields[0] != "Z":
            found[int(folder.name)] = (int(fields[11]) + int(fields[12])) / 100
    return found


def server_of(address: str) -> int:
    """The process of the pages that listen there."""
    port = address.rpartition(":")[2].encode()
    called_so = {
        int(folder.name): _stat(folder)
        for folder in Path("/proc").glob("[0-9]*")
        if b"ui\0--port\0" + port in _command(folder)
    }
    # A child that it has just begun is called so, too, until it runs a program of its own.
    (found,) = [pid for pid, fields in called_so.items() if fields and int(fields[1]) not in called_so]
    return found


def _stat(process: Path) -> list[str]:
    """State, parent and so on, from the third field on; none of a process that has ended."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # it has ended
        return b""
