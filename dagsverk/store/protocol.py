"""What a store is: plain types, errors and three small protocols. No backend's type crosses this border."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import pandas as pd
import pyarrow as pa

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")  # tables and columns: what Hopsworks accepts unchanged
MODEL_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
METRIC_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Moment: TypeAlias = dt.datetime | pd.Timestamp | str
Rows: TypeAlias = pa.Table | pd.DataFrame


class StoreError(Exception):
    """Something the store was asked for cannot be done."""


class NotFound(StoreError):
    """The table, model version or artefact does not exist."""


class Conflict(StoreError):
    """It exists already and is something else, or another writer won."""


class SchemaError(StoreError):
    """Rows, names or metrics that do not fit; nothing was written."""


class Unavailable(StoreError):
    """The place where the store lives did not answer, after the retries."""


@dataclass(frozen=True)
class Table:
    """A table's definition. A row's identity is its key plus its event time."""

    name: str
    version: int
    schema: pa.Schema
    key: tuple[str, ...]
    event_time: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        for name in (self.name, *self.schema.names):
            if not NAME.fullmatch(name):
                raise SchemaError(f"illegal name {name!r} in table {self.name!r}: want {NAME.pattern}")
        if missing := set(self.identity) - set(self.schema.names):
            raise SchemaError(f"table {self.name}: identity columns {sorted(missing)} are not in its schema")

    @property
    def identity(self) -> tuple[str, ...]:
        return (*self.key, *((self.event_time,) if self.event_time else ()))


@dataclass(frozen=True)
class Commit:
    """One write: its time in ms since 1970 (also its id, "as of" refers to it), rows inserted and updated.

    `about`: what its writer said of it: which step, of which source, in which run; part of the commit itself.
    """

    id: int
    inserted: int
    updated: int
    about: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class TableRef:
    """What steps pass instead of rows: a table as it stood after a commit."""

    name: str
    version: int
    commit: int
    decisions: str = ""  # what people had decided of its labels, see `dagsverk.label_decisions`; "": nothing


@dataclass(frozen=True)
class ModelRef:
    """What steps pass instead of a model."""

    name: str
    version: int


@dataclass(frozen=True)
class Model:
    """A registered, complete model version. `files` maps each file's relative path to its SHA-256."""

    name: str
    version: int
    metrics: Mapping[str, float]
    description: str
    created: dt.datetime
    info: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    input_example: Mapping[str, Any] | None = None
    schema: Mapping[str, str] | None = None

    @property
    def ref(self) -> ModelRef:
        return ModelRef(self.name, self.version)


