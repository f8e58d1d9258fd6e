"""What the page is given becomes a job: a reload shows it again, to leave does not end it, and Stop does."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import gradio as gr

from dagsverk.speech.errors import AudioError, SpeechError
from dagsverk.speech.languages import AUTO, Language
from dagsverk.speech.serving.job_files import NoJob
from dagsverk.speech.serving.jobs import RECORDING_KEPT_S, Jobs, View
from dagsverk.speech.serving.service import Both, Stage, Transcribing, Waiting
from dagsverk.store import StoreError
from ui.speech.desk import SpeechDesk
from ui.visitors import visitor_of

MOST = 10_000  # jobs and pages that are remembered; the oldest are forgotten


class PageJobs:
    """The jobs of a page's visitors. Where their files lie is forgotten with the server, and so is whose."""

    def __init__(self, speech: SpeechDesk) -> None:
        self._speech = speech
        self._files: OrderedDict[str, str] = OrderedDict()  # by job
        self._shown: OrderedDict[str, str] = OrderedDict()  # by page: the job that it shows

    @property
    def jobs(self) -> Jobs:
        return self._speech.jobs

    def begin(self, language: Language | None, given: str, request: gr.Request) -> Iterator[Stage | Both]:
        """Queue what was given, and follow it.

        Raises: AudioError, Busy, NoJob once it is stopped, NoSpeechModel, SpeechError, StoreError.
        """
        recording = Path(given)
        if not recording.is_file():
            raise AudioError("missing audio", "the file is not there any more")
        name = recording.name
        id = self.jobs.submit(language, recording, visitor=_visitor(request), name=name, words=True)
        _remember(self._files, id, given)
        yield from self.follow(id, request)

    def follow(self, id: str, request: gr.Request) -> Iterator[Stage | Both]:
        _remember(self._shown, str(request.session_hash), id)
        for view in self.jobs.follow(id):
            if view.state == "failed" and view.reason:
                raise AudioError(view.reason, view.error.removeprefix(f"{view.reason}: "))
            if view.state == "failed":
                raise SpeechError(view.error)
            stage = view.stage
            if isinstance(stage, Transcribing):
                stage = replace(stage, remaining_s=view.remaining_s)
            yield view.result or stage or Waiting(place=view.place)

    def last(self, language: Language | None, request: gr.Request) -> str | None:
        """The visitor's newest job of a language that is at work or was done within the hour."""
        visitor = _visitor(request)
        views, code = self.jobs.of(visitor) if visitor else [], language.code if language else AUTO
        own = (one for one in views if one.job.language == code and not one.job.beside)
        return next((one.id for one in own if _is_new(one)), None)

    def file(self, id: str) -> str:
        """Where the server put the recording; empty where that is not known any more."""
        return self._files.get(id, "")

    def stop(self, request: gr.Request) -> None:
        """End what this page shows, unless it is done."""
        id = self._shown.pop(str(request.session_hash), "")
        with suppress(NoJob, StoreError, OSError):
            if id and not self.jobs.view(id).ended:
                self.jobs.remove(id)


def has_visitor(request: gr.Request) -> bool:
    return bool(_visitor(request))


def _is_new(view: View) -> bool:
    ended = view.job.ended
    return view.state != "failed" and (
        ended is None or (dt.datetime.now(dt.UTC) - ended).total_seconds() < RECORDING_KEPT_S
    )


def _visitor(request: gr.Request) -> str:
    return visitor_of(request.headers.get("cookie", "")) or ""


def _remember(remembered: OrderedDict[str, str], name: str, value: str) -> None:
    remembered[name] = value
    remembered.move_to_end(name)
    while len(remembered) > MOST:
        remembered.popitem(last=False)
