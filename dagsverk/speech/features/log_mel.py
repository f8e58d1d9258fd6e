"""Log-mel spectra as Whisper hears them, at the clip's true length, and in 8 bits. Light: numpy, scipy.

Source: openai/whisper `audio.py`; transformers `WhisperFeatureExtractor`, which pads every clip to 30 s with
zeros first. Here nothing is padded, and what remains is equal to the extractor's frames.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms
MAX_SAMPLES = 30 * SAMPLE_RATE_HZ
BLOCK_FRAMES = 128  # transformed at a time: stays in the processor's cache

LOG_FLOOR = 1e-10  # power below this counts as this
SILENCE = (math.log10(LOG_FLOOR) + 4) / 4  # -1.5: digital silence, in normalised units
RANGE = 2.0  # 80 dB below the loudest value, in normalised units; the extractor clips there
LEVELS = 255

Audio = NDArray[np.float32]
Mel = NDArray[np.float32]
QuantisedMel = NDArray[np.uint8]


def log_mel(audio: Audio, n_mels: int = 80) -> Mel:
    """The log-mel spectrum of a clip, normalised as Whisper wants it.

    Equal within 1e-3 to the first frames of `WhisperFeatureExtractor(feature_size=n_mels)`: before the clip
    its first 200 samples are mirrored, after it there are zeros (where the 30 s end, they are mirrored too),
    and the loudest value, from which 80 dB are kept, is sought also in the last frames that the clip touches.

    Args: audio: float32, shape (samples,), mono, 16 kHz, at most 30 s.
    Returns: float32, shape (ceil(samples / 160), n_mels), C-contiguous: 10 ms a frame, whose window of 25 ms
        is centred on its first sample. Values in [peak - 2, peak], never below -1.5.
    Raises: ValueError if the audio is empty, longer than 30 s, has channels or values that are not finite.
    """
    if audio.ndim != 1 or not 0 < len(audio) <= MAX_SAMPLES:
        raise ValueError(
            f"want mono audio of 1 to {MAX_SAMPLES} samples (30 s at 16 kHz), got shape {audio.shape}"
        )
    frames = -(-len(audio) // HOP_SAMPLES)
    touched = min(-(-(len(audio) + WINDOW_SAMPLES // 2) // HOP_SAMPLES), MAX_SAMPLES // HOP_SAMPLES)
    _multiply_on_one_thread()
    padded = _padded(audio, touched)
    strides = (padded.itemsize * HOP_SAMPLES, padded.itemsize)
    windows = np.ndarray((touched, WINDOW_SAMPLES), np.float32, padded, strides=strides)
    hann, filters = _hann(), mel_filters(n_mels)
    mel = np.empty((touched, n_mels), np.float32)
    windowed = np.empty((min(touched, BLOCK_FRAMES), WINDOW_SAMPLES), np.float32)
    powers = np.empty((2, len(windowed), len(filters)), np.float32)
    for first in range(0, touched, BLOCK_FRAMES):
        block = slice(first, first + BLOCK_FRAMES)
        count = len(mel[block])
        spectrum = fft.rfft(np.multiply(windows[block], hann, out=windowed[:count]), axis=1, overwrite_x=True)
        power = np.square(spectrum.real, out=powers[0, :count])
        power += np.square(spectrum.imag, out=powers[1, :count])
        np.matmul(power, filters, out=mel[block])
    np.log(np.maximum(mel, LOG_FLOOR, out=mel), out=mel)  # numpy has no fast log10
    mel *= 1 / (4 * math.log(10))
    mel += 1  # (log10(power) + 4) / 4
    peak = mel.max()
    if not np.isfinite(peak):
        raise ValueError("the audio has values that are not finite")
    np.maximum(mel, peak - RANGE, out=mel)
    return mel[:frames]


def quantise(mel: Mel) -> tuple[QuantisedMel, float]:
    """A clip's spectrum in 8 bits: level 0 is its silence, level 255 its loudest value.

    Returns: uint8 of the same shape, and the loudest value. `dequantise` gives values that are off by half a
        level at most: 0.004, or 0.16 dB.
    """
    peak = float(mel.max())
    low = floor(peak)
    scale = LEVELS / (peak - low) if peak > low else 0.0
    levels = (mel - np.float32(low)) * np.float32(scale)
    levels += 0.5  # the conversion cuts
    return np.clip(levels, 0, LEVELS, out=levels).astype(np.uint8), peak


def dequantise(levels: QuantisedMel, peak: float) -> Mel:
    """The spectrum that `quantise` was given, within half a level. Returns: float32 of the same shape."""
    step, low = scale(peak)
    mel = levels.astype(np.float32)
    mel *= np.float32(step)
    mel += np.float32(low)
    return mel


def scale(peak: float) -> tuple[float, float]:
    """What a level is worth in a clip whose loudest value is `peak`, and what level 0 is there: silence."""
    low = floor(peak)
    return (peak - low) / LEVELS, low


def floor(peak: float) -> float:
    """What the extractor makes of digital silence within a clip whose loudest value is `peak`.

    This is what a clip is to be padded with: 80 dB below its peak, or -1.5 where a clip is so quiet that the
    extractor's own floor comes first.
    """
    return max(peak - RANGE, SILENCE)


@functools.cache
def _multiply_on_one_thread() -> None:
    """Of numpy's, from now on in this process: its products are too small to share here. Where others keep
    the cores busy, two threads wait for each other twenty times as long as one computes."""
    ThreadpoolController().select(internal_api="openblas").limit(limits=1)


@functools.cache
def mel_filters(n_mels: int) -> NDArray[np.float32]:
    """Triangular filters from 0 to 8000 Hz on Slaney's mel scale, each of area 1 (in Hz) as in librosa.

    Returns: float32, shape (201, n_mels), read-only.
    """
    bins_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, WINDOW_SAMPLES // 2 + 1)
    top_mel = 15 + math.log(SAMPLE_RATE_HZ / 2 / 1000) * 27 / math.log(6.4)
    corners_hz = _hz(np.linspace(0, top_mel, n_mels + 2))
    low, centre, high = corners_hz[:-2], corners_hz[1:-1], corners_hz[2:]
    rising = (bins_hz[:, None] - low) / (centre - low)
    falling = (high - bins_hz[:, None]) / (high - centre)
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (high - low))
    return _frozen(filters)


def _hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's scale: linear up to 1000 Hz (15 mel), logarithmic above."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * math.log(6.4) / 27))


@functools.cache
def _hann() -> NDArray[np.float32]:
    return _frozen(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES))  # periodic


def _frozen(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Shared between callers and threads, so nobody may write to it."""
    frozen = np.ascontiguousarray(values, np.float32)
    frozen.flags.writeable = False
    return frozen


def _padded(audio: Audio, frames: int) -> Audio:
    """The clip with what its first and last windows see around it."""
    half = WINDOW_SAMPLES // 2
    padded = np.zeros((frames - 1) * HOP_SAMPLES + WINDOW_SAMPLES, np.float32)
    shown = min(len(audio), len(padded) - half)
    padded[half : half + shown] = audio[:shown]
    mirrored = padded[half + 1 : 2 * half + 1][::-1]
    padded[half - len(mirrored) : half] = mirrored
    end = half + MAX_SAMPLES
    if len(padded) > end:
        padded[end:] = padded[2 * end - 2 - np.arange(end, len(padded))]
    return padded
