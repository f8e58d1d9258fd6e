"""One recording in, its text out: what the transcribe page and the REST API both say."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dagsverk.speech.errors import AudioError, ModelError
from dagsverk.speech.languages import Language
from dagsverk.store import Model
from ui.speech_desk import SpeechDesk

if TYPE_CHECKING:
    from dagsverk.speech.transcription import Segment

MAX_S = 2 * 3600.0  # of a recording
PATIENCE_S = 120.0  # that a recording waits for those before it
LOOK_S = 0.5  # how often a page that waits sees whether its visitor is still there

Task = Literal["transcribe", "translate"]
OnProgress = Callable[[float, float], None]


class Busy(Exception):
    """Other recordings are being transcribed; come back."""


class CannotTranslate(ValueError):
    """The model was not taught to translate."""


@dataclass(frozen=True, kw_only=True)
class Loading:
    """The model is being loaded."""

    model: Model


@dataclass(frozen=True, kw_only=True)
class Listening:
    """How much of a recording is written down."""

    task: Task
    done_s: float
    total_s: float


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What the champion heard in a recording."""

    language: Language
    task: Task
    segments: tuple[Segment, ...]
    duration_s: float
    took_s: float
    model: Model

    @property
    def text(self) -> str:
        return "\n".join(segment.text for segment in self.segments)

    def to_dict(self) -> dict[str, Any]:
        """The transcript in JSON types."""
        return {
            "language": self.language.code,
            "task": self.task,
            "text": self.text,
            "duration_s": round(self.duration_s, 3),
            "took_s": round(self.took_s, 3),
            "segments": [asdict(segment) for segment in self.segments],
            "model": {"name": self.model.name, "version": self.model.version},
        }


@dataclass(frozen=True, kw_only=True)
class Both:
    """What was heard, and its English where the model can write it."""

    heard: Heard
    english: Heard | None
    why_no_english: str  # empty when there is some


def hear(
    speech: SpeechDesk, language: Language, source: Path, task: Task, tell: OnProgress = lambda *_: None
) -> Heard:
    """A recording's text, by the champion of its language; one recording at a time, for it takes every core.

    Args: tell: called with seconds done and in all; what it raises ends the work.
    Raises: NoSpeechModel, CannotTranslate, AudioError, StoreError; Busy after `PATIENCE_S` in the queue.
    """
    if not speech.busy.acquire(timeout=PATIENCE_S):
        raise Busy(f"other recordings were before this one for {PATIENCE_S:.0f} s; try again later")
    try:
        model, transcriber = speech.transcriber(language)
        if task == "translate" and not transcriber.can_translate:
            raise CannotTranslate(why_no_english(language, model))

        def limited(done_s: float, total_s: float) -> None:
            if total_s > MAX_S:
                raise AudioError("too long", f"want at most {MAX_S:,.0f} s, found {total_s:,.0f} s")
            tell(done_s, total_s)

        start = time.perf_counter()
        try:
            found = transcriber.transcribe(source, task, limited)
        except ModelError as error:
            raise CannotTranslate(str(error)) from error
    finally:
        speech.busy.release()
    return Heard(
        language=language, task=task, segments=found.segments, duration_s=found.duration_s,
        took_s=time.perf_counter() - start, model=model,
    )  # fmt: skip


def why_no_english(language: Language, model: Model) -> str:
    return (
        f"Version {model.version} of the {language.title} model was not taught to translate: it writes "
        f"{language.title} only. A corpus with translations and a translate_share above 0 teach it."
    )


def hear_both(speech: SpeechDesk, language: Language, source: Path) -> Iterator[Loading | Listening | Both]:
    """The same as stages: the last one has the text. Closing the iterator ends the work at its next batch.

    Raises: as `hear`.
    """
    model = speech.promoted(language)
    if not speech.is_loaded(language, model):
        yield Loading(model=model)
    _, transcriber = speech.transcriber(language)
    heard = yield from _stages(speech, language, source, "transcribe")
    english = None
    if transcriber.can_translate and heard.text:
        english = yield from _stages(speech, language, source, "translate")
    why = "" if transcriber.can_translate else why_no_english(language, heard.model)
    yield Both(heard=heard, english=english, why_no_english=why)


class _Left(Exception):
    """The visitor is gone, or has pressed Stop."""


@dataclass(kw_only=True)
class _Work:
    """What a worker thread tells the page's generator."""

    told: queue.SimpleQueue[Listening | Heard | Exception] = field(default_factory=queue.SimpleQueue)
    left: threading.Event = field(default_factory=threading.Event)


def _stages(
    speech: SpeechDesk, language: Language, source: Path, task: Task
) -> Generator[Listening, None, Heard]:
    """How far the work is, again and again; returns what was heard."""
    work = _Work()

    def tell(done_s: float, total_s: float) -> None:
        if work.left.is_set():
            raise _Left
        work.told.put(Listening(task=task, done_s=done_s, total_s=total_s))

    def run() -> None:
        try:
            work.told.put(hear(speech, language, source, task, tell))
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            work.told.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        while not isinstance(found := work.told.get(), Heard):
            if isinstance(found, Exception):
                raise found
            yield found
        return found
    finally:
        work.left.set()
