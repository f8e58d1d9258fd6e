"""What the tabular pages read of the store: a system's report once per version, its champion, loaded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from dagsverk.records import last_report, report_version
from dagsverk.store import Model, NotFound, StoreError, Table
from dagsverk.tabular import monitoring
from dagsverk.tabular.reports import Ingested, Trained
from dagsverk.tabular.searching import STEP as SEARCH
from dagsverk.tabular.searching import Searched
from dagsverk.tabular.system import System, faults, usable_systems
from dagsverk.tabular.tables import SYNTHETIC, rejects_table
from ui.desk import Desk, OpenedStore

if TYPE_CHECKING:
    from dagsverk.tabular.prediction import Champion

LAST = 8  # predictions and set-aside rows that a page lists

# What a page compares to know whether it must be drawn again: tables, champion, and the hour,
# because "no prediction for two days" becomes true with time alone.
Version = tuple[int, ...]
ABSENT: Version = (-1, -1, 0, -1)  # features, predictions, champion, set-aside rows: not there yet


class NoChampion(LookupError):
    """No model of this system has been promoted yet; the message says how to get one."""


def day_command(system: System) -> str:
    """The command that fills the pages of a system."""
    return f"prefect deployment run day/{system.name}"


def source_command(system: System) -> str:
    """The command that takes in rows of one's own and predicts them."""
    return f"prefect deployment run day/{system.name} --param source=rows.csv"


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """Everything that a monitor page shows of one system, as of one version."""

    system: System
    version: Version
    report: monitoring.Report
    rows: int  # in the feature table
    invented_rows: int  # of those, synthetic
    champion: Model | None
    card: str  # Markdown; empty without a champion
    card_problem: str  # why the champion's files cannot be trusted; empty when they can
    promotions: Sequence[Mapping[str, Any]]  # oldest first
    training: Trained | None  # what the last training came to
    rows_set_aside: int
    rejects: pd.DataFrame  # newest failed checks first
    ingested: Ingested | None = None  # what the last source came to
    searched: Searched | None = None  # what the last search for better settings came to
    versions: Sequence[Model] = ()  # all, oldest first

    @property
    def blank(self) -> bool:
        """Nothing has been trained or predicted yet."""
        report = self.report
        return self.champion is None and not report.predictions + report.invented.predictions


class TabularDesk(Desk[System, View]):
    """Reads systems, and answers with their champions."""

    card_file = "card.md"

    def __init__(self, store: str | OpenedStore | None = None) -> None:
        super().__init__(store)
        self._champions: dict[str, Champion] = {}

    @property
    def systems(self) -> list[System]:
        return usable_systems()

    @property
    def faults(self) -> dict[str, str]:
        """Systems that have no pages -> where in their files, and why."""
        return faults()

    def champion(self, system: System) -> Champion:
        """The champion, ready to predict; loaded again only after a promotion.

        Raises: NoChampion before the first promotion; StoreError for changed or damaged files.
        """
        from dagsverk.tabular.models import InvalidModel  # learning libraries: on first use
        from dagsverk.tabular.prediction import load_champion

        model = self.promoted(system)
        with self._lock:
            loaded = self._champions.get(system.name)
            if loaded is None or loaded.version != model.version:
                try:
                    loaded = self._champions[system.name] = load_champion(system, self.store)
                except InvalidModel as error:
                    raise StoreError(
                        f"version {model.version} of {system.name} cannot be used: {error}"
                    ) from error
            return loaded

    def promoted(self, system: System) -> Model:
        """The champion's record. Raises NoChampion."""
        model = self.store.champion(system.name)
        if model is None:
            raise NoChampion(f"no model of {system.name} is in use yet; train one: {day_command(system)}")
        return model

    def predictions(self, system: System, every: bool = False) -> pd.DataFrame:
        """Predictions with inputs and outcomes, as `exports.predictions` gives them."""
        from dagsverk.tabular import exports

        features, made, _ = monitoring.load(system, self.store)
        return exports.predictions(system, features, made, every=every)

    def _version(self, of: System) -> Version:
        hour = int(dt.datetime.now(dt.UTC).timestamp()) // 3600
        try:
            rejects = self.store.version(rejects_table(of))
        except NotFound:
            rejects = -1
        return (
            *monitoring.watch_version(of, self.store),
            rejects,
            hour,
            report_version(self.store, of.name, SEARCH),
        )

    def _is_gone(self, before: View, version: Hashable) -> bool:
        now = cast(Version, version)
        return any(
            new == absent != old for new, absent, old in zip(now, ABSENT, before.version, strict=False)
        )

    def _read(self, of: System, version: Hashable) -> View:
        features, predictions, champion = monitoring.load(of, self.store)
        promise = monitoring.promise_of(champion)
        now = dt.datetime.now(dt.UTC)
        card, card_problem = self._card(champion)
        rejects = self._rows(rejects_table(of)).sort_values(["found_at", "line"], ascending=[False, True])
        return View(
            system=of,
            version=cast(Version, version),
            report=monitoring.report(of, features, predictions, promise, last=LAST, now=now),
            rows=len(features),
            invented_rows=int((features["origin"] == SYNTHETIC).sum()),
            champion=champion,
            card=card,
            card_problem=card_problem,
            promotions=self.store.champions(of.name),
            training=last_report(self.store, of.name, "training", Trained),
            rows_set_aside=len(rejects[["source", "line"]].drop_duplicates()),
            rejects=rejects.head(LAST),
            ingested=last_report(self.store, of.name, "features", Ingested),
            searched=last_report(self.store, of.name, SEARCH, Searched),
            versions=self.store.models(of.name),
        )

    def _rows(self, table: Table) -> pd.DataFrame:
        try:
            return self.store.read(table)
        except NotFound:
            none: pd.DataFrame = table.schema.empty_table().to_pandas()
            return none
