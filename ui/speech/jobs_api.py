"""The REST API's routes for jobs: a recording is sent, an id comes back, the work goes on by itself."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from dagsverk.login import network_of
from dagsverk.speech.model.decoded import Task
from dagsverk.speech.serving.champions import refuse_without
from dagsverk.speech.serving.job_files import NoJob
from dagsverk.speech.serving.jobs import View
from dagsverk.speech.serving.service import Order
from dagsverk.speech.subtitles.cues import cues, words_in
from dagsverk.speech.subtitles.formats import MEDIA_TYPES, WRITERS, Format
from ui.forms import received
from ui.speech.api import BODY, no_fields
from ui.speech.desk import SpeechDesk, spoken_language
from ui.speech.openai_forms import MOST_PROMPT_LETTERS

Wanted: TypeAlias = Literal["transcribe", "translate", "both"]
TASKS: dict[Wanted, tuple[Task, ...]] = {
    "transcribe": ("transcribe",), "translate": ("translate",), "both": ("transcribe", "translate"),
}  # fmt: skip


class NotDone(Exception):
    """There is no result yet."""


def add_job_routes(app: FastAPI, speech: SpeechDesk) -> None:
    """Add the routes, and how their errors are worded."""

    @app.exception_handler(NoJob)
    def no_job(_: Request, error: NoJob) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=404)

    @app.exception_handler(NotDone)
    def not_done(_: Request, error: NotDone) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=409)

    @app.post("/api/jobs/{language}", status_code=202, summary="Queue a recording", openapi_extra=BODY)
    async def submit(
        language: str,
        request: Request,
        task: Annotated[Wanted, Query()] = "transcribe",
        prompt: Annotated[str, Query(max_length=MOST_PROMPT_LETTERS)] = "",
    ) -> dict[str, Any]:
        spoken = spoken_language(language)
        store = await run_in_threadpool(lambda: speech.store)
        await run_in_threadpool(refuse_without, store, spoken)  # before megabytes are sent for nothing
        visitor = f"address {network_of(request.client.host) if request.client else ''}"
        await run_in_threadpool(speech.jobs.refuse_if_full, visitor)
        order = Order(tasks=TASKS[task], only_if_it_can=task == "both", prompt=prompt)
        with tempfile.TemporaryDirectory(prefix="dagsverk-recording-") as folder:
            sent = await received(request, Path(folder))
            no_fields(sent.fields)

            def queued() -> View:
                id = speech.jobs.submit(spoken, sent.path, visitor=visitor, name=sent.name, order=order)
                return speech.jobs.view(id)

            return (await run_in_threadpool(queued)).to_dict()

    @app.get("/api/jobs/{id}", summary="How far a job is, and its result", response_model=None)
    def look(
        id: str,
        format: Annotated[Format | None, Query()] = None,
        task: Annotated[Task, Query()] = "transcribe",
    ) -> dict[str, Any] | Response:
        view = speech.jobs.view(id)
        return view.to_dict() if format is None else _subtitles(view, format, task)

    @app.delete("/api/jobs/{id}", summary="Cancel a job, and forget it")
    def remove(id: str) -> dict[str, Any]:
        speech.jobs.remove(id)
        return {"id": id, "state": "removed"}


def _subtitles(view: View, format: Format, task: Task) -> Response:
    if view.result is None:
        raise NotDone(f"the job is {view.state}; ask for its subtitles when it is done")
    both = view.result.original, view.result.english
    answer = next((one for one in both if one is not None and one.transcript.task == task), None)
    if answer is None:
        raise NotDone(f"the job has no text of the task {task}; {view.result.why_no_english}")
    written = WRITERS[format](cues(words_in(answer.transcript.segments)))
    return Response(written, media_type=f"{MEDIA_TYPES[format]}; charset=utf-8")
