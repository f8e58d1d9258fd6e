"""The pages' one place that reads the store: opened on first use, champions loaded once per version."""

from __future__ import annotations

import datetime as dt
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dagsverk.records import kept_report
from dagsverk.store import Model, NotFound, Store, StoreError, Table, Unavailable, open_store
from dagsverk.tabular import monitoring
from dagsverk.tabular.system import System, load_system, systems
from dagsverk.tabular.tables import rejects_table

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


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """Everything that a monitor page shows of one system, as of one version."""

    system: System
    version: Version
    report: monitoring.Report
    rows: int  # in the feature table
    champion: Model | None
    card: str  # Markdown; empty without a champion
    card_problem: str  # why the champion's files cannot be trusted; empty when they can
    promotions: Sequence[Mapping[str, Any]]  # oldest first
    training: Mapping[str, Any]  # what the last training did: the gate's reason, all model classes
    rows_set_aside: int
    rejects: pd.DataFrame  # newest failed checks first

    @property
    def blank(self) -> bool:
        """Nothing has been trained or predicted yet."""
        return self.champion is None and self.report.last.empty


class Desk:
    """Reads on behalf of all pages and the REST API; safe to call from several threads.

    Args: url: of the store, as `open_store` takes it.
    """

    def __init__(self, url: str | None = None) -> None:
        self._url = url
        self._store: Store | None = None
        self._champions: dict[str, Champion] = {}
        self._views: dict[str, View] = {}
        self._lock = threading.RLock()

    @property
    def systems(self) -> list[System]:
        return [load_system(name) for name in systems()]

    @property
    def store(self) -> Store:
        """Raises StoreError while the store cannot be opened; the next call tries again."""
        with self._lock:
            if self._store is None:
                self._store = open_store(self._url)
            return self._store

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

    def version(self, system: System) -> Version:
        """Cheap to read, and different whenever `view` would be.

        Raises: Unavailable when what was there before is gone: a folder that is not mounted reads as empty.
        """
        hour = int(dt.datetime.now(dt.UTC).timestamp()) // 3600
        try:
            rejects = self.store.version(rejects_table(system))
        except NotFound:
            rejects = -1
        found = (*monitoring.watch_version(system, self.store), rejects, hour)
        known = self._views.get(system.name)
        before = known.version if known else ABSENT
        if any(now == absent != was for now, absent, was in zip(found, ABSENT, before, strict=False)):
            raise Unavailable(
                f"tables or models of {system.name} that were in {self.store.url} are gone; "
                "is the folder mounted? If it was emptied on purpose, restart the pages"
            )
        return found

    def view(self, system: System) -> View:
        """What the monitor shows now; computed once per version, whoever asks."""
        with self._lock:
            version = self.version(system)
            known = self._views.get(system.name)
            if known is None or known.version != version:
                known = self._views[system.name] = self._read(system, version)
            return known

    def _read(self, system: System, version: Version) -> View:
        features, predictions, champion = monitoring.load(system, self.store)
        promised = monitoring.promised_accuracy(champion)
        now = dt.datetime.now(dt.UTC)
        card, card_problem = self._card(champion)
        rejects = self._rows(rejects_table(system)).sort_values(["found_at", "line"], ascending=[False, True])
        return View(
            system=system,
            version=version,
            report=monitoring.report(system, features, predictions, promised, last=LAST, now=now),
            rows=len(features),
            champion=champion,
            card=card,
            card_problem=card_problem,
            promotions=self.store.champions(system.name),
            training=kept_report(self.store, system.name, "training"),
            rows_set_aside=len(rejects[["source", "line"]].drop_duplicates()),
            rejects=rejects.head(LAST),
        )

    def _rows(self, table: Table) -> pd.DataFrame:
        try:
            return self.store.read(table)
        except NotFound:
            none: pd.DataFrame = table.schema.empty_table().to_pandas()
            return none

    def _card(self, model: Model | None) -> tuple[str, str]:
        """(the champion's card, why it cannot be had)."""
        if model is None:
            return "", ""
        with tempfile.TemporaryDirectory() as folder:
            try:
                file = self.store.download(model, Path(folder) / "model") / "card.md"
            except Unavailable:
                raise
            except StoreError as error:
                return "", str(error)
            return (file.read_text(encoding="utf-8"), "") if file.is_file() else ("", "")


def promised_interval(model: Model) -> tuple[float, float] | None:
    """The 95 % interval of the accuracy that cross-validation promised for the model, when it was kept."""
    for row in model.info.get("compared", []):
        if row.get("model_class") == model.info.get("model_class") and "accuracy" in row:
            return row["accuracy"]["low"], row["accuracy"]["high"]
    return None
