"""A system's last day in a few lines, from what the last run of each step kept."""

from __future__ import annotations

from typing import TypeVar

from dagsverk.records import last_report
from dagsverk.store import Store
from dagsverk.tabular.measures import WORDS
from dagsverk.tabular.reports import (
    ComparedClass,
    Ingested,
    Interval,
    Monitored,
    Predicted,
    Synthesised,
    Trained,
)
from dagsverk.words import counted, interval

T = TypeVar("T")
NO_REAL_OUTCOME = "no outcome of a real row yet"
_NOTHING_TO_PREDICT = "  rows predicted   0: the champion has predicted every row already"


def day_summary(store: Store, system: str) -> str:
    """The system's last day in plain text: rows, models with intervals, champion and why, accuracy so far."""

    def last(step: str, kind: type[T]) -> T | None:
        return last_report(store, system, step, kind)

    lines = [
        *(_features(report) if (report := last("features", Ingested)) else ()),
        *(_training(trained) if (trained := last("training", Trained)) else ()),
        *(_synthesis(synthesised) if (synthesised := last("synthesis", Synthesised)) else ()),
        *(_inference(predicted) if (predicted := last("inference", Predicted)) else ()),
        *(_monitoring(monitored) if (monitored := last("monitoring", Monitored)) else ()),
    ]
    return "\n".join(lines) or f"{system}: no step has run yet"


def _features(report: Ingested) -> list[str]:
    news = _news(report.inserted, report.updated, "rows")
    gone = f"; {report.rows_gone} known rows are not in this source (kept)" if report.rows_gone else ""
    aside = f"{report.rows_set_aside} set aside"
    more = "".join(f"; {words}" for words in arrival_words(report))
    return [f"  rows in          {report.rows_in} from {report.source}, {aside}; {news}{gone}{more}"]


def arrival_words(report: Ingested) -> list[str]:
    """What became of rows that a source has brought before, or that came without an outcome."""
    counts = (
        (report.without_outcome, "without an outcome yet"),
        (report.outcomes_kept, "came without the outcome that is stored, which is kept"),
        (report.left_to_source, "left as a source brought them"),
    )
    return [f"{counted(count, 'row')} {words}" for count, words in counts if count]


def _training(report: Trained) -> list[str]:
    width = max(len(row.model_class) for row in report.compared)
    lines = [
        f"  {'' if i else 'models':<16} {row.model_class:<{width}}  "
        f"{_measured(report, row)}log-loss {_interval(row.log_loss)}  accuracy {_interval(row.accuracy)}"
        for i, row in enumerate(report.compared)
    ]
    version = f"version {report.champion}" if report.champion else "none yet"
    if report.twice and report.twice.rows:
        lines.append(f"  {'rows twice':<16} {report.twice.words}")
    return [*lines, f"  {'champion':<16} {version}: {report.reason}"]


def _measured(report: Trained, row: ComparedClass) -> str:
    """What the classes were chosen by, where that is not the log-loss."""
    metric = getattr(row, report.measure)
    if report.measure == "log_loss" or metric is None:
        return ""
    return f"{WORDS[report.measure]} {_interval(metric)}  "


def _interval(metric: Interval) -> str:
    return interval(metric.mean, metric.low, metric.high)


def _synthesis(report: Synthesised) -> list[str]:
    if not report.count:
        return [f"  rows synthesised none for {report.date}: synthesis is off (count 0)"]
    quality = report.quality
    judged = f"; real-or-synthetic AUC {quality.c2st_auc:.2f} (0.5: alike)" if quality else ""
    news = _news(report.inserted, 0, "rows")
    return [f"  rows synthesised {report.count} for {report.date} by {report.method}: {news}{judged}"]


def _inference(report: Predicted) -> list[str]:
    n = report.predicted
    unseen = f", {report.unseen} of them unseen in training" if n else ""
    return [f"  rows predicted   {n} by version {report.model_version}{unseen}" if n else _NOTHING_TO_PREDICT]


def _monitoring(report: Monitored) -> list[str]:
    line = f"  accuracy so far  {NO_REAL_OUTCOME}"
    if report.outcomes:
        accuracy = interval(report.accuracy, report.low, report.high)
        line = f"  accuracy so far  {accuracy} on {counted(report.outcomes, 'unseen real row')}"
    agreed = agreement(report.invented_agreed, report.invented_outcomes)
    invented = [f"  invented rows    {agreed}"] if agreed else []
    return [line, *invented, *(f"  ALERT            {message}" for message in report.alerts)]


def agreement(agreed: int, rows: int) -> str:
    """What may be said of invented rows' labels: no accuracy, for the generator drew them. Empty without."""
    return f"{agreed:,} of {rows:,} predicted as the generator labelled them (no accuracy)" if rows else ""


def _news(inserted: int, updated: int, what: str) -> str:
    if not inserted and not updated:
        return "nothing new"
    return ", ".join(f"{n} {what} {verb}" for n, verb in ((inserted, "new"), (updated, "changed")) if n)
