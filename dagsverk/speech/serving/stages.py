"""How far a recording is, as whoever waits for it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from dagsverk.speech.model.decoded import Task
from dagsverk.speech.serving.transcriber import Segment
from dagsverk.store import Model


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """For a place."""

    place: int = 0  # in the queue of jobs, 1: the next one; 0: in none


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """The recording is read."""


@dataclass(frozen=True, kw_only=True)
class Loading:
    """The model is being loaded."""

    model: Model


@dataclass(frozen=True, kw_only=True)
class Transcribing:
    """How much of a recording is done, for all tasks, and what is written of it so far."""

    tasks: tuple[Task, ...]
    done_s: float
    total_s: float
    segments: Mapping[Task, tuple[Segment, ...]] = field(default_factory=dict)
    remaining_s: float | None = None  # of a job; None: nobody knows


Stage: TypeAlias = Waiting | Decoding | Loading | Transcribing
Report: TypeAlias = Callable[[Stage], None]
