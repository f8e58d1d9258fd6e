"""One recording in, its text out, by the champion of its language: for pages, REST and tasks alike.

Recordings come from people that nobody knows, many at a time: each has a place, its file is decoded once, in
a process with limits, and the model, in a process of its own, takes turns, batch by batch. Light until a
recording comes. For recordings that may take long there are `jobs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from dagsverk.cache import cache_folder
from dagsverk.speech.audio.samples import SamplesFile
from dagsverk.speech.audio.sandbox import Sandbox
from dagsverk.speech.languages import Language
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.model.decoded import Task
from dagsverk.speech.serving.answering import CannotTranslate, Listener, Order, Written, why_no_english
from dagsverk.speech.serving.champions import refuse_without
from dagsverk.speech.serving.model_process import ModelProcess
from dagsverk.speech.serving.stages import Decoding, Loading, Report, Stage, Transcribing, Waiting
from dagsverk.speech.serving.transcriber import OnSegments, Segment, Transcript
from dagsverk.store import Model, Store
from dagsverk.turns import Check, Places, go_on, staged

__all__ = [
    "DECODERS",
    "MAX_S",
    "RECORDINGS",
    "Answer",
    "Both",
    "CannotTranslate",
    "Decoding",
    "Loading",
    "Order",
    "Report",
    "Stage",
    "Transcribing",
    "Waiting",
    "transcribe",
    "transcribe_and_translate",
    "why_no_english",
    "work",
]

MAX_S = 2 * 3600.0  # of a recording
PATIENCE_S = 30.0  # that a recording waits for a place

# Recordings that are at work at a time: decoded side by side, then transcribed in turns, batch by batch, for
# that takes every core. Each may keep 460 MB of samples on disk. Jobs have their own places.
RECORDINGS = Places(6, "every place for a recording", most_waiting=8, patience_s=PATIENCE_S)
DECODERS = Sandbox(10)  # the recorder's and those of jobs come beside
PROCESS = ModelProcess()
WRITER: Callable[..., Written] = PROCESS.write_down  # or `answering.write_down`, in this very process

Place: TypeAlias = Callable[[Check], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A recording's transcript, and the champion that wrote it."""

    language: Language
    model: Model
    transcript: Transcript
    took_s: float  # for all tasks, from the decoded recording on, other people's turns included
    # of the recording: which track is heard, what is missing in it, what it was taken for
    notes: tuple[str, ...] = ()
    likely: Mapping[str, float] = field(default_factory=dict)  # languages, where it was not named

    @property
    def written_by(self) -> str:
        """Name and version of the model."""
        return f"{self.model.name} {self.model.version}"

    def to_dict(self) -> dict[str, Any]:
        """In JSON types."""
        return {
            "language": self.language.code,
            **({"likely_languages": _rounded(self.likely)} if self.likely else {}),
            "task": self.transcript.task,
            "text": self.transcript.text,
            "duration_s": round(self.transcript.duration_s, 3),
            "took_s": round(self.took_s, 3),
            "notes": list(self.notes),
            "word_times": self.transcript.word_times,
            "left_out": dict(self.transcript.left_out),
            "segments": [_plain(segment) for segment in self.transcript.segments],
            "model": {"name": self.model.name, "version": self.model.version or None},  # 0: not of the store
        }


def _rounded(shares: Mapping[str, float]) -> dict[str, float]:
    return {code: round(share, 3) for code, share in shares.items()}


def _plain(segment: Segment) -> dict[str, Any]:
    words = [
        {"text": word.text, "start_s": round(word.start_s, 2), "end_s": round(word.end_s, 2)}
        for word in segment.words
    ]
    shown = asdict(replace(segment, words=(), tokens=()))
    del shown["tokens"]  # numbers that mean nothing without the model; OpenAI's form has them
    return {**shown, "words": words}


@dataclass(frozen=True, kw_only=True)
class Both:
    """A recording's text, and its English where the model can write it and there is a text."""

    original: Answer
    english: Answer | None
    why_no_english: str  # empty where the model can
    job: str = ""  # the id under which it can be had again; empty where it was no job


