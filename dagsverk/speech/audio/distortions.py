"""What speakers, rooms, bystanders and lines do to a recording. Light: numpy, scipy.

All take and give mono float32 at 16 kHz; chance comes from the generator that is handed in, and only from it.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from dagsverk.speech.audio.samples import RATE_HZ, Audio

SPEED_STEP = 100  # speeds are taken to a hundredth: filters stay short
PEAK = 0.98  # what a copy is turned down to, where it would clip
TELEPHONE_HZ = (300.0, 3400.0)  # ITU-T G.712's band
MU = 255  # of the law that telephones code samples by, ITU-T G.711
SOUND_M_S = 343.0
LONGEST_ROOM_S = 1.0  # of an impulse response; what follows is too quiet to count
IMAGES = 5  # of each wall, to either side: the echoes of the first tenth of a second, about
ROOM_M = ((3.0, 8.0), (2.5, 6.0), (2.3, 3.5))  # length, width, height
ECHO_S = (0.2, 0.7)  # until echoes are 60 dB down: a living room to a lecture hall


def at_speed(audio: Audio, speed: float) -> Audio:
    """As a tape that runs faster (above 1) or slower: length and pitch change together.

    Returns: about len(audio) / speed samples. Raises ValueError for a speed that is not from 0.5 to 2.
    """
    if not 0.5 <= speed <= 2:
        raise ValueError(f"want a speed from 0.5 to 2, got {speed!r}")
    ratio = Fraction(round(speed * SPEED_STEP), SPEED_STEP)
    if ratio == 1:
        return audio
    return _float32(signal.resample_poly(audio, ratio.denominator, ratio.numerator))


def coloured_noise(samples: int, slope: float, chance: np.random.Generator) -> Audio:
    """Noise whose power falls as 1 / f^slope: 0 is white, 1 pink, 2 brown. Mean square about 1."""
    size = fft.next_fast_len(max(samples, 16), real=True)
    spectrum = fft.rfft(chance.standard_normal(size, np.float32))
    hz = np.arange(len(spectrum), dtype=np.float32)
    hz[0] = np.inf  # no offset
    spectrum *= np.maximum(hz, 50 * size / RATE_HZ) ** np.float32(
        -slope / 2
    )  # nothing of it is below hearing
    noise = fft.irfft(spectrum, size)[:samples]
    return _float32(noise / max(rms(noise), 1e-12))


def with_noise(audio: Audio, noise: Audio, snr_db: float) -> Audio:
    """The recording with a noise so far below it, both by their mean square.

    Args: noise: at least as long; what is silent adds nothing.
    """
    level, own = rms(noise[: len(audio)]), rms(audio)
    if level <= 0 or own <= 0:
        return audio
    return _float32(audio + noise[: len(audio)] * (own / level * 10 ** (-snr_db / 20)))


def in_room(audio: Audio, response: Audio) -> Audio:
    """As it sounds in a room, as long and as loud as it was: what echoes after its end is cut off."""
    echoed = signal.fftconvolve(audio, response)[: len(audio)]
    level = rms(echoed)
    return _float32(echoed * (rms(audio) / level)) if level > 0 else audio


def room_response(recorded: Audio) -> Audio:
    """An impulse response from its loudest moment on, at most LONGEST_ROOM_S of it, of energy 1.

    Raises: ValueError if there is no sound in it.
    """
    if not len(recorded) or not np.isfinite(recorded).all() or not np.abs(recorded).max() > 0:
        raise ValueError("it is silent")
    start = int(np.abs(recorded).argmax())
    response = recorded[start : start + round(LONGEST_ROOM_S * RATE_HZ)].astype(np.float64)
    return _float32(response / np.sqrt(np.sum(response**2)))


@functools.lru_cache(maxsize=64)
def made_room(number: int) -> Audio:
    """The impulse response of a room that there is not: always the same for the same number.

    Early echoes are images of the speaker in the walls of a box (Allen and Berkley 1979); what comes later is
    noise that dies away at the room's rate.
    """
    chance = np.random.default_rng([7, number])
    size = np.array([chance.uniform(*sides) for sides in ROOM_M])
    speaker, ear = (size * chance.uniform(0.2, 0.8, 3) for _ in range(2))
    decay_s = chance.uniform(*ECHO_S)
    surface = 2 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    absorbed = min(0.95, 0.161 * float(np.prod(size)) / (surface * decay_s))  # Sabine
    images, bounces = _images(size, speaker)
    metres = np.linalg.norm(images - ear, axis=1)
    response = np.zeros(round(min(decay_s, LONGEST_ROOM_S) * RATE_HZ))
    at = np.round((metres - metres.min()) / SOUND_M_S * RATE_HZ).astype(int)
    early = at < len(response)
    np.add.at(response, at[early], (math.sqrt(1 - absorbed) ** bounces / np.maximum(metres, 0.3))[early])
    return room_response(_float32(response + _tail(response, decay_s, chance)))


def _images(
    size: NDArray[np.float64], speaker: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Where the speaker is seen in the walls, and in how many of them after each other."""
    steps = np.arange(-IMAGES, IMAGES + 1)
    places, bounces = [], []
    for axis in range(3):
        same, mirrored = 2 * steps * size[axis] + speaker[axis], 2 * steps * size[axis] - speaker[axis]
        places.append(np.concatenate([same, mirrored]))
        bounces.append(np.concatenate([np.abs(2 * steps), np.abs(2 * steps - 1)]))
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*places, indexing="ij")], axis=1)
    return grid, np.stack([axis.ravel() for axis in np.meshgrid(*bounces, indexing="ij")], axis=1).sum(axis=1)


