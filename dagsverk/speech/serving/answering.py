"""Samples in, transcripts out, by a language's champion: what the process of the models does.

Light until it is asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dagsverk.speech.audio.samples import SamplesFile
from dagsverk.speech.languages import Language
from dagsverk.speech.model.decoded import Task
from dagsverk.speech.serving import before_training
from dagsverk.speech.serving.champions import is_loaded, load_champion, promoted
from dagsverk.speech.serving.transcriber import Segment, Transcriber, Transcript
from dagsverk.store import Model, Store
from dagsverk.turns import Check, Places

# The model is lent batch by batch, first come, first served: a short recording does not wait for a long one.
MODEL = Places(1, "the model", most_waiting=100, patience_s=float("inf"))


class CannotTranslate(ValueError):
    """The model was not taught to translate."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is wanted of a recording."""

    tasks: tuple[Task, ...]
    only_if_it_can: bool = False  # translate: else CannotTranslate
    words: bool = True  # with their times
    prompt: str = ""  # taken to be said before: names and words, spelt as they are to be written
    before: int | None = None  # a version: the model that it was trained from writes, not the one in use


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a model wrote, a transcript for each task."""

    model: Model
    transcripts: tuple[Transcript, ...]
    why_no_english: str  # empty where it was not wanted, or is there
    took_s: float  # from the decoded recording on, other people's turns included


class Listener(Protocol):
    """Is told as the work goes on; what it raises ends the work."""

    def loading(self, model: Model) -> None:
        """The model is fetched and loaded now."""

    def begins(self, tasks: Sequence[Task]) -> None:
        """These are written down; nothing is yet."""

    def progress(self, done_s: float, total_s: float) -> None:
        """Of the recording, for all tasks."""

    def segments(self, task: Task, segments: Sequence[Segment]) -> None:
        """These were written, after those before."""


def write_down(
    store: Store,
    cache: Path,
    language: Language,
    order: Order,
    samples: SamplesFile,
    listener: Listener,
    check: Check,
) -> Written:
    """The transcripts of a decoded recording.

    Raises: NoSpeechModel, CannotTranslate, ModelError, StoreError; what listener and `check` raise.
    """
    with _lent(store, cache, language, order, listener) as (model, transcriber):
        tasks, why = list(order.tasks), ""
        if "translate" in tasks and not transcriber.can_translate:
            why = why_no_english(language, model)
            if not order.only_if_it_can:
                raise CannotTranslate(why)
            tasks.remove("translate")
        listener.begins(tasks)
        start = time.perf_counter()
        transcripts = transcriber.transcribe_for(
            tasks,
            samples,
            listener.progress,
            words=order.words,
            prompt=order.prompt,
            on_segments=listener.segments,
            check=check,
            turn=lambda: MODEL.place(check),
        )
        took_s = time.perf_counter() - start
    return Written(model=model, transcripts=tuple(transcripts), why_no_english=why, took_s=took_s)


@contextmanager
def _lent(
    store: Store, cache: Path, language: Language, order: Order, listener: Listener
) -> Iterator[tuple[Model, Transcriber]]:
    """The model that an order names, with its record."""
    if order.before is None:
        model = promoted(store, language)
        if not is_loaded(language, model):
            listener.loading(model)
        champion = load_champion(store, language, cache)
        yield champion.model, champion.transcriber
        return
    version = store.model(language.model_name, order.before)
    if not before_training.is_loaded(store, version):
        listener.loading(version)
    with before_training.model_before(store, language, version, cache) as before:
        yield before.model, before.transcriber


def why_no_english(language: Language, model: Model) -> str:
    if reason := model.info.get("why_english"):
        return (
            f"Version {model.version} of the {language.title} model writes {language.title} only: {reason}."
        )
    return (
        f"Version {model.version} of the {language.title} model was not taught to translate: it writes "
        f"{language.title} only. A corpus with translations and a translate_share above 0 teach it."
    )
