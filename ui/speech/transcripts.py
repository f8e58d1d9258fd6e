"""One recording in, its text out: what the transcribe page and the REST API both say."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from dagsverk.speech.audio.sandbox import DecodedFile, Sandbox
from dagsverk.speech.errors import ModelError
from dagsverk.speech.languages import Language
from dagsverk.store import Model
from dagsverk.turns import LOOK_S, Check, Places, go_on
from ui.speech.desk import SpeechDesk

if TYPE_CHECKING:
    from dagsverk.speech.serving.transcriber import Segment

MAX_S = 2 * 3600.0  # of a recording
PATIENCE_S = 30.0  # that a recording waits for a place

# Recordings that are at work at a time: decoded side by side, then written down in turns, batch by batch, for
# that takes every core. Each may keep 460 MB of samples on disk.
RECORDINGS = Places(6, "every place for a recording", most_waiting=8, patience_s=PATIENCE_S)
MODEL = Places(1, "the model", most_waiting=6, patience_s=float("inf"))
DECODERS = Sandbox(8)  # the recorder's come beside

Task = Literal["transcribe", "translate"]


class CannotTranslate(ValueError):
    """The model was not taught to translate."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """For a place."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """The recording is read."""


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


Stage: TypeAlias = Waiting | Decoding | Loading | Listening
Tell: TypeAlias = Callable[[Stage], None]


def hear(speech: SpeechDesk, language: Language, source: Path, task: Task, check: Check = go_on) -> Heard:
    """A recording's text, by the champion of its language.

    Args: check: asked several times a second, whatever is going on; what it raises ends the work.
    Raises: NoSpeechModel, CannotTranslate, AudioError, StoreError; Busy if there is no place.
    """
    with _decoded(source, _tell_nobody, check) as sound:
        return _written_down(speech, language, sound, task, _tell_nobody, check)


def hear_both(speech: SpeechDesk, language: Language, source: Path) -> Iterator[Stage | Both]:
    """The same as stages: the last one has the text. Closing the iterator ends the work.

    A stage is told again while it lasts, so that who reads can see whether the visitor is still there.
    Raises: as `hear`.
    """
    speech.promoted(language)  # before anything is decoded for nothing
    return _staged(lambda tell, check: _both(speech, language, source, tell, check))


def _both(speech: SpeechDesk, language: Language, source: Path, tell: Tell, check: Check) -> Both:
    with _decoded(source, tell, check) as sound:
        heard = _written_down(speech, language, sound, "transcribe", tell, check)
        _, transcriber = speech.transcriber(language)
        if not transcriber.can_translate:
            return Both(heard=heard, english=None, why_no_english=why_no_english(language, heard.model))
        english = None
        if heard.text:
            english = _written_down(speech, language, sound, "translate", tell, check)
        return Both(heard=heard, english=english, why_no_english="")


@contextmanager
def _decoded(source: Path, tell: Tell, check: Check) -> Iterator[DecodedFile]:
    """The recording, once there is a place for it; the place is held until it is written down."""
    tell(Waiting())
    with RECORDINGS.place(check):
        tell(Decoding())
        with closing(DECODERS.open(source, max_s=MAX_S, check=check)) as sound:
            yield sound


def _written_down(
    speech: SpeechDesk, language: Language, sound: DecodedFile, task: Task, tell: Tell, check: Check
) -> Heard:
    model = speech.promoted(language)
    if not speech.is_loaded(language, model):
        tell(Loading(model=model))
    model, transcriber = speech.transcriber(language)
    if task == "translate" and not transcriber.can_translate:
        raise CannotTranslate(why_no_english(language, model))
    start = time.perf_counter()
    try:
        found = transcriber.transcribe(
            sound,
            task,
            lambda done_s, total_s: tell(Listening(task=task, done_s=done_s, total_s=total_s)),
            check=check,
            turn=lambda: MODEL.place(check),
        )
    except ModelError as error:
        raise CannotTranslate(str(error)) from error
    return Heard(
        language=language, task=task, segments=found.segments, duration_s=found.duration_s,
        took_s=time.perf_counter() - start, model=model,
    )  # fmt: skip


def why_no_english(language: Language, model: Model) -> str:
    return (
        f"Version {model.version} of the {language.title} model was not taught to translate: it writes "
        f"{language.title} only. A corpus with translations and a translate_share above 0 teach it."
    )


class Left(Exception):
    """The visitor is gone, or has pressed Stop."""


def _staged(work: Callable[[Tell, Check], Both]) -> Iterator[Stage | Both]:
    """What a thread tells of its work, the newest again every `LOOK_S`; last what came of it."""
    told: queue.SimpleQueue[Stage | Both | Exception] = queue.SimpleQueue()
    left = threading.Event()

    def check() -> None:
        if left.is_set():
            raise Left

    def run() -> None:
        try:
            told.put(work(told.put, check))
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            told.put(error)

    threading.Thread(target=run, daemon=True).start()
    found: Stage | Both | Exception = Waiting()
    try:
        while not isinstance(found, Both):
            with suppress(queue.Empty):  # else what was told last still holds
                found = told.get(timeout=LOOK_S)
            if isinstance(found, Exception):
                raise found
            yield found
    finally:
        left.set()


def _tell_nobody(_: Stage) -> None:
    """Of a stage."""
