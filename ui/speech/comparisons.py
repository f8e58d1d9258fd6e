"""The sound of clips on which two models differ."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Request
from fastapi import Path as InPath
from fastapi.responses import Response

from dagsverk.speech.compared.results import folder
from dagsverk.store import NotFound
from ui.speech.desk import SpeechDesk, named_language
from ui.speech.ranges import UnknownClip, ranged

NAME = r"^[0-9a-f]{24}$"


def add_comparison_routes(app: FastAPI, speech: SpeechDesk) -> None:
    """Add the route."""

    @app.get("/api/speech/{language}/comparisons/audio/{name}.wav", include_in_schema=False)
    def sound(language: str, name: Annotated[str, InPath(pattern=NAME)], request: Request) -> Response:
        of = named_language(language)
        try:
            wav = speech.store.get(f"{folder(of)}/audio/{name}.wav")
        except NotFound as error:
            raise UnknownClip(f"no comparison of {of.title} kept the sound {name}") from error
        return ranged(wav, request.headers.get("range", ""))
