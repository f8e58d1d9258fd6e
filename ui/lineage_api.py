"""The REST API's route for lineage: a name -> where it comes from and what was made of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.responses import JSONResponse

from dagsverk.lineage import said, tracing
from dagsverk.lineage.cards import LONGEST, NotTraced
from ui.tabular.api import TooBusy
from ui.tabular.desk import TabularDesk

Name = Annotated[str, Query(max_length=LONGEST, description="A row, version, run, set, clip, ... by name")]
PATIENCE_S = 20.0
_places = threading.BoundedSemaphore(2)  # a trace may read a few versions of a large table


def add_lineage_routes(app: FastAPI, desk: TabularDesk) -> None:
    """Add the route."""

    @app.get("/api/lineage", summary="Where a thing comes from, and what was made of it")
    def lineage(q: Name) -> Any:
        with place():
            return _answer(desk, q)


def _answer(desk: TabularDesk, asked: str) -> Any:
    refs = tracing.search(desk.store, asked)
    if not refs:
        error = f"nothing in the store is of the name {asked[:200]!r}"
        return JSONResponse({"error": error}, status_code=404)
    if len(refs) > 1:
        return {"matches": [str(ref) for ref in refs]}
    try:
        return said.as_json(tracing.trace(desk.store, refs[0]))
    except NotTraced as error:  # it went between the two
        return JSONResponse({"error": str(error)}, status_code=404)


@contextmanager
def place() -> Iterator[None]:
    """One of few places for who traces. Raises TooBusy after a while in line."""
    if not _places.acquire(timeout=PATIENCE_S):
        raise TooBusy("too many are asking at once; try again in a minute")
    try:
        yield
    finally:
        _places.release()
