"""What every page has around its content: head with links, title, foot."""

from __future__ import annotations

import json
from collections.abc import Sequence

import gradio as gr

from dagsverk.tabular.system import System
from ui import parts

NAME = "Dagsverk"


# path, words in the row of links, and what those mean to who cannot see where they stand
SPEECH_PAGES = (
    ("transcribe", "Transcribe", ""),
    ("speech-monitor", "monitor", "Speech monitor"),
    ("recorder", "recorder", "Recorder"),
)
# the same of what makes models better: what would help most, and what answers that
BETTER_PAGES = (
    ("improve", "Improve", ""),
    ("labels", "labels", "Labels that look wrong"),
    ("compare", "compare", "Compare models"),
    ("lineage", "lineage", "Lineage"),
)


def predict_path(system: System) -> str:
    return system.name.replace("_", "-")


def monitor_path(system: System) -> str:
    return f"{predict_path(system)}-monitor"


def block(content: str = "", *, min_height_px: int | None = None, script: str | None = None) -> gr.HTML:
    """A gr.HTML in our own style; `script` runs once it is on the page."""
    return gr.HTML(content, apply_default_css=False, min_height=min_height_px, js_on_load=script)


def head(systems: Sequence[System], current: str, title: str, words: str) -> None:
    """The head of the page at path `current`. Must be called while the page is built."""
    block(
        parts.page(_bar(systems, current), _title(title, words)),
        script=f"document.title = {json.dumps(title if title == NAME else f'{title} · {NAME}')};",
    )


def foot() -> None:
    block(
        parts.page(
            parts.Html('<footer class="dv-foot"><p>'),
            f"{NAME}: pages are drawn from the store and follow it by themselves. Programs ask the ",
            parts.link("REST API", "api/docs"),
            ". Times are UTC.",
            parts.Html("</p></footer>"),
        )
    )


def _bar(systems: Sequence[System], current: str) -> parts.Html:
    items = [parts.element("li", _nav_link("Home", "", current))]
    for system in systems:
        pair = parts.join(
            _nav_link(system.title, predict_path(system), current),
            _nav_link("monitor", monitor_path(system), current, f"{system.title} monitor"),
        )
        items.append(parts.element("li", pair))
    speech = (_nav_link(words, path, current, label) for path, words, label in SPEECH_PAGES)
    items.append(parts.element("li", parts.join(*speech)))
    better = (_nav_link(words, path, current, label) for path, words, label in BETTER_PAGES)
    items.append(parts.element("li", parts.join(*better)))
    brand = parts.link(parts.join(parts.LOGO, parts.element("span", NAME)), "./", "dv-brand")
    links = parts.Html(f'<ul class="dv-nav">{parts.join(*items)}</ul>')
    return parts.Html(f'<header class="dv-head">{brand}<nav aria-label="Pages">{links}</nav></header>')


def _nav_link(words: str, path: str, current: str, label: str = "") -> parts.Html:
    here = ' aria-current="page"' if path == current else ""
    named = f' aria-label="{parts.text(label)}"' if label else ""
    target = path or "./"  # relative: so it holds below any path of a proxy
    return parts.Html(f'<a href="{target}"{here}{named}>{parts.text(words)}</a>')


def _title(title: str, words: str) -> parts.Html:
    return parts.element("div", parts.join(parts.element("h1", title), parts.element("p", words)), "dv-title")
