"""What the transcriber asks of a model, whatever runs it. Light: loads no learning library.

PyTorch's engine is `torch_engine`. Another one fulfils the same protocol, and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, Protocol, TypeAlias

from dagsverk.speech.config import Windows
from dagsverk.speech.errors import ModelError
from dagsverk.speech.features.log_mel import Mel
from dagsverk.speech.model.decoded import Decoded, Task
from dagsverk.speech.subtitles.cues import Word
from dagsverk.turns import Check, go_on

# Where times of words come from: the heads of attention that the model names for it, all heads of the later
# half of its decoder, or each word's share of its window by its length.
WordTimes: TypeAlias = Literal["alignment heads", "later layers", "spread"]


class Engine(Protocol):
    """A Whisper that is loaded. Not for two threads at a time."""

    @property
    def name(self) -> str:
        """Of the model."""

    @property
    def windows(self) -> Windows:
        """What it pads clips to: their own length, or 30 s."""

    @property
    def n_mels(self) -> int:
        """Mel bins of the spectra that it takes."""

    @property
    def batch_s(self) -> float:
        """Seconds of audio that it is best given at a time."""

    @property
    def word_times(self) -> WordTimes:
        """Where the times come from that `align` gives."""

    def decode(
        self,
        mels: Sequence[Mel],
        *,
        language: str,
        task: Task = "transcribe",
        beams: int = 1,
        prompt: str = "",
        check: Check = go_on,
    ) -> list[Decoded]:
        """The hypothesis of each clip, in the order given.

        Args:
            mels: log-mels (frames, n_mels) of at most 30 s, as `log_mel` makes them.
            language: Whisper's code of what is spoken.
            task: "translate" writes English.
            beams: 1 is greedy.
            prompt: what is taken to be said before each clip; its words and spelling are likelier then.
            check: asked again and again, before each token if the engine can; what it raises ends the work.
        """

    def align(
        self,
        mels: Sequence[Mel],
        decoded: Sequence[Decoded],
        *,
        language: str,
        task: Task = "transcribe",
        check: Check = go_on,
    ) -> list[tuple[Word, ...]]:
        """When each word is spoken, in seconds of its clip; none for a clip without text.

        Words are in the order of the text, punctuation included; none ends before it begins or lies outside
        its clip.

        Args: decoded: what `decode` made of the same clips.
        """

    def languages(self, mels: Sequence[Mel], *, check: Check = go_on) -> list[dict[str, float]]:
        """How likely each language that the model knows is spoken in each clip: Whisper's code -> [0, 1]."""


def allowed(name: str, windows: Windows | None, *, own: Windows, refused: Collection[Windows]) -> Windows:
    """The mode that an engine works in: the one asked for, else the model's own.

    Raises: ModelError if the model was found to be worse in it than before training.
    """
    if windows in refused:
        raise ModelError(
            f"{name} is refused for {windows!r} windows: its test found it worse so than before training; "
            f"use it in its own mode, {own!r}"
        )
    return windows or own
