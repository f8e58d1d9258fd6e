"""The page that says, in order, what would help a system or a language most, how much, and why."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import gradio as gr

from dagsverk.speech.languages import Language
from dagsverk.speech.languages import language as language_of
from dagsverk.store import StoreError
from dagsverk.tabular.system import System
from ui import frame, improve_sections, parts
from ui.speech.desk import SpeechDesk, UnknownLanguage, named_language
from ui.tabular import sections
from ui.tabular.desk import TabularDesk

PATH = "improve"
TITLE = "What would help most"
WORDS = (
    "For a system or a language: what would make its model better, by how much, and why, the most first. "
    "Only what was measured is ranked; this page changes nothing."
)
UNREADABLE = ""
SPOKEN = "language/"  # before a language's code, for a system may be named like one
REMEMBER = """(of) => {
  const here = new URL(location.href);
  here.searchParams.set("of", of);
  history.replaceState(null, "", here);
}"""

Seen = tuple[str, str] | None  # what is shown, and the version of what is shown of it


def build(demo: gr.Blocks, desk: TabularDesk, speech: SpeechDesk, refresh_s: float) -> None:
    """The page at /improve; it looks for news every `refresh_s` seconds."""
    frame.head(desk.systems, PATH, TITLE, WORDS)
    choices = _choices(desk, [])
    with gr.Column(elem_classes="dv-choice"):
        of = gr.Radio(choices, value=choices[0][1] if choices else None, label="System or language")
    seen = gr.State(None)
    trouble = frame.block()
    shown = frame.block(parts.page(parts.loading("Reading what was measured …")), min_height_px=320)
    frame.foot()
    quiet: dict[str, Any] = {
        "api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 4,
        "concurrency_id": "refresh",
    }  # fmt: skip

    def begin(request: gr.Request) -> list[Any]:
        chosen, choice = _asked(desk, speech, request)
        return [choice, *look(desk, speech, chosen, None)]

    def refresh(name: str, last: Seen) -> list[Any]:
        return look(desk, speech, name, last)

    demo.load(begin, None, [of, seen, trouble, shown], **quiet)
    of.input(refresh, [of, seen], [seen, trouble, shown], **quiet)
    of.input(None, of, None, js=REMEMBER)
    gr.Timer(refresh_s).tick(refresh, [of, seen], [seen, trouble, shown], trigger_mode="once", **quiet)


def look(desk: TabularDesk, speech: SpeechDesk, name: str | None, seen: Seen) -> list[Any]:
    """Updates for a page that shows `seen`; none at all when there is no news."""
    same = seen is not None and seen[0] == name
    try:
        subject = subject_of(desk, name)
        version = _version(desk, speech, subject)
        if same and seen and seen[1] == version:
            return [gr.skip()] * 3
        content = improve_sections.content(desk.store, subject)
    except (StoreError, OSError) as error:
        if same and seen and seen[1] == UNREADABLE:
            return [gr.skip()] * 3
        trouble = parts.page(sections.trouble(error, same))
        return [(name, UNREADABLE), trouble, gr.skip() if same else ""]
    return [(name, version), "", parts.page(content)]


def subject_of(desk: TabularDesk, name: str | None) -> System | Language | None:
    """What a choice is; None where there is nothing to choose, or it is none."""
    if name and name.startswith(SPOKEN):
        try:
            return language_of(name.removeprefix(SPOKEN))
        except ValueError:
            return None
    return next((system for system in desk.systems if system.name == name), None)


def _version(desk: TabularDesk, speech: SpeechDesk, subject: System | Language | None) -> str:
    """Changes when anything that the page shows does."""
    if subject is None:
        return "none"
    store = desk.store
    reports = [store.get(path) for path in sorted(store.list(f"reports/{subject.name}"))]
    of = speech.version(subject) if isinstance(subject, Language) else _champion(desk, subject)
    return hashlib.sha256(b"\0".join([repr(of).encode(), *reports])).hexdigest()[:16]


def _champion(desk: TabularDesk, system: System) -> int:
    champion = desk.store.champion(system.name)
    return champion.version if champion else 0


def _choices(desk: TabularDesk, languages: Sequence[Language]) -> list[tuple[str, str]]:
    spoken = languages or [language_of(code) for code in improve_sections.FIRST]
    systems = [(system.title, system.name) for system in desk.systems]
    return [*systems, *((f"{one.title} speech", f"{SPOKEN}{one.code}") for one in spoken)]


def _asked(desk: TabularDesk, speech: SpeechDesk, request: gr.Request) -> tuple[str, gr.Radio]:
    """What the address asks for (`?of=titanic`, `?of=language/it`), else the first; and the choice filled."""
    try:
        languages: list[Language] = list(speech.languages())
    except (StoreError, OSError):  # the page says so itself
        languages = []
    wanted = str(request.query_params.get("of", ""))
    if wanted.startswith(SPOKEN):
        try:
            spoken = named_language(wanted.removeprefix(SPOKEN))
        except UnknownLanguage:
            wanted = ""
        else:
            wanted = f"{SPOKEN}{spoken.code}"
            languages = languages or [language_of(code) for code in improve_sections.FIRST]
            languages = languages if spoken in languages else [*languages, spoken]
    choices = _choices(desk, languages)
    names = [value for _, value in choices]
    chosen = wanted if wanted in names else names[0]
    return chosen, gr.Radio(choices, value=chosen)
