"""A place of recordings -> their texts in the store: planned, written down by any number of tasks, added up.

    plan       which recordings are to be written down, in portions
    write_all  one portion; each recording is kept as soon as it is done, and never done twice
    complete   what is there and what is kept -> the report

Each finds what is done already, so each may be killed at any line and repeated: what was in work then, at
most `AT_WORK` recordings, is done again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dagsverk import records
from dagsverk.speech.audio.sandbox import DecoderKilled, Sandbox
from dagsverk.speech.errors import AudioError, SpeechError
from dagsverk.speech.languages import Language
from dagsverk.speech.transcription import results
from dagsverk.speech.transcription.config import TranscriptionConfig
from dagsverk.speech.transcription.files import content, left_out, shown
from dagsverk.speech.transcription.outputs import Unwritable, check_output, write_output
from dagsverk.speech.transcription.results import Failure, KeptSegment, Portion, Recording, Text
from dagsverk.speech.transcription.sources import (
    FolderSource,
    PrefixSource,
    Unread,
    open_source,
    recordings_of,
)
from dagsverk.store import Store
from dagsverk.turns import Places

if TYPE_CHECKING:
    from dagsverk.speech.serving.transcriber import Segment, Transcript
    from dagsverk.speech.transcription.models import Loaded

MAX_S = 24 * 3600.0  # of a recording; its samples lie in the temporary folder meanwhile, 230 MB an hour
AT_WORK = 2  # recordings at a time: one is read while the other is written down
TASKS = 64  # portions of a run at most
# What a model or its library may raise over one recording, such as no memory for it: no other waits for that.
MODEL_TROUBLE = (RuntimeError, ValueError, ArithmeticError, LookupError, MemoryError)

_PLACES = Places(AT_WORK, "a place for a recording", most_waiting=10_000, patience_s=float("inf"))
_DECODERS = Sandbox(AT_WORK, reuse=True, most_waiting=10_000, patience_s=float("inf"))
_MODEL = threading.Lock()

UNWRITTEN = "not written as a file besides the store, "  # so begins a note of a text

LOG = logging.getLogger(__name__)

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The recordings of a place, and what is to be done."""

    place: str
    address: str
    language: str
    model: str  # key of the model that is meant
    recordings: tuple[Recording, ...]  # all that are there
    waiting: tuple[int, ...]  # places in these
    other_files: int
    denied: tuple[str, ...] = ()  # folders below that may not be read

    def portion(self, numbers: Sequence[int]) -> list[Recording]:
        return [self.recordings[number] for number in numbers]


def plan(store: Store, language: Language, config: TranscriptionConfig, model: str) -> tuple[str, Plan]:
    """What is there and what is to be done, kept under the path that is returned.

    Args: model: key of the model that is meant, see `results.model_key`.
    Raises: CorpusError; CorpusUnavailable if the place does not answer.
    """
    check_output(config)
    source = open_source(config.source)
    files = source.files()
    recordings = recordings_of(files)
    place = results.place_key(source.address, config.task)
    kept = results.kept(store, results.root(language, place))
    again = config.redo == "new_model"
    waiting = [
        number
        for number, one in enumerate(recordings)
        if not results.is_settled(kept.get(one.key, ()), model, again=again)
    ]
    made = Plan(
        place=place,
        address=config.source,
        language=language.code,
        model=model,
        recordings=tuple(recordings),
        waiting=tuple(waiting),
        other_files=len(files) - len(recordings),
        denied=tuple(source.denied),
    )
    data = records.to_bytes(made)
    path = f"{results.root(language, place)}/plans/{hashlib.sha256(data).hexdigest()[:20]}.json"
    store.put(path, data, overwrite=True)
    return path, made


