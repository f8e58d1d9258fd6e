"""The sections of a monitor page, each drawn from a View; each says so when there is nothing to show yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagsverk.lineage.cards import Ref
from dagsverk.tabular.monitoring import Report, wilson
from dagsverk.tabular.pictures import picture
from dagsverk.tabular.summary import NO_REAL_OUTCOME
from dagsverk.tabular.system import System
from ui import parts
from ui.parts import Head, Html, Tile, percent
from ui.tabular import alarms, confusion, invented, rows_in, searched
from ui.tabular.champion import champion
from ui.tabular.desk import View, day_command, source_command

VERDICTS = {True: ("correct ✓", "good"), False: ("wrong ✗", "bad"), None: ("not known yet", "")}


def trouble(error: Exception, had_content: bool) -> Html:
    """The store did not answer."""
    what = (
        " What is below was read before."
        if had_content
        else " This page will fill by itself when it answers."
    )
    return parts.note("The store does not answer.", parts.short(error, 300), what, bad=True)


def overview(view: View) -> Html:
    """Alerts, the number row, the newest prediction and the confusion matrix."""
    boxes = first_day(view.system) if view.blank else parts.join(newest(view), confusion.card(view))
    return parts.join(
        alarms.listed(view),
        number_row(view),
        Html(f'<div class="dv-grid" style="margin-top:18px">{boxes}</div>'),
    )


def first_day(system: System) -> Html:
    """What stands here before the first day."""
    words = (
        f"A day of {system.title} checks the raw rows, trains every model class, puts the best one to work, "
        "and predicts new rows. Start one in the Prefect UI, or with this command; this page fills by itself."
    )
    return parts.empty(f"{system.title} has not had its first day", words, day_command(system))


def number_row(view: View) -> Html:
    """Rows, predictions, accuracy so far against its promise, alerts."""
    report = view.report
    set_aside = f"{view.rows_set_aside:,} set aside" if view.rows_set_aside else "none set aside"
    real = f"{view.rows - view.invented_rows:,} real, {view.invented_rows:,} invented; "
    invented_too = report.invented.predictions
    more = f"; {invented_too:,} predictions of invented rows stand apart" if invented_too else ""
    return parts.tiles(
        (
            Tile(
                label="Rows",
                figure=f"{view.rows:,}",
                note=f"{real if view.invented_rows else ''}{set_aside}",
            ),
            Tile(
                label="Predictions of new real rows",
                figure=f"{report.predictions:,}",
                note=f"{report.outcomes:,} outcomes known{more}",
            ),
            accuracy_tile(report),
            Tile(
                label="Alerts",
                figure=str(len(report.alerts)),
                note=f"as of {report.made_at:%H:%M} UTC",
                warn=bool(report.alerts),
            ),
        )
    )


def accuracy_tile(report: Report) -> Tile:
    """Share of right predictions of real rows over the whole history."""
    promised = report.accuracy.promised
    promise = f"promised {percent(promised, 1)}" if promised is not None else "nothing promised yet"
    if not report.outcomes:
        return Tile(label="Accuracy so far", figure="–", note=f"{NO_REAL_OUTCOME}; {promise}")
    low, high = wilson(report.correct, report.outcomes)
    within = f"{percent(float(low), 0)} to {percent(float(high), 0)}"
    return Tile(
        label="Accuracy so far",
        figure=percent(report.correct / report.outcomes, 1),
        note=f"95% interval {within}; {promise}",
    )


def newest_row(report: Report) -> Mapping[Any, Any] | None:
    """The newest prediction: of a real row, or of an invented one where there is no real one."""
    last = report.invented.last if report.last.empty else report.last
    return None if last.empty else last.iloc[0].to_dict()


def newest(view: View) -> Html:
    """The newest prediction with its picture and, once known, its outcome."""
    system, row = view.system, newest_row(view.report)
    if row is None:
        words = (
            f"The champion predicts every {system.row_name} that comes in after its training. "
            "A day brings new rows and predicts them:"
        )
        nothing = parts.empty("No prediction yet", words, day_command(system))
        return parts.card("Newest prediction", "", nothing, width="w7")
    outcome = system.label.words(row["prediction"])
    happened = "" if parts.is_missing(row["outcome"]) else system.label.words(row["outcome"])
    inputs = [(c.description, parts.entered(c, row.get(c.name))) for c in system.columns]
    words = parts.join(
        parts.element("p", outcome[:1].upper() + outcome[1:], "said serif"),
        parts.element("p", f"predicted with {percent(row['probability'])}", "soft"),
        parts.element("p", parts.join(label_of(row), parts.element("strong", happened), " ", judged(row))),
        parts.element("p", invented.badge()) if invented.is_invented(row) else "",
    )
    seen = parts.element("div", Html(picture(system, row["prediction"])), "dv-picture")
    when = parts.moment(row["predicted_at"])
    by = parts.join(
        f"{parts.short(row['row_id'])}, by version {row['model_version']}, {when}. ",
        _traced(system, "Where it comes from", row["row_id"]),
    )
    both = parts.element(
        "div", parts.join(seen, parts.element("div", words), parts.pairs(inputs)), "dv-newest"
    )
    return parts.card("Newest prediction", by, both, width="w7")


def _traced(system: System, words: str, row_id: object) -> Html:
    """What leads to a row's lineage."""
    return parts.link(words, Ref("row", system.name, str(row_id)).address)


