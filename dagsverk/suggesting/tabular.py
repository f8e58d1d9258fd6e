"""What would help a tabular system, from the reports that the store has of it. Light."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from dagsverk.label_report import STEP as LABELS
from dagsverk.records import last_report, parse, report_path
from dagsverk.store import Store
from dagsverk.suggesting.compared import better_tables
from dagsverk.suggesting.labels import suspect_outcomes
from dagsverk.suggesting.reports import made_at
from dagsverk.suggestions import Gain, Measurement, Suggestion
from dagsverk.tabular.learning_curve import STEP as CURVE
from dagsverk.tabular.learning_curve import TabularCurve
from dagsverk.tabular.learning_curve_words import curve_sentence
from dagsverk.tabular.measures import error, error_words
from dagsverk.tabular.reports import Trained
from dagsverk.tabular.scores import ClassScores
from dagsverk.tabular.searching import STEP as SEARCH
from dagsverk.tabular.searching import Searched
from dagsverk.tabular.system import System
from dagsverk.words import counted

LEAST_MISSED = 0.02  # share of the rows that a class' missed ones must be to be spoken of
MOST_CLASSES = 2


def suggestions(store: Store, system: System) -> list[Suggestion]:
    """All of them, in no order. Raises StoreError where a report is damaged."""
    return [one for source in SOURCES for one in source(store, system)]


def searched(store: Store, system: System) -> Iterator[Suggestion]:
    """Other settings, from the last search."""
    report = last_report(store, system.name, SEARCH, Searched)
    if report is None or report.gain[report.measure].high <= 0:
        return  # worse ones help nobody
    gain, settings = report.gain[report.measure], report.settings
    parameters = json.dumps(dict(settings.parameters))
    yield Suggestion(
        about="model",
        action=f"Take the settings that the search chose: {settings.model_class} {parameters}.",
        why=report.verdict,
        gain=Gain(
            measure=error_words(report.measure), value=gain.mean, low=gain.low, high=gain.high,
            now=error(report.measure, report.default[report.measure].mean),
        ),
        cost="the search is done; the settings are written into the model class' defaults by hand",
        cost_s=report.cost.seconds,
        command=f"prefect deployment run tabular-search/{system.name}",
        source=report_path(system.name, SEARCH),
        made_at=made_at(store, system.name, SEARCH),
    )  # fmt: skip


def more_rows(store: Store, system: System) -> Iterator[Suggestion]:
    """Twice the rows, from the last learning curve."""
    report = last_report(store, system.name, CURVE, TabularCurve)
    if report is None:
        return
    twice = report.fit.forecasts[0] if report.fit.foretells else None
    yield Suggestion(
        about="data",
        action="Bring more rows of the same kind: twice as many.",
        why=f"{curve_sentence(report)}{_since(store, system, report.model_version)}",
        gain=Gain(measure=error_words(report.measure), value=twice.gain, low=twice.gain_low,
                  high=twice.gain_high, now=report.fit.error_now) if twice else None,
        cost=f"{counted(report.rows, 'row')} more, with their outcomes",
        command=f"prefect deployment run day/{system.name} --param source=rows.csv",
        source=report_path(system.name, CURVE),
        made_at=made_at(store, system.name, CURVE),
    )  # fmt: skip


def _since(store: Store, system: System, measured: int | None) -> str:
    """That another model is in use than the one that was measured; "" if it is the same."""
    champion = store.champion(system.name)
    if champion is None or measured == champion.version:
        return ""
    of = f"version {measured}" if measured else "a model that is not in use"
    return f" Measured with {of}; in use is version {champion.version}."


def missed_classes(store: Store, system: System) -> Iterator[Suggestion]:
    """Outcomes that the model in use misses most, by its cross-validated recall."""
    champion = store.champion(system.name)
    kept = champion.info.get("per_class") if champion else None
    if champion is None or not kept:
        return
    classes = parse(kept, list[ClassScores], f"{system.name} version {champion.version}")
    total = sum(one.rows for one in classes)
    missed = {one.name: one.rows * (1 - one.recall.mean) / total for one in classes if total}
    for one in sorted(classes, key=lambda each: -missed.get(each.name, 0.0))[:MOST_CLASSES]:
        if missed.get(one.name, 0.0) < LEAST_MISSED:
            continue
        recall = one.recall
        yield Suggestion(
            about="data",
            action=f"Bring more rows whose outcome is “{system.label.words(one.name)}”, or a column "
            "that tells them from the others.",
            why=f"Of {one.rows} such rows the model in use misses {1 - recall.mean:.0%} (recall "
            f"{recall.mean:.3f}, {recall.low:.3f} to {recall.high:.3f}).",
            gain=Gain(measure=error_words("accuracy"), value=None, low=0.0, high=missed[one.name],
                      now=error("accuracy", champion.metrics.get("accuracy", 0.0)), share=True),
            cost="rows from outside, or a new column",
            source=f"models/{system.name}/{champion.version}",
            made_at=champion.created.isoformat(timespec="seconds"),
        )  # fmt: skip


# Every function that turns a report into suggestions. One that has nothing to say yields none.
def rows_twice(store: Store, system: System) -> Iterator[Suggestion]:
    """Rows that are one thing written down several times, as the last training saw them."""
    report = last_report(store, system.name, "training", Trained)
    if report is None or report.twice is None or not report.twice.rows:
        return
    yield Suggestion(
        about="data",
        action="See why the source has rows twice, and mend it.",
        why=report.twice.words,
        gain=None,
        cost="a look at the source",
        source=report_path(system.name, "training"),
        made_at=made_at(store, system.name, "training"),
    )


SOURCES: tuple[Callable[[Store, System], Iterator[Suggestion]], ...] = (
    searched,
    more_rows,
    missed_classes,
    better_tables,
    suspect_outcomes,
    rows_twice,
)

# Every flow whose report becomes suggestions.
MEASUREMENTS = (
    Measurement(question="Would other settings be better?", step=SEARCH, flow="tabular-search"),
    Measurement(question="Would more rows help?", step=CURVE, flow="tabular-learning-curve"),
    Measurement(question="Which outcomes look wrong?", step=LABELS, flow="tabular-labels"),
)
