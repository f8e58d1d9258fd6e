"""What a model knew before it was tuned, beside what it knows now, in rows and words. For card and page.

Light: loads no learning library.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dagsverk.speech.evaluation.forgetting import RULE
from dagsverk.speech.evaluation.report import English, Interval, Retention, Timestamps, Translation
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.registry.gate import percent
from dagsverk.words import counted, difference, table

NOT_MEASURED = "Not measured: English, other languages and timestamps are as training left them."
HEADER = ("asked for", "before", "after", "change")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measure before and after training; empty where there is nothing to say."""

    what: str
    before: str
    after: str
    change: Interval | None = None
    more_is_better: bool = False


def rows(of: Retention) -> tuple[Row, ...]:
    """All that was measured."""
    return (
        *(_english_rows(of.translation) if of.translation else ()),
        *(
            Row(
                what=f"{language_of(one.language).title}, word error rate on {counted(one.clips, 'clip')}",
                before=percent(one.before),
                after=percent(one.after) + (f", loops: {one.loops_after}" if one.loops_after else ""),
                change=one.change,
            )
            for one in of.languages
        ),
        *(_timestamp_rows(of.timestamps) if of.timestamps else ()),
    )


def offer(of: Retention) -> str:
    """ "English is offered: ..."."""
    return f"English is {'offered' if of.english else 'not offered'}: {of.why}."


def not_measured(of: Retention) -> Iterator[str]:
    """A sentence for each part that could not be measured, but English: `offer` says why."""
    for part, why in of.not_measured.items():
        if part != "English":
            yield f"Not measured, {part}: {why}."


def knew_before(of: Retention | None) -> str:
    """The card's section, in Markdown."""
    if of is None:
        return NOT_MEASURED
    lines = [(row.what, row.before, row.after, _points(row.change) if row.change else "") for row in rows(of)]
    pieces = [offer(of), table(HEADER, lines) if lines else "", *not_measured(of), RULE]
    return "\n\n".join(piece for piece in pieces if piece)


def _points(change: Interval) -> str:
    return difference(change.value, change.low, change.high) if change.value is not None else ""


def _english_rows(of: Translation) -> Iterator[Row]:
    before, after = of.before, of.after
    if before.chrf and after.chrf:
        yield Row(
            what=f"English, chrF against the translations of {counted(of.references, 'clip')}",
            before=percent(before.chrf),
            after=percent(after.chrf),
            change=of.change,
            more_is_better=True,
        )
    yield Row(what="English, chrF against what it wrote before", before="", after=percent(of.agreement))
    yield Row(
        what=f"English, of {counted(of.clips, 'text')} those left in the language spoken, or empty",
        before=_missing(before),
        after=_missing(after),
        change=of.missing_change,
    )
    yield Row(what="English, texts that loop", before=str(before.loops), after=str(after.loops))


def _missing(one: English) -> str:
    return str(one.spoken + one.empty)


def _timestamp_rows(of: Timestamps) -> Iterator[Row]:
    yield Row(
        what=f"Timestamps of {counted(of.clips, 'clip')}, whole and within the clip",
        before=str(of.before.within),
        after=str(of.after.within),
    )
    if of.end_shift_s is not None:
        shift = f"{of.end_shift_s:g} s from before (median)"
        yield Row(what="Timestamps, where the last word ends", before="", after=shift)
