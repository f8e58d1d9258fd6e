"""What looking at suspicious labels would help: of either family. Light."""

from __future__ import annotations

from collections.abc import Iterator

from dagsverk import label_decisions
from dagsverk.label_report import STEP, SuspectLabels, suspect_labels
from dagsverk.records import report_path
from dagsverk.speech.languages import Language
from dagsverk.store import Store
from dagsverk.suggestions import Gain, Suggestion
from dagsverk.tabular.system import System
from dagsverk.words import counted

MINUTE_S = 60.0
LOOK_S = {"speech": 15.0, "tabular": 20.0}  # that a person takes for one, as a guess


def suspect_texts(store: Store, language: Language) -> Iterator[Suggestion]:
    """Texts that look wrong and that nobody has decided about."""
    report = suspect_labels(store, language.name)
    if report is not None and report.family == "speech":
        yield from _look(store, report, None)


def suspect_outcomes(store: Store, system: System) -> Iterator[Suggestion]:
    """Outcomes that look wrong and that nobody has decided about."""
    report = suspect_labels(store, system.name)
    if report is None or report.family != "tabular" or not report.precision:
        return
    most = report.precision * report.suspicious / report.labels
    yield from _look(
        store, report, Gain(measure="error (1 - accuracy)", value=None, low=0.0, high=most, share=True)
    )


def _look(store: Store, report: SuspectLabels, gain: Gain | None) -> Iterator[Suggestion]:
    decided = {one.key for one in label_decisions.state(store, report.family, report.name).decisions}
    listed = [one for one in report.suspects if one.suspicion >= report.cut]
    left = report.suspicious - sum(1 for one in listed if one.key in decided)
    if left <= 0:
        return
    what = "text" if report.family == "speech" else "outcome"
    minutes = max(1, round(left * LOOK_S[report.family] / MINUTE_S))
    yield Suggestion(
        about="data",
        action=f"Look at {counted(left, what)} that may be wrong, on the page Labels, and mend what is.",
        why=report.words,
        gain=gain,
        cost=f"about {counted(minutes, 'minute')} of a person, then a training",
        source=report_path(report.name, STEP),
        made_at=report.at,
    )
