"""Several channels -> one, in a way that is chosen once for a whole recording.

Their mean is heard, unless they cancel each other in it: two microphones or cables in opposite phase. Then it
is the loudest channel that holds all, or else the difference of two. How much is lost is counted in blocks of
0.1 s, of some of their samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_S = 0.1
SAMPLES_OF_A_BLOCK = 64  # of each channel that are looked at; its power is then known within a fifth
LOST = 0.25  # a block is lost where less than this share is heard of what independent channels would give
LOUD = 1e-3  # blocks quieter than this share of the loudest are background
LOST_BLOCKS = 3  # fewer are chance
HOLDS_ALL = 0.01  # a channel that lacks no more of what is loud than this share
SOUND_DBFS = -50.0  # a track whose loudest block is quieter has no sound

MEAN, DIFFERENCE = -1, -2  # of all channels; of the first two. Else a channel's number, from 0

Power = NDArray[np.float32]


class Loudness:
    """The power of a recording's channels, and of their mean, block by block."""

    def __init__(self) -> None:
        self._blocks: list[Power] = []  # (blocks, channels and their mean)

    def add(self, channels: NDArray[Any], rate_hz: int, full_scale: float) -> None:
        """Consecutive samples, (channels, samples), as they are stored."""
        step = max(1, round(BLOCK_S * rate_hz) // SAMPLES_OF_A_BLOCK)
        size = min(SAMPLES_OF_A_BLOCK, -(-channels.shape[1] // step))
        blocks = max(1, channels.shape[1] // (step * size))
        some = channels[:, : blocks * step * size : step].astype(np.float32)[:, : blocks * size]
        some = some.reshape(len(channels), -1, size)
        some -= some.mean(axis=2, keepdims=True)  # a microphone that is dead may have an offset
        every = np.concatenate([some, some.mean(axis=0, keepdims=True)])
        self._blocks.append(np.einsum("cbs,cbs->bc", every, every) / np.float32(size * full_scale**2))

    @property
    def loudest_dbfs(self) -> float:
        """Of any block of any channel; -inf for silence."""
        most = max((float(block[:, :-1].max(initial=0)) for block in self._blocks), default=0.0)
        return 10 * float(np.log10(most)) if most > 0 else -np.inf

    def choice(self) -> int:
        """MEAN, DIFFERENCE, or the number of the channel that is to be heard alone."""
        widths = {block.shape[1] for block in self._blocks}
        if len(widths) != 1 or widths == {2}:  # the number of channels changes; or there is one
            return MEAN
        power = np.concatenate(self._blocks)
        channels, mean = power[:, :-1], power[:, -1]
        total = channels.sum(axis=1) / channels.shape[1] ** 2  # of the mean, were they independent
        loud = total > max(float(total.max()) * LOUD, 10 ** ((SOUND_DBFS - 20) / 10))
        ways = np.column_stack([mean, channels.sum(axis=1) / 2 - mean, channels])
        is_lost = loud[:, None] & (ways < LOST * total[:, None])
        if is_lost[:, 0].sum() < min(LOST_BLOCKS, max(1, loud.sum())):
            return MEAN
        lost = np.where(is_lost, total[:, None], 0).sum(axis=0) / total[loud].sum()
        by_mean, by_difference, by_each = lost[0], lost[1] if channels.shape[1] == 2 else 1.0, lost[2:]
        whole = np.flatnonzero(by_each <= HOLDS_ALL)
        if len(whole):
            return int(whole[np.argmax(channels.sum(axis=0)[whole])])
        if by_difference < by_mean:
            return DIFFERENCE
        return int(np.argmin(by_each)) if by_each.min() < by_mean else MEAN
