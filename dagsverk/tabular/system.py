"""What describes one tabular system: where rows come from, what they mean, what is predicted."""

from __future__ import annotations

import datetime as dt
import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dagsverk.tabular import systems as package

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["number", "integer", "category"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a system: its meaning, its limits and how a person reads and enters it."""

    name: str
    description: str
    kind: Kind
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)  # raw value -> category, or a number's digits
    synonyms: tuple[str, ...] = ()  # other names of the column in sources; case and signs do not count
    wording: Mapping[str, str] = field(default_factory=dict)  # category or number -> words on a page
    required: bool = True  # False: may be empty
    example: float | str | None = None  # first value that a page shows

    def __post_init__(self) -> None:
        if (self.kind == "category") != bool(self.categories):
            raise ValueError(f"column {self.name}: categories are for, and needed by, kind 'category'")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"column {self.name}: minimum {self.minimum} > maximum {self.maximum}")

    def words(self, value: object) -> str:
        """The value as a person reads it."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return self.wording.get(str(value), str(value))


@dataclass(frozen=True, kw_only=True)
class System:
    """Everything that Dagsverk knows about one table; adding a system is adding one of these."""

    name: str
    title: str
    description: str
    row_name: str  # what one row is: "passenger"
    id_column: str  # identity in the raw rows, never a feature
    columns: tuple[Column, ...]  # inputs, as a person enters them
    label: Column  # what is predicted: a category
    read: Callable[[], pd.DataFrame]  # the embedded raw rows
    event_time: dt.datetime  # when the embedded facts were so (UTC)
    id_synonyms: tuple[str, ...] = ()  # other names of the id column in sources
    time_column: str = ""  # when each raw row was; empty: rows have no time of their own
    time_zone: str = "UTC"  # of times that name no offset, such as Europe/Stockholm
    unused: tuple[str, ...] = ()  # raw columns known and left out on purpose
    derive: Callable[[pd.DataFrame], pd.DataFrame] | None = None  # adds numeric columns; needs no fitting
    derived: tuple[str, ...] = ()  # names that `derive` adds
    leak_accuracy: float = 1.0  # a cross-validated accuracy above this smells of a leak
    licence: str = ""

    def __post_init__(self) -> None:
        if self.label.kind != "category" or len(self.label.categories) < 2:
            raise ValueError(f"system {self.name}: the label must be a category with two classes or more")
        if self.event_time.tzinfo is None:
            raise ValueError(f"system {self.name}: event_time needs a time zone")
        _check_zone(self.name, self.time_zone)
        if self.time_column in {self.id_column, self.label.name, *self.inputs}:
            raise ValueError(
                f"system {self.name}: time_column {self.time_column!r} is its id, its label or an input "
                "as well; give an input that is made of the time a column of its own"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of every probability vector."""
        return self.label.categories

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input columns, as entered."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        return next(c for c in (*self.columns, self.label) if c.name == name)


def _check_zone(system: str, zone: str) -> None:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"system {system}: no time zone {zone!r}; want a name such as UTC or Europe/Stockholm"
        ) from error


def systems() -> list[str]:
    """Names of all known systems: the files in `dagsverk/tabular/systems`."""
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__))


def known_system(name: str) -> str:
    """The name, when there is such a system. Raises ValueError, naming the known ones."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", str(name)) or name not in systems():
        raise ValueError(
            f"no system {name!r}; known: {', '.join(systems())}; "
            f"a new one is a file in dagsverk/tabular/systems"
        )
    return name


def load_system(name: str) -> System:
    """The system of that name. Raises ValueError, naming the known ones."""
    system = importlib.import_module(f"{package.__name__}.{known_system(name)}").SYSTEM
    if not isinstance(system, System) or system.name != name:
        raise ValueError(
            f"dagsverk/tabular/systems/{name}.py must define SYSTEM = System(name={name!r}, ...)"
        )
    return system
