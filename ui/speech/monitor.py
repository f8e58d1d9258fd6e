"""The page that watches a language's speech models: runs, scores, groups, worst clips, the champion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from dagsverk.speech.languages import language as language_of
from dagsverk.store import StoreError
from dagsverk.tabular.system import System
from ui import frame, parts
from ui.parts import Html
from ui.speech import charts, clips, modes, runs, searched, texts, transcriptions
from ui.speech import sections as speech_sections
from ui.speech.desk import SpeechDesk, SpeechView
from ui.speech.knew_before import knew_before
from ui.speech.parts import REMEMBER_LANGUAGE, asked, language_choice
from ui.tabular import sections

PATH = "speech-monitor"
TITLE = "Speech monitor"
WORDS = (
    "How the models that write down speech are trained, and how well they hear. This page follows the store."
)
UNREADABLE = ""  # what a page remembers after the store did not answer
OUTPUTS = 12

Seen = tuple[str, str] | None  # the language shown, and the version of what is shown of it


def build(demo: gr.Blocks, speech: SpeechDesk, systems: Sequence[System], refresh_s: float) -> None:
    """The page at /speech-monitor; it looks for news every `refresh_s` seconds."""
    frame.head(systems, PATH, TITLE, WORDS)
    with gr.Column(elem_classes="dv-choice"):
        language = language_choice()
    seen = gr.State(None)
    trouble = frame.block()
    top = frame.block(parts.page(parts.loading("Reading what was trained and scored …")), min_height_px=180)
    with gr.Column(elem_classes="dv-block", visible=False) as compared:
        compared_title = frame.block()
        rates = gr.Plot(show_label=False, container=False)
        compared_table = frame.block()
    with gr.Column(elem_classes="dv-block", visible=False) as trained:
        runs_title = frame.block()
        curves = gr.Plot(show_label=False, container=False)
        runs_table = frame.block()
    rest = frame.block()
    with gr.Accordion("The champion's card", open=False, elem_classes="dv-block", visible=False) as below:
        card = gr.Markdown(container=False)
    frame.foot()

    shown = [seen, trouble, top, compared, compared_title, rates, compared_table]
    shown += [trained, runs_title, curves, runs_table, rest, below, card]
    quiet: dict[str, Any] = {
        "api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 4,
        "concurrency_id": "refresh",
    }  # fmt: skip

    def begin(request: gr.Request) -> list[Any]:
        chosen, choice = asked(speech, request)
        return [choice, *look(speech, chosen.code, None)]

    def refresh(code: str, last: Seen) -> list[Any]:
        return look(speech, code, last)

    demo.load(begin, None, [language, *shown], **quiet)
    language.input(refresh, [language, seen], shown, **quiet)
    language.input(None, language, None, js=REMEMBER_LANGUAGE)
    gr.Timer(refresh_s).tick(refresh, [language, seen], shown, trigger_mode="once", **quiet)


def look(speech: SpeechDesk, code: str, seen: Seen) -> list[Any]:
    """Updates for a page that shows `seen`; none at all when there is no news.

    While the store does not answer, what was read last stays, below a line that says so.
    """
    language = language_of(code)
    same = seen is not None and seen[0] == code
    try:
        if same and seen and speech.version(language) == seen[1]:
            return [gr.skip()] * (OUTPUTS + 2)
        view = speech.view(language)
    except (StoreError, OSError) as error:
        if seen == (code, UNREADABLE):
            return [gr.skip()] * (OUTPUTS + 2)
        trouble = parts.page(sections.trouble(error, same))
        return [(code, UNREADABLE), trouble, *_undrawn(keep=same)]
    return [(code, view.version), "", *_drawn(view)]


def _undrawn(*, keep: bool) -> list[Any]:
    """Nothing new below the line of trouble; and nothing of another language either."""
    if keep:
        return [gr.skip()] * OUTPUTS
    hidden, none = gr.Column(visible=False), gr.Plot(visible=False)
    return ["", hidden, "", none, "", hidden, "", none, "", "", gr.Accordion(visible=False), ""]


def _drawn(view: SpeechView) -> list[Any]:
    dots = speech_sections.dots(view)
    curve, earlier = runs.curves(view)
    return [
        parts.page(speech_sections.overview(view)),
        gr.Column(visible=not view.blank),
        parts.page(speech_sections.compared_title(view)),
        gr.Plot(charts.error_rates(dots), visible=True) if dots else gr.Plot(visible=False),
        parts.page(speech_sections.compared_table(view)),
        gr.Column(visible=not view.blank),
        parts.page(runs.title(view)),
        gr.Plot(charts.learning_curves(curve, earlier), visible=True) if curve else gr.Plot(visible=False),
        parts.page(runs.table(view)),
        parts.page(_rest(view)),
        gr.Accordion(visible=bool(view.card)),
        view.card,
    ]


def _rest(view: SpeechView) -> Html:
    if view.blank:
        return Html("")
    boxes = parts.join(
        modes.card(view), clips.worst(view), knew_before(view),
        speech_sections.groups(view), speech_sections.checks(view),
        speech_sections.champion(view), speech_sections.set_aside(view), texts.suspicious(view),
        texts.alike(view),
        transcriptions.places(view), searched.card(view),
    )  # fmt: skip
    return Html(f'<div class="dv-grid">{boxes}</div>')
