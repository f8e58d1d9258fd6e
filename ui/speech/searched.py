"""The last search for better settings of fine-tuning, on the page: whether it found any, and what it cost."""

from __future__ import annotations

from dagsverk.speech.searched_words import cost_words, dev_words, rows, settings_words
from dagsverk.words import mattered_words
from ui import parts
from ui.parts import Head, Html
from ui.speech.desk import SpeechView

TITLE = "Search for better settings"


def card(view: SpeechView) -> Html:
    """How to begin, before the first search."""
    report = view.searched
    if report is None:
        words = "Other settings are tried on dev, and the best is compared with the default on test."
        command = f"prefect deployment run speech-search/{view.language.name}"
        return parts.card(TITLE, "", parts.empty("None yet", words, command))
    pairs = [
        ("What mattered to dev", mattered_words(report.importances)),
        ("Cost", cost_words(report.cost)),
        ("Loss on dev, by trial", dev_words(report)),
    ]
    if report.best is not None:
        used = "To use it, in finetune" if report.better else "The best on dev"
        pairs.insert(0, (used, settings_words(report)))
    heads = [Head(title=name) for name in ("Measure", "Default", "Best on dev", "Gain")]
    scores = [list(row) for row in rows(report)] if report.by_seed else []
    return parts.card(
        TITLE,
        f"{report.verdict} Nothing was promoted by it.",
        parts.table("On test clips that no choice has seen; a gain above 0 is better", heads, scores)
        if scores
        else Html(""),
        parts.facts(pairs),
    )
