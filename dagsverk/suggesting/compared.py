"""What comparisons say against the model in use: another one that is better beyond chance. Light."""

from __future__ import annotations

from collections.abc import Iterator

from dagsverk.speech.compared import results
from dagsverk.speech.languages import Language
from dagsverk.store import Store
from dagsverk.suggesting.corpora import read_again
from dagsverk.suggestions import Gain, Suggestion
from dagsverk.tabular import compared as tables
from dagsverk.tabular.measures import error_words
from dagsverk.tabular.system import System


def better_speech(store: Store, language: Language) -> Iterator[Suggestion]:
    """Of each model that was compared with the one in use, the newest comparison, if that is better."""
    champion = store.champion(language.model_name)
    if champion is None:
        return
    seen: set[str] = set()
    for report in results.reports(store, language):
        sides = (report.first, report.second)
        place = next((i for i, side in enumerate(sides) if side.version == champion.version), None)
        other = None if place is None else sides[1 - place]
        wer = report.wer
        if other is None or other.version == champion.version or other.key in seen:
            continue
        seen.add(other.key)
        if report.outcome != (1 if place == 0 else -1) or wer.value is None:
            continue
        sign = 1 if place == 0 else -1
        ends = sorted(sign * end for end in (wer.low, wer.high) if end is not None)
        yield Suggestion(
            about="model",
            action=f"Look at {other.name}: it writes this language down better than the model in use.",
            why=report.verdict,
            gain=Gain(
                measure="word error rate", value=sign * wer.value, low=ends[0], high=ends[-1], share=True,
                now=sides[place or 0].wer.value,
            ),
            cost="a decision: its licence, its price and speed are others",
            command=f"prefect deployment run speech-compare/{language.name}{read_again(store, language)}",
            source=f"{results.folder(language)}/reports/{report.key}.json",
            made_at=report.at,
        )  # fmt: skip


def better_tables(store: Store, system: System) -> Iterator[Suggestion]:
    """The same of a table."""
    champion = store.champion(system.name)
    if champion is None:
        return
    seen: set[str] = set()
    for report in tables.reports(store, system.name):
        sides = (report.first, report.second)
        place = next((i for i, side in enumerate(sides) if side.version == champion.version), None)
        other = None if place is None else sides[1 - place]
        if other is None or other.version == champion.version or other.name in seen:
            continue
        seen.add(other.name)
        if report.outcome != (1 if place == 0 else -1):
            continue
        change, own = report.changes[report.measure], sides[place or 0]
        loss = report.measure == "log_loss"
        sign = (1 if place == 0 else -1) * (1 if loss else -1)
        low, high = sorted((sign * change.low, sign * change.high))
        yield Suggestion(
            about="model",
            action=f"Look at {other.name}: it is better than the model in use.",
            why=report.verdict,
            gain=Gain(
                measure=error_words(report.measure), value=sign * change.value, low=low, high=high,
                now=own.log_loss if loss else 1 - own.accuracy,
            ),
            cost="a decision, and a training by its recipe",
            command=f"prefect deployment run tabular-compare/{system.name}",
            source=f"{tables.folder(system.name)}/reports/{report.key}.json",
            made_at=report.at,
        )  # fmt: skip
