"""What a comparison leaves in the Prefect UI, under fixed keys."""

from __future__ import annotations

from dagsverk.speech.compared.results import CompareReport, Side
from dagsverk.speech.languages import Language
from dagsverk.tabular.compared import TableReport
from dagsverk.tabular.measures import WORDS
from dagsverk.words import counted, difference, interval, last_part, percent_interval, table
from tasks.show import markdown


def compared(language: Language, report: CompareReport) -> None:
    """Verdict, both sides, groups, notes."""
    heads = ("", "WER", "CER", "s per hour of audio", "nothing written", "loops")
    rows = [_row(side) for side in (report.first, report.second)]
    groups = [
        (
            f"{one.change.by}: {one.change.value}",
            str(one.change.clips),
            difference(one.change.wer.value or 0.0, one.change.wer.low, one.change.wer.high),
            "beyond chance" if one.differs else "",
        )
        for one in report.groups
    ]
    aside = [f"- {counted(n, 'clip')} set aside: {reason}" for reason, n in report.set_aside.items()]
    notes = [f"- {note}" for note in report.notes]
    pieces = [f"**{_safe(report.verdict)}**", table(heads, rows)]
    if groups:
        pieces.append(table(("Group", "Clips", "WER, first minus second", "All groups considered"), groups))
    pieces.append("\n".join(_safe(line) for line in (*aside, *notes)))
    markdown(f"{language.name}-compared", "\n\n".join(pieces), f"Compared on {_safe(last_part(report.of))}")


def compared_rows(report: TableReport) -> None:
    """The same of a table."""
    heads = ("", "log-loss", "accuracy", "Brier score", "rows per second")
    rows = [
        (
            _safe(f"{side.name} ({side.detail})"),
            "" if side.log_loss is None else f"{side.log_loss:.4f}",
            f"{side.accuracy:.4f}",
            "" if side.brier is None else f"{side.brier:.4f}",
            "" if side.rows_per_s is None else f"{side.rows_per_s:,.0f}",
        )
        for side in (report.first, report.second)
    ]
    tests = [
        (WORDS[name], where, interval(one.value, one.low, one.high, 4), f"{one.p:.4f}")
        for where, of in (("over rows", report.changes), ("over folds", report.over_folds))
        for name, one in of.items()
    ]
    right = (
        f"The first alone is right on {counted(report.only_first_right, 'row')}, the second alone on "
        f"{counted(report.only_second_right, 'row')}: McNemar's exact p {report.mcnemar_p:.4f}."
    )
    aside = [f"- {counted(n, 'row')} left out: {reason}" for reason, n in report.left_out.items()]
    notes = [f"- {note}" for note in report.notes]
    pieces = [f"**{_safe(report.verdict)}**", table(heads, rows)]
    pieces += [table(("First minus second", "", "95 %", "p"), tests), right]
    pieces.append("\n".join(_safe(line) for line in (*aside, *notes)))
    markdown(f"{report.system.replace('_', '-')}-compared", "\n\n".join(pieces), "Two models compared")


def _row(side: Side) -> tuple[str, ...]:
    per_hour = side.cost.seconds_per_hour
    return (
        _safe(f"{side.name} ({side.detail})"),
        percent_interval(side.wer.value, side.wer.low, side.wer.high),
        percent_interval(side.cer.value, side.cer.low, side.cer.high),
        "" if per_hour is None else f"{per_hour:.0f}",
        str(side.empty),
        str(side.loops),
    )


def _safe(words: str) -> str:
    """Without HTML: names of programs and clips come from outside."""
    return words.replace("<", "&lt;")
