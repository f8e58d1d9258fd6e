"""The sections of a monitor page, each drawn from a View; each says so when there is nothing to show yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagsverk.store import Model
from dagsverk.tabular.drift import MIN_ROWS, ColumnDrift
from dagsverk.tabular.monitoring import Report, wilson
from dagsverk.tabular.pictures import picture
from dagsverk.tabular.system import System
from dagsverk.words import interval
from ui import parts
from ui.parts import Head, Html, Tile, percent
from ui.tabular.desk import View, day_command

MODEL_CLASSES = {
    "knn": "k-nearest neighbours",
    "lda": "linear discriminant analysis",
    "logistic": "logistic regression",
    "xgboost": "XGBoost",
}
MOST_PROMOTIONS = 5  # listed
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
    alerts = [parts.element("li", _alert(alert.message, alert.since), "bad") for alert in view.report.alerts]
    listed = Html(f'<ul class="dv-alerts" role="alert">{parts.join(*alerts)}</ul>') if alerts else ""
    boxes = first_day(view.system) if view.blank else parts.join(newest(view), confusion(view))
    return parts.join(
        listed, number_row(view), Html(f'<div class="dv-grid" style="margin-top:18px">{boxes}</div>')
    )


def first_day(system: System) -> Html:
    """What stands here before the first day."""
    words = (
        f"A day of {system.title} checks the raw rows, trains every model class, puts the best one to work, "
        "and predicts new rows. Start one in the Prefect UI, or with this command; this page fills by itself."
    )
    return parts.empty(f"{system.title} has not had its first day", words, day_command(system))


def _alert(message: str, since: Any) -> Html:
    return parts.join(
        parts.element("strong", "Alert: "), message, f" Since {parts.moment(since)}." if since else ""
    )


def number_row(view: View) -> Html:
    """Rows, predictions, accuracy so far against its promise, alerts."""
    report = view.report
    set_aside = f"{view.rows_set_aside:,} set aside" if view.rows_set_aside else "none set aside"
    return parts.tiles(
        (
            Tile(label="Rows", figure=f"{view.rows:,}", note=set_aside),
            Tile(
                label="Predictions of new rows",
                figure=f"{report.predictions:,}",
                note=f"{report.outcomes:,} outcomes known",
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
    """Share of right predictions over the whole history."""
    promised = report.accuracy.promised
    promise = f"promised {percent(promised, 1)}" if promised is not None else "nothing promised yet"
    if not report.outcomes:
        return Tile(label="Accuracy so far", figure="–", note=f"no outcome yet; {promise}")
    low, high = wilson(report.correct, report.outcomes)
    within = f"{percent(float(low), 0)} to {percent(float(high), 0)}"
    return Tile(
        label="Accuracy so far",
        figure=percent(report.correct / report.outcomes, 1),
        note=f"95% interval {within}; {promise}",
    )


def newest(view: View) -> Html:
    """The newest prediction with its picture and, once known, its outcome."""
    system, last = view.system, view.report.last
    if last.empty:
        words = (
            f"The champion predicts every {system.row_name} that comes in after its training. "
            "A day brings new rows and predicts them:"
        )
        nothing = parts.empty("No prediction yet", words, day_command(system))
        return parts.card("Newest prediction", "", nothing, width="w7")
    row: Mapping[Any, Any] = last.iloc[0].to_dict()
    outcome = system.label.words(row["prediction"])
    happened = "" if parts.is_missing(row["outcome"]) else system.label.words(row["outcome"])
    inputs = [(c.description, parts.entered(c, row.get(c.name))) for c in system.columns]
    words = parts.join(
        parts.element("p", outcome[:1].upper() + outcome[1:], "said serif"),
        parts.element("p", f"predicted with {percent(row['probability'])}", "soft"),
        parts.element(
            "p", parts.join("Outcome: ", parts.element("strong", happened), " ", verdict(row["correct"]))
        ),
    )
    seen = parts.element("div", Html(picture(system, row["prediction"])), "dv-picture")
    when = parts.moment(row["predicted_at"])
    by = f"{parts.short(row['row_id'])}, by version {row['model_version']}, {when}"
    both = parts.element(
        "div", parts.join(seen, parts.element("div", words), parts.pairs(inputs)), "dv-newest"
    )
    return parts.card("Newest prediction", by, both, width="w7")


def verdict(correct: Any) -> Html:
    return parts.chip(*VERDICTS[None if parts.is_missing(correct) else bool(correct)])


def confusion(view: View) -> Html:
    """Counts and shares of all rows with outcomes: rows are what happened, columns what was predicted."""
    counts, system = view.report.confusion, view.system
    if not view.report.outcomes:
        words = "Predictions whose outcome is known are counted here."
        return parts.card("Confusion matrix", "", parts.empty("No outcome yet", words), width="w5")
    titles = "".join(
        f'<th scope="col">{parts.text(system.label.words(name))}</th>' for name in counts.columns
    )
    rows = "".join(_confusion_row(system, name, counts.loc[name].to_dict()) for name in counts.index)
    table = (
        '<table class="dv-confusion"><caption class="sr-only">Rows: what happened. Columns: what was '
        f'predicted.</caption><thead><tr><td class="corner" rowspan="2"></td>'
        f'<th scope="colgroup" colspan="{len(counts.columns)}">predicted</th></tr><tr>{titles}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
    note = f"All {view.report.outcomes:,} predictions with an outcome; shares are of each row."
    return parts.card("Confusion matrix", note, Html(table), width="w5")


def _confusion_row(system: System, actual: str, counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    cells = []
    for predicted, count in counts.items():
        share = count / total if total else 0.0
        kind = "hit" if predicted == actual else "miss"
        cells.append(
            f'<td class="{kind}" style="--share:{share:.3f}"><b>{count:,}</b>'
            f"<span>{percent(share) if total else '–'}</span></td>"
        )
    return f'<tr><th scope="row">{parts.text(system.label.words(actual))}</th>{"".join(cells)}</tr>'


def accuracy(view: View) -> Html:
    """Title of the chart, and what it can and cannot show."""
    report, test = view.report, view.report.accuracy
    title = parts.element("h2", "Accuracy over time")
    if not report.outcomes:
        nothing = "Drawn as soon as outcomes of predicted rows are known."
        return parts.join(title, parts.element("p", nothing, "soft small"))
    words = f"Of the last {test.n} rows with outcomes {percent(test.accuracy, 1)} were predicted right"
    words += f" (95% interval {percent(test.low)} to {percent(test.high)})."
    if test.detectable is not None:
        words += (
            f" With so many rows a fall of {100 * test.detectable:.0f} points is noticed four times in five."
        )
    if report.expected_accuracy is not None:
        words += f" By its own probabilities {percent(report.expected_accuracy, 1)} should be right."
    return parts.join(title, parts.element("p", words, "soft small"))


def details(view: View) -> Html:
    """Last predictions, drift, set-aside rows and the champion."""
    boxes = set_aside(view) if view.rows_set_aside else ""
    if not view.blank:
        boxes = parts.join(last_predictions(view), drift(view), set_aside(view), champion(view))
    return Html(f'<div class="dv-grid">{boxes}</div>')


def last_predictions(view: View) -> Html:
    """The newest predictions with their outcomes."""
    system, report = view.system, view.report
    heads = [Head(title=name) for name in (system.row_name.capitalize(), "Day", "Predicted")]
    heads += [Head(title="Probability", numeric=True), Head(title="Outcome"), Head(title="Verdict")]
    rows = [_prediction_row(system, row) for row in report.last.to_dict("records")]
    if not rows:
        return parts.card(
            "Last predictions", "", parts.empty("No prediction yet", "They will be listed here.")
        )
    caption = f"The newest {len(rows)} of {report.predictions:,} predictions, newest first"
    return parts.card("Last predictions", "", parts.table(caption, heads, rows))


def _prediction_row(system: System, row: Mapping[Any, Any]) -> list[object]:
    outcome = row["outcome"]
    happened = "–" if parts.is_missing(outcome) else system.label.words(outcome)
    return [
        parts.short(row["row_id"]),
        f"{row['event_time']:%Y-%m-%d}",
        system.label.words(row["prediction"]),
        percent(row["probability"]),
        happened,
        verdict(row["correct"]),
    ]


def drift(view: View) -> Html:
    """A line per input column: has it changed, and how."""
    heads = [Head(title="Input"), Head(title="Change"), Head(title="p, corrected", numeric=True)]
    heads.append(Head(title="Verdict"))
    tested = view.report.drift
    n = tested[0].n if tested else 0
    if n < MIN_ROWS:
        note = f"The last {n} rows predicted are too few rows: from {MIN_ROWS} on, each input is tested."
    else:
        note = (
            f"The last {n} rows predicted against {tested[0].n_reference:,} historic ones, corrected for "
            f"{len(tested)} tests (Holm)."
        )
    rows = [_drift_row(view.system, column) for column in tested]
    return parts.card("Input drift", note, parts.table("A test per input", heads, rows), width="w7")


def _drift_row(system: System, drift: ColumnDrift) -> list[object]:
    tone = {True: "bad", False: "good", None: ""}[drift.drifted]
    p_value = "–" if drift.p_holm is None else "< 0.001" if drift.p_holm < 0.001 else f"{drift.p_holm:.3f}"
    words = system.column(drift.column).description
    return [words, drift.change or "–", p_value, parts.chip(drift.verdict, tone)]


def set_aside(view: View) -> Html:
    """Raw rows that failed a check: how many, and the last ones."""
    title, rejects = "Rows set aside", view.rejects
    if rejects.empty:
        nothing = parts.empty("None", "Every raw row passed its checks.")
        return parts.card(title, "", nothing, width="w5")
    heads = [Head(title=name) for name in ("Line", "Column", "Wanted", "Found")]
    rows = [
        [f"{row['line']}", row["column"] or "the whole row", row["check"], parts.short(row["value"])]
        for row in rejects.to_dict("records")
    ]
    note = f"{view.rows_set_aside:,} so far, kept with the check that each failed; the newest are listed."
    caption = f"From {parts.last_part(rejects.iloc[0]['source'])}"
    return parts.card(title, note, parts.table(caption, heads, rows), width="w5")


def champion(view: View) -> Html:
    """The model in use, why it is, and how the other model classes did on the same folds."""
    model = view.champion
    if model is None:
        words = f"A day of {view.system.title} trains every model class and promotes the best:"
        return parts.card("Champion", "", parts.empty("No champion yet", words, day_command(view.system)))
    pairs: list[tuple[object, object]] = [("Version", f"{model.version}{kind_of(model)}")]
    pairs += [("Trained", parts.moment(model.created)), *_metrics(model.metrics)]
    if view.training:
        pairs.append(("Last decision", _sentence(view.training.reason)))
    newest_first = list(view.promotions)[: -MOST_PROMOTIONS - 1 : -1]
    lines = (f"Version {p['version']} on {str(p['promoted_at'])[:10]}: {p['reason']}" for p in newest_first)
    pairs.append(("Promotions", parts.join(*(parts.element("div", line) for line in lines))))
    broken = (
        parts.note("Its files cannot be trusted.", view.card_problem, bad=True) if view.card_problem else ""
    )
    return parts.card("Champion", "", broken, parts.facts(pairs), _compared(model))


def kind_of(model: Model) -> str:
    """The model class in words, with a comma before it; nothing when it is not known."""
    name = model.info.get("model_class")
    return f", {_class_words(str(name))}" if name else ""


def _class_words(name: str) -> str:
    return MODEL_CLASSES.get(name, name.replace("_", " "))


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _metrics(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    names = {
        "accuracy": "Accuracy",
        "log_loss": "Log-loss",
        "auc": "AUC",
        "brier": "Brier score",
        "ece": "ECE",
    }
    return [
        (words, f"{metrics[name]:.3f}, cross-validated") for name, words in names.items() if name in metrics
    ]


def _compared(model: Model) -> Html:
    """All model classes of the training that made the champion, on the same folds."""
    compared = model.info.get("compared") or []
    if not compared:
        return Html("")
    heads = [
        Head(title="Model class"),
        Head(title="Log-loss", numeric=True),
        Head(title="Accuracy", numeric=True),
    ]
    rows = [
        [
            _class_words(row["model_class"]),
            *(_interval(row.get(name)) for name in ("log_loss", "accuracy")),
        ]
        for row in compared
    ]
    caption = "Its training: all classes on the same folds, mean and 95% interval"
    return parts.join(Html('<div style="height:14px"></div>'), parts.table(caption, heads, rows))


def _interval(spread: Mapping[str, float] | None) -> str:
    return interval(spread["mean"], spread["low"], spread["high"]) if spread else "–"
