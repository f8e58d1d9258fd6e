"""Which column of a source is which of a system's: by its name, however people write it.

Names are compared without case, spaces and signs, so that `Passenger Id`, `PassengerId` and `passenger-id`
are `passenger_id`; a unit may follow or be left out; and a system states synonyms.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from dagsverk.tabular.errors import SourceError
from dagsverk.tabular.rules import fold
from dagsverk.tabular.system import Column, System

SHOWN = 12  # names in a sentence


@dataclass(frozen=True)
class Matched:
    """The places, from 0, of a system's columns among a source's names."""

    places: dict[str, int]  # those that are there; in the system's order
    guesses: tuple[str, ...] = ()  # sentences


def score(system: System, names: Sequence[str]) -> int:
    """How many of the names the system knows: the more, the more likely they are its header."""
    keys = _keys(system)
    left_out = {fold(name) for name in system.unused}
    return len({keys.get(key, key) for key in map(fold, names) if key in keys or key in left_out})


def words(system: System) -> set[str]:
    """What is likely to be in a table of the system: names, categories, and their other spellings."""
    columns = (*system.columns, system.label)
    names = {name for column in columns for name in (column.name, *column.synonyms)}
    values = {value for c in columns for value in (*c.categories, *c.aliases, *c.wording.values())}
    return {system.id_column, *system.id_synonyms, *names, *values}


def match(system: System, source: str, names: Sequence[str]) -> Matched:
    """Find the system's columns among the names.

    A system's id, its outcome and what may be empty need not be there, if nothing looks like them.
    Raises: SourceError: a name twice, two names for one column, a column that is not there.
    """
    keys, claims = _keys(system), dict[str, list[int]]()
    _refuse_names(source, names, keys)
    for place, name in enumerate(names):
        if (column := keys.get(fold(name))) is not None:
            claims.setdefault(column, []).append(place)
    for column, several in claims.items():
        if len(several) > 1:
            both = ", ".join(repr(names[place]) for place in several)
            raise SourceError(f"{source} has {len(several)} columns that mean {column}: {both}; leave one")
    places = {column: claims[column][0] for column in _wanted(system) if column in claims}
    _refuse_missing(system, source, names, places)
    return Matched(places, tuple(_guesses(system, names, places)))


def _wanted(system: System) -> list[str]:
    time = [system.time_column] if system.time_column else []
    return [system.id_column, *time, *system.inputs, system.label.name]


def _keys(system: System) -> dict[str, str]:
    """Folded name -> the system's column."""
    keys = {fold(name): system.id_column for name in (system.id_column, *system.id_synonyms)}
    for column in (*system.columns, system.label):
        for name in spellings(column):
            keys.setdefault(fold(name), column.name)
    if system.time_column:
        keys.setdefault(fold(system.time_column), system.time_column)
    return keys


def spellings(column: Column) -> Iterator[str]:
    """The names that a column goes by: with its unit, and without it."""
    for name in (column.name, *column.synonyms):
        yield name
        if column.unit:
            bare = re.sub(rf"[_\W]*{re.escape(column.unit)}$", "", name)
            yield from (bare, f"{bare}_{column.unit}")


def _refuse_names(source: str, names: Sequence[str], keys: Container[str]) -> None:
    named = [name for name in names if name]
    if (hint := _first_line(names)) and not any(fold(name) in keys for name in named):
        raise SourceError(f"the first line of {source} holds {listed(names)}{hint}")
    if repeated := sorted({name for name in named if named.count(name) > 1}):
        raise SourceError(
            f"{source} has columns with the same name: {', '.join(repeated)}; leave one of each"
        )


def _refuse_missing(system: System, source: str, names: Sequence[str], places: dict[str, int]) -> None:
    """What must be there, and what may be absent but something in the source looks like it."""
    left_out = {fold(name) for name in system.unused}
    taken = set(places.values())
    extra = [
        name for place, name in enumerate(names) if place not in taken and name and fold(name) not in left_out
    ]
    wanted = [name for name in _wanted(system) if name not in places]
    hints = {name: difflib.get_close_matches(name, extra, 1, cutoff=0.5) for name in wanted}
    missing = [name for name in wanted if not _may_be_absent(system, name) or _alike(name, hints[name])]
    if not missing:
        return
    shown = ", ".join(f"{name} (is it {hints[name][0]!r}?)" if hints[name] else name for name in missing)
    raise SourceError(
        f"{source} lacks {len(missing)} of the columns of {system.name}: {shown}; "
        f"found: {listed(names)}. Nothing was changed"
    )


def _may_be_absent(system: System, name: str) -> bool:
    if name in (system.id_column, system.label.name, system.time_column):
        return True
    return not system.column(name).required


def _alike(name: str, hints: Sequence[str]) -> bool:
    """Whether another name is so close that it may be a slip of the pen."""
    return bool(hints) and difflib.SequenceMatcher(None, fold(name), fold(hints[0])).ratio() >= 0.7


def _first_line(names: Sequence[str]) -> str:
    numbers = sum(bool(re.fullmatch(r"[-+]?[\d.,]+", name)) for name in names)
    return ": values, not names; write the names above them" if 2 * numbers >= max(2, len(names)) else ""


def _guesses(system: System, names: Sequence[str], places: dict[str, int]) -> Iterator[str]:
    renamed = {names[place]: column for column, place in places.items() if names[place] != column}
    if renamed:
        yield f"read as columns of {system.name}: " + ", ".join(f"{a!r} as {b}" for a, b in renamed.items())
    for column in (*system.columns, system.label):
        if column.name in places and _is_silent(names[places[column.name]], column):
            yield f"{names[places[column.name]]!r} names no unit and is taken to be in {column.unit}"
    absent = [column.name for column in system.columns if column.name not in places]
    if absent:
        yield f"there is no column {', '.join(absent)}: empty in every row"
    if system.label.name not in places:
        yield f"there is no column {system.label.name}: these rows have no outcome yet"
    left = [name for place, name in enumerate(names) if name and place not in places.values()]
    if left:
        yield f"columns left out: {listed(left)}"


def _is_silent(name: str, column: Column) -> bool:
    """Whether it lacks the unit that the system's own name has."""
    unit = fold(column.unit)
    return bool(unit) and fold(column.name).endswith(unit) and not fold(name).endswith(unit)


def listed(names: Sequence[str]) -> str:
    """The names in a sentence, the first of them where they are many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(name or "(no name)" for name in names[:SHOWN]) + more