class FeatureStore(Protocol):
    def ensure(self, table: Table) -> None:
        """Create the table if it is absent. Raises Conflict if it exists with another definition."""

    def upsert(self, table: Table, rows: Rows, about: Mapping[str, str] | None = None) -> Commit:
        """Write rows by identity, all or nothing; the last of equal identities wins.

        `about` is kept with the commit, see `Commit`.
        Rows equal to what is stored are left alone: a repeated write has `inserted == updated == 0`
        and makes no new commit (the newest commit's id is returned).
        Raises SchemaError (nothing written), NotFound, Conflict when retries against other writers are spent.
        """

    def read(
        self,
        table: Table,
        *,
        columns: Sequence[str] | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        as_of: int | dt.datetime | None = None,
    ) -> pd.DataFrame:
        """Rows with event time in [since, until), sorted by event time and key.

        An empty table keeps its columns. `as_of` is a commit id or a moment. Raises NotFound.
        """

    def latest(self, table: Table, n: int, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The n rows with the greatest event time, newest first."""

    def lookup(
        self,
        table: Table,
        where: Mapping[str, Any],
        *,
        prefix: bool = False,
        most: int = 1000,
        as_of: int | None = None,
    ) -> pd.DataFrame:
        """At most so many of the rows whose columns have these values, in no order.

        `prefix`: text columns need only begin with them. Raises NotFound, SchemaError.
        """

    def count(self, table: Table, where: Mapping[str, Any]) -> int:
        """How many rows have these values. Raises NotFound, SchemaError."""

    def writer_of(self, table: Table, where: Mapping[str, Any]) -> Commit | None:
        """The commit since which there is a row with these values; None if none is there, or older versions
        cannot be read any more."""

    def commits(self, table: Table) -> list[Commit]:
        """Writes of rows, oldest first (maintenance is not listed)."""

    def version(self, table: Table) -> int:
        """A number that changes whenever the table's rows change; one cheap read. Raises NotFound."""

    def split(
        self,
        table: Table,
        test_share: float,
        *,
        by: Sequence[str],
        salt: str = "",
        as_of: int | dt.datetime | None = None,
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(training, test) rows by a hash of the columns `by`: the same rows always fall on the same side."""

    def compact(self, table: Table) -> None:
        """Merge small files so that reads stay fast; changes no row and no history."""

    def tables(self) -> list[Table]:
        """Every table that was made, by name and version."""

    def restore(self, table: Table, rows: Rows, commit: Commit) -> Commit:
        """Write the rows of a commit of another store as that commit: with its id and its counts.

        Commits come oldest first; one that is there already, or an older one, is left alone."""


class ModelRegistry(Protocol):
    def save_model(
        self,
        name: str,
        folder: Path,
        *,
        metrics: Mapping[str, float],
        description: str = "",
        info: Mapping[str, Any] | None = None,
        input_example: Mapping[str, Any] | None = None,
        schema: Mapping[str, str] | None = None,
    ) -> Model:
        """Copy the folder's files into a new version, visible only when complete. Raises SchemaError."""

    def model(self, name: str, version: int) -> Model:
        """Raises NotFound."""

    def models(self, name: str) -> list[Model]:
        """All complete versions, ascending; [] for an unknown name."""

    def best(self, name: str, metric: str, mode: Literal["min", "max"]) -> Model:
        """The best version that has the metric; of equals the newest. Raises NotFound."""

    def champion(self, name: str) -> Model | None:
        """The version in use, None before the first promotion."""

    def champions(self, name: str) -> list[Mapping[str, Any]]:
        """All promotions, oldest first: {"version", "promoted_at", "reason"}."""

    def promote(self, name: str, version: int, *, reason: str, expected: int | None) -> None:
        """Make `version` the champion. `expected` is the version that the caller believes is champion now
        (None: none is); Conflict if another one is. Promoting the present champion again changes nothing."""

    def download(self, model: Model, folder: Path) -> Path:
        """Exactly the files saved, into `folder`, each checked against its SHA-256.

        Raises StoreError naming the file when one was changed, is missing or is extra."""

    def model_names(self) -> list[str]:
        """Names under which a version was saved, sorted."""

    def restore_model(self, model: Model, folder: Path) -> None:
        """Register a version of another store as that version, with its moment; there already: nothing.

        Raises Conflict if the version is there and is another."""

    def restore_promotions(self, name: str, promotions: Sequence[Mapping[str, Any]]) -> None:
        """Make the promotions of another store, oldest first; those that are there already are left alone.

        Raises Conflict if others are there."""


class Artefacts(Protocol):
    def put(self, path: str, data: bytes, *, overwrite: bool = False) -> None:
        """Store a small file whole or not at all. Raises Conflict if it exists and not `overwrite`."""

    def get(self, path: str) -> bytes:
        """Raises NotFound."""

    def put_file(self, path: str, source: Path) -> str:
        """Store a file of any size whole or not at all, replacing what is there. Returns its SHA-256."""

    def fetch(self, path: str, cache: Path) -> Path:
        """A local file with the artefact's bytes, to be read and never written: the very file where the store
        is a folder, else a copy below the folder `cache`, used again as long as the artefact stays the same.
        Raises NotFound."""

    def remove(self, prefix: str) -> None:
        """Remove the artefacts below the folder `prefix`; absent is done."""

    def list(self, prefix: str) -> list[str]:
        """Paths below the prefix, sorted."""

    def stamps(self) -> Mapping[str, str]:
        """A stamp per artefact, by path: another one means that its bytes may differ."""


class Store(FeatureStore, ModelRegistry, Artefacts, Protocol):
    """The only door to saved state."""

    url: str
