"""What a model writes of a clip, and which of its tasks that is. Light: loads no learning library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Task = Literal["transcribe", "translate"]

TASKS: tuple[Task, ...] = ("transcribe", "translate")


@dataclass(frozen=True)
class Decoded:
    """The hypothesis of a clip, and how sure the model is."""

    text: str
    tokens: tuple[int, ...]  # without prompt and end
    mean_log_probability: float  # per token, the end counted, of those that may be written; <= 0
    no_speech_probability: float  # of <|nospeech|> as the first token; means little if it was never learnt
    finished: bool  # False: stopped at the limit of tokens
