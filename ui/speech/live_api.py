"""Routes of the live microphone: blocks of samples in, words out. For the page: a visitor is its cookie.

Each block has its number, so that one that is sent again is not heard twice and a lost one is noticed.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from dagsverk.speech.languages import Language
from dagsverk.speech.serving.champions import refuse_without
from dagsverk.speech.serving.live_sessions import NoVoice, Voice, Voices, champion_listens
from ui.speech.desk import SpeechDesk, spoken_language
from ui.visitors import visitor_of

Count = Annotated[int, Query(ge=0, le=100_000)]


class NoVisitor(Exception):
    """The request has no cookie of ours."""


class BadBlock(ValueError):
    """A body that is no block of samples."""


def add_live_routes(app: FastAPI, speech: SpeechDesk, voices: Voices) -> None:
    """Add the routes, and how their errors are worded."""
    _answer_errors(app)

    @app.post("/api/live/{language}", status_code=201, include_in_schema=False)
    def begin(language: str, request: Request) -> dict[str, str]:
        visitor, spoken = _visitor(request), spoken_language(language)
        return {"id": _begun(speech, voices, visitor, spoken).id}

    @app.post("/api/live/voices/{id}", include_in_schema=False)
    async def take(id: str, request: Request, number: Count, seen: Count = 0) -> dict[str, Any]:
        block = await request.body()  # `BodyLimit` has let it in: two seconds at most
        voice = voices.of(_visitor(request), id)
        try:
            await run_in_threadpool(voice.take, number, block)
        except ValueError as error:
            raise BadBlock(str(error)) from error
        return voice.state(seen).to_dict()

    @app.get("/api/live/voices/{id}", include_in_schema=False)
    def look(id: str, request: Request, seen: Count = 0) -> dict[str, Any]:
        return voices.of(_visitor(request), id).state(seen).to_dict()

    @app.post("/api/live/voices/{id}/end", include_in_schema=False)
    def end(id: str, request: Request, seen: Count = 0) -> dict[str, Any]:
        voice = voices.of(_visitor(request), id)
        voice.finish()
        return voice.state(seen).to_dict()


def _begun(speech: SpeechDesk, voices: Voices, visitor: str, spoken: Language | None) -> Voice:
    refuse_without(speech.store, spoken)  # before anybody speaks for nothing
    return voices.begin(visitor, champion_listens(speech.store, spoken))


def _visitor(request: Request) -> str:
    visitor = visitor_of("; ".join(request.headers.getlist("cookie")))
    if visitor is None:
        raise NoVisitor("open the page /transcribe first: it gives the cookie that a voice belongs to")
    return visitor


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(NoVoice)
    def no_voice(_: Request, error: NoVoice) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=404)

    @app.exception_handler(NoVisitor)
    def no_visitor(_: Request, error: NoVisitor) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=403)

    @app.exception_handler(BadBlock)
    def bad_block(_: Request, error: BadBlock) -> JSONResponse:
        return JSONResponse({"error": str(error), "problems": {"block": "samples"}}, status_code=422)
