"""What a search came to, in Markdown. Light: loads no learning library."""

from __future__ import annotations

import json

from dagsverk.tabular.measures import WORDS
from dagsverk.tabular.searching import Cost, Searched, Settings
from dagsverk.words import counted, interval, mattered_words, number, table


def search_words(report: Searched) -> str:
    """The verdict, both choices, the settings of all rows, what mattered, what it cost, and what to do."""
    scores = [
        (
            WORDS[name],
            _cell(report, "default", name),
            _cell(report, "best", name),
            _cell(report, "gain", name),
        )
        for name in report.gain
    ]
    classes = ", ".join(report.model_classes)
    return "\n\n".join(
        [
            f"**{'Better' if report.better else 'Not shown to be better'}.** {report.verdict}",
            table(("measure", "defaults", "searched", "gain (above 0 is better)"), scores),
            f"Classes: {classes}. Each choice is made anew on the rows that an outer fold "
            f"leaves ({counted(report.trials, 'trial')} on {report.inner_folds} inner folds), and scored on "
            "the fold's.",
            f"Of all rows the search would choose {_settings(report.settings)}; the best default is "
            f"{_settings(report.standing)}. {WORDS[report.measure]} on the folds they were chosen on, which "
            f"flatters: {report.settings.value:.4f} and {report.standing.value:.4f}.",
            f"What mattered (PED-ANOVA): {mattered_words(report.importances)}.",
            _cost(report),
            "Nothing was changed by this search.",
        ]
    )


def _cell(report: Searched, which: str, name: str) -> str:
    value = getattr(report, which)[name]
    return interval(value.mean, value.low, value.high, 4)


def _settings(of: Settings) -> str:
    if not of.parameters:
        return f"{of.model_class}, which has nothing to set"
    return f"{of.model_class} `{json.dumps(dict(of.parameters))}`"


def cost_words(cost: Cost) -> str:
    """Fits, time and what became of the trials."""
    return (
        f"{number(cost.fits)} fits, {number(round(cost.seconds))} s of trials; {cost.finished} scored "
        f"({cost.repeated} had been before), {cost.pruned} given up, {cost.failed} failed, "
        f"{cost.cut_off} cut off and made again"
    )


def _cost(report: Searched) -> str:
    failures = "".join(f"\n- failed: {reason}" for reason in report.cost.reasons)
    return f"Cost: {cost_words(report.cost)}.{failures}"
