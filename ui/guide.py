"""The REST API's page: self-contained, written from the systems themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dagsverk.tabular.system import Column, System
from ui import look, parts
from ui.parts import Head, Html

ROUTES = (
    ("GET /healthz", "200 when the store answers, with every system's champion version; else 503"),
    (
        "POST /api/predict/{system}",
        "one row of inputs in, the champion's answer out; ?effects=true explains it",
    ),
    ("GET /api/monitor/{system}", "the report that the monitor page draws"),
    ("GET /api/openapi.json", "this API for programs (OpenAPI)"),
)
ERRORS = (
    ("404", "no such system"),
    ("413", "the body is too large"),
    ("422", "inputs that cannot be used: “problems” has a sentence per input"),
    (
        "503",
        "no model is in use yet, its files were changed, or the store does not answer; “error” says which",
    ),
)


def page(systems: Sequence[System]) -> str:
    """The whole page as HTML; it loads nothing."""
    content = parts.join(
        parts.element("p", parts.link("← Pages", "/")),
        parts.element("h1", "REST API"),
        parts.element("p", "JSON in, JSON out, from the same process as the pages.", "soft"),
        parts.table("Routes", (Head(title="Route"), Head(title="What it does")), ROUTES),
        parts.table("Errors", (Head(title="Status"), Head(title="Meaning")), ERRORS),
        *(_system(system) for system in systems),
    )
    style = look.STYLE_SHEET.read_text(encoding="utf-8")
    dark = (
        "if(matchMedia('(prefers-color-scheme: dark)').matches)document.documentElement.classList.add('dark')"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>REST API · Dagsverk</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}</style><style>{_OWN_STYLE}</style><script>{dark}</script></head>"
        f'<body class="gradio-container"><main class="dv">{content}</main></body></html>'
    )


_OWN_STYLE = """
@font-face { font-family: Source; src: url("/static/fonts/SourceSansPro/SourceSansPro-Regular.woff2"); }
@font-face { font-family: Source; font-weight: 600 700;
  src: url("/static/fonts/SourceSansPro/SourceSansPro-Bold.woff2"); }
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


def _values(column: Column) -> str:
    optional = "" if column.required else ", or null"
    if column.kind == "category":
        return f"{', '.join(column.categories)}{optional}"
    kind = "whole number" if column.kind == "integer" else "number"
    ends = " to ".join(f"{end:g}" for end in (column.minimum, column.maximum) if end is not None)
    return f"{kind} {ends} {column.unit}".strip() + optional
