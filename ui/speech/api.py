"""The REST API's routes for speech: a recording's text, a language's report, the worst clips to listen to."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from dagsverk.records import plain
from dagsverk.speech.errors import AudioError, Busy, SpeechError
from dagsverk.speech.model.decoded import Task
from dagsverk.speech.serving import service
from dagsverk.speech.serving.champions import NoSpeechModel, refuse_without
from dagsverk.speech.subtitles.cues import cues, words_in
from dagsverk.speech.subtitles.formats import MEDIA_TYPES, WRITERS, Format
from dagsverk.store import NotFound
from dagsverk.turns import Left
from ui.forms import BadForm, received
from ui.speech.asked import while_asked
from ui.speech.comparisons import add_comparison_routes
from ui.speech.desk import SpeechDesk, UnknownLanguage, named_language, spoken_language
from ui.speech.exports import add_export_routes
from ui.speech.ranges import UnknownClip, ranged

KEY = r"^[0-9A-Za-z_-]{1,80}$"
BINARY = {"type": "string", "format": "binary"}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": BINARY},
            "multipart/form-data": {"schema": {"type": "object", "properties": {"file": BINARY}}},
        },
    }
}


def add_speech_routes(app: FastAPI, speech: SpeechDesk) -> None:
    """Add the routes, and how their errors are worded."""
    _answer_errors(app)
    add_export_routes(app, speech)
    add_comparison_routes(app, speech)

    @app.post("/api/transcribe/{language}", summary="The text of a recording", openapi_extra=BODY)
    async def transcribe(
        language: str,
        request: Request,
        task: Annotated[Task, Query()] = "transcribe",
        format: Annotated[Format | None, Query()] = None,
    ) -> Any:
        spoken = spoken_language(language)
        store = await run_in_threadpool(lambda: speech.store)
        await run_in_threadpool(refuse_without, store, spoken)  # before megabytes are sent for nothing
        service.RECORDINGS.refuse_if_full()
        with tempfile.TemporaryDirectory(prefix="dagsverk-recording-") as folder:
            sent = await received(request, Path(folder))
            no_fields(sent.fields)
            work = partial(service.transcribe, store, spoken, sent.path, task)
            answer = await while_asked(request, work)
        if format is None:
            return answer.to_dict()
        written = WRITERS[format](cues(words_in(answer.transcript.segments)))
        return Response(written, media_type=f"{MEDIA_TYPES[format]}; charset=utf-8")

    @app.get("/api/speech/{language}", summary="The scores that the speech monitor draws")
    def report(language: str) -> dict[str, Any]:
        return speech_report(speech, language)

    @app.get(
        "/api/speech/{language}/evaluations/{key}/audio/{number}.wav",
        summary="One of an evaluation's worst clips",
        response_class=Response,
    )
    def sound(
        language: str, key: Annotated[str, InPath(pattern=KEY)], number: Annotated[int, InPath(ge=0, le=999)],
        request: Request,
    ) -> Response:  # fmt: skip
        try:
            wav = speech.sound(named_language(language), key, number)
        except NotFound as error:
            raise UnknownClip(
                f"evaluation {key} kept no sound {number}; see /api/speech/{language}"
            ) from error
        return ranged(wav, request.headers.get("range", ""))


def no_fields(fields: Mapping[str, object]) -> None:
    """Refuse what would have no effect. Raises BadForm."""
    for name in fields:
        raise BadForm(f"want the form to hold the file alone; give {name} in the address: ?{name}=...", name)


def speech_report(speech: SpeechDesk, name: str) -> dict[str, Any]:
    """Champion, its evaluation with groups and worst clips, the last judgement, runs."""
    view = speech.view(named_language(name))
    model = view.champion
    return {
        "language": view.language.code,
        "champion": None if model is None else {
            "name": model.name, "version": model.version, "metrics": dict(model.metrics),
            "windows": model.info.get("windows"), "modes": model.info.get("modes"),
        },
        "evaluation": plain(view.shown) if view.shown else None,
        "verdict": plain(view.verdicts[-1]) if view.verdicts else None,
        "runs": [plain(run) for run in view.runs],
        "steps": {name: plain(step) if step else {} for name, step in vars(view.steps).items()},
    }  # fmt: skip


def _answer_errors(app: FastAPI) -> None:
    """Every error in the form of the others."""

    @app.exception_handler(UnknownLanguage)
    @app.exception_handler(UnknownClip)
    def unknown(_: Request, error: LookupError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=404)

    @app.exception_handler(AudioError)
    def no_audio(_: Request, error: AudioError) -> JSONResponse:
        return JSONResponse({"error": str(error), "problems": {"recording": error.reason}}, status_code=422)

    @app.exception_handler(BadForm)
    def bad_form(_: Request, error: BadForm) -> JSONResponse:
        return JSONResponse({"error": str(error), "problems": {error.field: "form"}}, status_code=422)

    @app.exception_handler(service.CannotTranslate)
    def no_english(_: Request, error: service.CannotTranslate) -> JSONResponse:
        return JSONResponse({"error": str(error), "problems": {"task": "transcribe"}}, status_code=422)

    @app.exception_handler(NoSpeechModel)
    def no_model(_: Request, error: NoSpeechModel) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=503)

    @app.exception_handler(Busy)
    def busy(_: Request, error: Busy) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=503, headers={"retry-after": "30"})

    @app.exception_handler(SpeechError)
    def no_speech(_: Request, error: SpeechError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=503)

    @app.exception_handler(Left)
    def gone(_: Request, __: Left) -> JSONResponse:
        return JSONResponse({"error": "the caller hung up"}, status_code=499)  # which nobody reads
