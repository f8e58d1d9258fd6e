"""What a page says of alarms, of drift, and of the accuracy to expect; each with what it does not say."""

from __future__ import annotations

from dagsverk.tabular.alarms import Alert
from dagsverk.tabular.drift import MIN_ROWS, ColumnDrift
from dagsverk.tabular.monitoring import Report
from dagsverk.tabular.system import System
from dagsverk.words import counted
from ui import parts
from ui.parts import Head, Html, percent
from ui.tabular.desk import View


def listed(view: View) -> Html:
    """The alarms that stand, then those that have ended."""
    alerts = [parts.element("li", _alert(alert), "bad") for alert in view.report.alerts]
    standing = Html(f'<ul class="dv-alerts" role="alert">{parts.join(*alerts)}</ul>') if alerts else ""
    return parts.join(standing, _past(view))


PAST = {
    "accuracy": "Accuracy was below its promise",
    "prediction": "The model predicted otherwise than in cross-validation",
}


def _alert(alert: Alert) -> Html:
    """Since when, and what to do."""
    since = f" Since {parts.moment(alert.since)}." if alert.since else ""
    if alert.noticed and alert.since:
        since = f" It most likely began on {alert.since:%Y-%m-%d}, noticed on {alert.noticed:%Y-%m-%d}."
    advice = parts.element("div", alert.advice, "small") if alert.advice else ""
    return parts.join(parts.element("strong", "Alert: "), alert.message, since, advice)


def _past(view: View) -> Html:
    """Alarms of this champion that later rows have ended: they do not vanish without a word."""
    lines = [
        f"{view.system.column(alarm.key.removeprefix('drift:')).description} had drifted"
        if alarm.key.startswith("drift:")
        else PAST[alarm.key]
        for alarm in view.report.past_alarms
    ]
    dates = [
        f" from about {alarm.since:%Y-%m-%d} (noticed on {alarm.noticed:%Y-%m-%d}) to {alarm.ended:%Y-%m-%d}."
        for alarm in view.report.past_alarms
    ]
    ended = [parts.element("li", what + when) for what, when in zip(lines, dates, strict=True)]
    words = parts.element("span", "Alarms that later rows have ended:")
    listed = parts.join(words, Html(f"<ul>{parts.join(*ended)}</ul>"))
    return parts.element("div", listed, "soft small dv-past") if ended else Html("")


def expected(report: Report) -> Html:
    """What the probabilities of rows without an outcome promise: never shown as accuracy."""
    waiting = report.expected_accuracy
    if waiting is None:
        return Html("")
    rows = (
        "1 real row still waits for its outcome"
        if waiting.n == 1
        else (f"{counted(waiting.n, 'real row')} still wait for their outcome")
    )
    words = (
        f"Expected, not measured: {rows}. By their probabilities {percent(waiting.mean)} of them should turn "
        f"out right (95% interval {percent(waiting.low)} to {percent(waiting.high)}), unless outcomes follow "
        "from inputs in another way than they did: probabilities cannot see that."
    )
    if not waiting.calibration_known:
        words += " How far the probabilities of this model can be trusted was not kept when it was trained."
    return parts.element("p", words, "soft small")


def drift(view: View) -> Html:
    """A line per input column, and one for the outcome: has it changed, and how."""
    heads = [Head(title="Input"), Head(title="Change"), Head(title="Evidence", numeric=True)]
    heads.append(Head(title="Verdict"))
    tested = view.report.drift
    n = tested[0].n if tested else 0
    rows_of = "invented rows" if view.report.drift_of_invented else "rows"
    if n < MIN_ROWS:
        note = f"The last {n} {rows_of} predicted are too few: from {MIN_ROWS} on, each input is tested."
    else:
        note = (
            f"Change: the last {n} {rows_of} predicted against the {tested[0].n_reference:,} learned from. "
            "Evidence: of all days since the champion came; at 1 an alarm begins. Looked at daily, at most "
            "one system in twenty alarms falsely in a year, over all lines."
        )
    rows = [_drift_row(view.system, column) for column in tested]
    return parts.card("Input drift", note, parts.table("A test per input", heads, rows), width="w7")


def _drift_row(system: System, drift: ColumnDrift) -> list[object]:
    tone = {True: "bad", False: "good", None: ""}[drift.drifted]
    column = system.column(drift.column)
    words = column.description
    if column is system.label and "outcome" not in words.lower():
        words = f"Outcome: {words}"
    return [words, drift.change or "–", _evidence(drift), parts.chip(drift.verdict, tone)]


def _evidence(drift: ColumnDrift) -> str:
    """Of a change; while one stands there is enough of it."""
    if drift.since:
        return f"1, since {drift.since:%Y-%m-%d}"
    if drift.evidence is None:
        return "–"
    return "< 0.001" if drift.evidence < 0.001 else f"{drift.evidence:.3f}"