def label_of(row: Mapping[Any, Any]) -> str:
    return "The generator’s label: " if invented.is_invented(row) else "Outcome: "


def judged(row: Mapping[Any, Any]) -> Html:
    """What came of a prediction: right or wrong for a real row, agreement for an invented one."""
    return (invented.verdict if invented.is_invented(row) else verdict)(row["correct"])


def verdict(correct: Any) -> Html:
    return parts.chip(*VERDICTS[None if parts.is_missing(correct) else bool(correct)])


def accuracy(view: View) -> Html:
    """Title of the chart, and what it can and cannot show."""
    report, test = view.report, view.report.accuracy
    title = parts.element("h2", "Accuracy over time")
    if not report.outcomes:
        words = "Drawn as soon as outcomes of predicted real rows are known."
        if report.invented.outcomes:
            title = parts.element("h2", "Invented rows over time")
            words = f"No accuracy, for no outcome of a real row is known yet. {invented.WHY}"
        return parts.join(title, parts.element("p", words, "soft small"), alarms.expected(report))
    words = f"Of the last {test.n} real rows with outcomes {percent(test.accuracy, 1)} were predicted right"
    words += f" (95% interval {percent(test.low)} to {percent(test.high)})."
    if test.detectable is not None:
        words += (
            f" With so many outcomes a day a fall of {100 * test.detectable:.0f} points is noticed within "
            "about 30 days; looked at daily, one system in twenty at most alarms falsely in a year."
        )
    return parts.join(title, parts.element("p", words, "soft small"), alarms.expected(report))


def details(view: View) -> Html:
    """Last predictions, invented rows, drift, set-aside rows and the champion."""
    boxes = rows_in.card(view) if rows_in.is_worth_showing(view) else ""
    if not view.blank:
        apart = invented.card(view.report, view.system)
        boxes = parts.join(
            last_predictions(view),
            apart,
            alarms.drift(view),
            rows_in.card(view),
            champion(view),
            searched.card(view),
        )
    return Html(f'<div class="dv-grid">{boxes}</div>')


def last_predictions(view: View) -> Html:
    """The newest predictions of real rows with their outcomes."""
    system, report = view.system, view.report
    heads = [Head(title=name) for name in (system.row_name.capitalize(), "Day", "Predicted")]
    heads += [Head(title="Probability", numeric=True), Head(title="Outcome"), Head(title="Verdict")]
    rows = [_prediction_row(system, row) for row in report.last.to_dict("records")]
    if not rows:
        words = "Rows of your own, with or without their outcomes, are predicted and listed here:"
        nothing = parts.empty("No new real row was predicted yet", words, source_command(system))
        return parts.card("Last predictions", "", nothing)
    caption = f"The newest {len(rows)} of {report.predictions:,} predictions of real rows, newest first"
    return parts.card("Last predictions", "", parts.table(caption, heads, rows), invented.downloads(system))


def _prediction_row(system: System, row: Mapping[Any, Any]) -> list[object]:
    outcome = row["outcome"]
    happened = "–" if parts.is_missing(outcome) else system.label.words(outcome)
    return [
        _traced(system, parts.short(row["row_id"]), row["row_id"]),
        f"{row['event_time']:%Y-%m-%d}",
        system.label.words(row["prediction"]),
        percent(row["probability"]),
        happened,
        verdict(row["correct"]),
    ]
