"""Lineage as types: a thing of the store by its name, what it is, what it came from and what was made of it.

A trace is a few chains of cards. Every card that stands for a thing names it by a `Ref`, and each Ref of a
trace can be traced itself: there is no dangling end, and whoever goes forward finds the way back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import quote

from dagsverk import markup

Kind = Literal["row", "prediction", "aside", "commit", "version", "run", "set", "clip", "text", "evaluation"]
KINDS: tuple[str, ...] = get_args(Kind)
MOST = 12  # things of a kind that a trace lists
LONGEST = 1000  # characters of a name that is looked for
NOT_RECORDED = "not recorded"
PART = re.compile(
    r"[A-Za-z0-9_-]{1,100}"
)  # of an artefact's path; what is no such name is not looked for there
Facts = tuple[tuple[str, str], ...]


class NotTraced(LookupError):
    """The store has nothing of that name; the message says what was looked for and where."""


@dataclass(frozen=True)
class Ref:
    """A thing of the store: what it is, of which system or model, and its name there.

    As text "row:titanic:titanic-17". What a name is made of: row: its id; prediction: version/event time/row
    id; aside: line@source; commit: table/id; version: its number; run, set, clip: its id; text:
    place/recording/record; evaluation: its key.
    """

    kind: Kind
    of: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.of}:{self.id}"

    @property
    def address(self) -> str:
        """Where the pages trace it, below their own address."""
        return f"lineage?q={quote(str(self), safe='', errors='replace')}"


def parse_ref(text: str) -> Ref | None:
    """The thing that a text such as "row:titanic:titanic-17" names; None of any other text."""
    kind, _, rest = text.partition(":")
    of, mark, name = rest.partition(":")
    if kind not in KINDS or not mark or not name or len(text) > LONGEST:
        return None
    return Ref(kind, of, name)  # type: ignore[arg-type]  # it is one of KINDS


@dataclass(frozen=True, kw_only=True)
class Card:
    """One thing on the way: its name, what is to be said of it in facts, and a sentence."""

    title: str  # what kind of thing, and which: "Version 3"
    ref: Ref | None = None  # None: a step without a name of its own, such as a decision
    id: str = ""  # as it is shown
    facts: Facts = ()
    words: str = ""
    links: tuple[tuple[str, Ref], ...] = ()  # words, and the thing they lead to
    missing: bool = False  # it ought to be here, and was not recorded


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Cards in the order in which things came about."""

    title: str
    cards: tuple[Card, ...]
    words: str = ""  # such as how many there are that are not listed


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What one thing came from, what it is, and what was made of it."""

    ref: Ref
    title: str
    before: tuple[Chain, ...]
    card: Card
    after: tuple[Chain, ...]
    notes: tuple[str, ...] = field(default=())  # what could not be read, in sentences

    def refs(self) -> Iterator[Ref]:
        """Every thing that is named."""
        for card in self.cards():
            if card.ref is not None:
                yield card.ref
            yield from (ref for _, ref in card.links)

    def cards(self) -> Iterator[Card]:
        """Every card, in order."""
        yield from (card for chain in self.before for card in chain.cards)
        yield self.card
        yield from (card for chain in self.after for card in chain.cards)


def missing(title: str, words: str) -> Card:
    """A link that nobody kept."""
    return Card(title=title, words=words, missing=True)


def listed(count: int, shown: int, what: str) -> str:
    """ "the newest 12 of 40 predictions are listed"; "" where all are."""
    return f"the newest {shown:,} of {count:,} {what} are listed" if count > shown else ""


def short(value: object, limit: int = 120) -> str:
    return markup.short(value, limit)
