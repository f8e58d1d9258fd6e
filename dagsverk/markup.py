"""Pieces of HTML that pages and reports are built from. Whatever is not `Html` already is escaped."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from dagsverk.tabular.system import Column
from dagsverk.words import last_part as _last_part

STYLE_SHEET = Path(__file__).with_name("markup.css")  # of the pieces; the palette is its reader's
MAX_SHOWN = 80  # characters of an identity or a rejected value on a page
SENTENCE = 40  # characters: what is longer is read in lines
LONG_WORD = 18  # characters: what is longer may be broken in a cell


class Html(str):
    """Text that is HTML already: `text` lets it through as it is."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class Head:
    """A column of a table: its title, and whether it holds numbers, or what takes a phone's whole width."""

    title: str
    numeric: bool = False
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One number of the row on top of a page."""

    label: str
    figure: str
    note: str = ""
    warn: bool = False


LOGO = Html(
    '<svg viewBox="0 0 64 64" aria-hidden="true"><path d="M10 38a22 22 0 0 1 44 0" fill="none" '
    'stroke="var(--soft)" stroke-width="2.6" stroke-dasharray=".5 6.4" stroke-linecap="round"/>'
    '<path d="M20 39a12 12 0 0 1 24 0z" fill="var(--sun)"/><path d="M8 45h48M18 53h28" '
    'stroke="var(--sea)" stroke-width="3.4" stroke-linecap="round"/></svg>'
)


def text(value: object) -> str:
    """The value with everything escaped that a browser could take for markup."""
    return value if isinstance(value, Html) else escape(str(value))


def element(tag: str, content: object, classes: str = "") -> Html:
    attribute = f' class="{escape(classes)}"' if classes else ""
    return Html(f"<{tag}{attribute}>{text(content)}</{tag}>")


def join(*pieces: object) -> Html:
    return Html("".join(text(piece) for piece in pieces))


def page(*pieces: object) -> str:
    """What a gr.HTML is given: the pieces inside the element that our style sheet addresses."""
    return f'<div class="dv">{join(*pieces)}</div>'


def link(words: object, target: str, classes: str = "") -> Html:
    attribute = f' class="{escape(classes)}"' if classes else ""
    return Html(f'<a href="{escape(target)}"{attribute}>{text(words)}</a>')


def card(title: str, note: object, *content: object, width: str = "") -> Html:
    """A titled box; `note` is the sentence below the title."""
    below = element("p", note, "soft small") if note else ""
    return Html(
        f'<section class="dv-card {escape(width)}">{element("h2", title)}{below}{join(*content)}</section>'
    )


def tiles(items: Iterable[Tile]) -> Html:
    """The number row."""
    cells = [
        f"<div{' class=warn' if item.warn else ''}>{element('dt', item.label)}"
        f'<dd><div class="figure">{text(item.figure)}</div>{element("div", item.note, "note")}</dd></div>'
        for item in items
    ]
    return Html(f'<dl class="dv-tiles">{"".join(cells)}</dl>')


def facts(pairs: Iterable[tuple[object, object]]) -> Html:
    """Names and values in two columns."""
    rows = "".join(element("dt", name) + element("dd", value) for name, value in pairs)
    return Html(f'<dl class="dv-facts">{rows}</dl>')


def pairs(items: Iterable[tuple[object, object]]) -> Html:
    """Names and values in running lines."""
    rows = "".join(f"<div>{element('dt', name)} {element('dd', value)}</div>" for name, value in items)
    return Html(f'<dl class="dv-pairs">{rows}</dl>')


def chip(words: str, tone: str = "") -> Html:
    return element("span", words, f"dv-chip {tone}".strip())


def note(title: str, *content: object, bad: bool = False) -> Html:
    """A message that a screen reader announces when it appears."""
    tone = " bad" if bad else ""
    role = "alert" if bad else "status"
    return Html(
        f'<div class="dv-note{tone}" role="{role}"><strong>{text(title)}</strong> {join(*content)}</div>'
    )


def working(words: str, share: float | None = None) -> Html:
    """A line that says what is being done, and how far it is; `share` None: nobody knows."""
    value = "" if share is None else f' value="{share:.3f}" max="1"'
    return Html(
        f'<div class="dv-note dv-working" role="status"><span>{text(words)}</span>'
        f'<progress{value} aria-label="Progress"></progress></div>'
    )


def command_line(run: str) -> Html:
    """A command to copy; in the order of the keyboard, for it scrolls where it is longer than the page."""
    return Html(f'<pre tabindex="0"><code>{text(run)}</code></pre>')


def loading(words: str, *, boxes: int = 2) -> Html:
    """What stands on a page until its content has been read: a line, and the shapes of what comes."""
    shapes = '<div class="dv-tiles">' + "<div></div>" * 4 + "</div>" + "<div></div>" * boxes
    return join(working(words), Html(f'<div class="dv-ghost" aria-hidden="true">{shapes}</div>'))


def empty(title: str, words: str, command: str | None = None, *more: tuple[str, str]) -> Html:
    """What stands where there is nothing yet, with the next move; `more`: words and commands of others."""
    moves = [(words, command), *more]
    pieces = [join(element("p", why, "soft"), command_line(run) if run else "") for why, run in moves]
    return Html(f'<div class="dv-empty">{LOGO}{element("h2", title)}{join(*pieces)}</div>')


def table(caption: str, heads: Sequence[Head], rows: Iterable[Sequence[object]]) -> Html:
    """A table that becomes a list of cards on a phone; the first cell names its row.

    The roles are stated because a browser forgets them when the style sheet stacks the cells.
    """
    titles = "".join(
        f'<th role="columnheader" scope="col"{_numeric(head)}>{text(head.title)}</th>' for head in heads
    )
    body = "".join(f'<tr role="row">{_cells(heads, row)}</tr>' for row in rows)
    return Html(
        f'<table class="dv-table stack" role="table"><caption>{text(caption)}</caption>'
        f'<thead role="rowgroup"><tr role="row">{titles}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table>'
    )


def _cells(heads: Sequence[Head], row: Sequence[object]) -> str:
    name = f'<th role="rowheader" scope="row" class="wrap">{text(row[0])}</th>'
    return name + "".join(
        f'<td role="cell" data-label="{escape(head.title)}"{_cell_kind(head, value)}>'
        f"<span{_breakable(value)}>{text(value)}</span></td>"
        for head, value in zip(heads[1:], row[1:], strict=True)
    )


def _cell_kind(head: Head, value: object) -> str:
    """A number stands to the right; a sentence takes the whole width of a phone."""
    if head.numeric:
        return _numeric(head)
    if head.wide:
        return ' class="long"'
    return ' class="long"' if not isinstance(value, Html) and len(str(value)) > SENTENCE else ""


def _breakable(value: object) -> str:
    """Words that are longer than a cell may be broken anywhere; others, at their ends only."""
    longest = 0 if isinstance(value, Html) else max(map(len, str(value).split()), default=0)
    return ' class="wrap"' if longest > LONG_WORD else ""


def _numeric(head: Head) -> str:
    return ' class="num"' if head.numeric else ""


def short(value: object, limit: int = MAX_SHOWN) -> str:
    words = str(value)
    return words if len(words) <= limit else words[: limit - 1] + "…"


def last_part(name: object, limit: int = MAX_SHOWN) -> str:
    """A name as it is; of a path or an address its last part, for its folders are nobody's business.

    `openai/whisper-small` is a name; `/data/models/mine`, `./mine` and `s3://bucket/mine` are not.
    """
    return short(_last_part(name), limit)


def number(value: float | None, digits: int = 3) -> str:
    """A measured number, without separators: it may be a year. An en dash stands for none."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"


def percent(share: float | None, digits: int = 0) -> str:
    """A share of 1 as a percentage; never 0 % or 100 % for what is neither."""
    if share is None or math.isnan(share):
        return "–"
    shown = f"{share:.{digits}%}"
    least = 10.0**-digits
    if share < 1 and float(shown[:-1]) >= 100:
        return f"> {100 - least:.{digits}f}%"
    if share > 0 and float(shown[:-1]) <= 0:
        return f"< {least:.{digits}f}%"
    return shown


def moment(time: dt.datetime | pd.Timestamp | None) -> str:
    """A time in UTC, to the minute."""
    return "–" if time is None or pd.isna(time) else f"{time:%Y-%m-%d %H:%M} UTC"


def is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or bool(pd.isna(value))


def entered(column: Column, value: Any) -> str:
    """An input as a person reads it, with its unit."""
    if is_missing(value):
        return "not known"
    words = column.words(value)
    if words == str(value) and not isinstance(value, str):
        words = number(float(value), 4)
    return short(f"{words} {column.unit}".strip())
