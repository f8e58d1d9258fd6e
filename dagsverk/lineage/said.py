"""A trace in JSON types, and as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dagsverk.lineage.cards import Card, Chain, Ref, Trace

WIDTH = 4  # spaces in front of what belongs to a card


def as_json(trace: Trace) -> dict[str, Any]:
    """The trace as the REST API gives it."""
    return {
        "ref": str(trace.ref),
        "title": trace.title,
        "before": [_chain(chain) for chain in trace.before],
        "card": _card(trace.card),
        "after": [_chain(chain) for chain in trace.after],
        "notes": list(trace.notes),
    }


def _chain(chain: Chain) -> dict[str, Any]:
    return {"title": chain.title, "words": chain.words, "cards": [_card(card) for card in chain.cards]}


def _card(card: Card) -> dict[str, Any]:
    return {
        "title": card.title,
        "ref": str(card.ref) if card.ref else None,
        "id": card.id,
        "facts": [{"name": name, "value": value} for name, value in card.facts],
        "words": card.words,
        "links": [{"words": words, "ref": str(ref)} for words, ref in card.links],
        "recorded": not card.missing,
    }


def as_text(trace: Trace) -> Iterator[str]:
    """Lines: what it came from, what it is (marked with >), what was made of it."""
    yield trace.title
    for note in trace.notes:
        yield f"  note: {note}"
    for chain in trace.before:
        yield from _lines(chain)
    yield ""
    yield from _card_lines(trace.card, "> ")
    for chain in trace.after:
        yield from _lines(chain)


def _lines(chain: Chain) -> Iterator[str]:
    yield ""
    yield f"{chain.title}{': ' + chain.words if chain.words else ''}"
    for card in chain.cards:
        yield from _card_lines(card, "  ")


def _card_lines(card: Card, mark: str) -> Iterator[str]:
    name = f" [{card.ref}]" if card.ref else ""
    yield f"{mark}{card.title}{': ' + card.id if card.id else ''}{name}"
    inside = " " * WIDTH
    if card.words:
        yield f"{inside}{'NOT RECORDED: ' if card.missing else ''}{card.words}"
    for fact, value in card.facts:
        yield f"{inside}{fact}: {value}"


def choices(refs: Sequence[Ref]) -> Iterator[str]:
    """What the words may mean, a name in each line."""
    yield f"{len(refs)} things are of that name; name one:"
    yield from (f"  {ref}" for ref in refs)
