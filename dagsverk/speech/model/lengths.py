"""How long clips are for a model: padded to a grid, put together by length, limited in tokens. Light.

One place for every engine: they hear and may write the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from dagsverk.speech.config import MEL_FRAMES_PER_S

WINDOW_FRAMES = 3000  # of log-mel, 30 s; the encoder has a position for two of them, and no more
GRID_FRAMES = 50  # of log-mel: a clip and its slack are padded to a multiple of this
SLACK_S = 0.1  # of silence that every clip is given at least, up to 30 s in all
TOKENS_PER_S = 50  # nobody says more, in bytes even; cuts loops on short clips
MIN_TOKENS = 50  # the limit of the shortest clips


def checked_frames(clip: int, mel: np.ndarray, n_mels: int) -> int:
    """How many frames a clip has. Raises ValueError if it is empty, too long or of another number of bins."""
    if mel.ndim != 2 or mel.shape[1] != n_mels or not 0 < len(mel) <= WINDOW_FRAMES:
        raise ValueError(
            f"clip {clip}: want a log-mel of shape (1 to {WINDOW_FRAMES} frames, {n_mels}), got {mel.shape}"
        )
    return len(mel)


def grid_frames(frames: int, slack_frames: int, *, full: bool) -> int:
    """To how many frames a clip is padded: a multiple of the grid, or the whole window."""
    if full:
        return WINDOW_FRAMES
    return min(WINDOW_FRAMES, GRID_FRAMES * math.ceil((frames + slack_frames) / GRID_FRAMES))


def most_tokens(frames: int, room: int) -> int:
    """How many tokens a clip of so many frames may take, where the decoder holds `room`."""
    return min(room, max(MIN_TOKENS, math.ceil(frames / MEL_FRAMES_PER_S * TOKENS_PER_S)))


def alike_batches(padded: Sequence[int], most_frames: float) -> Iterator[list[int]]:
    """Clips of like length together, the longest first: if memory is short it shows at once."""
    batch: list[int] = []
    for clip in sorted(range(len(padded)), key=lambda i: (-padded[i], i)):
        if batch and (len(batch) + 1) * padded[batch[0]] > most_frames:
            yield batch
            batch = []
        batch.append(clip)
    if batch:
        yield batch
