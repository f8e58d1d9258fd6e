"""Recordings of any kind -> mono float32 at 16 kHz, and the checks that a clip must pass.

Decoded and resampled by FFmpeg (`libavcodec`, `libswresample`), which the wheel of PyAV brings.
"""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import av
import av.error
import av.logging
import numpy as np
from numpy.typing import NDArray

from dagsverk.speech.errors import AudioError

SAMPLE_RATE_HZ = 16_000  # Whisper's
FULL_SCALE = 0.99  # from here on a sample counts as clipped: resampling rounds the corners of flat tops
LOUDEST = 100.0  # 40 dB above full scale is no sound, but damage in a file of floats
MISSING_S = 0.25  # a file may lack this much of the length that it states; beyond, it was cut short
PART_SAMPLES = 1 << 18  # at the file's own rate, joined before they are resampled

# Demuxers for sound and video. Playlists and subtitles are left out: they name other files, or are text.
FORMATS = (
    "aac,aiff,alaw,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,eac3,ac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,"
    "mj2,mp3,mpc,mpc8,mpeg,mpegts,nut,ogg,rm,tta,voc,w64,wav,wv"
)
STATES_ITS_LENGTH = (
    "flac",
    "ogg",
    "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska,webm",
)  # others guess it from the bit rate
OPTIONS = {
    "format_whitelist": FORMATS,
    "protocol_whitelist": "none",  # nothing but the given bytes is read
    "max_probe_packets": "1",  # else 30 ms go by for each stereo WAV file, looking for DTS in it
}

Audio: TypeAlias = NDArray[np.float32]

av.logging.set_level(None)  # FFmpeg would tell stderr about every odd header


def decode(source: bytes | Path, *, max_s: float | None = None) -> Audio:
    """A whole recording, in any container with an audio stream (the first or best of several).

    Args:
        source: the encoded bytes, or a local file.
        max_s: longest recording wanted; decoding stops where it is exceeded, so a long file costs little.
    Returns: float32 array, shape (samples,), mono (the mean of the channels), 16 kHz, nominally in [-1, 1].
    Raises: AudioError with reason "empty file", "not audio", "undecodable" (damaged, cut short, or holding
        values that are no numbers), "too long", or "missing audio" (no such file).
    """
    limit = None if max_s is None else round(max_s * SAMPLE_RATE_HZ)
    parts: list[Audio] = []
    samples = 0
    for part in _resampled(_parts(source)):
        parts.append(part)
        samples += len(part)
        if limit is not None and samples > limit:
            raise AudioError("too long", f"want at most {max_s:g} s of audio, found more")
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def decode_blocks(source: bytes | Path, block_s: float = 30.0) -> Iterator[Audio]:
    """A recording of any length in blocks of `block_s` seconds (the last may be shorter), in bounded memory.

    Each block is as `decode` returns it. Raises as `decode` does, a fault late in the file only when it
    is reached.
    """
    size = round(block_s * SAMPLE_RATE_HZ)
    if size < 1:
        raise ValueError(f"block_s must be at least one sample, got {block_s}")
    waiting = np.zeros(0, np.float32)
    for part in _resampled(_parts(source)):
        waiting = np.concatenate([waiting, part])
        while len(waiting) >= size:
            yield waiting[:size].copy()
            waiting = waiting[size:]
    if len(waiting):
        yield waiting


def loudness_dbfs(audio: Audio) -> float:
    """RMS loudness of a clip, in decibels relative to full scale.

    Args: audio: float array, shape (samples,), mono, values in [-1, 1].
    Returns: dBFS; 0.0 for a full-scale square wave, -inf for digital silence.
    Raises: ValueError if `audio` is empty or has channels.
    """
    power = float(np.mean(np.square(_one_channel(audio), dtype=np.float64)))
    return 10 * float(np.log10(power)) if power > 0 else -np.inf


def clipped_share(audio: Audio) -> float:
    """Share of samples at full scale, in [0, 1]. Raises ValueError if `audio` is empty or has channels."""
    return float(np.mean(np.abs(_one_channel(audio)) >= FULL_SCALE))


