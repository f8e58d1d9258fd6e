"""What reports of both families say alike: decision, use, lineage, settings, files; and what is not there."""

from __future__ import annotations

import datetime as dt
import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dagsverk import markup, words
from dagsverk.markup import Head, Html, Tile
from dagsverk.promotion import Decision
from dagsverk.records import parse
from dagsverk.store import Model, StoreError

NOT_RECORDED = "not recorded"
PLACES = ("base_model", "source", "model", "tokenizer")  # may be folders or addresses of a machine
PLACE = re.compile(r"(?<!\S)(?:[/~]|\.{1,2}/|[A-Za-z]:[\\/]|[a-z][a-z0-9+.-]*://)\S+")  # in a sentence
MOST_PROMOTIONS = 20  # listed
MOST_ROWS = 60  # of a table that may be long
MOST_LETTERS = 1000  # of one value
GAP = Html('<div class="gap"></div>')
T = TypeVar("T")


@dataclass
class Notes:
    """What of a version could not be read, in sentences; said on top of its report, never passed over."""

    sentences: list[str] = field(default_factory=list)

    def parsed(self, content: Any, kind: type[T], what: str) -> T | None:
        """A part of a version's record as its type; None where it is not recorded, or damaged: then noted."""
        if content is None:
            return None
        try:
            return parse(content, kind, what)
        except StoreError as error:
            self.sentences.append(f"{what}: {markup.short(error, 300)}")
            return None

    def drawn(self) -> Html:
        """The sentences; empty when all could be read."""
        if not self.sentences:
            return Html("")
        listed = markup.join(*(markup.element("li", without_folders(one)) for one in self.sentences))
        return markup.join(
            markup.note("Not all of this version could be read.", Html(f"<ul>{listed}</ul>"), bad=True), GAP
        )


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of the way from the data to what is served."""

    title: str
    id: str  # empty: it has none, or it is not recorded
    words: object = ""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A version, and what was ever put to use of its name."""

    model: Model
    promotions: Sequence[Mapping[str, Any]]  # of all versions, oldest first
    notes: Notes = field(default_factory=Notes)

    @property
    def info(self) -> Mapping[str, Any]:
        return self.model.info

    @property
    def lineage(self) -> Mapping[str, Any]:
        content = self.info.get("lineage")
        return content if isinstance(content, Mapping) else {}

    @functools.cached_property
    def decision(self) -> Decision | None:
        return self.notes.parsed(self.info.get("decision"), Decision, "the decision")


def spans(subject: Subject) -> list[tuple[str, str]]:
    """When the version was in use: (since, until), ISO 8601; the last until is "" while it is."""
    dates = [(p.get("version"), str(p.get("promoted_at") or "")) for p in subject.promotions]
    ends = [*(at for _, at in dates[1:]), ""][: len(dates)]
    paired = zip(dates, ends, strict=True)
    return [(at, end) for (version, at), end in paired if version == subject.model.version]


def moment(iso: object) -> str:
    """A time that was kept as ISO 8601, in UTC and to the minute; as it is, where it is none."""
    try:
        at = dt.datetime.fromisoformat(str(iso))
    except ValueError:
        return markup.short(iso) if iso else NOT_RECORDED
    return markup.moment(at.astimezone(dt.UTC) if at.tzinfo else at)


def used(subject: Subject) -> str:
    """ "in use since 2026-11-26 20:13 UTC", "not in use; it was from ... to ...", "never in use"."""
    listed = spans(subject)
    if not listed:
        return "never in use"
    since, until = listed[-1]
    if not until:
        return f"in use since {moment(since)}"
    return f"not in use; it was from {moment(since)} to {moment(until)}"


def use_tile(subject: Subject) -> Tile:
    listed = spans(subject)
    in_use = bool(listed) and not listed[-1][1]
    return Tile(label="In use", figure="yes" if in_use else "no", note=used(subject))


def decision_card(subject: Subject, *more: object) -> Html:
    """The gate's sentences; `more` follows its warnings."""
    decision = subject.decision
    if decision is None:
        return markup.card("Decision", "", markup.element("p", f"Decision: {NOT_RECORDED}."), *more)
    chip = markup.chip("promoted ✓", "good") if decision.promoted else markup.chip("not promoted")
    warnings = (markup.element("li", f"Warning: {without_folders(one)}") for one in decision.warnings)
    listed = Html(f"<ul>{markup.join(*warnings)}</ul>") if decision.warnings else ""
    pairs = [("Verdict", chip), ("Rule", decision.rule or NOT_RECORDED), ("In use", used(subject))]
    return markup.card(
        "Decision",
        "",
        markup.element("p", without_folders(decision.reason) or NOT_RECORDED),
        listed,
        GAP,
        markup.facts(pairs),
        *more,
    )


