"""The REST API's routes for exports: what a champion can be had in, and the archives themselves."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse

from dagsverk.cache import cache_folder
from dagsverk.records import plain
from dagsverk.speech import exports
from dagsverk.speech.export.elsewhere import archive_name, program
from dagsverk.speech.languages import Language
from dagsverk.speech.serving.champions import promoted
from dagsverk.store import NotFound
from ui.speech.desk import SpeechDesk, UnknownLanguage, named_language


class NoExport(UnknownLanguage):
    """There is none of this form."""


def add_export_routes(app: FastAPI, speech: SpeechDesk) -> None:
    """Add the routes. Their errors are worded as those of the other routes for speech."""

    @app.get("/api/speech/{language}/exports", summary="The champion in forms for other engines")
    def listed(language: str, request: Request) -> dict[str, Any]:
        below = f"{request.scope.get('root_path', '')}/api/speech"  # of a proxy's path, if there is one
        spoken = named_language(language)
        model = promoted(speech.store, spoken)
        made = exports.kept(speech.store, spoken, model)
        forms = [
            {
                **plain(one),
                "download": None if one.refused else f"{below}/{spoken.code}/exports/{one.form}.zip",
                "program": None if one.refused else program(model, spoken, one.form),
            }
            for one in (made.forms if made else ())
        ]
        return {"model": model.name, "version": model.version, "forms": forms, "make": _make(spoken)}

    @app.get(
        "/api/speech/{language}/exports/{form}.zip",
        summary="The champion's archive of one form: weights, tokenizer, how to run it",
        response_class=FileResponse,
    )
    def archive(language: str, form: Literal["int8", "float16"]) -> FileResponse:
        spoken = named_language(language)
        model = promoted(speech.store, spoken)
        made = exports.kept(speech.store, spoken, model)
        one = next((one for one in made.published if one.form == form), None) if made else None
        if one is None:
            refused = next((one.refused for one in made.forms if one.form == form), "") if made else ""
            why = f": {refused}" if refused else f"; make it: {_make(spoken)}"
            raise NoExport(f"{model.name} version {model.version} has no export in {form}{why}")
        try:
            path = speech.store.fetch(one.path, cache_folder())
        except NotFound as error:
            raise NoExport(f"the archive {one.path} is gone; make it again: {_make(spoken)}") from error
        return FileResponse(path, media_type="application/zip", filename=f"{archive_name(model, form)}.zip")


def _make(language: Language) -> str:
    return f"prefect deployment run speech-export/{language.name}"