def check(audio: Audio, *, min_s: float, max_s: float, silence_dbfs: float, max_clipped_share: float) -> None:
    """Nothing, if the clip can be used.

    Raises: AudioError with reason "too short", "too long", "silence" or "clipped", in this order.
    """
    seconds = len(audio) / SAMPLE_RATE_HZ
    if seconds < min_s or not len(audio):
        raise AudioError("too short", f"want at least {min_s:g} s, found {seconds:.2f} s")
    if seconds > max_s:
        raise AudioError("too long", f"want at most {max_s:g} s, found {seconds:.2f} s")
    if not np.isfinite(audio).all():  # decode gives none; other makers of audio might
        raise AudioError("undecodable", "some samples are no numbers")
    if (loudness := loudness_dbfs(audio)) < silence_dbfs:
        raise AudioError("silence", f"want at least {silence_dbfs:g} dBFS, found {loudness:.1f} dBFS")
    if (share := clipped_share(audio)) > max_clipped_share:
        raise AudioError(
            "clipped", f"want at most {max_clipped_share:.1%} of samples at full scale, found {share:.1%}"
        )


def encode_wav(audio: Audio) -> bytes:
    """A 16-bit mono WAV file at 16 kHz. Values beyond [-1, 1] are cut off.

    Raises: ValueError if `audio` has channels.
    """
    if audio.ndim != 1:
        raise ValueError(f"want audio of shape (samples,), got {audio.shape}")
    whole = np.clip(np.round(np.nan_to_num(audio) * 32768.0), -32768, 32767).astype("<i2")
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(whole.tobytes())
    return target.getvalue()


def _one_channel(audio: Audio) -> Audio:
    if audio.ndim != 1 or not len(audio):
        raise ValueError(f"want audio of shape (samples,) with at least one sample, got {audio.shape}")
    return audio


def _parts(source: bytes | Path) -> Iterator[tuple[int, Audio]]:
    """(sample rate in Hz, mono float32 samples), many frames at a time."""
    with closing(_open_bytes(source)) as file:
        size = file.seek(0, io.SEEK_END)
        if not size:
            raise AudioError("empty file", "0 bytes")
        head = _head(file)
        file.seek(0)
        with _open_container(file, head) as container:
            stream = container.streams.best("audio")
            if stream is None:
                raise AudioError("not audio", f"a {container.format.long_name} file without an audio stream")
            stated_s = _stated_s(container, stream, head)
            seconds = 0.0
            for frame in _gathered(_frames(container, stream)):
                rate = frame.sample_rate
                seconds += frame.samples / rate
                yield rate, _mean_of_channels(frame)
        _check_whole(seconds, stated_s, size, head)


def _open_bytes(source: bytes | Path) -> BinaryIO:
    if not isinstance(source, Path):
        return io.BytesIO(source)
    try:
        return source.open("rb")  # FFmpeg sees no name: a text called .mp3 is not taken for one
    except FileNotFoundError as error:
        raise AudioError("missing audio", f"there is no file {source.name}") from error
    except OSError as error:
        raise AudioError("missing audio", f"{source.name} cannot be read: {error.strerror}") from error


def _head(file: BinaryIO) -> bytes:
    """The first 4 KiB after the ID3v2 tag that MP3 files may begin with."""
    file.seek(0)
    start = file.read(4096)
    if start[:3] == b"ID3" and len(start) >= 10:
        length = sum((byte & 0x7F) << shift for byte, shift in zip(start[6:10], (21, 14, 7, 0), strict=True))
        file.seek(10 + length)
        return file.read(4096)
    return start


