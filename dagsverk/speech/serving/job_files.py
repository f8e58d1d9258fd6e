"""Where jobs lie: recording and state in folders of this machine, results in the store.

A job is there once its state is, which is written last; a result once its file is, and only then the state
says so. So whatever is killed when, a job is either not there, or is done, or is done again.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dagsverk import records
from dagsverk.file_locks import is_locked
from dagsverk.speech.languages import language
from dagsverk.speech.serving.answering import Order
from dagsverk.speech.serving.service import Answer
from dagsverk.speech.serving.transcriber import Transcript
from dagsverk.store import Model, NotFound, Store, StoreError

ID = r"[\w-]{32}"  # 24 random bytes
STATE, RECORDING, LOCK = "job.json", "recording", "lock"
RESULTS = "transcription-jobs"


class NoJob(LookupError):
    """No job has this id, or not any more."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is kept of a job besides its recording."""

    id: str  # empty in the store
    language: str  # AUTO: it is told from the recording
    order: Order
    visitor: str  # whose it is; empty in the store
    created: dt.datetime
    name: str = ""
    state: str = "queued"  # until it has ended: "done", "failed"
    tries: int = 0
    error: str = ""
    reason: str = ""
    ended: dt.datetime | None = None
    beside: str = ""  # the digest of the job beside whose answer this one's is to be set


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A result in the store."""

    job: Job
    model: Model
    transcripts: tuple[Transcript, ...]
    took_s: float
    notes: tuple[str, ...]
    why_no_english: str
    language: str = ""  # code of what is spoken; empty: the job names it
    likely: Mapping[str, float] = field(default_factory=dict)  # languages, where it was not named
    english_by: Model | None = None  # that wrote the English, where it is another one

    @classmethod
    def of(cls, job: Job, answers: Sequence[Answer], why_no_english: str) -> Kept:
        first, job = answers[0], replace(job, id="", visitor="")
        transcripts = tuple(answer.transcript for answer in answers)
        last = answers[-1].model
        return cls(
            job=job, model=first.model, transcripts=transcripts, took_s=first.took_s, notes=first.notes,
            why_no_english=why_no_english, language=first.language.code, likely=first.likely,
            english_by=None if last == first.model else last,
        )  # fmt: skip

    def answers(self) -> list[Answer]:
        common: dict[str, Any] = {
            "language": language(self.language or self.job.language),
            "took_s": self.took_s, "notes": self.notes, "likely": self.likely,
        }  # fmt: skip
        by = {"translate": self.english_by or self.model}
        return [
            Answer(transcript=one, model=by.get(one.task, self.model), **common) for one in self.transcripts
        ]


class JobFiles:
    """Args: folder: gives the folder of all jobs, when it is needed."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._give = folder
        self._locks: dict[str, int] = {}
        self._read: dict[str, tuple[int, Job]] = {}  # by folder: when it was changed, in ns
        self._guard = threading.Lock()

    @property
    def root(self) -> Path:
        root = self._give()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return root

    def folder(self, id: str) -> Path:
        return self.root / digest(id)

    def add(self, job: Job, recording: Path) -> None:
        folder = self.folder(job.id)
        folder.mkdir(mode=0o700)
        try:
            try:
                os.link(recording, folder / RECORDING)
            except OSError:  # another disk
                shutil.copyfile(recording, folder / RECORDING)
            self._put(folder, job)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def read(self, id: str) -> Job:
        """Raises NoJob."""
        try:
            return _read(self.folder(id))
        except (OSError, StoreError) as error:
            raise NoJob("there is no such job") from error

    def write(self, job: Job) -> None:
        """Raises NoJob if it was removed."""
        if not self.is_there(job.id):
            raise NoJob("there is no such job")
        with suppress(FileNotFoundError):
            self._put(self.folder(job.id), job)

    def is_there(self, id: str) -> bool:
        return (self.folder(id) / STATE).exists()

    def all(self) -> Iterator[tuple[str, Job]]:
        """Every job with its id; what cannot be read is left out."""
        for folder in sorted(self.root.iterdir()):
            with suppress(OSError, StoreError):
                changed = (folder / STATE).stat().st_mtime_ns
                if self._read.get(folder.name, (0,))[0] != changed:
                    self._read[folder.name] = changed, _read(folder)
                job = self._read[folder.name][1]
                yield job.id, job

    def recording(self, id: str) -> Path | None:
        path = self.folder(id) / RECORDING
        return path if path.exists() else None

    def drop_recording(self, id: str) -> None:
        (self.folder(id) / RECORDING).unlink(missing_ok=True)

    def remove(self, id: str) -> None:
        folder = self.folder(id)
        self._read.pop(folder.name, None)
        (folder / STATE).unlink(missing_ok=True)  # first: then it is not there
        shutil.rmtree(folder, ignore_errors=True)

    def bytes_held(self) -> int:
        sizes = 0
        for path in self.root.glob(f"*/{RECORDING}"):
            with suppress(OSError):
                sizes += path.stat().st_size
        return sizes

    def lock(self, id: str) -> bool:
        """Whether this server is now the one that works on it. The system lets go of what the dead held."""
        try:
            number = os.open(self.folder(id) / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError:
            return False
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(number)
            return False
        self._locks[id] = number
        return True

    def unlock(self, id: str) -> None:
        os.close(self._locks.pop(id))

    def is_locked(self, id: str) -> bool:
        """By whichever server."""
        return id in self._locks or is_locked(self.folder(id) / LOCK)

    def keep(self, store: Store, id: str, kept: Kept) -> None:
        records.write(store, _path(digest(id)), kept)

    def result(self, store: Store, id: str) -> Kept | None:
        try:
            return records.read(store, _path(digest(id)), Kept)
        except NotFound:
            return None

    def forget_result(self, store: Store, id: str) -> None:
        _remove_result(store, digest(id))

    def sweep_results(self, store: Store, now: dt.datetime, kept_s: float) -> None:
        """Of jobs whose folders are not here: of another machine, or of a cache that was emptied."""
        here = {path.name for path in self.root.iterdir()}
        for path in store.list(f"{RESULTS}/"):
            name = Path(path).parent.name
            if name not in here:
                ended = records.read(store, path, Kept).job.ended
                if ended is None or (now - ended).total_seconds() > kept_s:
                    _remove_result(store, name)

    def _put(self, folder: Path, job: Job) -> None:
        with self._guard:
            part = folder / f"{STATE}.part"
            part.write_bytes(records.to_bytes(job))
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(folder / STATE)


def digest(id: str) -> str:
    """What a job is called on disk and in the store: whoever lists these learns no id."""
    return hashlib.sha256(id.encode()).hexdigest()[:40]


def _read(folder: Path) -> Job:
    return records.from_bytes((folder / STATE).read_bytes(), Job, str(folder / STATE))


def _remove_result(store: Store, name: str) -> None:
    store.remove(f"{RESULTS}/{name}")


def _path(name: str) -> str:
    return f"{RESULTS}/{name}/result.json"
