"""The REST API's routes for tables: one row, many rows, a system's report, all its predictions as a file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse

from dagsverk.tabular.errors import InvalidInput, SourceError
from dagsverk.tabular.system import System, load_system
from ui.tabular.answers import answer_for, answers_for
from ui.tabular.desk import TabularDesk

Inputs = Annotated[
    dict[str, Any], Body(description="A value per input; optional ones may be null or left out")
]
BATCH = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            "text/csv": {"schema": {"type": "string"}},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
PATIENCE_S = 20.0
_places = threading.BoundedSemaphore(2)  # each may take a few hundred megabytes for a moment


class UnknownSystem(LookupError):
    """No system of that name."""


class TooBusy(Exception):
    """Too many large answers are being made."""


def add_tabular_routes(app: FastAPI, desk: TabularDesk) -> None:
    """Add the routes, and how their errors are worded."""
    _answer_errors(app)

    @app.post("/api/predict/{system}", summary="Ask a system's champion about one row")
    def predict(system: str, inputs: Inputs, effects: bool = False) -> dict[str, Any]:
        of = named_system(system)
        answer = answer_for(of, desk.champion(of), inputs, explained=effects)
        return answer.to_dict(of)

    @app.post(
        "/api/predict/{system}/batch",
        summary="Ask about many rows: a JSON list, CSV or Parquet",
        openapi_extra=BATCH,
    )
    async def batch(system: str, request: Request) -> JSONResponse:
        return await run_in_threadpool(_batch, desk, named_system(system), await request.body())

    @app.get("/api/monitor/{system}", summary="The report that the system's monitor page draws")
    def monitor(system: str) -> dict[str, Any]:
        return desk.view(named_system(system)).report.to_dict()

    @app.get("/api/predictions/{system}.csv", summary="The predictions of all rows as CSV")
    def as_csv(system: str, every: bool = False) -> Response:
        from dagsverk.tabular import exports

        with _place():
            table = desk.predictions(named_system(system), every)
        return StreamingResponse(
            exports.to_csv(table), media_type="text/csv; charset=utf-8", headers=_file(f"{system}.csv")
        )

    @app.get("/api/predictions/{system}.parquet", summary="The predictions of all rows as Parquet")
    def as_parquet(system: str, every: bool = False) -> Response:
        from dagsverk.tabular import exports

        with _place():
            data = exports.to_parquet(desk.predictions(named_system(system), every))
        return Response(data, media_type="application/vnd.apache.parquet", headers=_file(f"{system}.parquet"))


def named_system(name: str) -> System:
    """Raises UnknownSystem."""
    try:
        return load_system(name)
    except ValueError as error:
        raise UnknownSystem(str(error)) from error


def _batch(desk: TabularDesk, system: System, body: bytes) -> JSONResponse:
    with _place():
        content = answers_for(system, desk.champion(system), body)
    if content["predictions"]:
        return JSONResponse(content)
    return JSONResponse({"error": "none of the rows can be used", **content}, status_code=422)


@contextmanager
def _place() -> Iterator[None]:
    """One of few places at work that takes memory. Raises TooBusy after a while in line."""
    if not _places.acquire(timeout=PATIENCE_S):
        raise TooBusy("too many tables are being answered at once; try again in a minute")
    try:
        yield
    finally:
        _places.release()


def _file(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="predictions-{name}"'}


def _answer_errors(app: FastAPI) -> None:
    """Every error in the form of the others."""

    @app.exception_handler(UnknownSystem)
    def unknown(_: Request, error: UnknownSystem) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=404)

    @app.exception_handler(InvalidInput)
    def invalid(_: Request, error: InvalidInput) -> JSONResponse:
        content = {"error": "some inputs cannot be used", "problems": error.problems}
        return JSONResponse(content, status_code=422)

    @app.exception_handler(SourceError)
    def no_table(_: Request, error: SourceError) -> JSONResponse:
        return JSONResponse({"error": str(error), "problems": {}}, status_code=422)

    @app.exception_handler(TooBusy)
    def busy(_: Request, error: TooBusy) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=503, headers={"retry-after": "30"})
