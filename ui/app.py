"""The whole site: one FastAPI app that carries the REST API and, mounted on it, the Gradio pages."""

from __future__ import annotations

import warnings
from pathlib import Path

import fastapi
import gradio as gr
from starlette.staticfiles import StaticFiles

from dagsverk.doors import Doors, Rules
from ui import api, compare, frame, home, improve, labels, lineage, look
from ui.gate import Gate
from ui.labels_api import add_label_routes
from ui.limits import MAX_MEDIA_BYTES, BodyLimit, Lingering, SafeHeaders
from ui.openai_errors import OpenAIErrors
from ui.prefix import Prefixed, Unprefixed
from ui.reports import add_report_routes
from ui.speech import monitor as speech_monitor
from ui.speech import recorder, transcribe
from ui.speech.corrections import add_correction_routes
from ui.speech.desk import SpeechDesk
from ui.tabular import monitor, predict
from ui.tabular.desk import TabularDesk
from ui.visitors import Visitors

REFRESH_S = 4.0
OWN_ONLY = Rules()
SESSIONS = 200  # whose state Gradio keeps; the oldest are dropped
SWEEP_S, UPLOAD_LIVES_S = 60, 3600  # how often recordings that were sent in are looked through, and go after


def build_pages(
    desk: TabularDesk,
    refresh_s: float = REFRESH_S,
    speech: SpeechDesk | None = None,
    visitors: Visitors | None = None,
) -> gr.Blocks:
    """All pages: home, for every system one that predicts and one that watches, and those for speech."""
    speech = speech or SpeechDesk(desk.opened)
    demo: gr.Blocks = gr.Blocks(
        title=frame.NAME, analytics_enabled=False, delete_cache=(SWEEP_S, UPLOAD_LIVES_S)
    )
    demo.state_session_capacity = SESSIONS
    with demo:
        home.build(demo, desk, speech, refresh_s)
    for system in desk.systems:
        with demo.route(system.title, frame.predict_path(system)):
            predict.build(demo, system, desk)
        with demo.route(f"{system.title} monitor", frame.monitor_path(system)):
            monitor.build(demo, system, desk, refresh_s)
    with demo.route("Transcribe", transcribe.PATH):
        transcribe.build(demo, speech, desk.systems, visitors or Visitors())
    with demo.route(speech_monitor.TITLE, speech_monitor.PATH):
        speech_monitor.build(demo, speech, desk.systems, refresh_s)
    with demo.route("Recorder", recorder.PATH):
        recorder.build(demo, speech, desk.systems)
    with demo.route(improve.TITLE, improve.PATH):
        improve.build(demo, desk, speech, refresh_s)
    with demo.route(compare.TITLE, compare.PATH):
        compare.build(demo, desk, speech, desk.systems, refresh_s)
    with demo.route(labels.TITLE, labels.PATH):
        labels.build(demo, speech, desk.systems)
    with demo.route(lineage.TITLE, lineage.PATH):
        lineage.build(demo, desk, desk.systems)
    demo.queue(default_concurrency_limit=4, max_size=200)
    return demo


def build_app(
    desk: TabularDesk, refresh_s: float = REFRESH_S, rules: Rules = OWN_ONLY, root_path: str = ""
) -> fastapi.FastAPI:
    """The app that uvicorn serves. Nothing is read from the store before the first request.

    Args: root_path: below which path of a proxy the pages are, such as /dagsverk.
    """
    speech = SpeechDesk(desk.opened)
    app = api.build_api(desk, speech)
    app.state.jobs = speech.jobs
    app.mount("/look", StaticFiles(directory=look.ASSETS))
    visitors = Visitors()
    add_correction_routes(app, visitors)
    add_report_routes(app, desk)
    add_label_routes(app, speech)
    pages = build_pages(desk, refresh_s, speech, visitors)
    app.add_middleware(Prefixed, prefix=root_path)
    app.add_middleware(
        Gate, pages=_paths(pages), inputs=_inputs(pages), uploads=_uploads(), visitors=visitors
    )
    app.add_middleware(BodyLimit)
    app.add_middleware(Doors, rules=rules, open_paths=["/healthz"])
    app.add_middleware(OpenAIErrors)
    app.add_middleware(SafeHeaders)  # on what is refused, too
    app.add_middleware(Unprefixed, prefix=root_path)
    app.add_middleware(Lingering)
    with warnings.catch_warnings():
        # Gradio warns that it turns off what is off
        warnings.filterwarnings("ignore", "SSR mode is not supported", UserWarning)
        _mount(app, pages)
    return app


def _paths(pages: gr.Blocks) -> set[str]:
    return {f"/{path}" for path, *_ in pages.pages} | {f"/{path}/" for path, *_ in pages.pages if path}


def _inputs(pages: gr.Blocks) -> dict[int, int]:
    """How many values each function takes, by its number; those that run in the browser are not asked for."""
    return {number: len(f.inputs) for number, f in pages.fns.items() if f.fn is not None and f.queue}


def _uploads() -> Path:
    """Where Gradio puts what is sent in, for our eyes only."""
    folder = Path(gr.utils.get_upload_folder())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _mount(app: fastapi.FastAPI, pages: gr.Blocks) -> None:
    """Pages at /, with all of Gradio's doors that we do not use shut: files, traces, statistics."""
    gr.mount_gradio_app(
        app,
        pages,
        path="/",
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        favicon_path=str(look.FAVICON),
        show_error=False,
        max_file_size=MAX_MEDIA_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=look.theme(),
        css_paths=list(look.STYLE_SHEETS),
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
    )
    pages.has_launched = True  # only then does Gradio, too, look whether a file was sent in by anybody
