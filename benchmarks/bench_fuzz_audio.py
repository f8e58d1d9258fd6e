"""Damaged and lying recordings of many kinds, decoded as visitors' are: what becomes of each, at what cost.

Run from the root: python benchmarks/bench_fuzz_audio.py [--files 1000] [--seed 0]

Whole recordings of half a second to two seconds are made by FFmpeg's own muxers. Each file is one of them
with one to three faults, drawn by the seed: bytes flipped anywhere or in the head, numbers of the head
replaced by extreme ones (rates, channels, lengths), the file cut, a part repeated, left out or zeroed,
another file's head put over its own.

"samples": decoded to the end. Every other outcome is a sentence for the visitor, and a reason for a
preparation; "killed" is that too, but the process had to end for it. Memory is the largest resident size of a
decoding process while it worked on a kind (Python, numpy and FFmpeg take 45 MB of it before the first file);
time is from the request to the answer. No file is asked for more than 30 s of sound, as a clip of a corpus.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import av
import numpy as np

from dagsverk.speech.audio.sandbox import Sandbox
from dagsverk.speech.errors import AudioError

# name -> (muxer, encoder, rate in Hz, options of the muxer)
KINDS = {
    "wav": ("wav", "pcm_s16le", 44_100, {}),
    "wav, floats": ("wav", "pcm_f32le", 48_000, {}),
    "wav, ADPCM": ("wav", "adpcm_ms", 22_050, {}),
    "rf64": ("wav", "pcm_s16le", 16_000, {"rf64": "always"}),
    "w64": ("w64", "pcm_s24le", 44_100, {}),
    "aiff": ("aiff", "pcm_s16be", 44_100, {}),
    "caf": ("caf", "alac", 44_100, {}),
    "au": ("au", "pcm_mulaw", 8_000, {}),
    "voc": ("voc", "pcm_u8", 16_000, {}),
    "flac": ("flac", "flac", 44_100, {}),
    "wavpack": ("wv", "wavpack", 44_100, {}),
    "tta": ("tta", "tta", 44_100, {}),
    "ogg, Opus": ("ogg", "libopus", 48_000, {}),
    "ogg, Vorbis": ("ogg", "vorbis", 44_100, {}),
    "mp3": ("mp3", "libmp3lame", 44_100, {}),
    "aac (ADTS)": ("adts", "aac", 44_100, {}),
    "m4a": ("ipod", "aac", 44_100, {}),
    "mp4, in parts": ("mp4", "aac", 48_000, {"movflags": "frag_keyframe+empty_moov"}),
    "mkv": ("matroska", "ac3", 48_000, {}),
    "webm": ("webm", "libopus", 48_000, {}),
    "avi": ("avi", "libmp3lame", 44_100, {}),
    "flv": ("flv", "aac", 44_100, {}),
    "mpegts": ("mpegts", "mp2", 48_000, {}),
    "asf": ("asf", "wmav2", 44_100, {}),
    "nut": ("nut", "libopus", 48_000, {}),
    "amr": ("amr", "libopencore_amrnb", 8_000, {}),
}
ONLY = {"amr": "mono", "ogg, Vorbis": "stereo"}  # all that these encoders know
EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
HEAD = 300  # bytes that say what the rest is
MAX_S = 30.0
OUTCOMES = ("samples", "undecodable", "unknown codec", "not audio", "too long", "killed")


@cache
def recording(kind: str, number: int) -> bytes:
    """A whole one; the numbers 0 to 2 differ in length and channels."""
    muxer, codec, rate_hz, options = KINDS[kind]
    seconds, layout = (2.0, "stereo") if number == 1 else (0.5, "mono")
    if kind in ONLY:
        layout = ONLY[kind]
    target = io.BytesIO()
    with av.open(target, "w", format=muxer, options=options) as file:
        sound = file.add_stream(codec, rate=rate_hz, layout=layout)
        sound.bit_rate = 64_000  # some encoders want to be told
        sound.codec_context.options = {"strict": "-2"}  # Vorbis is called experimental
        sound.codec_context.open()
        t = np.arange(round(seconds * rate_hz)) / rate_hz
        wave = (0.3 * np.sin(2 * np.pi * (220 + 100 * number) * t)).astype("f4")
        channels = 1 if layout == "mono" else 2
        frame = av.AudioFrame.from_ndarray(np.stack([wave] * channels), format="fltp", layout=layout)
        frame.sample_rate = rate_hz
        size = sound.codec_context.frame_size or 1024
        fitting = av.AudioResampler(sound.codec_context.format, layout, rate_hz, size)
        for part in [*fitting.resample(frame), *fitting.resample(None)]:
            file.mux(sound.encode(part))
        file.mux(sound.encode(None))
    return target.getvalue()


def damaged(kind: str, number: int, seed: int = 0) -> bytes:
    """The `number`-th damaged file of a kind."""
    chance = np.random.default_rng([seed, number, *kind.encode()])
    content = bytearray(recording(kind, int(chance.integers(3))))
    faults = (_flip, _flip_head, _lie, _lie, _lie, _cut, _repeat, _leave_out, _zero, _other_head)
    for _ in range(chance.integers(1, 4)):
        if len(content) > 16:
            chance.choice(faults)(content, chance)
    return bytes(content)


def _flip(content: bytearray, chance: np.random.Generator) -> None:
    for at in chance.integers(len(content), size=chance.integers(1, 50)):
        content[at] = chance.integers(256)


def _flip_head(content: bytearray, chance: np.random.Generator) -> None:
    for at in chance.integers(min(HEAD, len(content)), size=chance.integers(1, 4)):
        content[at] = chance.integers(256)


def _lie(content: bytearray, chance: np.random.Generator) -> None:
    """A number of 1, 2, 4 or 8 bytes in the head becomes an extreme one."""
    size = int(chance.choice((1, 2, 4, 8)))
    at = int(chance.integers(min(HEAD, len(content)) - size))
    value = int(chance.choice(EXTREMES)) % (1 << (8 * size))
    content[at : at + size] = value.to_bytes(size, str(chance.choice(("little", "big"))))


def _part(content: bytearray, chance: np.random.Generator) -> slice:
    first = int(chance.integers(len(content)))
    return slice(first, first + int(chance.integers(1, max(2, len(content) // 4))))


def _cut(content: bytearray, chance: np.random.Generator) -> None:
    del content[chance.integers(1, len(content)) :]


def _repeat(content: bytearray, chance: np.random.Generator) -> None:
    part = _part(content, chance)
    content[part] = bytes(content[part]) * int(chance.integers(2, 20))


def _leave_out(content: bytearray, chance: np.random.Generator) -> None:
    del content[_part(content, chance)]


def _zero(content: bytearray, chance: np.random.Generator) -> None:
    part = _part(content, chance)
    content[part] = bytes(len(content[part]))


def _other_head(content: bytearray, chance: np.random.Generator) -> None:
    other = recording(str(chance.choice(list(KINDS))), 0)
    size = int(chance.integers(4, HEAD))
    content[:size] = other[:size]


@dataclass
class Outcomes:
    """Of one kind."""

    counts: Counter[str] = field(default_factory=Counter)
    peak_bytes: int = 0
    worst_s: float = 0.0


def try_out(kind: str, files: int, seed: int = 0) -> Outcomes:
    """Decode damaged files of a kind. Raises whatever is neither samples nor AudioError."""
    outcomes = Outcomes()
    box = Sandbox(1, reuse=True)
    box.read_samples(recording(kind, 0), max_s=MAX_S)  # starts its process
    for number in range(files):
        content = damaged(kind, number, seed)
        start = time.perf_counter()
        try:
            samples = box.read_samples(content, max_s=MAX_S)
            assert np.isfinite(samples).all()
            outcome = "samples"
        except AudioError as error:
            killed = "ended the process" in error.detail or "s of work" in error.detail
            outcome = "killed" if killed else error.reason
        outcomes.worst_s = max(outcomes.worst_s, time.perf_counter() - start)
        outcomes.peak_bytes = max(outcomes.peak_bytes, _peak_bytes())
        outcomes.counts[outcome] += 1
    box.close()
    return outcomes


def _peak_bytes() -> int:
    """The largest resident size that a child of this process has had."""
    peaks = [0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        except OSError:  # it has ended
            continue
        if int(fields["PPid"]) == os.getpid() and "VmHWM" in fields:
            peaks.append(int(fields["VmHWM"].split()[0]) * 1024)
    return max(peaks)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--files", type=int, default=1000, help="in all")
    asked.add_argument("--seed", type=int, default=0)
    options = asked.parse_args()
    each = -(-options.files // len(KINDS))
    total, peak_bytes, worst_s = Counter[str](), 0, 0.0
    print(f"{'kind':14} {' '.join(f'{outcome:>13}' for outcome in OUTCOMES)}  peak MB  worst s")
    for kind in KINDS:
        outcomes = try_out(kind, each, options.seed)
        total.update(outcomes.counts)
        peak_bytes, worst_s = max(peak_bytes, outcomes.peak_bytes), max(worst_s, outcomes.worst_s)
        print(_line(kind, outcomes.counts, outcomes.peak_bytes, outcomes.worst_s), flush=True)
    print(_line(f"all {total.total():,}", total, peak_bytes, worst_s))


def _line(name: str, counts: Counter[str], peak_bytes: int, worst_s: float) -> str:
    assert counts.keys() <= set(OUTCOMES), counts
    columns = " ".join(f"{counts[outcome]:13}" for outcome in OUTCOMES)
    return f"{name:14} {columns}  {peak_bytes / 1e6:7.0f}  {worst_s:7.2f}"


if __name__ == "__main__":
    main()
