"""The first page: what this is, and how each system does."""

from __future__ import annotations

from typing import Any

import gradio as gr

from dagsverk.store import StoreError
from dagsverk.tabular.pictures import picture
from dagsverk.tabular.summary import agreement
from dagsverk.tabular.system import System
from ui import frame, parts
from ui.parts import Html, percent
from ui.speech import home
from ui.speech.desk import SpeechDesk
from ui.tabular import invented, sections
from ui.tabular.desk import TabularDesk, View, day_command
from ui.tabular.monitor import UNREADABLE

WORDS = "Small machine-learning systems that do a day’s work, every day, from raw rows to a page."
STEPS = (
    "raw rows",
    "checked features",
    "best model",
    "new rows of the day",
    "predictions",
    "outcomes watched",
)


def build(demo: gr.Blocks, desk: TabularDesk, speech: SpeechDesk, refresh_s: float) -> None:
    """The page at /; it looks for news every `refresh_s` seconds."""
    frame.head(desk.systems, "", frame.NAME, WORDS)
    steps = parts.join(*(parts.element("li", step) for step in STEPS))
    frame.block(parts.page(Html(f'<ol class="dv-flow" aria-label="What a day does">{steps}</ol>')))
    seen = gr.State(None)
    shown = frame.block(
        parts.page(parts.loading("Reading what the systems and languages do …")), min_height_px=480
    )
    frame.foot()
    gr.on(
        [demo.load, gr.Timer(refresh_s).tick],
        lambda version: look(desk, speech, version),
        seen,
        [seen, shown],
        api_visibility="private",
        show_progress="hidden",
        concurrency_limit=4,
        concurrency_id="refresh",
        trigger_mode="once",
    )


def look(desk: TabularDesk, speech: SpeechDesk, version: Any) -> list[Any]:
    """Updates for the page that shows `version`; none at all when there is no news."""
    try:
        faulty = desk.faults
        current = (*faulty.values(), *(desk.version(one) for one in desk.systems), *home.versions(speech))
        if version == current:
            return [gr.skip(), gr.skip()]
        cards = parts.join(*(system_card(desk.view(system)) for system in desk.systems), *home.cards(speech))
        notes = (parts.note(f"{name} cannot be used.", why, bad=True) for name, why in faulty.items())
    except (StoreError, OSError) as error:
        if version == UNREADABLE:
            return [gr.skip(), gr.skip()]
        return [UNREADABLE, parts.page(sections.trouble(error, had_content=False))]
    return [current, parts.page(*notes, Html(f'<div class="dv-grid">{cards}</div>'))]


def system_card(view: View) -> Html:
    """One system in short, with the ways on."""
    system, newest = view.system, sections.newest_row(view.report)
    outcome = system.classes[-1] if newest is None else str(newest["prediction"])
    content = parts.join(
        parts.element("div", Html(picture(system, outcome)), "dv-picture"),
        parts.element(
            "div", parts.join(parts.element("h2", system.title), parts.element("p", system.description))
        ),
        parts.facts(_facts(view)),
        _ways(system),
    )
    return Html(f'<section class="dv-card dv-system w6">{content}</section>')


def _facts(view: View) -> list[tuple[object, object]]:
    system, report, model = view.system, view.report, view.champion
    if model is None:
        how = parts.join("none yet; start a day: ", parts.element("code", day_command(system)))
        return [("Champion", how), ("Rows", f"{view.rows:,}")]
    right = sections.accuracy_tile(report)
    pairs: list[tuple[object, object]] = [
        ("Champion", f"version {model.version}"),
        ("Accuracy so far", f"{right.figure} ({right.note})" if report.outcomes else right.note),
    ]
    if not report.outcomes and report.invented.outcomes:
        pairs.append(("Invented rows", agreement(report.invented.correct, report.invented.outcomes)))
    row = sections.newest_row(report)
    if row is not None:
        words = f"{system.label.words(row['prediction'])}, {percent(row['probability'])} "
        kind = parts.join(invented.badge(), " ") if invented.is_invented(row) else ""
        pairs.append(("Newest prediction", parts.join(words, kind, sections.judged(row))))
    pairs.append(("Alerts", str(len(report.alerts)) if report.alerts else "none"))
    return pairs


def _ways(system: System) -> Html:
    tried = parts.link(f"Describe a {system.row_name}", frame.predict_path(system), "first")
    watched = parts.link(f"{system.title} monitor", frame.monitor_path(system))
    return parts.element("div", parts.join(tried, watched), "go")
