"""The last search for better settings, on the page: whether it found any, and what it cost."""

from __future__ import annotations

import json

from dagsverk.tabular.measures import WORDS
from dagsverk.tabular.searched_words import cost_words
from dagsverk.words import interval, mattered_words
from ui import parts
from ui.parts import Head, Html
from ui.tabular.desk import View


def card(view: View) -> Html:
    """Nothing before the first search."""
    report = view.searched
    if report is None:
        return Html("")
    heads = [Head(title=name) for name in ("Measure", "Defaults", "Searched", "Gain")]
    rows = [
        [
            WORDS[name],
            *(interval(v.mean, v.low, v.high) for v in (report.default[name], report.best[name], gain)),
        ]
        for name, gain in report.gain.items()
    ]
    settings = json.dumps(dict(report.settings.parameters)) if report.settings.parameters else ""
    pairs = [
        ("Settings it would choose", f"{report.settings.model_class} {settings}".strip()),
        ("What mattered", mattered_words(report.importances)),
        ("Cost", cost_words(report.cost)),
    ]
    return parts.card(
        "Search for better settings",
        f"{report.verdict} Nothing was changed by it.",
        parts.table("On rows that neither choice has seen; a gain above 0 is better", heads, rows),
        parts.facts(pairs),
    )
