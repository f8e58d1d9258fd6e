"""One recording in, its text out, by the champion of its language: for pages, REST and tasks alike.

Recordings come from people that nobody knows, many at a time: each has a place, its file is decoded once, in
a process with limits, and the model takes turns, batch by batch. Light until a recording comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dagsverk.speech.audio.samples import SamplesFile
from dagsverk.speech.audio.sandbox import Sandbox
from dagsverk.speech.cache import cache_folder
from dagsverk.speech.languages import Language
from dagsverk.speech.model.decoded import Task
from dagsverk.speech.serving.champions import Champion, is_loaded, load_champion, promoted
from dagsverk.store import Model, Store
from dagsverk.turns import Check, Places, go_on, staged

if TYPE_CHECKING:
    from dagsverk.speech.serving.transcriber import Segment, Transcript

MAX_S = 2 * 3600.0  # of a recording
PATIENCE_S = 30.0  # that a recording waits for a place

# Recordings that are at work at a time: decoded side by side, then transcribed in turns, batch by batch, for
# that takes every core. Each may keep 460 MB of samples on disk.
RECORDINGS = Places(6, "every place for a recording", most_waiting=8, patience_s=PATIENCE_S)
MODEL = Places(1, "the model", most_waiting=6, patience_s=float("inf"))
DECODERS = Sandbox(8)  # the recorder's come beside


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
class Transcribing:
    """How much of a recording is done, for all tasks."""

    tasks: tuple[Task, ...]
    done_s: float
    total_s: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A recording's transcript, and the champion that wrote it."""

    language: Language
    model: Model
    transcript: Transcript
    took_s: float  # for all tasks, from the decoded recording on, other people's turns included
    notes: tuple[str, ...] = ()  # of the recording: which track is heard, what is missing in it

    def to_dict(self) -> dict[str, Any]:
        """In JSON types."""
        return {
            "language": self.language.code,
            "task": self.transcript.task,
            "text": self.transcript.text,
            "duration_s": round(self.transcript.duration_s, 3),
            "took_s": round(self.took_s, 3),
            "notes": list(self.notes),
            "word_times": self.transcript.word_times,
            "left_out": dict(self.transcript.left_out),
            "segments": [_plain(segment) for segment in self.transcript.segments],
            "model": {"name": self.model.name, "version": self.model.version},
        }


def _plain(segment: Segment) -> dict[str, Any]:
    words = [
        {"text": word.text, "start_s": round(word.start_s, 2), "end_s": round(word.end_s, 2)}
        for word in segment.words
    ]
    return {**asdict(segment), "words": words}


@dataclass(frozen=True, kw_only=True)
class Both:
    """A recording's text, and its English where the model can write it and there is a text."""

    original: Answer
    english: Answer | None
    why_no_english: str  # empty where the model can


Stage: TypeAlias = Waiting | Decoding | Loading | Transcribing
Report: TypeAlias = Callable[[Stage], None]


def transcribe(store: Store, language: Language, source: Path, task: Task, check: Check = go_on) -> Answer:
    """A recording's text, by the champion of its language.

    Args: check: asked several times a second, whatever is going on; what it raises ends the work.
    Raises: NoSpeechModel, CannotTranslate, AudioError, StoreError; Busy if there is no place.
    """
    with _decoded(source, language, _report_to_nobody, check) as samples:
        champion = _loaded(store, language, _report_to_nobody)
        if task == "translate" and not champion.transcriber.can_translate:
            raise CannotTranslate(why_no_english(language, champion.model))
        (answer,) = _answers(champion, language, samples, [task], _report_to_nobody, check)
        return answer


def transcribe_and_translate(store: Store, language: Language, source: Path) -> Iterator[Stage | Both]:
    """Text and English as stages; the last one has them. Closing the iterator ends the work.

    A stage is given again while it lasts, so that who reads can see whether the visitor is still there.
    Raises: as `transcribe`, but no CannotTranslate.
    """
    promoted(store, language)  # before anything is decoded for nothing
    return staged(lambda report, check: _both(store, language, source, report, check), Waiting())


def why_no_english(language: Language, model: Model) -> str:
    if reason := model.info.get("why_english"):
        return (
            f"Version {model.version} of the {language.title} model writes {language.title} only: {reason}."
        )
    return (
        f"Version {model.version} of the {language.title} model was not taught to translate: it writes "
        f"{language.title} only. A corpus with translations and a translate_share above 0 teach it."
    )


def _both(store: Store, language: Language, source: Path, report: Report, check: Check) -> Both:
    with _decoded(source, language, report, check) as samples:
        champion = _loaded(store, language, report)
        if not champion.transcriber.can_translate:
            (original,) = _answers(champion, language, samples, ["transcribe"], report, check)
            why = why_no_english(language, champion.model)
            return Both(original=original, english=None, why_no_english=why)
        tasks: list[Task] = ["transcribe", "translate"]
        original, english = _answers(champion, language, samples, tasks, report, check)
        return Both(
            original=original, english=english if original.transcript.text else None, why_no_english=""
        )


@contextmanager
def _decoded(source: Path, language: Language, report: Report, check: Check) -> Iterator[SamplesFile]:
    """The recording, once there is a place for it; the place is held until it is transcribed."""
    report(Waiting())
    with RECORDINGS.place(check):
        report(Decoding())
        with closing(DECODERS.open(source, max_s=MAX_S, language=language.code, check=check)) as samples:
            yield samples


def _loaded(store: Store, language: Language, report: Report) -> Champion:
    model = promoted(store, language)
    if not is_loaded(language, model):
        report(Loading(model=model))
    return load_champion(store, language, cache_folder())


def _answers(
    champion: Champion,
    language: Language,
    samples: SamplesFile,
    tasks: Sequence[Task],
    report: Report,
    check: Check,
) -> list[Answer]:
    """One for each task, all in one pass over the recording."""
    start = time.perf_counter()
    transcripts = champion.transcriber.transcribe_for(
        tasks,
        samples,
        lambda done_s, total_s: report(Transcribing(tasks=tuple(tasks), done_s=done_s, total_s=total_s)),
        words=True,
        check=check,
        turn=lambda: MODEL.place(check),
    )
    took_s = time.perf_counter() - start
    return [
        Answer(
            language=language,
            model=champion.model,
            transcript=transcript,
            took_s=took_s,
            notes=samples.notes,
        )
        for transcript in transcripts
    ]


def _report_to_nobody(_: Stage) -> None:
    """Of a stage."""
