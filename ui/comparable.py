"""What can be compared on the page: models that the store has texts or predictions of, of the same things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from dagsverk import comparisons
from dagsverk.speech import results as scored
from dagsverk.speech.compared import results
from dagsverk.speech.compared.results import CompareReport, Side
from dagsverk.speech.evaluation.report import EvaluationReport, Interval
from dagsverk.speech.languages import Language
from dagsverk.store import Store
from dagsverk.suggesting.corpora import read_again
from dagsverk.tabular import compared as tables
from dagsverk.tabular.compared import TableReport, TableSide
from dagsverk.tabular.system import System
from dagsverk.words import last_part
from ui.parts import short
from ui.speech.desk import SpeechDesk
from ui.tabular.desk import TabularDesk

MODES = {True: "in 30 s windows", False: "at true length"}
MOST = 60  # entrants to choose from, the newest


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A model with what it wrote of some clips, or said of some rows."""

    id: str  # in the address of the page
    title: str
    name: str
    group: str  # only those of one group are compared
    of: str  # which clips or rows, in words
    wer: Interval | None = None
    rows: str = ""  # the artefact
    side: Side | None = None
    report: object = None  # of the comparison that it is from


class Subject(Protocol):
    """A language or a system."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...

    def entrants(self) -> list[Entrant]: ...
    def damaged(self) -> list[str]: ...
    def version(self) -> str: ...
    def command(self) -> str: ...


@dataclass(frozen=True)
class Spoken:
    """A language's models."""

    language: Language
    store: Store = field(repr=False)
    speech: SpeechDesk = field(repr=False)

    @property
    def name(self) -> str:
        return self.language.name

    @property
    def title(self) -> str:
        return f"{self.language.title} speech"

    def command(self) -> str:
        """That compares the model in use with the one before its training."""
        again = read_again(self.store, self.language)
        return f"prefect deployment run speech-compare/{self.language.name}{again}"

    def version(self) -> str:
        """Another one when there is something new to compare."""
        made = results.version(self.store, self.language)
        return f"{scored.results_version(self.store, self.language)}|{made}"

    def entrants(self) -> list[Entrant]:
        """Of comparisons, newest first; then of evaluations, newest first."""
        of_runs = [
            _of_side(report, side) for report in self._kept[0] for side in (report.first, report.second)
        ]
        unique = list({one.id: one for one in reversed(of_runs)}.values())[::-1]
        return [*unique, *self._scored()][:MOST]

    def damaged(self) -> list[str]:
        """A sentence for each comparison that cannot be read."""
        return self._kept[1]

    @cached_property
    def _kept(self) -> tuple[list[CompareReport], list[str]]:
        """Read once: a page makes its subjects anew whenever it looks."""
        return comparisons.read_all(self.store, results.folder(self.language), CompareReport)

    def comparison(self, one: Entrant, two: Entrant) -> CompareReport | None:
        """The one that a run has made of the two, as they stand."""
        for report in self._kept[0]:
            if (report.first.rows, report.second.rows) == (one.rows, two.rows):
                return report
        return None

    def _scored(self) -> list[Entrant]:
        view = self.speech.view(self.language)
        names = {str(model.info.get("evaluation")): f"Version {model.version}" for model in view.models}
        return [
            _of_evaluation(report, names.get(report.key, ""))
            for report in reversed(list(view.reports.values()))
            if report.split == "test"
        ]


@dataclass(frozen=True)
class Tabled:
    """A system's models. Only what a run of the flow has compared can be shown: it needs the rows judged."""

    system: System
    store: Store = field(repr=False)

    @property
    def name(self) -> str:
        return self.system.name

    @property
    def title(self) -> str:
        return self.system.title

    def command(self) -> str:
        """That compares the model in use with another version."""
        return (
            f"prefect deployment run tabular-compare/{self.system.name} "
            '--param \'second={"kind": "version", "version": 1}\''
        )

    def version(self) -> str:
        """Another one when there is something new to compare."""
        return tables.version(self.store, self.system.name)

    def damaged(self) -> list[str]:
        """A sentence for each comparison that cannot be read."""
        return self._kept[1]

    @cached_property
    def _kept(self) -> tuple[list[TableReport], list[str]]:
        """Read once: a page makes its subjects anew whenever it looks."""
        return comparisons.read_all(self.store, tables.folder(self.system.name), TableReport)

    def entrants(self) -> list[Entrant]:
        """Both sides of each comparison, newest first."""
        listed = self._kept[0][: MOST // 2]
        return [
            _of_table(report, side, place)
            for report in listed
            for place, side in (("1", report.first), ("2", report.second))
        ]


def _of_table(report: TableReport, side: TableSide, place: str) -> Entrant:
    return Entrant(
        id=f"t-{report.key}-{place}",
        title=f"{short(side.name, 60)} · {side.detail} · {report.at[:16].replace('T', ' ')}",
        name=side.name,
        group=report.key,
        of=report.of,
        report=report,
    )


def _of_side(report: CompareReport, side: Side) -> Entrant:
    return Entrant(
        id=f"c-{side.key}-{report.clips_key}",
        title=f"{short(side.name, 60)} · {side.detail} · {_of_clips(report.of)}",
        name=side.name,
        group=f"clips {report.clips_key}",
        of=report.of,
        wer=side.wer,
        rows=side.rows,
        side=side,
        report=report,
    )


def _of_evaluation(report: EvaluationReport, version: str) -> Entrant:
    model = version or short(last_part(report.model.name), 60)
    name = f"{model}, {MODES[report.model.full_windows]}"
    cut = f", {report.cut.clips} of {report.cut.of}" if report.cut else ""
    return Entrant(
        id=f"e-{report.key}",
        title=f"{name} · test clips of {report.set}{cut}",
        name=name,
        group=f"set {report.set} {report.normaliser} {report.cut}",
        of=f"the test clips of {report.set}{cut}",
        wer=report.scores.normalised.wer,
        rows=report.rows,
    )


def _of_clips(of: str) -> str:
    return short(of.partition(", from ")[0], 60)


def subjects(desk: TabularDesk, speech: SpeechDesk) -> Sequence[Subject]:
    """Languages, then systems."""
    spoken = [Spoken(language, desk.store, speech) for language in speech.languages()]
    return [*spoken, *(Tabled(system, desk.store) for system in desk.systems)]


def chosen(entrants: Sequence[Entrant], first: str, second: str) -> tuple[Entrant, Entrant] | None:
    """The two that are asked for, as far as they are there and can be compared; else the first that can.

    None where no two can.
    """
    for one in sorted(entrants, key=lambda each: each.id != first):
        others = [each for each in entrants if each.group == one.group and each.id != one.id]
        if others:
            return one, next((each for each in others if each.id == second), others[0])
    return None
