"""Long audio -> windows that a model takes: cut where it is quiet, silence and steady noise left out.

Only levels are looked at, so this is cheap and works for any language; it does not know speech from music.
Light: numpy and scipy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

SAMPLE_RATE_HZ = 16_000
LEVEL_SAMPLES = 320  # 20 ms
LEVELS_PER_S = SAMPLE_RATE_HZ // LEVEL_SAMPLES
RUMBLE_SAMPLES = 101  # the mean over so many is taken away: what is below about 80 Hz, where nobody speaks

SILENCE_DBFS = -65.0  # a quieter frame is silence, whatever is around it
PAUSE_ABOVE_NOISE_DB = 6.0  # a frame that is no louder than this over the noise around it is a pause ...
CLEAR_RANGE_DB = 20.0  # ... if there loud and quiet differ by this much; else nothing but silence is one
STEADY_RANGE_DB = 2.0  # sound whose level varies less is noise or a hum: nobody speaks so evenly
VOICE_RANGE_DB = 30.0  # quieter than the voice around it by more than this: between words
AROUND_S = 15.0  # noise is judged over three such blocks

MARGIN_S = 0.2  # kept before and after a sound
SHORTEST_PAUSE_S = 0.5  # shorter ones never end a window
LONGEST_PAUSE_S = 1.0  # longer ones always do
SHORTEST_S = 0.2  # of a recording in which a word may be said; preparation wants as much of a clip
SHORTEST_SOUND_S = 0.1  # of what is loud in a stretch of sound: less is a click, not a syllable
ENOUGH_S = 5.0  # a window of this length ends at the next pause
LONGEST_S = 25.0
PACKED_PAUSE_S = 5.0  # longer ones stay between windows that are packed: in silence models make up words

Audio = NDArray[np.float32]
Levels = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """A part of a recording, in samples at 16 kHz: [start, end)."""

    start: int
    end: int

    @property
    def start_s(self) -> float:
        return self.start / SAMPLE_RATE_HZ

    @property
    def end_s(self) -> float:
        return self.end / SAMPLE_RATE_HZ


def levels(blocks: Iterable[Audio]) -> tuple[Levels, int]:
    """The level of every 20 ms, without rumble.

    Args: blocks: consecutive parts of mono audio at 16 kHz; all but the last of a multiple of 320 samples.
    Returns: dBFS, shape (ceil(samples / 320),), -inf for digital silence; and the number of samples.
    """
    parts: list[Levels] = [np.zeros(0)]
    samples = 0
    for block in blocks:
        clear = block - uniform_filter1d(block, RUMBLE_SAMPLES, mode="nearest")
        whole = len(block) - len(block) % LEVEL_SAMPLES
        parts.append(_dbfs(clear[:whole].reshape(-1, LEVEL_SAMPLES)))
        if whole < len(block):
            parts.append(_dbfs(clear[None, whole:]))
        samples += len(block)
    return np.concatenate(parts), samples


def plan(levels: Levels, samples: int, *, longest_s: float = LONGEST_S) -> list[Window]:
    """The windows in which something is said, in order, without overlap, none longer than `longest_s`.

    A window ends at a pause: any of 1 s, and one of 0.5 s once it is 5 s long. Where there is none for
    `longest_s`, it is cut at the quietest place in its second half. What is louder than the silence and noise
    around it is always in a window, with 0.2 s on either side; except steady noise, clicks of less than 0.1 s
    and recordings of less than 0.2 s, which are in none.

    Args: as `levels` returns them.
    """
    if samples < SHORTEST_S * SAMPLE_RATE_HZ:
        return []
    longest = max(2, int(longest_s * LEVELS_PER_S))
    loud = _loud(levels)
    parts = [
        part
        for run in _joined(_runs(loud), len(levels), longest)
        if np.count_nonzero(loud[run[0] : run[1]]) >= SHORTEST_SOUND_S * LEVELS_PER_S
        for part in _cut(run, levels, longest)
        if not _steady(levels[part[0] : part[1]])
    ]
    return [Window(first * LEVEL_SAMPLES, min(end * LEVEL_SAMPLES, samples)) for first, end in parts]


def packed(windows: Sequence[Window], longest_s: float, most_pause_s: float = PACKED_PAUSE_S) -> list[Window]:
    """Neighbours together, pauses of at most `most_pause_s` included, in windows of at most `longest_s`.

    For models that hear 30 s however little is said: fewer windows cost less, and what is said before helps.
    """
    packed: list[Window] = []
    for window in windows:
        if (
            packed
            and window.end_s - packed[-1].start_s <= longest_s
            and window.start_s - packed[-1].end_s <= most_pause_s
        ):
            packed[-1] = Window(packed[-1].start, window.end)
        else:
            packed.append(window)
    return packed


def spoken_frames(levels: Levels, window: Window) -> NDArray[np.bool_]:
    """True for every 20 ms of a window that is louder than its noise, and not far below its voice.

    Stricter than what makes a window: sound between words is breath and room, where a recording has gaps.
    Args: levels: of the whole recording, as `levels` returns them.
    """
    own = levels[window.start // LEVEL_SAMPLES : -(-window.end // LEVEL_SAMPLES)]
    bounded = np.maximum(own, SILENCE_DBFS)
    noise, voice = np.percentile(bounded, [10, 95])
    clear = max(voice, _loudest(bounded)) - noise >= CLEAR_RANGE_DB
    threshold = max(noise + PAUSE_ABOVE_NOISE_DB, voice - VOICE_RANGE_DB) if clear else SILENCE_DBFS
    return np.asarray(own > threshold)


def take(blocks: Iterable[Audio], windows: Iterable[Window]) -> Iterator[tuple[Window, Audio]]:
    """Each window with its audio, holding no more of the recording than one window and one block."""
    coming = iter(blocks)
    held = np.zeros(0, np.float32)
    start = 0  # of what is held
    for window in windows:
        while start + len(held) < window.end:
            block = next(coming, None)
            if block is None:
                break
            passed = min(max(0, window.start - start), len(held))
            held, start = np.concatenate([held[passed:], block]), start + passed
        yield window, held[window.start - start : window.end - start].copy()


def _dbfs(frames: Audio) -> Levels:
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(power))


def _loud(levels: Levels) -> NDArray[np.bool_]:
    """True for frames that are neither silence nor a pause."""
    size = int(AROUND_S * LEVELS_PER_S)
    loud = np.zeros(len(levels), bool)
    bounded = np.maximum(levels, SILENCE_DBFS)
    for first in range(0, len(levels), size):
        around = bounded[max(0, first - size) : first + 2 * size]
        noise, voice = np.percentile(around, [10, 99])
        clear = max(voice, _loudest(around)) - noise >= CLEAR_RANGE_DB
        threshold = noise + PAUSE_ABOVE_NOISE_DB if clear else SILENCE_DBFS
        loud[first : first + size] = levels[first : first + size] > threshold
    return loud


def _loudest(levels: Levels) -> float:
    """What a short word reaches: of a minute with one word in it, a percentile is noise."""
    frames = int(SHORTEST_S * LEVELS_PER_S)
    return float(np.partition(levels, -frames)[-frames]) if len(levels) >= frames else -np.inf


def _runs(loud: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[first, end) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8)))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


def _joined(runs: Iterable[tuple[int, int]], frames: int, longest: int) -> list[tuple[int, int]]:
    """Runs with their margins, joined across short pauses."""
    margin = int(MARGIN_S * LEVELS_PER_S)
    joined: list[tuple[int, int]] = []
    for first, last in runs:
        start, end = max(0, first - margin), min(frames, last + margin)
        if joined:
            begun, until = joined[-1]
            pause = start - until
            enough = until - begun >= ENOUGH_S * LEVELS_PER_S
            if pause <= 0 or (
                end - begun <= longest
                and pause + 2 * margin < LEVELS_PER_S * (SHORTEST_PAUSE_S if enough else LONGEST_PAUSE_S)
            ):
                joined[-1] = (begun, end)
                continue
        joined.append((start, end))
    return joined


def _cut(run: tuple[int, int], levels: Levels, longest: int) -> Iterator[tuple[int, int]]:
    """The run in parts of at most `longest` frames."""
    first, end = run
    while end - first > longest:
        earliest, latest = first + longest // 2, first + longest
        power = 10 ** (np.maximum(levels[earliest - 5 : latest + 5], -100) / 10)
        smooth = np.convolve(power, np.ones(11), mode="valid")[: latest - earliest]  # over 0.2 s
        middle = earliest + int(np.argmin(smooth))
        yield first, middle
        first = middle
    yield first, end


def _steady(part: Levels) -> bool:
    """True for noise and hums of a second or more."""
    margin = int(MARGIN_S * LEVELS_PER_S)
    inner = part[margin:-margin]
    sound = inner[inner > SILENCE_DBFS]
    if len(sound) < LEVELS_PER_S:
        return False
    smooth = np.convolve(sound, np.ones(5) / 5, mode="valid")
    return float(smooth.max() - smooth.min()) < STEADY_RANGE_DB
