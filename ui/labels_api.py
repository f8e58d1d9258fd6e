"""Decisions about labels that look wrong: taken from a page, and the recordings to decide by.

Only labels of the last search can be decided about: a visitor can neither name others nor say what they were.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, Field

from dagsverk import label_decisions
from dagsverk.label_decisions import MOST_CHARACTERS, Action, Family, LabelDecision, Overtaken, TooMany
from dagsverk.label_report import Suspect, SuspectLabels, suspect_labels
from dagsverk.speech.corpora.text import clean_text
from dagsverk.speech.features.scripts import is_other
from dagsverk.speech.languages import language as language_of
from dagsverk.store import NotFound, Store
from dagsverk.tabular.system import UnknownSystem, load_system
from ui.labels import summary
from ui.speech.desk import SpeechDesk, UnknownLanguage, named_language
from ui.speech.ranges import UnknownClip, ranged
from ui.visitors import visitor_of

NAME = r"^[a-z][a-z0-9_]{0,62}$"
KEY = r"^[0-9a-f]{32}$"
GONE = "this label is not in the newest list any more: read the page anew"
NO_VISITOR = "open the page first: it is from there that decisions are taken"


class Sent(BaseModel, extra="forbid"):
    """What the page sends."""

    key: Annotated[str, Field(pattern=KEY)]
    action: Action
    value: Annotated[str, Field(max_length=4 * MOST_CHARACTERS)] = ""
    seen: Annotated[int, Field(ge=0, le=99_999)]  # the number of the latest decision that the page shows


def add_label_routes(app: FastAPI, speech: SpeechDesk) -> None:
    """The page's own routes."""

    @app.post("/api/labels/{family}/{name}/decisions", include_in_schema=False)
    async def decide(
        family: Family, name: Annotated[str, InPath(pattern=NAME)], sent: Sent, request: Request
    ) -> Any:
        visitor = visitor_of(request.headers.get("cookie", ""))
        if visitor is None:
            return _refused(403, NO_VISITOR)
        try:
            return await run_in_threadpool(_decide, speech.store, family, name, sent, visitor)
        except (NotFound, LookupError) as error:
            return _refused(404, str(error))
        except Overtaken as error:
            latest = _shown(error.latest)
            return JSONResponse({"error": str(error), "latest": latest}, status_code=409)
        except TooMany as error:
            return _refused(507, str(error))
        except ValueError as error:
            return _refused(422, str(error))

    @app.get("/api/labels/{family}/{name}/summary", response_class=HTMLResponse, include_in_schema=False)
    def about(family: Family, name: Annotated[str, InPath(pattern=NAME)]) -> Response:
        try:
            return HTMLResponse(_summary(speech.store, family, name))
        except LookupError as error:
            return _refused(404, str(error))

    @app.get(
        "/api/labels/speech/{language}/sounds/{key}.wav", response_class=Response, include_in_schema=False
    )
    def sound(language: str, key: Annotated[str, InPath(pattern=KEY)], request: Request) -> Response:
        of = named_language(language)
        try:
            wav = speech.store.get(f"labels/speech/{of.name}/sounds/{key}.wav")
        except NotFound as error:
            raise UnknownClip(
                "no such recording was kept; run the search for suspicious texts again"
            ) from error
        return ranged(wav, request.headers.get("range", ""))


def _decide(store: Store, family: Family, name: str, sent: Sent, visitor: str) -> dict[str, Any]:
    """Keep it. Raises: NotFound, LookupError, Overtaken, TooMany, ValueError."""
    _check_name(family, name)
    suspect = _suspect(store, family, name, sent.key)
    made = LabelDecision(
        key=sent.key,
        action=sent.action,
        value=_value(family, name, sent, suspect),
        was=suspect.source_label,
        name=suspect.name,
        split=suspect.split,
        by=label_decisions.visitor_digits(visitor),
    )
    kept = label_decisions.decide(store, family, name, made, seen=sent.seen)
    return {**_shown(kept), "warning": _warning(family, name, kept)}


def _check_name(family: Family, name: str) -> None:
    try:
        of = language_of(name).name if family == "speech" else load_system(name).name
    except (UnknownSystem, UnknownLanguage, ValueError) as error:
        raise LookupError(f"there is no {name[:60]!r} to decide about") from error
    if of != name:
        raise LookupError(f"there is no {name[:60]!r} to decide about")


def _suspect(store: Store, family: Family, name: str, key: str) -> Suspect:
    listed = {one.key: one for one in _report(store, family, name).suspects}
    if key not in listed:
        raise LookupError(GONE)
    return listed[key]


def _report(store: Store, family: Family, name: str) -> SuspectLabels:
    """The last search. Raises: LookupError if there is none."""
    report = suspect_labels(store, name)
    if report is None or report.family != family:
        raise LookupError(GONE)
    return report


def _summary(store: Store, family: Family, name: str) -> str:
    """What the page says above its list. Raises: LookupError."""
    _check_name(family, name)
    return summary(_report(store, family, name), label_decisions.latest(store, family, name))


def _value(family: Family, name: str, sent: Sent, suspect: Suspect) -> str:
    """The new label as it is kept: a text without what nobody hears, or one of the system's classes."""
    if sent.action != "mend":
        if sent.value:
            raise ValueError("only a label that is mended gets a new one")
        return ""
    if family == "tabular":
        classes = load_system(name).classes
        if sent.value not in classes:
            raise ValueError(f"want one of {', '.join(classes)}")
        value = sent.value
    else:
        value = clean_text(sent.value)
        if not value:
            raise ValueError("the text is empty; drop the clip if nothing is said in it")
        if len(value) > MOST_CHARACTERS:
            raise ValueError(f"the text has {len(value)} characters; want at most {MOST_CHARACTERS}")
    if value == suspect.source_label:
        raise ValueError("that is what it is already; keep it if it is right")
    return value


def _warning(family: Family, name: str, kept: LabelDecision) -> str:
    if family == "speech" and kept.action == "mend" and is_other(kept.value, language_of(name).code):
        return "The text is not in the letters of the language."
    return ""


def _shown(kept: LabelDecision) -> dict[str, Any]:
    """What the page is told of a decision."""
    words = label_decisions.in_words(kept)
    return {"action": kept.action, "value": kept.value, "number": kept.number, "words": words}


def _refused(status: int, words: str) -> JSONResponse:
    return JSONResponse({"error": words}, status_code=status)
