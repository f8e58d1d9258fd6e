"""The REST API's route for lineage: a name -> where it comes from and what was made of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.responses import JSONResponse

from dagsverk.lineage import said, tracing
from dagsverk.lineage.cards import LONGEST, NotTraced
from ui.tabular.desk import TabularDesk

Name = Annotated[
    str, Query(max_length=LONGEST, description="A row, version, run, set, clip, ... by its name")
]


def add_lineage_routes(app: FastAPI, desk: TabularDesk) -> None:
    """Add the route."""

    @app.get("/api/lineage", summary="Where a thing comes from, and what was made of it")
    def lineage(q: Name) -> Any:
        refs = tracing.search(desk.store, q)
        if not refs:
            return JSONResponse(
                {"error": f"nothing in the store is of the name {q[:200]!r}"}, status_code=404
            )
        if len(refs) > 1:
            return {"matches": [str(ref) for ref in refs]}
        try:
            return said.as_json(tracing.trace(desk.store, refs[0]))
        except NotTraced as error:  # it went between the two
            return JSONResponse({"error": str(error)}, status_code=404)
