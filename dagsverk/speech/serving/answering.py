"""Samples in, transcripts out, by a language's champion: what the process of the models does.

Light until it is asked.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dagsverk.speech.audio.samples import SamplesFile
from dagsverk.speech.languages import Language
from dagsverk.speech.model.decoded import Task
from dagsverk.speech.serving import before_training
from dagsverk.speech.serving.champions import (
    Champion,
    Writer,
    is_loaded,
    load,
    name_as_published,
    translator,
    writer_of,
)
from dagsverk.speech.serving.detection import detected
from dagsverk.speech.serving.transcriber import OnProgress, Segment, Transcriber, Transcript
from dagsverk.store import Model, Store, StoreError
from dagsverk.turns import Check, Places

LOG = logging.getLogger(__name__)

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
    language: str = ""  # code of what is spoken
    likely: Mapping[str, float] = field(default_factory=dict)  # where it was not named: see `detected`
    notes: tuple[str, ...] = ()  # which language it was taken for; whose model wrote it
    english_by: Model | None = None  # that wrote the English, where it is another one


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
    language: Language | None,
    order: Order,
    samples: SamplesFile,
    listener: Listener,
    check: Check,
) -> Written:
    """The transcripts of a decoded recording.

    Args: language: that is spoken; None: it is told from the recording.
    Raises: NoSpeechModel, CannotTranslate, ModelError, StoreError; what listener and `check` raise.
    """
    with _lent(store, cache, language, order, samples, listener, check) as lent:
        tasks, why, english = list(order.tasks), "", None
        if "translate" in tasks and not lent.transcriber.can_translate:
            why = why_no_english(lent.writer.owner, lent.model)
            english = (
                None
                if order.before is not None
                else _who_translates(store, cache, lent.writer.language, listener)
            )
            if english is not None:
                why = ""
            elif not order.only_if_it_can:
                raise CannotTranslate(why)
            else:
                tasks.remove("translate")
        listener.begins(tasks)
        start = time.perf_counter()
        by_task: dict[Task, Transcript] = {}
        passes = _passes(tasks, lent.transcriber, english)
        for number, (transcriber, own) in enumerate(passes):
            transcripts = transcriber.transcribe_for(
                own,
                samples,
                _share_of(listener.progress, number, len(passes)),
                words=order.words,
                prompt=order.prompt if transcriber is lent.transcriber else "",
                on_segments=listener.segments,
                check=check,
                turn=lambda: MODEL.place(check),
            )
            by_task.update(zip(own, transcripts, strict=True))
        took_s = time.perf_counter() - start
    return Written(
        model=lent.model,
        transcripts=tuple(by_task[task] for task in tasks),
        why_no_english=why,
        took_s=took_s,
        language=lent.writer.language.code,
        likely=lent.likely,
        notes=(*lent.notes, *([_who_translated(lent, english)] if english else [])),
        english_by=english.model if english else None,
    )


def _passes(
    tasks: Sequence[Task], writer: Transcriber, english: Champion | None
) -> list[tuple[Transcriber, list[Task]]]:
    """Who goes over the recording for which tasks: one for all, or another one after it for the English."""
    if english is None:
        return [(writer, list(tasks))]
    own: list[Task] = [task for task in tasks if task != "translate"]
    return [*([(writer, own)] if own else []), (english.transcriber, ["translate"])]


def _share_of(progress: OnProgress, number: int, count: int) -> OnProgress:
    """Of one pass over the recording among several."""
    return lambda done_s, total_s: progress((number * total_s + done_s) / count, total_s)


def _who_translates(store: Store, cache: Path, language: Language, listener: Listener) -> Champion | None:
    """A model as published that writes the language in English; None if there is none that can be had."""
    other = translator(store, language)
    if other is None:
        return None
    try:
        return _loaded(store, other, cache, listener, beside=True)
    except StoreError as error:
        LOG.warning("no English by %s %d: %s", other.model.name, other.model.version, error)
        return None


def _loaded(
    store: Store, writer: Writer, cache: Path, listener: Listener, *, beside: bool = False
) -> Champion:
    """As `load`; the listener is told if that takes a while."""
    if not is_loaded(writer.model):
        listener.loading(writer.model)
    return load(store, writer, cache, beside=beside)


def _who_translated(lent: _Lent, english: Champion) -> str:
    name = name_as_published(english.model)
    own = f"version {lent.model.version} of the {lent.writer.owner.title} model cannot"
    return f"The English is by {name} as published: {own}."


@dataclass(frozen=True)
class _Lent:
    """A model for one recording, and what is to be said of the choice."""

    writer: Writer
    model: Model  # its record: the writer's, or of the model before its training
    transcriber: Transcriber
    likely: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@contextmanager
def _lent(
    store: Store,
    cache: Path,
    language: Language | None,
    order: Order,
    samples: SamplesFile,
    listener: Listener,
    check: Check,
) -> Iterator[_Lent]:
    """The model that an order names, or the language, or the recording."""

    def loaded(writer: Writer) -> Transcriber:
        return _loaded(store, writer, cache, listener).transcriber

    if language is None:
        spoken = detected(store, loaded, samples, check, lambda: MODEL.place(check))
        writer = writer_of(store, spoken.language)
        notes = (spoken.note, *writer.notes)
        yield _Lent(writer, writer.model, loaded(writer), spoken.likely, notes)
    elif order.before is None:
        writer = writer_of(store, language)
        yield _Lent(writer, writer.model, loaded(writer), notes=writer.notes)
    else:
        version = store.model(language.model_name, order.before)
        if not before_training.is_loaded(store, version):
            listener.loading(version)
        with before_training.model_before(store, language, version, cache) as before:
            yield _Lent(Writer(language, version, language), before.model, before.transcriber)


def why_no_english(language: Language, model: Model) -> str:
    if reason := model.info.get("why_english"):
        return (
            f"Version {model.version} of the {language.title} model writes {language.title} only: {reason}."
        )
    return (
        f"Version {model.version} of the {language.title} model was not taught to translate: it writes "
        f"{language.title} only. A corpus with translations and a translate_share above 0 teach it."
    )