def _open_container(file: BinaryIO, head: bytes) -> Any:
    try:
        return av.open(file, mode="r", options=OPTIONS, metadata_errors="ignore")
    except (av.error.FFmpegError, ValueError) as error:
        if head[4:8] == b"ftyp":  # MP4 and its kin keep their table of contents at the end
            raise AudioError("undecodable", "an MP4 file without its end: cut short") from error
        raise AudioError(
            "not audio", f"no sound or video format that FFmpeg knows ({_told(error)})"
        ) from error


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames. Only the last packet may be damaged: encoders that are stopped leave half of one."""
    damage: Exception | None = None
    found = False
    try:
        stream.thread_type = "NONE"
        for packet in container.demux(stream):
            if damage and packet.size:
                raise AudioError("undecodable", f"damaged inside ({_told(damage)})") from damage
            try:
                for frame in packet.decode():
                    found = True
                    yield frame
            except av.error.FFmpegError as error:
                damage = error
    except (av.error.FFmpegError, ValueError) as error:
        raise AudioError("undecodable", _told(error)) from error
    if not found:
        raise AudioError("undecodable", f"no sound in it ({_told(damage) if damage else 'no frame'})")


def _gathered(frames: Iterable[Any]) -> Iterator[Any]:
    """Frames joined into large ones: what is done to each costs more than its samples do."""
    queue = av.AudioFifo()
    for frame in frames:
        frame.pts = None  # gaps in the time stamps are no gaps in the sound
        try:
            queue.write(frame)
        except ValueError:  # of another rate, layout or format: a chained Ogg file
            yield queue.read()
            queue = av.AudioFifo()
            queue.write(frame)
        if queue.samples >= PART_SAMPLES:
            yield queue.read()
    if queue.samples:
        yield queue.read()


def _mean_of_channels(frame: Any) -> Audio:
    raw = frame.to_ndarray()  # planar: (channels, samples); packed: (1, samples * channels)
    channels = raw if frame.format.is_planar else raw.reshape(-1, frame.layout.nb_channels).T
    offset, full = _zero_and_full_scale(raw.dtype)
    mono = channels[0].astype(np.float32)
    for channel in channels[1:]:  # several times as fast as mean(axis=0) over interleaved samples
        mono += channel
    mono = (mono / np.float32(len(channels)) - offset) / full
    if not np.abs(mono).max(initial=0) <= LOUDEST:  # NaN is not, either
        raise AudioError("undecodable", "some samples are no numbers, or far beyond full scale")
    return np.asarray(mono, np.float32)


def _zero_and_full_scale(kind: np.dtype[Any]) -> tuple[np.float32, np.float32]:
    if kind.kind == "f":
        return np.float32(0), np.float32(1)
    full = np.float32(1 << (8 * kind.itemsize - 1))
    return (full if kind.kind == "u" else np.float32(0)), full


def _resampled(parts: Iterable[tuple[int, Audio]]) -> Iterator[Audio]:
    """Mono samples at 16 kHz. A new rate within a file begins anew."""
    for rate, group in groupby(parts, key=lambda part: part[0]):
        if rate == SAMPLE_RATE_HZ:
            yield from (part for _, part in group)
            continue
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
        for _, part in group:
            frame = av.AudioFrame.from_ndarray(part[None], format="flt", layout="mono")
            frame.sample_rate = rate
            yield from (out.to_ndarray()[0] for out in resampler.resample(frame))
        yield from (out.to_ndarray()[0] for out in resampler.resample(None))


def _stated_s(container: Any, stream: Any, head: bytes) -> float | None:
    """The length that the file states, where it is no guess."""
    name = container.format.name
    if name not in STATES_ITS_LENGTH and not (name == "mp3" and (b"Xing" in head or b"Info" in head)):
        return None
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    alone = len(container.streams) == 1  # a film's picture may be longer than its sound
    return container.duration / av.time_base if container.duration and alone else None


def _check_whole(seconds: float, stated_s: float | None, size: int, head: bytes) -> None:
    """Raises AudioError if sound is missing at the end: its text would say more than is heard."""
    if stated_s is not None and seconds < stated_s - MISSING_S:
        raise AudioError("undecodable", f"cut short: {seconds:.2f} s of {stated_s:.2f} s are there")
    at = head.find(b"data")
    if head[:4] == b"RIFF" and 0 < at <= len(head) - 8:
        (stated_bytes,) = struct.unpack("<I", head[at + 4 : at + 8])
        streamed = stated_bytes >= 0x7FFFF000  # written to a pipe: the length was not known
        if not streamed and at + 8 + stated_bytes > size + 1:  # + 1: a pad byte may be left out
            raise AudioError("undecodable", f"cut short: {size} bytes of {at + 8 + stated_bytes} are there")


def _told(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