def portions(made: Plan, most: int) -> list[list[int]]:
    """The waiting recordings as they are given to tasks: of `most` each, or more if there are very many."""
    size = max(most, -(-len(made.waiting) // TASKS))
    return [list(made.waiting[start : start + size]) for start in range(0, len(made.waiting), size)]


def load_plan(store: Store, path: str) -> Plan:
    """Raises NotFound."""
    return records.read(store, path, Plan)


def write_all(
    store: Store,
    language: Language,
    made: Plan,
    numbers: Sequence[int],
    config: TranscriptionConfig,
    *,
    load: Callable[[], Loaded],
    tell: Tell = lambda _: None,
) -> Portion:
    """Write down some recordings of the plan; those that are settled by now are left alone.

    Args: load: gives the model; asked when the first recording is to be written down.
    Raises: CorpusUnavailable, StoreError, ModelError: what is done by then stays.
    """
    source, folder = open_source(config.source), results.root(language, made.place)
    again = config.redo == "new_model"
    done: list[Text | Failure] = []
    tried: list[Recording] = []
    # In any order: runs that no limit keeps apart would else do the same recording at the same moment.
    order = random.sample(list(numbers), len(numbers))
    for recording in made.portion(order):
        with _PLACES.place():
            names = results.kept_of(store, folder, recording)
            if results.is_settled(names, made.model, again=again):
                continue
            tried.append(recording)
            done.append(_write(store, language, folder, recording, source, config, load))
            tell(f"{len(done)} of {len(numbers)}: {shown(recording.path)}")
    texts = [one for one in done if isinstance(one, Text)]
    return Portion(
        written=len(texts),
        failed=len(done) - len(texts),
        not_files=sum(one.fault != "" for one in tried),
        unwritten=sum(any(note.startswith(UNWRITTEN) for note in one.notes) for one in texts),
        audio_s=sum(one.audio_s for one in texts),
        took_s=sum(one.took_s for one in texts),
    )


def _write(
    store: Store,
    language: Language,
    folder: str,
    recording: Recording,
    source: FolderSource | PrefixSource,
    config: TranscriptionConfig,
    load: Callable[[], Loaded],
) -> Text | Failure:
    """One recording, kept: its text, or why there is none."""
    try:
        loaded, transcript, notes, took_s = _transcribed(recording, source, language, config, load)
    except Unread as error:
        return _keep_failure(store, folder, recording, results.UNREAD, error)
    except AudioError as error:
        record = results.UNREAD if _may_be_read_later(error) else results.FAILED
        return _keep_failure(store, folder, recording, record, error)
    unwritten = _write_files(recording, config, transcript, loaded)
    text = Text(
        path=recording.path,
        stamp=recording.stamp,
        language=language.code,
        task=transcript.task,
        text=transcript.text,
        segments=tuple(_kept_segment(segment, words=config.words) for segment in transcript.segments),
        audio_s=round(transcript.duration_s, 3),
        took_s=round(took_s, 3),
        notes=(*notes, *unwritten),
        model=loaded.name,
        version=loaded.version,
        at=_now(),
    )
    record = results.model_key(loaded.name, loaded.version)
    records.write(store, results.record_path(folder, recording, record), text)  # last
    return text


def _transcribed(
    recording: Recording,
    source: FolderSource | PrefixSource,
    language: Language,
    config: TranscriptionConfig,
    load: Callable[[], Loaded],
) -> tuple[Loaded, Transcript, Sequence[str], float]:
    """The model, what it wrote, what is to be said of the recording, and seconds of the model."""
    if recording.fault:
        raise Unread("not a regular file", f"it is {recording.fault}")
    with source.opened(recording) as file:
        samples = _DECODERS.open(file, max_s=MAX_S, language=language.code)
    with closing(samples), _MODEL:
        loaded = load()
        started = time.perf_counter()
        try:
            transcript = loaded.transcriber.transcribe(samples, config.task, words=config.times_words)
        except MODEL_TROUBLE as error:
            LOG.exception("the model failed on %s", shown(recording.path))
            raise Unread("the model failed", f"{type(error).__name__}: {error}") from error
        notes = (*samples.notes, *left_out(transcript))
        return loaded, transcript, notes, time.perf_counter() - started


def _write_files(
    recording: Recording, config: TranscriptionConfig, transcript: Transcript, loaded: Loaded
) -> list[str]:
    """The files besides the store; returned is what is to be said of those that no disk there can hold."""
    unwritten = []
    for format in config.written_formats:
        name = f"{recording.path}.{format}"
        try:
            write_output(config.output, name, content(transcript, format, loaded.called))
        except Unwritable as error:
            unwritten.append(f"{UNWRITTEN}{format}: {error}")
    return unwritten


def _may_be_read_later(error: AudioError) -> bool:
    """Whether it says nothing of the recording: its decoder was killed, or its disk did not answer."""
    return isinstance(error, DecoderKilled) or error.reason == "missing audio"


def _kept_segment(segment: Segment, *, words: bool) -> KeptSegment:
    kept = KeptSegment(**{name: getattr(segment, name) for name in KeptSegment.__dataclass_fields__})
    return kept if words else replace(kept, words=())


def _keep_failure(
    store: Store, folder: str, recording: Recording, record: str, error: Unread | AudioError
) -> Failure:
    kept = Failure(
        path=recording.path,
        stamp=recording.stamp,
        reason=error.reason,
        detail=error.detail,
        at=_now(),
    )
    records.write(store, results.record_path(folder, recording, record), kept)
    return kept


def refuse_denied(made: Plan) -> None:
    """Raises SpeechError if there are folders that nobody has looked into; all else is done by then."""
    if made.denied:
        raise SpeechError(
            f"{len(made.denied)} of the folders below {made.address} may not be read, first of all "
            f"{shown(made.denied[0])}; what else lies there is done: give the worker the right to read them"
        )


def refuse_none(attempts: Sequence[Portion], failures: Mapping[str, int]) -> None:
    """Raises SpeechError if several recordings were tried and none was written down: that is no chance.

    Links out of the folder, pipes and the like were not tried: they are there every night.
    """
    written = sum(one.written for one in attempts)
    failed = sum(one.failed - one.not_files for one in attempts)
    if failed >= 3 and not written:
        reasons = ", ".join(f"{count} {reason}" for reason, count in failures.items())
        raise SpeechError(
            f"none of {failed} recordings could be written down ({reasons}); see that the folder holds "
            "recordings, and that the worker may read them"
        )


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
