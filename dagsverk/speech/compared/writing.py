"""What the steps of a comparison hand on. Light: loads no learning library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dagsverk.speech.compared.config import Contender


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a contender has written, kept under its key."""

    name: str
    detail: str
    key: str
    answers: str  # the artefact with the keys of the clips' recordings, and what could not be asked
    new: int  # clips asked for in this run
    took_s: float
    version: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Of each clip where its answer is kept, or why there is none."""

    answers: Mapping[str, str]  # clip -> name of its answer
    missing: Mapping[str, str]  # clip -> reason
    durations_s: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class MemoryRequest:
    """What `memory` is asked for."""

    store: str
    language: str
    contender: Contender
    samples: str  # a file of 32-bit floats


@dataclass(frozen=True)
class Measured:
    """What is kept beside a contender's answers: a later run may ask for nothing."""

    bytes: int
    alone: bool = False  # False: by code that also counted the process that had asked; measured again
