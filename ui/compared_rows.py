"""How two models of a table beside each other are drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dagsverk.tabular.compared import Change, RowExample, RowGroup, TableReport, TableSide
from dagsverk.tabular.measures import WORDS
from dagsverk.words import counted
from ui import parts
from ui.bars import bar
from ui.parts import Head, Html, Tile, percent

MULTIPLE = (
    "Many groups are looked at, and one in twenty would differ by chance alone: a group is called better or "
    "worse only if it is beyond chance with all of them considered (Holm)."
)


def shown(report: TableReport, *, turned: bool = False) -> Html:
    """All of a comparison. Args: turned: the second first."""
    report = _turned(report) if turned else report
    tone = "good" if report.outcome else ""
    chip = parts.chip("beyond chance" if report.outcome else "no difference shown", tone)
    return parts.join(
        Html(f'<p class="dv-verdict" role="status">{chip} {parts.text(report.verdict)}</p>'),
        _tiles(report),
        Html('<div class="dv-grid">'),
        _tests(report),
        _sides(report),
        _groups(report),
        _examples(report),
        _about(report),
        Html("</div>"),
    )


def _turned(report: TableReport) -> TableReport:
    def other(changes: dict[str, Change]) -> dict[str, Change]:
        return {name: _minus(change) for name, change in changes.items()}

    return replace(
        report,
        first=report.second,
        second=report.first,
        changes=other(dict(report.changes)),
        over_folds=other(dict(report.over_folds)),
        only_first_right=report.only_second_right,
        only_second_right=report.only_first_right,
        groups=tuple(replace(one, change=_minus(one.change)) for one in report.groups),
        examples=tuple(replace(one, first=one.second, second=one.first) for one in report.examples),
    )


def _minus(change: Change) -> Change:
    return Change(value=-change.value, low=-change.high, high=-change.low, p=change.p)


def _tiles(report: TableReport) -> Html:
    change = report.over_folds.get(report.measure, report.changes[report.measure])
    return parts.tiles(
        (
            _side_tile("First", report.first, report.measure),
            _side_tile("Second", report.second, report.measure),
            Tile(
                label=f"First minus second, {WORDS[report.measure]}",
                figure=_signed(report.changes[report.measure].value),
                note=f"{_signed(change.low)} to {_signed(change.high)}",
            ),
            Tile(label="Compared on", figure=counted(report.rows, "row"), note=report.of),
        )
    )


def _side_tile(place: str, side: TableSide, measure: str) -> Tile:
    value = side.log_loss if measure == "log_loss" else side.accuracy
    return Tile(label=f"{place}: {WORDS[measure]}", figure=f"{value or 0.0:.4f}", note=side.name)


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _tests(report: TableReport) -> Html:
    heads = [Head(title="First minus second"), Head(title="95% interval", numeric=True)]
    heads += [Head(title="p", numeric=True)]
    rows = [
        (f"{WORDS[name].capitalize()}, {where}", _interval(change), _p(change.p))
        for where, of in (("over rows", report.changes), ("over folds", report.over_folds))
        for name, change in of.items()
    ]
    note = (
        f"The first alone is right on {counted(report.only_first_right, 'row')}, the second alone on "
        f"{report.only_second_right:,}: McNemar’s exact p {_p(report.mcnemar_p)}. Over folds, the interval "
        "also holds what another draw of rows to learn from would change."
    )
    return parts.card("Tests", note, parts.table("Paired, on the same rows", heads, rows), width="w7")


def _p(p: float) -> str:
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def _interval(change: Change) -> str:
    return f"{_signed(change.value)} ({_signed(change.low)} to {_signed(change.high)})"


def _sides(report: TableReport) -> Html:
    heads = [
        Head(title="Model"),
        Head(title="Accuracy", numeric=True),
        Head(title="Brier score", numeric=True),
    ]
    heads += [Head(title="Rows per second", numeric=True)]
    rows = [
        (
            f"{side.name}, {side.detail}",
            percent(side.accuracy, 1),
            parts.number(side.brier),
            "–" if side.rows_per_s is None else f"{side.rows_per_s:,.0f}",
        )
        for side in (report.first, report.second)
    ]
    machine = report.first.machine or report.second.machine
    note = f"Rows per second are predicted warm, all rows at once: {machine}." if machine else ""
    return parts.card("Both", note, parts.table("On these rows", heads, rows), width="w5")


def _groups(report: TableReport) -> Html:
    if not report.groups:
        words = "Rows that share a category are compared here, where there are enough of them."
        return parts.card("Groups", "", parts.empty("No group is large enough", words))
    ends = (abs(end) for one in report.groups for end in _three(one.change))
    most = max(ends, default=0.0)
    heads = [Head(title="Group"), Head(title="Rows", numeric=True)]
    heads += [Head(title=f"{WORDS[report.measure].capitalize()}, first minus second", numeric=True)]
    heads += [Head(title="Left: the first is lower")]
    less = report.measure == "log_loss"
    rows = [
        (
            f"{one.by}: {one.value}",
            f"{one.rows:,}",
            _change(one, less_is_better=less),
            bar(_three(one.change), most, less_is_better=less),
        )
        for one in report.groups
    ]
    return parts.card("Groups", MULTIPLE, parts.table("95% intervals", heads, rows))


def _three(change: Change) -> tuple[float, float, float]:
    return change.value, change.low, change.high


def _change(group: RowGroup, *, less_is_better: bool) -> Html:
    words = _interval(group.change)
    if not group.differs:
        return Html(parts.text(words))
    first = (group.change.value < 0) == less_is_better
    chip = parts.chip("first better", "good") if first else parts.chip("second better", "bad")
    return parts.join(words, " ", chip)


def _examples(report: TableReport) -> Html:
    title = "Where they differ most"
    if not report.examples:
        return parts.card(title, "", parts.empty("No row differs", "Both say the same of every row."))
    heads = [Head(title="Row"), Head(title="Outcome"), Head(title="First gave it", numeric=True)]
    heads += [Head(title="Second gave it", numeric=True), Head(title="Inputs", wide=True)]
    rows = [
        (
            parts.short(one.row_id, 40),
            one.outcome,
            percent(one.first, 1),
            percent(one.second, 1),
            _inputs(one),
        )
        for one in report.examples
    ]
    note = "Rows to whose outcome the two gave the most different probabilities."
    return parts.card(title, note, parts.table("Probability of what came", heads, rows))


def _inputs(example: RowExample) -> str:
    return ", ".join(f"{name} {value or 'not known'}" for name, value in example.inputs.items())


def _about(report: TableReport) -> Html:
    aside = [f"{counted(n, 'row')}: {reason}" for reason, n in report.left_out.items()]
    pairs: list[tuple[object, object]] = [
        ("On", f"{report.of}; commit {report.data_commit} of the table"),
        ("Left out, for both", _lines(aside) if aside else "none"),
        ("To know", _lines(report.notes) if report.notes else "nothing more"),
        ("Compared", f"{report.at[:16].replace('T', ' ')} UTC, in {report.took_s:.0f} s"),
    ]
    return parts.card("About this comparison", "", parts.facts(pairs))


def _lines(lines: Iterable[str]) -> Html:
    return parts.join(*(parts.element("div", line) for line in lines))
