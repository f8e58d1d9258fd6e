"""Many rows at once, as a program sends them: the good ones typed, the faulty ones with their reasons."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dagsverk.tabular.delimited import parse_text
from dagsverk.tabular.errors import SourceError
from dagsverk.tabular.features import check_many, check_table
from dagsverk.tabular.parquet import parse_parquet
from dagsverk.tabular.raw import Raw
from dagsverk.tabular.system import System

MAX_ROWS = 10_000
MAX_UNUSUAL = 100  # rows of a list with numbers in other writing, such as "7,5", that are read
MAX_SHOWN = 100  # characters of a name or an identity that came in
NAME = "the body"
WANTED = "want a JSON list of objects with a value per input, or CSV or Parquet with a header"
PLAIN = re.compile(r"[-+]?\d{1,300}(\.\d{1,300})?")

Problems = dict[int, dict[str, str]]


@dataclass(frozen=True)
class Batch:
    """The rows of a body, in their order, from 0."""

    size: int
    rows: pd.DataFrame  # the good ones' inputs, typed; index: their places
    problems: Problems  # place of a faulty row -> column ("": the row as a whole) -> reason
    ids: Mapping[int, str]  # place -> what the row calls itself, where it does
    notes: Sequence[str] = ()  # what was found out about a table, in words


def read_batch(system: System, body: bytes) -> Batch:
    """The rows of a body: what it is, its first bytes say.

    An object in a list is read as if it came alone; of a table, what its rows show together is used.

    Raises: SourceError: nothing of these, a column that is not there, more than MAX_ROWS rows.
    """
    if not body.strip():
        raise SourceError(f"{NAME} is empty; {WANTED}")
    if body.lstrip()[:1] in (b"[", b"{"):
        return _of_objects(system, _listed(body))
    if body.startswith(b"PAR1"):
        return _of_table(system, parse_parquet(system, NAME, body))
    return _of_table(system, parse_text(system, NAME, body))


def _listed(body: bytes) -> list[Any]:
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{NAME} is no JSON ({error}); {WANTED}") from error
    if not isinstance(rows, list):
        raise SourceError(f"{NAME} is one JSON object; {WANTED}")
    return rows


def _of_objects(system: System, rows: list[Any]) -> Batch:
    _refuse_size(len(rows))
    problems = {
        place: {"": "want an object with a value per input"}
        for place, row in enumerate(rows)
        if not isinstance(row, dict)
    }
    objects = {place: _plain(system, row) for place, row in enumerate(rows) if place not in problems}
    # A number in unusual writing is read by itself: how one row writes must not change what others mean
    unusual = {place: odd for place, row in objects.items() if (odd := _unusual(system, row))}
    usual = [place for place in objects if place not in unusual]
    for place in list(unusual)[MAX_UNUSUAL:]:  # each takes milliseconds
        names = unusual.pop(place)
        problems[place] = {
            name: f"want a number in plain writing, got {_short(objects[place][name])}" for name in names
        }
    parts = []
    for places in (usual, *([place] for place in unusual)):
        typed, wrong = check_many(system, [objects[p] for p in places], beside=_beside(system))
        parts.append(typed.set_axis(pd.Index(places, dtype="int64"), axis=0))
        problems |= {places[at]: columns for at, columns in wrong.items()}
    ids = {p: row[system.id_column] for p, row in objects.items() if row.get(system.id_column) is not None}
    return _batch(len(rows), pd.concat(parts), problems, ids)


def _beside(system: System) -> set[str]:
    """What a row may hold that is not asked for: so that rows of a file can be sent as they are."""
    return {system.id_column, system.label.name, system.time_column}


def _plain(system: System, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row, numbers in plain writing as numbers."""
    numeric = {column.name for column in system.columns if column.kind != "category"}
    return {
        name[:MAX_SHOWN]: float(value)
        if name in numeric and isinstance(value, str) and PLAIN.fullmatch(value.strip())
        else value
        for name, value in row.items()
    }


def _unusual(system: System, row: Mapping[str, Any]) -> list[str]:
    """The inputs that should be numbers, and are written in another way."""
    numeric = (column.name for column in system.columns if column.kind != "category")
    return [name for name in numeric if type(row.get(name)) not in (int, float, type(None))]


def _short(value: Any) -> str:
    return repr(str(value)[:MAX_SHOWN])


def _of_table(system: System, raw: Raw) -> Batch:
    lines = sorted([*raw.rows.index, *raw.malformed])
    _refuse_size(len(lines))
    place_of = {line: place for place, line in enumerate(lines)}
    problems: Problems = {
        place_of[line]: {"": f"want as many fields as the header, got {words}"}
        for line, words in raw.malformed.items()
    }
    typed, failures, notes = check_table(system, raw)
    for line, column, check, value in failures:
        shown = repr(str(value)[:MAX_SHOWN]) if value else "nothing"
        problems.setdefault(place_of[line], {}).setdefault(column, f"want {check}, got {shown}")
    ids = {}
    if system.id_column in raw.rows:
        named = raw.rows[system.id_column].dropna()
        ids = {place_of[line]: value for line, value in named.items()}
    typed = typed.set_axis(pd.Index([place_of[line] for line in typed.index], dtype="int64"), axis=0)
    return _batch(len(lines), typed, problems, ids, notes)


def _batch(
    size: int, typed: pd.DataFrame, problems: Problems, ids: Mapping[int, Any], notes: Sequence[str] = ()
) -> Batch:
    good = typed[~typed.index.isin(list(problems))].sort_index()
    names = {place: str(value)[:MAX_SHOWN] for place, value in ids.items()}
    return Batch(size, good, dict(sorted(problems.items())), names, tuple(notes))


def _refuse_size(rows: int) -> None:
    if not rows:
        raise SourceError(f"{NAME} holds no rows; {WANTED}")
    if rows > MAX_ROWS:
        raise SourceError(f"{NAME} holds {rows:,} rows, the limit is {MAX_ROWS:,}; divide it")
