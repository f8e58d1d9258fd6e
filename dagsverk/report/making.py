"""A model's name and a version -> its report, one HTML file; drawn from the store each time it is asked for.

Light: loads no learning library.
"""

from __future__ import annotations

import datetime as dt
import re
from contextlib import suppress
from dataclasses import dataclass

from dagsverk import markup
from dagsverk.markup import Html
from dagsverk.report import common, speech, tabular
from dagsverk.report.common import Subject
from dagsverk.report.document import document
from dagsverk.speech.languages import Language, language
from dagsverk.store import Model, Store
from dagsverk.store.protocol import MODEL_NAME
from dagsverk.version import package_version

PREFIX = "whisper_"
NUMBER = re.compile(r"[1-9][0-9]{0,8}")
MOST_LISTED = 12  # versions, in a message


class NoReport(LookupError):
    """No such model or version; the message says which there are."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A version's report."""

    name: str
    version: int
    html: str

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.version}.html"


def make_report(store: Store, name: str, version: str = "") -> Report:
    """The report of one version.

    Args:
        name: of a model, such as titanic or whisper_swedish; of a language its English name or code, too.
        version: its number; empty: the one in use, else the newest.
    Raises: NoReport; Unavailable while the store does not answer.
    """
    model = _model(store, name, version)
    subject = Subject(model=model, promotions=store.champions(model.name))
    spoken = _language(model.name)
    pieces = speech.content(store, subject, spoken) if spoken else tabular.content(store, subject)
    kind = f"{spoken.title}: " if spoken else ""
    title = f"{kind}{model.name}, version {model.version}"
    words = f"{common.without_folders(model.description)}. " if model.description else ""
    words += f"Registered {markup.moment(model.created)}; {common.used(subject)}."
    html = document(title, words, subject.notes.drawn(), *pieces, _foot())
    return Report(name=model.name, version=model.version, html=html)


def command(name: str, version: int) -> str:
    """What writes the report of a version into a file."""
    return f"dagsverk report {name} {version}"


def address(name: str, version: int) -> str:
    """Where the pages have the report, below their own address."""
    return f"report/{name}/{version}.html"


def missing(error: NoReport) -> str:
    """What a browser is shown where there is no such report."""
    return document("No such report", f"{error}.")


def _foot() -> Html:
    now = markup.moment(dt.datetime.now(dt.UTC))
    lines = (
        f"Made {now} from the store by Dagsverk {package_version()}. What is said of use was so then.",
        "“Not recorded”: the version that made the model did not keep it. Times are UTC.",
    )
    return markup.element(
        "footer", markup.join(*(markup.element("p", line, "soft small") for line in lines)), "foot"
    )


def _model(store: Store, name: str, version: str) -> Model:
    named = _named(store, name)
    if not version:
        champion = store.champion(named)
        return champion or store.models(named)[-1]
    number = version.strip()
    listed = {model.version: model for model in store.models(named)}
    if NUMBER.fullmatch(number) and int(number) in listed:
        return listed[int(number)]
    there = ", ".join(map(str, [*listed][-MOST_LISTED:]))
    first = f"{len(listed) - MOST_LISTED} older ones, " if len(listed) > MOST_LISTED else ""
    raise NoReport(f"{named} has no version {markup.short(number, 20)!r}; it has {first}{there}")


def _named(store: Store, name: str) -> str:
    """The model of that name, or of that language. Raises NoReport."""
    wanted = name.strip()
    candidates = [wanted]
    with suppress(ValueError):
        candidates.append(language(wanted).model_name)
    for one in candidates:
        if MODEL_NAME.fullmatch(one) and store.models(one):
            return one
    names = ", ".join(store.model_names()) or "none yet; a day trains one"
    raise NoReport(f"no model is named {markup.short(wanted, 64)!r}; the store's models: {names}")


def _language(name: str) -> Language | None:
    """The language that a model writes down; None of a tabular one."""
    try:
        of = language(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
    except ValueError:
        return None
    return of if of and of.model_name == name else None