def decided(subject: Subject) -> Step:
    decision = subject.decision
    if decision is None:
        return Step(title="Decision", id="", words=NOT_RECORDED)
    verdict = "promoted" if decision.promoted else "not promoted"
    return Step(title="Decision", id=verdict, words=without_folders(decision.reason))


def served(subject: Subject) -> Step:
    lines = [
        markup.element("div", f"version {p.get('version')}, {moment(p.get('promoted_at'))}")
        for p in subject.promotions[-MOST_PROMOTIONS:]
    ]
    every = markup.join(markup.element("div", _promotions(len(subject.promotions))), *lines) if lines else ""
    return Step(title="Served", id=used(subject), words=every)


def _promotions(count: int) -> str:
    some = f"; the newest {MOST_PROMOTIONS} are listed" if count > MOST_PROMOTIONS else ""
    return f"{words.counted(count, 'promotion')} of this name{some}:"


def registered(subject: Subject) -> Step:
    model = subject.model
    words_ = f"registered {markup.moment(model.created)}, {words.counted(len(model.files), 'file')}"
    return Step(title="Version", id=f"{model.name}, version {model.version}", words=words_)


def way(steps: Iterable[Step]) -> Html:
    """The lineage as a list, from the data on."""
    items = (
        markup.element(
            "li",
            markup.join(
                markup.element("strong", step.title),
                markup.element("code", markup.short(step.id, 300)) if step.id else "",
                markup.element("div", step.words, "small soft") if step.words else "",
            ),
        )
        for step in steps
    )
    listed = Html(f'<ol class="dv-way">{markup.join(*items)}</ol>')
    return markup.card("Lineage", "From the data to what is served, each step with its id.", listed)


def settings_card(parts: Mapping[str, Any], code: object) -> Html:
    """All settings by part, and the version of the code."""
    boxes: list[object] = [markup.facts([("Code", str(code) if code else NOT_RECORDED)])]
    for name, values in parts.items():
        if isinstance(values, Mapping) and values:
            title = words.spaced(str(name))
            boxes += [GAP, markup.element("h3", title[:1].upper() + title[1:]), markup.facts(plain(values))]
    if len(boxes) == 1:
        boxes.append(markup.element("p", f"Settings: {NOT_RECORDED}."))
    return markup.card("Settings", "", *boxes)


def files_card(model: Model) -> Html:
    rows = [(name, digest) for name, digest in sorted(model.files.items())]
    if not rows:
        return markup.card("Files", "", markup.element("p", NOT_RECORDED))
    heads = [Head(title="File"), Head(title="SHA-256", wide=True)]
    return markup.card("Files", "What the store holds of it.", markup.table("By name", heads, rows))


def plain(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names in words and values as text; of folders and addresses their last part."""
    for name, value in values.items():
        yield words.spaced(str(name)), said_plainly(str(name), value)


def said_plainly(name: str, value: Any) -> str:
    if name in PLACES and isinstance(value, str) and value:
        return markup.last_part(value)
    if value is None or (isinstance(value, str | list | tuple | Mapping) and not value):
        return "none"
    if isinstance(value, Mapping):
        return markup.short("; ".join(f"{key}: {_inside(one)}" for key, one in value.items()), MOST_LETTERS)
    several = isinstance(value, list | tuple)
    text = json.dumps(value, ensure_ascii=False, default=str) if several else str(value)
    return markup.short(text, MOST_LETTERS)


def _inside(value: Any) -> str:
    """What a mapping holds, in a line: "477 clips, 1108 seconds, 0 speakers"."""
    if not isinstance(value, Mapping):
        return str(value)
    return ", ".join(
        f"{words.spaced(str(name))} {said_plainly(str(name), one)}" for name, one in value.items()
    )


def without_folders(text: str) -> str:
    """A sentence in which of folders and addresses only the last part is named."""
    return PLACE.sub(lambda place: words.last_part(place[0]), text)


def recorded(value: Any) -> str:
    """The value as text, or that nobody kept it."""
    return NOT_RECORDED if value is None or value == "" else markup.short(value, 300)


def number(value: Any) -> float | None:
    """A number of a record; None for what is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
