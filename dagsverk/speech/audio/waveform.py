"""Recordings of any kind -> mono float32 at 16 kHz, and the checks that a clip must pass.

Decoded and resampled by FFmpeg (`libavcodec`, `libswresample`), which the wheel of PyAV brings.
"""

from __future__ import annotations

import io
import math
import tempfile
import wave
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from itertools import groupby
from typing import Any, BinaryIO

import av
import numpy as np

from dagsverk.speech.audio import containers, decoding
from dagsverk.speech.audio.containers import Source
from dagsverk.speech.audio.samples import RATE_HZ, SAMPLE_BYTES, Audio, SamplesFile
from dagsverk.speech.audio.tracks import tags_of
from dagsverk.speech.errors import AudioError
from dagsverk.turns import Check, go_on

SAMPLE_RATE_HZ = RATE_HZ
STEADY_SAMPLES = 1600  # 0.1 s, in which an offset does not change
FULL_SCALE = 0.99  # from here on a sample counts as clipped: resampling rounds the corners of flat tops


def read_samples(source: Source, *, max_s: float | None = None, language: str = "") -> Audio:
    """A whole recording, in any container with a track of sound.

    What strangers send is not for this process: see `sandbox`.

    Args:
        source: the encoded bytes, a local file, or an open one, which is closed.
        max_s: longest recording wanted; decoding stops where it is exceeded, so a long file costs little.
        language: Whisper's code of the one wanted, of several; see `tracks`.
    Returns: float32 array, shape (samples,), mono, 16 kHz, nominally in [-1, 1]; from the film's start, with
        silence where time stamps have gaps. Of several channels the mean, unless they cancel each other.
    Raises: AudioError with reason "empty file", "not audio", "undecodable" (damaged, cut short, of a form
        that is not read, or holding values that are no numbers), "unknown codec", "too long",
        or "missing audio"
        (no such file). Nothing else, whatever is in the file.
    """
    parts: list[Audio] = []
    for part in _pieces(source, max_s, tags_of(language), []):
        if part is None:
            parts.clear()
        else:
            parts.append(part)
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def decode_into(
    target: BinaryIO,
    source: Source,
    *,
    max_s: float | None = None,
    tags: Collection[str] = (),
    check: Check = go_on,
    faults: list[str] | None = None,
) -> tuple[int, tuple[str, ...]]:
    """A recording of any length, written as float32 in bounded memory. As `read_samples`.

    Args: target: written from where it is. tags: how files tag the language wanted.
        check: asked again and again; what it raises ends the work.
        faults: takes the reason why a file cannot be decoded further; what came before it is then kept.
    Returns: the samples written; and what is to be said of them: track, channels, gaps.
    """
    samples, notes, start = 0, list[str](), target.tell()
    try:
        for part in _pieces(source, max_s, tags, notes, partly=faults is not None):
            check()
            if part is None:
                target.seek(start)
                target.truncate()
                samples = 0
            else:
                data = part.data if part.flags.c_contiguous else part.tobytes()
                samples += target.write(data) // SAMPLE_BYTES
    except AudioError as error:
        if faults is None or error.reason != "undecodable" or not samples:
            raise
        faults.append(error.detail)
    return samples, tuple(notes)


def _pieces(
    source: Source, max_s: float | None, tags: Collection[str], notes: list[str], *, partly: bool = False
) -> Iterator[Audio | None]:
    """Samples of a recording; None where they begin again, for what came before does not count."""
    limit = math.inf if max_s is None else round(max_s * RATE_HZ)
    with containers.every_fault_an_audio_error(), closing(containers.open_bytes(source)) as file:
        recording = decoding.Recording(file, max_s, tags, partly=partly)
        for attempt in recording.attempts():
            yield None
            samples = 0
            for part in _resampled(attempt):
                samples += len(part)
                if samples > limit:
                    raise AudioError("too long", f"want at most {max_s:g} s of audio, found more")
                yield part
        notes.extend(recording.notes)


def samples_file(source: Source, *, language: str = "") -> SamplesFile:
    """A recording of any length, in bounded memory: samples on disk, to be closed. As `read_samples`."""
    target = tempfile.TemporaryFile()  # noqa: SIM115  closed by its user
    try:
        samples, notes = decode_into(target, source, tags=tags_of(language))
        target.flush()
    except BaseException:
        target.close()
        raise
    return SamplesFile(target, samples, notes)


def loudness_dbfs(audio: Audio) -> float:
    """RMS loudness of a clip, in decibels relative to full scale, without what is no sound.

    A microphone that is dead may have an offset, and that may drift: the mean of each 0.1 s is taken away.

    Args: audio: float array, shape (samples,), mono, values in [-1, 1].
    Returns: dBFS; 0.0 for a full-scale square wave, -inf for digital silence.
    Raises: ValueError if `audio` is empty or has channels.
    """
    sound = _one_channel(audio)
    size = min(STEADY_SAMPLES, len(sound))
    blocks = sound[: len(sound) // size * size].reshape(-1, size).astype(np.float64)
    power = float(np.mean(np.var(blocks, axis=1)))
    return 10 * float(np.log10(power)) if power > 0 else -np.inf


def _is_surely_louder(audio: Audio, than_dbfs: float) -> bool:
    """By a first look at every eighth block of 0.1 s, a fifth of the work: ten times the power asked for."""
    blocks = audio[: len(audio) // STEADY_SAMPLES * STEADY_SAMPLES].reshape(-1, STEADY_SAMPLES)
    some = blocks[::8]
    power = float(np.mean(np.var(some, axis=1))) if len(some) else 0.0
    return power * len(some) > 10 * 10 ** (than_dbfs / 10) * len(blocks)


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
    loudest = max(float(audio.max()), -float(audio.min()))
    if not math.isfinite(loudest):  # read_samples gives none; other makers of audio might
        raise AudioError("undecodable", "some samples are no numbers")
    if not _is_surely_louder(audio, silence_dbfs) and (loudness := loudness_dbfs(audio)) < silence_dbfs:
        raise AudioError("silence", f"want at least {silence_dbfs:g} dBFS, found {loudness:.1f} dBFS")
    if loudest >= FULL_SCALE and (share := clipped_share(audio)) > max_clipped_share:
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


def _resampled(parts: Iterable[decoding.Part]) -> Iterator[Audio]:
    """Mono samples at 16 kHz. A new rate within a file begins anew."""
    for rate, group in groupby(parts, key=lambda part: part[0]):
        if rate == SAMPLE_RATE_HZ:
            for _, part in group:
                yield decoding.samples_of(part) if isinstance(part, av.AudioFrame) else part
            continue
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
        kind = ""
        for _, part in group:
            frame = _frame(part, rate, kind)
            kind = frame.format.name
            for out in resampler.resample(frame):
                yield decoding.samples_of(out)
        for out in resampler.resample(None):
            yield decoding.samples_of(out)


def _frame(part: Any, rate_hz: int, kind: str) -> av.AudioFrame:
    """What a resampler is given, which takes one kind only: that of its first; "" for the first."""
    if isinstance(part, av.AudioFrame):
        if kind in ("", part.format.name):
            part.pts = None
            return part
        part = decoding.samples_of(part)
    frame = av.AudioFrame.from_ndarray(part[None], format=kind or "flt", layout="mono")
    frame.sample_rate = rate_hz
    return frame
