"""What the transcriber asks of a model, whatever runs it. Light: loads no learning library.

PyTorch's engine is `torch_engine`. Another one fulfils the same protocol, and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dagsverk.speech.features.log_mel import Mel
from dagsverk.speech.model.decoded import Decoded, Task
from dagsverk.turns import Check, go_on


class Engine(Protocol):
    """A Whisper that is loaded. Not for two threads at a time."""

    @property
    def name(self) -> str:
        """Of the model."""

    @property
    def n_mels(self) -> int:
        """Mel bins of the spectra that it takes."""

    @property
    def batch_s(self) -> float:
        """Seconds of audio that it is best given at a time."""

    def decode(
        self,
        mels: Sequence[Mel],
        *,
        language: str,
        task: Task = "transcribe",
        beams: int = 1,
        check: Check = go_on,
    ) -> list[Decoded]:
        """The hypothesis of each clip, in the order given.

        Args:
            mels: log-mels (frames, n_mels) of at most 30 s, as `log_mel` makes them.
            language: Whisper's code of what is spoken.
            task: "translate" writes English.
            beams: 1 is greedy.
            check: asked again and again, before each token if the engine can; what it raises ends the work.
        """
