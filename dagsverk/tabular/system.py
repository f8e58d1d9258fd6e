"""What describes one tabular system: where rows come from, what they mean, what is predicted."""

from __future__ import annotations

import datetime as dt
import importlib
import pkgutil
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dagsverk.tabular import rules
from dagsverk.tabular import systems as package
from dagsverk.tabular.measures import Measure, check_measure

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
        rules.check_column(self)

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
    measure: Measure = "log_loss"  # that models are chosen by, and champions replaced by
    positive: str = ""  # class that recall, precision and so on are about; "": the rarer of two, all of many

    def __post_init__(self) -> None:
        rules.check_system(self)
        check_measure(self.name, self.measure, self.positive, self.classes)
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


class UnknownSystem(ValueError):
    """There is no such system; the message names the known ones."""


def known_system(name: str) -> str:
    """The name, when there is such a system. Raises UnknownSystem, naming the known ones."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", str(name)) or name not in systems():
        raise UnknownSystem(
            f"no system {name!r}; known: {', '.join(systems())}; "
            f"a new one is a file in dagsverk/tabular/systems"
        )
    return name


class FaultySystem(ValueError):
    """A system's file cannot be used; the message says where in it, and why. The other systems go on."""


def load_system(name: str) -> System:
    """The system of that name. Raises UnknownSystem, FaultySystem."""
    try:
        system = importlib.import_module(f"{package.__name__}.{known_system(name)}").SYSTEM
    except UnknownSystem:
        raise
    except (Exception, SystemExit) as error:  # whatever people write into it
        raise FaultySystem(f"{_place(name, error)}: {_reason(name, error)}") from error
    if not isinstance(system, System) or system.name != name:
        raise FaultySystem(f"{_file(name)} must define SYSTEM = System(name={name!r}, ...)")
    return system


def usable_systems() -> list[System]:
    """All systems but the faulty ones."""
    return [system for name in systems() if (system := _load(name)) is not None]


def faults() -> dict[str, str]:
    """Name of a system that cannot be used -> where in its file, and why."""
    sentences = {}
    for name in systems():
        try:
            load_system(name)
        except ValueError as error:
            sentences[name] = str(error)
    return sentences


def _load(name: str) -> System | None:
    try:
        return load_system(name)
    except ValueError:
        return None


def _file(name: str) -> str:
    return f"dagsverk/tabular/systems/{name}.py"


def _place(name: str, error: BaseException) -> str:
    """File and line: the last of the system's own on the way to the error."""
    own = {str(Path(folder) / f"{name}.py") for folder in package.__path__}
    if isinstance(error, SyntaxError) and error.filename in own:
        return f"{_file(name)}, line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own]
    return f"{_file(name)}, line {lines[-1]}" if lines else _file(name)


def _reason(name: str, error: BaseException) -> str:
    if isinstance(error, AttributeError) and error.name == "SYSTEM":
        return f"it must define SYSTEM = System(name={name!r}, ...)"
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; install it, or do without"
    return f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
