"""What the model that is shown knew before it was tuned, beside what it knows now."""

from __future__ import annotations

from dagsverk.speech.evaluation.report import Retention, TranslatedClip
from dagsverk.speech.registry.knew_before import not_measured, offer, rows
from ui import parts
from ui.parts import Head, Html
from ui.speech.desk import SpeechView
from ui.speech.parts import gap

TITLE = "What it knew before"


def knew_before(view: SpeechView) -> Html:
    """English from speech, other languages and timestamps, before and after; why, where not measured."""
    of = shown(view)
    if of is None:
        words = "A published model's English, other languages and timestamps are asked for when it is scored."
        return parts.card(TITLE, "", parts.empty("Not measured", words))
    missing = (parts.element("p", sentence, "soft small") for sentence in not_measured(of))
    return parts.card(TITLE, offer(of), _table(of), *missing, _examples(of, view.language.code))


def shown(view: SpeechView) -> Retention | None:
    """Of the model whose scores the page shows."""
    if view.shown is None:
        return None
    verdicts = (verdict for verdict in reversed(view.verdicts) if verdict.candidate == view.shown.key)
    return next((verdict.retention for verdict in verdicts), None)


def _table(of: Retention) -> Html:
    heads = [Head(title="Asked for", wide=True)]
    heads += [Head(title=title, numeric=True) for title in ("Before", "After", "Change, points")]
    listed = [
        (row.what, row.before or "–", row.after, gap(row.change, more_is_better=row.more_is_better))
        for row in rows(of)
    ]
    return parts.table("Before and after tuning, with 95% intervals", heads, listed) if listed else Html("")


def _examples(of: Retention, code: str) -> Html:
    """Clips whose English changed most."""
    if of.translation is None or not of.translation.examples:
        return Html("")
    heads = [Head(title=title, wide=True) for title in ("Spoken", "Before", "After", "Should be")]
    listed = [
        (_spoken(each, code), *(parts.short(words or "–", 200) for words in (each.before, each.after)),
         parts.short(each.reference, 200) or "not known")
        for each in of.translation.examples
    ]  # fmt: skip
    words = "Clips whose English changed most"
    return Html(f"<details><summary>{words}</summary>{parts.table('Their English', heads, listed)}</details>")


def _spoken(each: TranslatedClip, code: str) -> Html:
    return Html(f'<span lang="{parts.text(code)}">{parts.text(parts.short(each.text, 200))}</span>')
