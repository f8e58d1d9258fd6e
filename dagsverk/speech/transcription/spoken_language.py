"""Whether what was written down is spoken in the language that it was written in: pseudo-labels are to be.

Asked is a model as published, which was taught to tell languages apart: a tuned one calls much of what it
hears its own. Measured: docs/decisions/0059-nearly-the-same.md, "Languages". Light.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from dagsverk.cache import cache_folder
from dagsverk.speech.audio.samples import Audio
from dagsverk.speech.audio.waveform import SAMPLE_RATE_HZ
from dagsverk.speech.config import WINDOW_S
from dagsverk.speech.languages import LANGUAGES, Language
from dagsverk.speech.serving.champions import load, stock
from dagsverk.speech.serving.detection import share_of
from dagsverk.speech.transcription import models
from dagsverk.speech.transcription.pseudo_config import PseudoLabelConfig
from dagsverk.store import Store

Shares: TypeAlias = Mapping[str, float]

PAUSE = np.zeros(SAMPLE_RATE_HZ * 2 // 5, np.float32)  # between segments that are heard together


@dataclass(frozen=True)
class Teller:
    """A model that tells languages apart."""

    name: str
    shares: Callable[[Audio], Shares]  # of a sound: by code, the likeliest first; {}: nothing is said


def teller(store: Store, language: Language, config: PseudoLabelConfig) -> Teller | None:
    """The published model that was adopted, else the one that is named, or None: there is none.

    Raises: ModelError if a model that is named cannot be had; StoreError.
    """
    if not config.min_language:
        return None
    if adopted := stock(store):
        made = load(store, adopted, cache_folder(), beside=True).transcriber
        return Teller(f"{adopted.model.name} {adopted.model.version}", made.languages)
    if name := config.model or config.second:
        loaded = models.named(name, language)
        return Teller(loaded.called, loaded.transcriber.languages)
    return None


def spoken(parts: Iterable[Audio], tell: Teller | None) -> Iterator[tuple[Audio, Shares]]:
    """Each part of a recording, and how likely each language is in it and its neighbours, half a minute of
    them: a second or two say little by themselves. Nothing is said of any without a model."""
    group: list[Audio] = []
    for part in parts:
        if sum(map(len, group)) + len(part) > WINDOW_S * SAMPLE_RATE_HZ:
            yield from _together(group, tell)
            group = []
        group.append(part)
    yield from _together(group, tell)


def _together(group: Sequence[Audio], tell: Teller | None) -> Iterator[tuple[Audio, Shares]]:
    shares: Shares = {}
    if group and tell:
        shares = tell.shares(np.concatenate([piece for part in group for piece in (part, PAUSE)]))
    yield from ((part, shares) for part in group)


def other(shares: Shares, language: Language, least: float) -> str:
    """Why it is not taken for the language: what is spoken instead, in words; "": it is taken for it."""
    if not shares or share_of(shares, language.token) >= least:
        return ""
    likeliest = next(iter(shares))
    if likeliest == language.token:
        return "unclear"
    return LANGUAGES[likeliest].title if likeliest in LANGUAGES else likeliest
