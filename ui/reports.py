"""The reports of versions, as files that a browser shows and keeps."""

from __future__ import annotations

import threading

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from dagsverk.report.document import POLICY
from dagsverk.report.making import NoReport, make_report, missing
from ui.tabular.desk import TabularDesk

LATEST = "latest"
PATIENCE_S = 20.0
HEADERS = {"content-security-policy": f"{POLICY}; frame-ancestors 'self'", "cache-control": "no-cache"}
_places = threading.BoundedSemaphore(2)  # each reads a version's files


def add_report_routes(app: FastAPI, desk: TabularDesk) -> None:
    """Add the route. A store that does not answer is said as on the other routes."""

    @app.api_route("/report/{model}/{version}.html", methods=["GET", "HEAD"], include_in_schema=False)
    def report(model: str, version: str) -> HTMLResponse:
        if not _places.acquire(timeout=PATIENCE_S):
            busy = NoReport("too many reports are being made at once; try again in a minute")
            return HTMLResponse(missing(busy), status_code=503, headers={**HEADERS, "retry-after": "30"})
        try:
            made = make_report(desk.store, model, "" if version == LATEST else version)
        except NoReport as error:
            return HTMLResponse(missing(error), status_code=404, headers=HEADERS)
        finally:
            _places.release()
        kept_as = {"content-disposition": f'inline; filename="{made.file_name}"'}
        return HTMLResponse(made.html, headers={**HEADERS, **kept_as})
