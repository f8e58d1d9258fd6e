"""Recordings without texts that a model writes down for training: what people decide, and what came of it.

Light: loads no learning library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from dagsverk.addresses import SCHEMA, refuse_keys
from dagsverk.form import CLOSED
from dagsverk.speech.config import WINDOW_S, Count, published_model
from dagsverk.speech.transcription.config import TranscriptionConfig

Address = Annotated[str, Field(json_schema_extra=SCHEMA)]


@dataclass(frozen=True, kw_only=True)
class PseudoLabelConfig:
    """Which recordings, written down by which models, and what of that is good enough to learn from."""

    __pydantic_config__ = CLOSED

    source: Address = ""  # a folder, or s3://bucket/prefix, of recordings; empty: nothing is done
    output: str = ""  # a folder on the worker's machine: clips and their table, a corpus to be mixed in
    model: str = ""  # a hub name or folder; empty: the language's model in use
    second: str = ""  # another one, which is to write the same; empty: agreement is not asked for
    min_log_probability: Annotated[float, Field(le=0)] = -0.5  # per token: how sure the model is, at least
    max_no_speech: Annotated[float, Field(ge=0, le=1)] = 0.6
    # of words, on which the two differ: edits between them, over the words of the first
    max_disagreement: Annotated[float, Field(ge=0, le=1)] = 0.2
    min_clip_s: Annotated[float, Field(ge=0, le=30)] = 1.0
    max_clip_s: Annotated[float, Field(gt=0, le=30)] = WINDOW_S
    max_letters_per_s: Annotated[float, Field(gt=0)] = 30.0  # nobody speaks faster
    min_letters_per_s: Annotated[float, Field(ge=0)] = 2.0  # less was heard than was said
    # how likely the language asked for is, by a model as published, if there is one; 0: nobody asks
    min_language: Annotated[float, Field(ge=0, le=1)] = 0.5
    portion: Count = 50  # recordings of one task of the run

    def __post_init__(self) -> None:
        refuse_keys(self.source)
        refuse_keys(self.output)
        if self.source and not self.output:
            raise ValueError("source is named and no output; name a folder for the clips and their table")
        if "://" in self.output:
            raise ValueError(f"output wants a folder of the worker's machine, got {self.output!r}")
        for name in (self.model, self.second):
            if name:
                published_model(name)
        if self.second and self.second == self.model:
            raise ValueError(
                f"second is {self.second!r}, as is model: of course they agree; name another one"
            )
        for name in ("min_log_probability", "max_no_speech", "max_disagreement", "max_letters_per_s"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be a number, got {getattr(self, name)!r}")
        if not 0 <= self.min_language <= 1:  # nor NaN
            raise ValueError(f"min_language is a share in [0, 1], got {self.min_language!r}")
        if self.min_log_probability > 0 or not 0 <= self.max_disagreement <= 1:
            raise ValueError("want min_log_probability of 0 or less, and max_disagreement in [0, 1]")
        if not 0 <= self.min_clip_s < self.max_clip_s <= WINDOW_S:
            raise ValueError(
                f"want 0 <= min_clip_s < max_clip_s <= {WINDOW_S:g}, got {self.min_clip_s}, {self.max_clip_s}"
            )
        if not 0 <= self.min_letters_per_s < self.max_letters_per_s:
            raise ValueError("want 0 <= min_letters_per_s < max_letters_per_s")

    def written_by(self, *, second: bool) -> TranscriptionConfig:
        """How the first or second model is asked; without a source, if it is not."""
        asked = bool(self.second) or not second
        return TranscriptionConfig(
            source=self.source if asked else "",
            model=self.second if second else self.model,
            redo="new_model",
            portion=self.portion,
        )


@dataclass(frozen=True, kw_only=True)
class PseudoLabels:
    """What came of a run."""

    source: str
    output: str
    model: str
    second: str  # "": agreement was not asked for
    recordings: int
    segments: int
    kept: int
    kept_s: float
    segments_s: float
    rejected: Mapping[str, int]  # reason -> segments
    unread: Mapping[str, int]  # reason -> recordings
    asked: Mapping[str, Any]  # the thresholds
    at: str
    told_by: str = ""  # the model that was asked which language is spoken; "": none was
    spoken: Mapping[str, int] = field(default_factory=dict)  # another language -> segments


def summary(made: PseudoLabels) -> str:
    """In a line."""
    share = made.kept_s / made.segments_s if made.segments_s else 0.0
    reasons = ", ".join(f"{count} {reason}" for reason, count in {**made.rejected, **made.unread}.items())
    return (
        f"{made.kept} of {made.segments} segments of {made.recordings} recordings, "
        f"{made.kept_s / 60:.1f} min, {share:.0%} of what was written"
        + (f"; not kept: {reasons}" if reasons else "")
        + _languages(made)
    )


def _languages(made: PseudoLabels) -> str:
    if made.spoken:
        return f"; spoken instead: {', '.join(f'{name} {count}' for name, count in made.spoken.items())}"
    if not made.told_by and made.asked.get("min_language"):
        return "; nobody told whether it is the language asked for: adopt a published model, or name one"
    return ""
