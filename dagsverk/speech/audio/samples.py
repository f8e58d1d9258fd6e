"""The samples of a recording that is too long to be held in memory. Light: numpy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

RATE_HZ, SAMPLE_BYTES = 16_000, 4  # Whisper's rate

Audio: TypeAlias = NDArray[np.float32]


class SamplesFile:
    """Mono float32 at 16 kHz in a file that has no name and vanishes with its holder."""

    def __init__(self, file: BinaryIO, samples: int, notes: Sequence[str] = ()) -> None:
        self._file, self.samples = file, samples
        self.notes = tuple(notes)  # what is to be said of them: which track is heard, what is missing

    def blocks(self, block_s: float = 30.0) -> Iterator[Audio]:
        """From the beginning, as often as it is asked; the last block may be shorter.

        Raises: ValueError if a block would hold less than a sample.
        """
        size = round(block_s * RATE_HZ) * SAMPLE_BYTES
        if size < SAMPLE_BYTES:
            raise ValueError(f"block_s must be at least one sample, got {block_s}")
        for start in range(0, self.samples * SAMPLE_BYTES, size):
            yield np.frombuffer(os.pread(self._file.fileno(), size, start), np.float32)

    def part(self, start: int, stop: int) -> Audio:
        """Samples from `start` on, as many as are there before `stop`."""
        size = max(min(stop, self.samples) - start, 0) * SAMPLE_BYTES
        return np.frombuffer(os.pread(self._file.fileno(), size, start * SAMPLE_BYTES), np.float32)

    def fileno(self) -> int:
        """Of the file: 32-bit floats, one after the other."""
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
