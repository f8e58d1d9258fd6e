"""The REST API beside the pages: health and errors; the routes of both families are in their packages."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from dagsverk.speech.serving.live_sessions import Voices
from dagsverk.store import StoreError
from dagsverk.version import package_version
from ui import guide
from ui.lineage_api import add_lineage_routes
from ui.speech.api import add_speech_routes
from ui.speech.beside import add_beside_routes
from ui.speech.desk import SpeechDesk
from ui.speech.jobs_api import add_job_routes
from ui.speech.live_api import add_live_routes
from ui.speech.openai_api import add_openai_routes
from ui.tabular.api import add_tabular_routes
from ui.tabular.desk import NoChampion, TabularDesk

LOG = logging.getLogger(__name__)


def build_api(desk: TabularDesk, speech: SpeechDesk | None = None) -> FastAPI:
    """A FastAPI app with the REST routes. An error is {"error": sentence}, for inputs with "problems"."""
    speech = speech or SpeechDesk(desk.opened)
    app = FastAPI(
        title="Dagsverk",
        version=package_version(),
        description="Ask the model in use, and read how it does.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's own page loads scripts from elsewhere; ours is below
        redoc_url=None,
    )
    _answer_errors(app)

    @app.get("/healthz", summary="Is the store reachable, and which champions are in use")
    def healthz() -> JSONResponse:
        return health(desk, speech)

    @app.get("/api/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(guide.page(desk.systems))

    add_tabular_routes(app, desk)
    add_speech_routes(app, speech)
    add_job_routes(app, speech)
    add_beside_routes(app, speech)
    add_live_routes(app, speech, Voices())
    add_openai_routes(app, speech)
    add_lineage_routes(app, desk)
    return app


def health(desk: TabularDesk, speech: SpeechDesk) -> JSONResponse:
    """200 with each champion's version (null: none yet), or 503 when the store does not answer."""
    try:
        for system in desk.systems:
            desk.version(system)
        promoted = {system.name: desk.store.champion(system.name) for system in desk.systems}
        spoken = {language.name: speech.champion(language) for language in speech.languages()}
    except (StoreError, OSError) as error:
        return JSONResponse({"status": "store unreachable", "error": str(error)}, status_code=503)
    champions, languages = (
        {name: model.version if model else None for name, model in models.items()}
        for models in (promoted, spoken)
    )
    shown = {"status": "ok", "systems": list(champions), "champions": champions, "speech": languages}
    return JSONResponse({**shown, **({"faulty": faulty} if (faulty := desk.faults) else {})})


def _answer_errors(app: FastAPI) -> None:
    """Every error in the same form, and none with a trace."""

    @app.exception_handler(RequestValidationError)
    def not_json(_: Request, error: RequestValidationError) -> JSONResponse:
        complaints = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        content = {"error": f"want a JSON object with a value per input; found {complaints}", "problems": {}}
        return JSONResponse(content, status_code=422)

    @app.exception_handler(HTTPException)
    def refused(_: Request, error: HTTPException) -> JSONResponse:
        words = str(error.detail)  # the framework's own, of what reaches none of our routes
        words = "there is nothing here; see /api/docs" if words == "Not Found" else words
        content = {"error": words, "detail": words}
        return JSONResponse(content, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(NoChampion)
    def no_champion(_: Request, error: NoChampion) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=503)

    @app.exception_handler(StoreError)
    def store_error(_: Request, error: StoreError) -> JSONResponse:
        LOG.warning("the store failed a request: %s", error)
        return JSONResponse({"error": str(error)}, status_code=503)