def transcribe(
    store: Store,
    language: Language | None,
    source: Path,
    task: Task,
    check: Check = go_on,
    *,
    words: bool = True,
    prompt: str = "",
    on_segments: OnSegments | None = None,
) -> Answer:
    """A recording's text, by the champion of its language.

    Args:
        language: None: it is told from the recording.
        check: asked several times a second, whatever is going on; what it raises ends the work.
        words, prompt, on_segments: as `Transcriber.transcribe_for` takes them.
    Raises: NoSpeechModel, CannotTranslate, AudioError, StoreError; Busy if there is no place; Killed.
    """
    order = Order(tasks=(task,), words=words, prompt=prompt)
    (answer,), _ = work(store, language, source, order, _to_nobody, check, on_segments=on_segments)
    return answer


def transcribe_and_translate(
    store: Store, language: Language | None, source: Path, *, words: bool = True, prompt: str = ""
) -> Iterator[Stage | Both]:
    """Text and English as stages; the last one has them. Closing the iterator ends the work.

    A stage is given again while it lasts, so that who reads can see whether the visitor is still there.
    Raises: as `transcribe`, but no CannotTranslate.
    """
    refuse_without(store, language)  # before anything is decoded for nothing
    order = Order(tasks=("transcribe", "translate"), only_if_it_can=True, words=words, prompt=prompt)
    return staged(
        lambda report, check: both_of(*work(store, language, source, order, report, check)), Waiting()
    )


def both_of(answers: Sequence[Answer], why: str) -> Both:
    original, *others = answers
    english = others[0] if others and original.transcript.text else None
    return Both(original=original, english=english, why_no_english=why)


def work(
    store: Store,
    language: Language | None,
    source: Path,
    order: Order,
    report: Report,
    check: Check,
    *,
    place: Place = RECORDINGS.place,
    on_segments: OnSegments | None = None,
) -> tuple[list[Answer], str]:
    """An answer for each task, all in one pass over the recording; and why there is no English.

    Args: place: held until all is done. Raises: as `transcribe`.
    """
    report(Waiting())
    with place(check):
        report(Decoding())
        with decoded(source, language, check) as samples:
            listener = _Reporting(report, on_segments)
            written = WRITER(store, cache_folder(), language, order, samples, listener, check)
            return [
                Answer(
                    language=language_of(written.language),
                    model=written.english_by
                    if written.english_by is not None and transcript.task == "translate"
                    else written.model,
                    transcript=transcript,
                    took_s=written.took_s,
                    notes=(*samples.notes, *written.notes),
                    likely=written.likely,
                )
                for transcript in written.transcripts
            ], written.why_no_english


@contextmanager
def decoded(source: Path, language: Language | None, check: Check) -> Iterator[SamplesFile]:
    """A recording's samples as they are written down."""
    code = language.code if language else ""
    with closing(DECODERS.open(source, max_s=MAX_S, language=code, check=check)) as samples:
        yield samples


class _Reporting(Listener):
    """Makes stages of what is told."""

    def __init__(self, report: Report, on_segments: OnSegments | None) -> None:
        self._report, self._on_segments = report, on_segments
        self._tasks: tuple[Task, ...] = ()
        self._written: dict[Task, tuple[Segment, ...]] = {}
        self._passed_on: dict[Task, int] = {}
        self._done_s = self._total_s = 0.0

    def loading(self, model: Model) -> None:
        self._report(Loading(model=model))

    def begins(self, tasks: Sequence[Task]) -> None:
        """Or begins anew, where the model's process was killed: nothing is then passed on twice."""
        self._tasks, self._written = tuple(tasks), dict.fromkeys(tasks, ())

    def progress(self, done_s: float, total_s: float) -> None:
        self._done_s, self._total_s = done_s, total_s
        self._tell()

    def segments(self, task: Task, segments: Sequence[Segment]) -> None:
        self._written[task] = (*self._written[task], *segments)
        new = self._written[task][self._passed_on.get(task, 0) :]
        if self._on_segments is not None and new:
            self._on_segments(task, new)
        self._passed_on[task] = max(self._passed_on.get(task, 0), len(self._written[task]))
        self._tell()

    def _tell(self) -> None:
        at = {"done_s": self._done_s, "total_s": self._total_s}
        self._report(Transcribing(tasks=self._tasks, segments=dict(self._written), **at))


def _to_nobody(_: Stage) -> None:
    """Of a stage."""
