"""What a table's learning curve says. Light."""

from __future__ import annotations

from dagsverk.learning_curve_words import aside_words, curve_table, foretold
from dagsverk.tabular.learning_curve import TabularCurve
from dagsverk.tabular.measures import error_words
from dagsverk.words import number


def curve_sentence(report: TabularCurve) -> str:
    """What more rows would bring."""
    return foretold(report.fit, "the rows", error_words(report.measure), _say, _say)


def curve_words(report: TabularCurve) -> str:
    """The sentence, the points, what was fitted, what it cost."""
    of = f"as in version {report.model_version}" if report.model_version else "with its defaults"
    parts = [
        curve_sentence(report),
        curve_table(report.fit, "rows fitted on", error_words(report.measure), lambda n: f"{n:.0f}"),
        f"{report.model_class} {of}, on {number(report.rows)} rows of commit {report.data_commit}; tested "
        f"on the same rows for every share: {report.folds} folds, {report.repeats} times, each time with "
        f"another draw. {report.seconds:.0f} s of fits.",
        aside_words(report.set_aside),
        "Nothing was changed by this.",
    ]
    return "\n\n".join(part for part in parts if part)


def _say(error: float) -> str:
    return f"{error:.4f}"
