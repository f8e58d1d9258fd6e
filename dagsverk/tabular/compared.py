"""Two models of a table compared: what is asked, and what came of it. Light: loads no learning library.

Layout: comparisons/<system>/reports/<comparison>.json, and newest.json beside the folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from dagsverk import comparisons
from dagsverk.addresses import SCHEMA, refuse_keys
from dagsverk.form import CLOSED
from dagsverk.store import Store
from dagsverk.tabular.config import MAX_SEED
from dagsverk.tabular.measures import WORDS
from dagsverk.words import counted

Kind: TypeAlias = Literal["champion", "version", "predictions"]
ALPHA = 0.05
MIN_ROWS = 10  # that both have: fewer say nothing


@dataclass(frozen=True, kw_only=True)
class TableContender:
    """A version of the store, or somebody else's predictions of the same rows."""

    __pydantic_config__ = CLOSED

    kind: Kind = "champion"
    version: Annotated[int, Field(ge=1)] | None = None
    # of kind predictions: a table with the rows' ids and a probability per class, or the class alone; CSV or
    # Parquet at a path, http(s) URL or s3:// address
    source: Annotated[str, Field(json_schema_extra=SCHEMA)] = ""
    name: Annotated[str, Field(max_length=80)] = ""  # that the predictions are called by

    def __post_init__(self) -> None:
        refuse_keys(self.source)
        if (self.kind == "version") != (self.version is not None):
            raise ValueError("kind version wants a version, and no other kind has one")
        if (self.kind == "predictions") != bool(self.source):
            raise ValueError("kind predictions wants a source, and no other kind has one")
        if self.version is not None and (isinstance(self.version, bool) or self.version < 1):
            raise ValueError(f"version must be a whole number from 1, got {self.version!r}")


@dataclass(frozen=True, kw_only=True)
class CompareRowsConfig:
    """On which rows, and how exactly."""

    __pydantic_config__ = CLOSED

    # out_of_fold: all real rows with an outcome, each predicted by a model fitted without it, on rows that
    # the version was trained on; unseen: rows that neither version was trained on, by the models as they are
    rows: Literal["out_of_fold", "unseen"] = "out_of_fold"
    folds: Annotated[int, Field(ge=2, le=100)] = 10
    repeats: Annotated[int, Field(ge=1, le=100)] = 5  # at most; fewer where there are many rows
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 2000
    min_group_rows: Annotated[int, Field(ge=2)] = 30
    examples: Annotated[int, Field(ge=0, le=100)] = 12
    seed: Annotated[int, Field(ge=0, le=MAX_SEED - 10_000)] = 42

    def __post_init__(self) -> None:
        for name, low, high in (
            ("folds", 2, 100), ("repeats", 1, 100), ("resamples", 100, 100_000), ("examples", 0, 100),
            ("min_group_rows", 2, 10**9), ("seed", 0, MAX_SEED - 10_000),
        ):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")

    def to_dict(self) -> dict[str, Any]:
        """The settings in JSON types."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Change:
    """First minus second of a metric, on the same rows, with 95 % limits; p by sign flips, two-sided."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, kw_only=True)
class RowGroup:
    """Rows that share a value."""

    by: str
    value: str
    rows: int
    change: Change
    p_adjusted: float  # Holm's, over all groups

    @property
    def differs(self) -> bool:
        return self.p_adjusted < ALPHA


@dataclass(frozen=True, kw_only=True)
class RowExample:
    """A row that one judges much better than the other."""

    row_id: str
    inputs: Mapping[str, str]
    outcome: str
    first: float  # probability of the outcome; of labels alone 0 or 1
    second: float


@dataclass(frozen=True, kw_only=True)
class TableSide:
    """A contender and how it did."""

    name: str
    detail: str
    accuracy: float
    log_loss: float | None  # None: it gave classes and no probabilities
    brier: float | None
    version: int | None = None
    rows_per_s: float | None = None  # predicted, warm; None: not by us
    machine: str = ""
    set_aside: Mapping[str, int] | None = None  # of somebody's predictions: reason -> rows of the table


@dataclass(frozen=True, kw_only=True)
class TableReport:
    """Two contenders on the same rows."""

    key: str
    at: str  # ISO 8601, UTC
    system: str
    data_commit: int
    of: str  # which rows, in words
    rows: int
    left_out: Mapping[str, int]  # reason -> rows that are counted for neither
    first: TableSide
    second: TableSide
    measure: str  # that the verdict is of: log_loss, or accuracy where one has no probabilities
    changes: Mapping[str, Change]  # metric -> first minus second, over the rows
    over_folds: Mapping[str, Change]  # the same over the folds (Nadeau and Bengio), {}: there are none
    only_first_right: int  # rows
    only_second_right: int
    mcnemar_p: float  # exact, that these two are alike
    groups: tuple[RowGroup, ...]
    examples: tuple[RowExample, ...]
    notes: tuple[str, ...]
    config: Mapping[str, Any]
    took_s: float

    @property
    def outcome(self) -> int:
        """-1: the first is better beyond chance, 1: the second is, 0: neither.

        Where there are folds, both intervals must say so: over rows, and over folds, which also holds what
        another draw of rows to learn from would change.
        """
        looked_at = [self.changes[self.measure], *filter(None, [self.over_folds.get(self.measure)])]
        turned = 1 if self.measure == "log_loss" else -1  # less of it is better
        if all(change.high < 0 for change in looked_at):
            return -turned
        return turned if all(change.low > 0 for change in looked_at) else 0

    @property
    def verdict(self) -> str:
        """In a sentence or two."""
        change, word = self.changes[self.measure], WORDS[self.measure]
        wide = self.over_folds.get(self.measure, change)
        numbers = f"{word} {change.value:+.4f} ({wide.low:+.4f} to {wide.high:+.4f}), first minus second"
        on = f"on {counted(self.rows, 'row')}: {self.of}"
        first, second = self.first.name, self.second.name
        if self.outcome:
            better, worse = (first, second) if self.outcome < 0 else (second, first)
            return f"{better} is better than {worse}: {numbers}, {on}."
        if change.value == 0 and not (self.only_first_right or self.only_second_right):
            return f"{first} and {second} say the same {on}."
        return f"No difference was shown between {first} and {second}: {numbers}, {on}. The interval holds 0."


def folder(system: str) -> str:
    """The artefact folder of a system's comparisons."""
    return f"comparisons/{system}"


def keep(store: Store, report: TableReport) -> None:
    """Replace what was kept of the same comparison before."""
    comparisons.keep(store, folder(report.system), report)


def version(store: Store, system: str) -> str:
    """Another one when a comparison was made, or made again. Cheap: one small file."""
    return comparisons.version(store, folder(system))


def reports(store: Store, system: str) -> list[TableReport]:
    """All comparisons of a system, newest first."""
    return comparisons.reports(store, folder(system), TableReport)
