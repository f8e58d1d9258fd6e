"""Tiny fine-tuning runs: a set of sixteen tones that say words, and a model of one narrow layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from speech_models import small_model, tone

from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.config import FinetuneConfig, PrepareConfig
from dagsverk.speech.corpora.corpus import Clip, Listing, RejectedClip
from dagsverk.speech.features.preparation import complete, pending, plan, prepare_all
from dagsverk.speech.model.models import save_model_folder
from dagsverk.speech.training.progress import Quiet
from dagsverk.store import Store

WORDS = ("ett", "två", "tre", "fyra", "fem")
SIZES = {"train": 16, "dev": 4, "test": 2}


class Counting:
    """Clips in which a voice counts, a tone for each word."""

    name = "counting"
    sequential = False

    def __init__(self, extra: Sequence[Clip] = (), code: str = "sv") -> None:
        numbers = [(split, number) for split, size in SIZES.items() for number in range(size)]
        clips = [_clip(split, number) for split, number in numbers]
        self._clips = [replace(clip, language=code) for clip in clips] + list(extra)

    def listing(self) -> Listing:
        return Listing(clips=self._clips, rejected=[], fingerprint=f"counting {len(self._clips)}")

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        for clip in clips:
            words = clip.text.split()[:5]
            audio = [tone(200.0 + 90 * WORDS.index(word), 0.25) for word in words]
            yield clip, encode_wav(np.concatenate(audio))


def _clip(split: str, number: int) -> Clip:
    words = [WORDS[(number + place) % len(WORDS)] for place in range(1 + number % 4)]
    return Clip(
        id=f"{split}-{number}",
        audio=f"{number}.wav",
        text=" ".join(words),
        language="sv",
        split=split,
        speaker=f"{split}-voice-{number % 2}",
        translation=f"count {number}" if number % 2 else "",
    )


def make_set(store: Store, extra: Sequence[Clip] = (), code: str = "sv", **changes: Any) -> str:
    """A complete set of such clips; its id. Args: changes: of the preparation."""
    corpus = Counting(extra, code)
    settings = PrepareConfig(**{"shard_clips": 10, **changes})
    set_id = plan(store, corpus, code, settings, "counting")
    prepare_all(store, set_id, corpus, pending(store, set_id))
    complete(store, set_id)
    return set_id


def make_model(folder: Path) -> str:
    """A folder with an untaught model of 0.1 million weights."""
    save_model_folder(small_model(), folder, language="sv")
    return str(folder)


def tiny_config(model: str, **changes: object) -> FinetuneConfig:
    """Twelve steps of about four clips, validating and saving now and then; everything random is on."""
    settings: dict[str, object] = {
        "model": model,
        "steps": 12,
        "learning_rate": 2e-3,
        "batch_s": 4.0,
        "evaluate_every": 6,
        "checkpoint_every": 3,
        "full_window_share": 0.05,
        "spec_augment": True,
        "translate_share": 0.5,
        "processes": 1,
        **changes,
    }
    return FinetuneConfig(**settings)  # type: ignore[arg-type]


class Recorder(Quiet):
    """Remembers how training went."""

    def __init__(self) -> None:
        self.begun_after = -1
        self.steps: list[int] = []
        self.validated_after: list[int] = []
        self.best = 0

    def started(self, _run: str, _total: int, resumed_from: int) -> None:
        self.begun_after = resumed_from

    def step(self, step: int, *_: float) -> None:
        self.steps.append(step)

    def validated(self, step: int, *_: float) -> None:
        self.validated_after.append(step)

    def finished(self, step: int) -> None:
        self.best = step


class Killed(BaseException):
    """Thrown into a run where a machine would be lost."""


class KilledAfter(Quiet):
    """Throws it after a step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def step(self, step: int, *_: float) -> None:
        if step == self._step:
            raise Killed
