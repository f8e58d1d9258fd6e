"""What was measured of a system or language besides, as suggestions: search, learning curve and the like."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dagsverk import markup
from dagsverk.markup import Head, Html
from dagsverk.report import common
from dagsverk.report.common import NOT_RECORDED, Subject
from dagsverk.store import StoreError, Unavailable
from dagsverk.suggestions import Suggestion, gain_words, ordered

MOST = 8  # listed
TITLE = "What would help most"


def card(subject: Subject, read: Callable[[], Sequence[Suggestion]]) -> Html:
    """The suggestions of the newest reports; they are of the name, not of this version alone."""
    try:
        listed = ordered(read())
    except Unavailable:
        raise
    except (StoreError, ValueError) as error:
        subject.notes.sentences.append(f"what would help: {markup.short(error, 300)}")
        return markup.card(TITLE, "", markup.element("p", f"{NOT_RECORDED.capitalize()}."))
    if not listed:
        nothing = "Nothing to say yet: the page Improve lists what can be measured."
        return markup.card(TITLE, "", markup.element("p", nothing))
    heads = [Head(title="What to do"), Head(title="Gain", wide=True), Head(title="Why", wide=True)]
    rows = [
        (one.action, gain_words(one.gain), f"{common.without_folders(one.why)}{_when(one)}")
        for one in listed[:MOST]
    ]
    some = f"; the first {MOST} of {len(listed)}" if len(listed) > MOST else ""
    note = f"By the newest reports on {subject.model.name}, whichever version is in use{some}."
    return markup.card(TITLE, note, markup.table("Most first", heads, rows))


def _when(one: Suggestion) -> str:
    return f" Measured {common.moment(one.made_at)}." if one.made_at else ""