def _tail(early: NDArray[np.float64], decay_s: float, chance: np.random.Generator) -> NDArray[np.float64]:
    """Noise that dies away, and comes in where the images get few, as loud as they are there."""
    at_s = np.arange(len(early)) / RATE_HZ
    from_s = min(0.05, decay_s / 4)
    near = early[round(from_s * RATE_HZ / 2) : round(from_s * RATE_HZ) + 1]
    level = math.sqrt(float(np.mean(near**2))) if len(near) else 0.0
    shape: NDArray[np.float64] = 10.0 ** (-3 * (at_s - from_s) / decay_s) * (at_s >= from_s)
    return level * shape * chance.standard_normal(len(early))


def over_telephone(audio: Audio) -> Audio:
    """As it comes over a line: 300 to 3400 Hz, 8 kHz, eight bits by mu-law."""
    narrow = signal.resample_poly(audio, 1, 2)
    narrow = signal.sosfilt(_line(), narrow)
    loudest = float(np.abs(narrow).max(initial=0.0))
    if loudest <= 0:
        return audio
    scale = max(loudest, 1.0)  # a line has a full scale, too
    coded = np.sign(narrow) * np.log1p(MU * np.abs(narrow) / scale) / math.log1p(MU)
    coded = np.round(coded * 127) / 127
    decoded = np.sign(coded) * np.expm1(np.abs(coded) * math.log1p(MU)) / MU * scale
    wide = signal.resample_poly(decoded, 2, 1)[: len(audio)]
    return _float32(np.pad(wide, (0, len(audio) - len(wide))))


def gained(audio: Audio, gain_db: float) -> Audio:
    """Louder or quieter, and turned down where it would clip."""
    factor = 10 ** (gain_db / 20)
    loudest = float(np.abs(audio).max(initial=0.0))
    return _float32(audio * min(factor, PEAK / loudest)) if loudest > 0 else audio


def rms(audio: NDArray[np.floating]) -> float:
    """The root of the mean square; 0.0 of no samples."""
    return math.sqrt(float(np.mean(np.square(audio, dtype=np.float64)))) if len(audio) else 0.0


@functools.cache
def _line() -> NDArray[np.float64]:
    filters: NDArray[np.float64] = signal.butter(4, TELEPHONE_HZ, "bandpass", fs=RATE_HZ / 2, output="sos")
    return filters


def _float32(values: NDArray[np.floating]) -> Audio:
    return np.ascontiguousarray(values, np.float32)
