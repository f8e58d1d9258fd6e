"""The page that sets two models beside each other: which is better, where, and what each costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from dagsverk.store import StoreError
from dagsverk.tabular.system import System
from ui import comparable, frame, parts
from ui.comparable import Entrant, Subject
from ui.compared import empty, shown
from ui.speech.desk import SpeechDesk
from ui.tabular import sections
from ui.tabular.desk import TabularDesk

PATH = "compare"
TITLE = "Compare"
WORDS = (
    "Two models on the same clips or rows: which is better, beyond chance, where, and what each costs. This "
    "page compares what the store has; a run of the flow brings more."
)
# The choice goes into the address, so that a reload or a bookmark keeps it.
REMEMBER = """(about, first, second) => {
  const here = new URL(location.href);
  for (const [name, value] of Object.entries({ about, first, second })) {
    if (value) here.searchParams.set(name, value); else here.searchParams.delete(name);
  }
  history.replaceState(null, "", here);
}"""


def build(
    demo: gr.Blocks, desk: TabularDesk, speech: SpeechDesk, systems: Sequence[System], refresh_s: float
) -> None:
    """The page at /compare; it looks for news every `refresh_s` seconds."""
    frame.head(systems, PATH, TITLE, WORDS)
    with gr.Column(elem_classes="dv-choice"):
        about = gr.Radio([], label="Compare models of")
        with gr.Row(elem_classes="dv-pair"):
            first = gr.Dropdown([], label="First", filterable=False)
            second = gr.Dropdown([], label="Second", filterable=False)
    seen = gr.State("")
    result = frame.block(parts.page(parts.loading("Reading what was compared …")), min_height_px=320)
    frame.foot()
    choice: list[Any] = [about, first, second]
    quiet: dict[str, Any] = {
        "api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 2,
        "concurrency_id": "compare",
    }  # fmt: skip

    def begin(request: gr.Request) -> list[Any]:
        asked = request.query_params
        return look(desk, speech, asked.get("about", ""), asked.get("first", ""), asked.get("second", ""), "")

    def other(subject: str) -> list[Any]:
        return look(desk, speech, subject, "", "", "")

    def again(subject: str, one: str, two: str, last: str) -> list[Any]:
        return look(desk, speech, subject, one, two, last)

    demo.load(begin, None, [*choice, seen, result], **quiet)
    about.input(other, [about], [*choice, seen, result], **quiet)
    for dropdown in (first, second):
        dropdown.input(again, [*choice, seen], [*choice, seen, result], **quiet)
    gr.on([control.change for control in (about, first, second)], None, choice, None, js=REMEMBER)
    gr.Timer(refresh_s).tick(again, [*choice, seen], [*choice, seen, result], trigger_mode="once", **quiet)


def look(
    desk: TabularDesk, speech: SpeechDesk, about: object, first: object, second: object, last: str
) -> list[Any]:
    """Updates of the choices and of what is below; none at all when nothing changed since `last`."""
    try:
        subjects = comparable.subjects(desk, speech)
        subject = next((one for one in subjects if one.name == str(about or "")), None) or _first(subjects)
        version = subject.version()
        if last == f"{subject.name}|{version}|{first}|{second}":
            return [gr.skip()] * 5
        entrants = subject.entrants()
        pair = comparable.chosen(entrants, str(first or ""), str(second or ""))
        one_id, two_id = (one.id for one in pair) if pair else (None, None)
        stamp = f"{subject.name}|{version}|{one_id}|{two_id}"
        radio = gr.Radio([(one.title, one.name) for one in subjects], value=subject.name)
        if pair is None:
            none = gr.Dropdown([], value=None, visible=False)
            return [radio, none, none, stamp, parts.page(parts.join(_damaged(subject), empty(subject)))]
        one, two = pair
        return [
            radio,
            _dropdown(entrants, one),
            _dropdown([each for each in entrants if each.group == one.group and each.id != one.id], two),
            stamp,
            parts.page(parts.join(_damaged(subject), shown(subject, one, two))),
        ]
    except (StoreError, OSError) as error:
        stamp = f"trouble|{error}"
        if last == stamp:
            return [gr.skip()] * 5
        keep = bool(last) and not last.startswith("trouble")
        trouble = parts.page(sections.trouble(error, keep))
        return [gr.skip(), gr.skip(), gr.skip(), stamp, trouble]


def _first(subjects: Sequence[Subject]) -> Subject:
    """One that has something to compare, if any has."""
    return next((one for one in subjects if comparable.chosen(one.entrants(), "", "")), subjects[0])


def _damaged(subject: Subject) -> parts.Html:
    """Comparisons that are there and not shown, and why."""
    sentences = subject.damaged()
    if not sentences:
        return parts.Html("")
    more = f" So are {len(sentences) - 1} more." if len(sentences) > 1 else ""
    return parts.note("A comparison cannot be read and is left out:", f"{sentences[0]}.{more}", bad=True)


def _dropdown(entrants: Sequence[Entrant], chosen: Entrant) -> gr.Dropdown:
    return gr.Dropdown([(one.title, one.id) for one in entrants], value=chosen.id, visible=True)
