"""Recordings that are written down while nobody waits: an id, a place in the queue, progress, a result.

A job survives the page that began it and the server that runs it: recording and state lie in a folder below
the cache, and what was at work when a server died is taken up again. The result is in the store. Everything
of a job goes `KEPT_S` after its end, its recording after `RECORDING_KEPT_S`.

For a page (`Jobs` is made once per server, `ui.speech.desk.SpeechDesk.jobs` has it):

    id = desk.jobs.submit(language, path, visitor=cookie, name="a.mp4", english=True, words=True)
    for view in desk.jobs.follow(id):       # a View now and at each change; closing it does not end the job
        view.state                          # "queued", "running", "done", "failed"
        view.place                          # 1: the next one; 0: not in the queue
        view.stage                          # Waiting, Decoding, Loading, Transcribing (done_s, segments ...)
        view.remaining_s                    # an estimate, None while there is none
        view.result                         # service.Both once it is done
        view.error, view.reason             # of a failed one; reason as of AudioError, else ""
    desk.jobs.of(cookie)                    # the visitor's, newest first, without results: after a reload
    desk.jobs.recording(id)                 # its file, for a player; None once it is gone
    desk.jobs.remove(id)                    # cancels it at once, and forgets it

Raises: NoJob for an id that is not there; Busy where too many wait. An id cannot be guessed: who has it may
see the job.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dagsverk.speech.errors import AudioError, Busy, SpeechError
from dagsverk.speech.languages import AUTO, Language, language_or_auto
from dagsverk.speech.model.decoded import Task
from dagsverk.speech.serving import service
from dagsverk.speech.serving.champions import refuse_without
from dagsverk.speech.serving.job_files import ID, Job, JobFiles, Kept, NoJob, digest
from dagsverk.speech.serving.service import Both, Order
from dagsverk.speech.serving.stages import Stage, Transcribing, Waiting
from dagsverk.store import Store, StoreError, Unavailable
from dagsverk.turns import ASK_EVERY_S, Left, Stop

AT_WORK = 2  # jobs at a time; the model takes turns between them and those who wait at a page
MOST, MOST_OF_VISITOR, MOST_ENDED = 50, 5, 1000  # that wait or are at work; that are kept
MOST_BYTES = 10 * 1024**3  # of recordings, together
MOST_TRIES = 3  # of a job at whose side servers died
KEPT_S, RECORDING_KEPT_S = 7 * 24 * 3600.0, 3600.0  # after its end
SWEEP_S = 600.0  # between two looks for what is too old
LOOK_AGAIN_S = 30.0  # for jobs that another server left, or after the store was away

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class View:
    """A job as it is at a moment."""

    id: str
    job: Job
    state: str
    place: int = 0  # in the queue; 0: it is not in it
    stage: Stage | None = None  # while it runs
    remaining_s: float | None = None
    result: Both | None = None

    @property
    def error(self) -> str:
        return self.job.error

    @property
    def reason(self) -> str:
        return self.job.reason

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed")

    def to_dict(self) -> dict[str, Any]:
        """In JSON types."""
        job, stage = self.job, self.stage
        shown: dict[str, Any] = {
            "id": self.id, "state": self.state, "language": job.language, "name": job.name,
            "tasks": list(job.order.tasks), "created": job.created.isoformat(timespec="seconds"),
            "ended": job.ended.isoformat(timespec="seconds") if job.ended else None, "place": self.place,
            "stage": type(stage).__name__.lower() if stage else None,
        }  # fmt: skip
        if isinstance(stage, Transcribing):
            written = {task: " ".join(one.text for one in some) for task, some in stage.segments.items()}
            shown |= {
                "done_s": round(stage.done_s, 1),
                "total_s": round(stage.total_s, 1),
                "text_so_far": written,
            }
            shown["remaining_s"] = None if self.remaining_s is None else round(self.remaining_s)
        if job.error:
            shown |= {"error": job.error, "reason": job.reason}
        if self.result is not None:
            english = self.result.english
            shown["result"] = self.result.original.to_dict()
            shown["english"] = english.to_dict() if english else None
            shown["why_no_english"] = self.result.why_no_english
        return shown


class _Running:
    """What is known of a job while it runs."""

    def __init__(self) -> None:
        self.stop = Stop()
        self.stage: Stage = Waiting()
        self.began = time.monotonic()  # of the model's work
        self.closing = False

    def report(self, stage: Stage) -> None:
        if isinstance(stage, Transcribing) and not isinstance(self.stage, Transcribing):
            self.began = time.monotonic()
        self.stage = stage

    def remaining_s(self) -> float | None:
        stage = self.stage
        if not isinstance(stage, Transcribing) or not stage.done_s:
            return None
        return (time.monotonic() - self.began) * (stage.total_s - stage.done_s) / stage.done_s


class Jobs:
    """The jobs of a server. Safe to call from several threads; nothing is read before the first call.

    Args: store: gives the store, when it is needed. folder: gives the folder of the jobs.
    """

    def __init__(
        self, store: Callable[[], Store], folder: Callable[[], Path], *, at_work: int = AT_WORK
    ) -> None:
        self._store, self._at_work = store, at_work
        self._files = JobFiles(folder)
        self._changed = threading.Condition()
        self._running: dict[str, _Running] = {}
        self._started = self._closed = False
        self._resting: dict[str, float] = {}  # until when a job is left alone

    def start(self) -> None:
        """Take up what was left by a server before. Any other call does so too."""
        with self._changed:
            if self._started or self._closed:
                return
            self._started = True
        for number in range(self._at_work):
            threading.Thread(target=self._run, name=f"job-{number}", daemon=True).start()
        threading.Thread(target=self._sweep_always, name="job-sweep", daemon=True).start()

    def close(self) -> None:
        """Stop; what was at work is taken up by the next server, and this does not count as a try."""
        with self._changed:
            self._closed = True
            for running in self._running.values():
                running.closing = True
                running.stop.press()
            self._changed.notify_all()

    def submit(
        self,
        of: Language | None,
        recording: Path,
        *,
        visitor: str,
        name: str = "",
        english: bool = True,
        order: Order | None = None,
        words: bool = True,
        prompt: str = "",
        beside: str = "",
    ) -> str:
        """Queue a recording; its id. The file is linked into the job where that can be done, else copied.

        Args:
            of: the language; None: it is told from the recording.
            visitor: whose job it is. name: of the file, to be shown.
            english: beside the text, where the model can write it. order: instead, what is wanted exactly.
            beside: the id of the job beside whose answer this one's is to be set.
        Raises: NoSpeechModel; Busy if too many wait, of this visitor or in all; StoreError.
        """
        refuse_without(self._store(), of)  # before it is queued for nothing
        tasks: tuple[Task, ...] = ("transcribe", "translate") if english else ("transcribe",)
        order = order or Order(tasks=tasks, only_if_it_can=True, words=words, prompt=prompt)
        id, now = secrets.token_urlsafe(24), dt.datetime.now(dt.UTC)
        code = of.code if of else AUTO
        job = Job(
            id=id, language=code, order=order, visitor=visitor, name=name[:200], created=now,
            beside=digest(beside) if beside else "",
        )  # fmt: skip
        with self._changed:
            self._refuse_if_full(visitor, recording.stat().st_size)
            self._files.add(job, recording)
            self._changed.notify_all()
        self.start()
        return id

    def refuse_if_full(self, visitor: str) -> None:
        """Raises Busy if no job of this visitor would be taken; before megabytes are sent for nothing."""
        with self._changed:
            self._refuse_if_full(visitor, 0)

    def view(self, id: str) -> View:
        """Raises NoJob; StoreError if the result cannot be read."""
        self.start()
        if not re.fullmatch(ID, id):
            raise NoJob(_no_job())
        try:
            job = self._files.read(id)
        except NoJob:
            kept = self._files.result(self._store(), id)  # by another server, or before the cache was emptied
            if kept is None:
                raise
            return View(id=id, job=kept.job, state="done", result=_both(kept, id))
        if job.state == "done":
            kept = self._files.result(self._store(), id)
            if kept is None:
                raise NoJob(_no_job())
            return View(id=id, job=job, state="done", result=_both(kept, id))
        return self._unfinished(job)

    def _unfinished(self, job: Job) -> View:
        """As far as that is known without the store."""
        id, running = job.id, self._running.get(job.id)
        if running is not None and job.state == "queued":
            return View(
                id=id, job=job, state="running", stage=running.stage, remaining_s=running.remaining_s()
            )
        if job.state == "queued" and self._files.is_locked(id):  # at work in another server
            return View(id=id, job=job, state="running", stage=Waiting())
        return View(id=id, job=job, state=job.state, place=self._place(id) if job.state == "queued" else 0)

    def follow(self, id: str, every_s: float = ASK_EVERY_S) -> Iterator[View]:
        """The job now, every `every_s` while it lasts, and at its end. Raises NoJob once it is removed."""
        while True:
            view = self.view(id)
            yield view
            if view.ended:
                return
            time.sleep(every_s)

    def of(self, visitor: str) -> list[View]:
        """A visitor's jobs, newest first, without their results: `view` has these."""
        self.start()
        own = [job for _, job in self._files.all() if visitor and job.visitor == visitor]
        return [self._unfinished(job) for job in sorted(own, key=lambda job: job.created, reverse=True)]

    def beside(self, id: str) -> View | None:
        """The newest job whose answer is to be set beside this one's, without its result."""
        jobs = [job for _, job in self._files.all() if job.beside == digest(id)]
        return self._unfinished(max(jobs, key=lambda job: job.created)) if jobs else None

    def recording(self, id: str) -> Path | None:
        return self._files.recording(id) if re.fullmatch(ID, id) else None

    def remove(self, id: str) -> None:
        """Cancel it if it has not ended, and forget it. Raises NoJob; StoreError."""
        view = self.view(id)
        self._files.remove(id)
        with self._changed:
            if id in self._running:
                self._running[id].stop.press()
        if view.state == "done":
            self._files.forget_result(self._store(), id)

    def _refuse_if_full(self, visitor: str, more_bytes: int) -> None:
        waiting = [job for _, job in self._files.all() if job.state == "queued"]
        own = sum(job.visitor == visitor for job in waiting)
        if own >= MOST_OF_VISITOR:
            raise Busy(f"{own} of your recordings wait or are at work already; try again when one is done")
        if len(waiting) >= MOST or self._files.bytes_held() + more_bytes > MOST_BYTES:
            raise Busy(
                f"{len(waiting)} recordings wait or are at work, and no more are taken; try again later"
            )

    def _queue(self) -> list[tuple[dt.datetime, str]]:
        """Those that nobody is at, oldest first."""
        waiting = [(job.created, id) for id, job in self._files.all() if job.state == "queued"]
        return sorted(pair for pair in waiting if pair[1] not in self._running)

    def _place(self, id: str) -> int:
        return next((place for place, (_, other) in enumerate(self._queue(), 1) if other == id), 0)

    def _run(self) -> None:
        """Take the oldest job, again and again."""
        while not self._closed:
            try:
                taken = self._take()
                if taken is not None:
                    self._work(*taken)
            except Exception:
                LOG.exception("a job could not be run")
                time.sleep(1)

    def _take(self) -> tuple[str, _Running] | None:
        with self._changed:
            now = time.monotonic()
            for _, id in self._queue():
                if self._resting.get(id, 0) <= now and self._files.lock(id):
                    self._running[id] = _Running()
                    return id, self._running[id]
            self._changed.wait(1.0 if self._resting else LOOK_AGAIN_S)
            return None

    def _work(self, id: str, running: _Running) -> None:
        try:
            with suppress(NoJob):  # it was removed
                self._work_on(id, self._files.read(id), running)
        except OSError:  # its state cannot be written, the disk may be full: others are tried meanwhile
            self._resting[id] = time.monotonic() + LOOK_AGAIN_S
            raise
        finally:
            with self._changed:
                del self._running[id]
                self._files.unlock(id)
                self._changed.notify_all()

    def _work_on(self, id: str, job: Job, running: _Running) -> None:
        if job.state != "queued":  # another server was faster
            return
        if job.tries >= MOST_TRIES:
            self._fail(job, f"the server ended {job.tries} times while it was at this recording")
            return
        begun = replace(job, tries=job.tries + 1)
        self._files.write(begun)
        self._resting.pop(id, None)

        def check() -> None:
            running.stop()
            if not self._files.is_there(id):  # removed by another server
                raise Left

        try:
            recording = self._files.folder(id) / "recording"
            answers, why = service.work(
                self._store(), language_or_auto(job.language), recording, job.order, running.report, check,
                place=lambda _: nullcontext(),
            )  # fmt: skip
            ended = replace(begun, state="done", ended=dt.datetime.now(dt.UTC))
            check()
            self._files.keep(self._store(), id, Kept.of(ended, answers, why))
            self._files.write(ended)
        except Left:
            if running.closing:
                self._files.write(job)
        except (Unavailable, Busy) as error:
            LOG.warning("a job waits: %s", error)
            self._resting[id] = time.monotonic() + LOOK_AGAIN_S
            self._files.write(job)
        except AudioError as error:
            self._fail(begun, str(error), error.reason)
        except (StoreError, SpeechError, service.CannotTranslate) as error:
            self._fail(begun, str(error))
        except Exception as error:
            LOG.exception("a job failed")
            self._fail(begun, f"it failed ({type(error).__name__}); the log of the pages says more")

    def _fail(self, job: Job, error: str, reason: str = "") -> None:
        self._files.write(
            replace(job, state="failed", error=error[:1000], reason=reason, ended=dt.datetime.now(dt.UTC))
        )

    def _sweep_always(self) -> None:
        while not self._closed:
            try:
                self.sweep()
            except Exception:
                LOG.exception("old jobs could not be looked through")
            time.sleep(SWEEP_S)

    def sweep(self, now: dt.datetime | None = None) -> None:
        """Remove what is too old, and of what has ended the oldest above `MOST_ENDED`."""
        now = now or dt.datetime.now(dt.UTC)
        ended = sorted(((job.ended, id) for id, job in self._files.all() if job.ended), reverse=True)
        for number, (at, id) in enumerate(ended):
            age_s = (now - at).total_seconds()
            if number >= MOST_ENDED or age_s > KEPT_S:
                self._files.forget_result(self._store(), id)
                self._files.remove(id)
            elif age_s > RECORDING_KEPT_S:
                self._files.drop_recording(id)
        self._files.sweep_results(self._store(), now, KEPT_S)


def _both(kept: Kept, id: str) -> Both:
    return replace(service.both_of(kept.answers(), kept.why_no_english), job=id)


def _no_job() -> str:
    return f"there is no such job; jobs are kept for {KEPT_S / 86400:.0f} days after their end"
