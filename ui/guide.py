"""The REST API's page: self-contained, written from the systems themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dagsverk.speech.serving.service import MAX_S
from dagsverk.tabular.batches import MAX_ROWS
from dagsverk.tabular.system import Column, System
from ui import look, parts
from ui.limits import MAX_MEDIA_BYTES
from ui.parts import Head, Html

ROUTES = (
    ("GET /healthz", "200 when the store answers, with every system's champion version; else 503"),
    (
        "POST /api/predict/{system}",
        "one row of inputs in, the champion's answer out; ?effects=true explains it",
    ),
    (
        "POST /api/predict/{system}/batch",
        f"up to {MAX_ROWS:,} rows in: a JSON list, CSV or Parquet; a prediction for each good row out, and "
        "for each faulty one what is wrong with it",
    ),
    ("GET /api/monitor/{system}", "the report that the monitor page draws"),
    (
        "GET /api/predictions/{system}.csv",
        "the predictions with inputs, probabilities, version and outcome, also as .parquet; ?every=true for "
        "those of all versions",
    ),
    (
        "POST /api/transcribe/{language}",
        "an audio or video file as the body, its text out; ?task=translate for English, where the model can",
    ),
    (
        "POST /api/jobs/{language}",
        "the same for long recordings: an id at once; GET /api/jobs/{id} says how far it is and has the "
        "result, DELETE cancels it",
    ),
    (
        "POST /api/jobs/{id}/before-training",
        "a second job, of a job that is done: the same recording by the model that the version in use was "
        "trained from",
    ),
    (
        "POST /v1/audio/transcriptions",
        "the same for programs written for OpenAI's audio API; also /v1/audio/translations and /v1/models",
    ),
    ("GET /api/speech/{language}", "scores, groups, worst clips and runs that the speech monitor draws"),
    (
        "GET /report/{model}/{version}.html",
        "all that is kept of a version, one HTML file that opens anywhere; “latest” for the one in use",
    ),
    ("GET /api/openapi.json", "this API for programs (OpenAPI)"),
)
ERRORS = (
    ("404", "no such system, language or clip"),
    ("413", "the body is too large"),
    ("422", "inputs or a recording that cannot be used: “problems” says what of it"),
    (
        "503",
        "no model is in use yet, its files were changed, or the store does not answer; “error” says which",
    ),
)


def page(systems: Sequence[System]) -> str:
    """The whole page as HTML; it loads nothing."""
    content = parts.join(
        parts.element("p", parts.link("← Pages", "../")),
        parts.element("h1", "REST API"),
        parts.element("p", "JSON in, JSON out, from the same process as the pages.", "soft"),
        parts.table("Routes", (Head(title="Route"), Head(title="What it does")), ROUTES),
        parts.table("Errors", (Head(title="Status"), Head(title="Meaning")), ERRORS),
        *(_system(system) for system in systems),
        _speech(),
    )
    style = "".join(sheet.read_text(encoding="utf-8") for sheet in look.STYLE_SHEETS)
    style = style.replace('url("look/', 'url("../look/')
    dark = (
        "if(matchMedia('(prefers-color-scheme: dark)').matches)document.documentElement.classList.add('dark')"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>REST API · Dagsverk</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="../favicon.ico">'
        f"<style>{style}</style><style>{_OWN_STYLE}</style><script>{dark}</script></head>"
        f'<body class="gradio-container"><main class="dv">{content}</main></body></html>'
    )


_OWN_STYLE = """
@font-face { font-family: Source; src: url("../static/fonts/SourceSansPro/SourceSansPro-Regular.woff2"); }
@font-face { font-family: Source; font-weight: 600 700;
  src: url("../static/fonts/SourceSansPro/SourceSansPro-Bold.woff2"); }
body.gradio-container { font-family: Source, sans-serif; padding-top: 22px !important; }
body.gradio-container { max-width: 860px !important; }
.dv h1 { font-size: 38px; }
.dv h2 { font-size: 26px; margin-top: 44px; }
.dv .dv-table { margin: 22px 0; }
"""


def _system(system: System) -> Html:
    example = json.dumps({column.name: column.example for column in system.columns})
    command = (
        f"curl -s http://127.0.0.1:7860/api/predict/{system.name} \\\n"
        f"  -H 'content-type: application/json' \\\n  -d '{example}'"
    )
    heads = [Head(title=title) for title in ("Input", "Meaning", "Values")]
    rows = [(column.name, column.description, _values(column)) for column in system.columns]
    return parts.join(
        parts.element("h2", system.title),
        parts.table(f"Inputs of {system.name}; classes: {', '.join(system.classes)}", heads, rows),
        parts.element("pre", parts.element("code", command)),
    )


def _speech() -> Html:
    """How a program has a recording written down."""
    limits = (
        f"Any audio or video file, up to {MAX_MEDIA_BYTES // 1024**2} MB and {MAX_S / 3600:g} hours; "
        "languages by Whisper’s code or English name. Times are in seconds."
    )
    command = (
        "curl -s http://127.0.0.1:7860/api/transcribe/swedish \\\n"
        "  -H 'content-type: audio/wav' --data-binary @recording.wav"
    )
    answer = json.dumps(_HEARD, ensure_ascii=False, indent=1)
    return parts.join(
        parts.element("h2", "Speech"),
        parts.element("p", limits),
        parts.element("pre", parts.element("code", command)),
        parts.element("p", "answers, for example, with"),
        parts.element("pre", parts.element("code", answer)),
    )


_HEARD = {
    "language": "sv",
    "task": "transcribe",
    "text": "Anna läser i parken.",
    "duration_s": 2.1,
    "took_s": 0.4,
    "notes": [],
    "segments": [
        {
            "start_s": 0.0,
            "end_s": 2.1,
            "text": "Anna läser i parken.",
            "mean_log_probability": -0.12,
            "no_speech_probability": 0.01,
        }
    ],
    "model": {"name": "whisper_swedish", "version": 1},
}


def _values(column: Column) -> str:
    optional = "" if column.required else ", or null"
    if column.kind == "category":
        return f"{', '.join(column.categories)}{optional}"
    kind = "whole number" if column.kind == "integer" else "number"
    ends = " to ".join(parts.number(end, 6) for end in (column.minimum, column.maximum) if end is not None)
    return f"{kind} {ends} {column.unit}".strip() + optional
