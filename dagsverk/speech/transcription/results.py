"""What became of recordings, as it is kept in the store. Light: loads no learning library.

Below transcriptions/<language>/<place>/, where <place> names a folder or prefix, and the task:

    plans/<digest>.json         which recordings there were, in portions
    results/<key>/<model>.json  the text, written last; <key> names a recording by path and stamp
    results/<key>/failed.json   why it never becomes a text: it has no sound that can be decoded, say
    results/<key>/unread.json   why it was not read; each run tries again
    index.json                  of each of these what the report adds up, so that it is read once

and reports/<language>/transcription-<place>.json, for pages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dagsverk.records import last_report
from dagsverk.speech.evaluation.report import Interval
from dagsverk.speech.languages import Language
from dagsverk.speech.subtitles.cues import Word
from dagsverk.store import Store

FAILED, UNREAD = "failed", "unread"
REPORT = "transcription-"


@dataclass(frozen=True)
class Recording:
    """A file of the place, as it was when it was listed."""

    path: str
    stamp: str  # changes with its content; empty for what is no file of the place
    fault: str = ""  # why it is not opened, such as "a link out of the folder"

    @property
    def key(self) -> str:
        """Names this content at this path."""
        return _digest(self.path, self.stamp)


@dataclass(frozen=True, kw_only=True)
class KeptSegment:
    """As `serving.transcriber.Segment`; times in seconds of the recording."""

    start_s: float
    end_s: float
    text: str
    mean_log_probability: float
    no_speech_probability: float
    words: tuple[Word, ...] = ()  # none unless they were asked for


@dataclass(frozen=True, kw_only=True)
class Text:
    """A recording's text."""

    path: str
    stamp: str
    language: str
    task: str
    text: str  # a line for each segment
    segments: tuple[KeptSegment, ...]
    audio_s: float
    took_s: float  # of the model, from the decoded recording on
    notes: tuple[
        str, ...
    ]  # which track is heard, what is missing in it, what the model wrote that was left out
    model: str
    version: int | None  # None: no model of the store
    at: str  # ISO 8601, UTC


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a recording has no text."""

    path: str
    stamp: str
    reason: str  # the short name under which it is counted
    detail: str
    at: str


@dataclass(frozen=True, kw_only=True)
class Portion:
    """What one task did in this attempt."""

    written: int = 0
    failed: int = 0
    not_files: int = 0  # of these: links out of the folder, pipes and the like
    unwritten: int = 0  # of those written down, whose files besides the store could not be made
    audio_s: float = 0.0
    took_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Speed:
    """By which model how much was written down."""

    model: str
    recordings: int
    audio_s: float
    took_s: float


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Errors against the texts that lie beside the recordings."""

    recordings: int
    speakers: int  # known ones
    words: int
    wer: Interval
    cer: Interval


@dataclass(frozen=True, kw_only=True)
class Transcribed:
    """A place as the last run left it."""

    source: str
    task: str
    recordings: int  # that are there
    written: int  # of these
    new: int  # written by the last run
    failed: Mapping[str, int]  # reason -> recordings
    failures: Sequence[Failure]  # the first of them
    audio_s: float
    new_audio_s: float
    new_took_s: float
    models: Sequence[Speed]  # that wrote them
    scored: Scored | None  # None: no text lies beside
    other_files: int = 0  # that are neither recordings nor texts we know of
    notes: Sequence[str] = field(default_factory=tuple)
    at: str = ""


def place_key(address: str, task: str) -> str:
    """Names a place and a task."""
    return f"{_digest(address)}-{task}"


def root(language: Language, place: str) -> str:
    """The artefact folder of a place."""
    return f"transcriptions/{language.name}/{place}"


def kept(store: Store, folder: str) -> dict[str, set[str]]:
    """What is kept of each recording: key -> names of records."""
    names: dict[str, set[str]] = {}
    for path in store.list(f"{folder}/results"):
        key, _, record = path.removeprefix(f"{folder}/results/").partition("/")
        if record.endswith(".json"):
            names.setdefault(key, set()).add(record.removesuffix(".json"))
    return names


def kept_of(store: Store, folder: str, recording: Recording) -> set[str]:
    """The same of one recording, as it is now."""
    return {
        path.rpartition("/")[2].removesuffix(".json")
        for path in store.list(f"{folder}/results/{recording.key}")
        if path.endswith(".json")
    }


def is_settled(names: Iterable[str], model: str, *, again: bool) -> bool:
    """Whether nothing is to be done. Args: again: texts of other models do not count."""
    texts = set(names) - {FAILED, UNREAD}
    return FAILED in names or (model in texts if again else bool(texts))


def best_text(names: Iterable[str], model: str) -> str:
    """The record of the text that counts: by this model, else by the newest version; "" for none."""
    texts = set(names) - {FAILED, UNREAD}
    return model if model in texts else max(texts, key=_age, default="")


def _age(record: str) -> tuple[int, str]:
    number = record.removeprefix("v")
    return (int(number) if number.isdigit() else 0), record


def model_key(name: str, version: int | None) -> str:
    """Names a model in the name of a record."""
    return f"m-{_digest(name)}" if version is None else f"v{version}"


def record_path(folder: str, recording: Recording, record: str) -> str:
    return f"{folder}/results/{recording.key}/{record}.json"


def report_name(place: str) -> str:
    return f"{REPORT}{place}"


def reports(store: Store, language: Language) -> list[Transcribed]:
    """Of every place of the language, by its address."""
    prefix = f"reports/{language.name}/"
    names = [path.removeprefix(prefix).removesuffix(".json") for path in store.list(prefix.rstrip("/"))]
    listed = [
        last_report(store, language.name, name, Transcribed) for name in names if name.startswith(REPORT)
    ]
    return sorted((one for one in listed if one is not None), key=lambda one: (one.source, one.task))


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]
