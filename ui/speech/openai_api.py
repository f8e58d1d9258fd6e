"""The routes of OpenAI's audio API, so that programs written for it are pointed here and work.

`POST /v1/audio/transcriptions`, `POST /v1/audio/translations`, `GET /v1/models`, `GET /v1/models/{id}`. A
model is a language's champion, such as whisper_swedish; whisper-1 is that of the language that is asked for,
else of the one that is spoken.
What is asked for and cannot be done is refused by name, never left out in silence.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse

from dagsverk.speech.languages import Language
from dagsverk.speech.model.decoded import Task
from dagsverk.speech.serving import service
from dagsverk.speech.serving.champions import Writer, in_use, refuse_without
from dagsverk.speech.serving.service import Answer
from dagsverk.store import Model
from ui.forms import BadForm, is_form, received
from ui.speech.asked import Piece, while_asked, while_asked_in_pieces
from ui.speech.desk import SpeechDesk, spoken_language
from ui.speech.openai_forms import ANY_MODEL, Refused, Wish, body_of, delta, done, failed, wish_of

MULTIPART = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "model"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "model": {"type": "string"},
                        "language": {"type": "string"},
                        "prompt": {"type": "string"},
                        "response_format": {"enum": ["json", "text", "srt", "verbose_json", "vtt"]},
                        "temperature": {"type": "number"},
                        "timestamp_granularities[]": {
                            "type": "array",
                            "items": {"enum": ["word", "segment"]},
                        },
                        "stream": {"type": "boolean"},
                    },
                }
            }
        },
    }
}


def add_openai_routes(app: FastAPI, speech: SpeechDesk) -> None:
    """Add the routes. `OpenAIErrors` words what goes wrong, here and before them."""

    @app.exception_handler(Refused)
    def refused(_: Request, error: Refused) -> JSONResponse:
        return JSONResponse({"error": error.to_dict()}, status_code=error.status)

    @app.post(
        "/v1/audio/transcriptions", summary="A recording's text, as OpenAI's API", openapi_extra=MULTIPART
    )
    async def transcriptions(request: Request) -> Response:
        return await _answered(request, speech, "transcribe")

    @app.post(
        "/v1/audio/translations", summary="A recording's English, as OpenAI's API", openapi_extra=MULTIPART
    )
    async def translations(request: Request) -> Response:
        return await _answered(request, speech, "translate")

    @app.get("/v1/models", summary="The champions, as OpenAI's API lists models")
    def models() -> dict[str, Any]:
        champions = [one.model for one in in_use(speech.store)]
        newest = max(champions, key=lambda model: model.created, default=None)
        listed = [_listed(model.name, model) for model in champions]
        return {"object": "list", "data": [*listed, *([_listed(ANY_MODEL, newest)] if newest else [])]}

    @app.get("/v1/models/{name}", summary="One of them")
    def one(name: str) -> dict[str, Any]:
        for model in models()["data"]:
            if model["id"] == name:
                return dict(model)
        raise unknown_model(name, in_use(speech.store))


def unknown_model(name: str, champions: Sequence[Writer]) -> Refused:
    ids = ", ".join([ANY_MODEL, *(one.model.name for one in champions)])
    return Refused(
        f"the model {name[:100]!r} does not exist; there are {ids}", "model", "model_not_found", 404
    )


def language_of(speech: SpeechDesk, wish: Wish) -> Language | None:
    """Which language is asked for; None: it is told from the recording.

    Raises: Refused, UnknownLanguage, NoSpeechModel.
    """
    named = spoken_language(wish.language) if wish.language else None
    if wish.model == ANY_MODEL:
        refuse_without(speech.store, named)
        return named
    champions = in_use(speech.store)
    spoken = next((one.language for one in champions if one.model.name == wish.model), None)
    if spoken is None:
        raise unknown_model(wish.model, champions)
    if named not in (None, spoken):
        raise Refused(f"{wish.model} writes {spoken.title}, not {named.title}", "language", "wrong_language")
    return spoken


async def _answered(request: Request, speech: SpeechDesk, task: Task) -> Response:
    if not is_form(request):
        raise Refused("want multipart/form-data with the fields file and model", "file", "no_form")
    service.RECORDINGS.refuse_if_full()
    with tempfile.TemporaryDirectory(prefix="dagsverk-recording-") as folder:
        try:
            sent = await received(request, Path(folder))
        except BadForm as error:
            raise Refused(str(error), error.field, "invalid_form") from error
        wish = wish_of(sent.fields, task)
        language = await run_in_threadpool(language_of, speech, wish)
        work = partial(
            service.transcribe, speech.store, language, sent.path, task, words=wish.timed, prompt=wish.prompt
        )
        if wish.stream:
            return StreamingResponse(await _events(request, work), media_type="text/event-stream")
        return body_of(await while_asked(request, work), wish)


async def _events(request: Request, work: Callable[..., Answer]) -> AsyncIterator[str]:
    """Events as the text comes; the first one is waited for, so what goes wrong before has its own status."""
    pieces = while_asked_in_pieces(request, work)
    first = await anext(pieces)

    async def written() -> AsyncIterator[str]:
        begun = False
        try:
            async for piece in _after(first, pieces):
                if isinstance(piece, Answer):
                    yield done(piece)
                    return
                for segment in piece:
                    yield delta(segment, first=not begun)
                    begun = True
        except Exception as error:  # noqa: BLE001  the status has been sent: it is told as an event
            yield failed(error)
        finally:
            await pieces.aclose()

    return written()


async def _after(first: Piece, others: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    yield first
    async for piece in others:
        yield piece


def _listed(name: str, model: Model) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": int(model.created.timestamp()), "owned_by": "dagsverk"}
