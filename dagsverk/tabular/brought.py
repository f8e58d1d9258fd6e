"""Somebody else's predictions of a system's rows, from a table: checked, and matched to the rows."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dagsverk.tabular.errors import SourceError
from dagsverk.tabular.parquet import PARQUET
from dagsverk.tabular.sources import fetched
from dagsverk.tabular.system import System
from dagsverk.words import counted

SUM_MAY_MISS = 0.01  # that probabilities of a row may miss 1 by: they may have been rounded
SEPARATORS = (",", ";", "\t", "|")
LABELS = ("prediction", "predicted", "label", "class")  # "outcome" is what came, and no prediction
MOST_ODD = 0.01  # of the rows, that may predict a class which the system does not have, and are set aside
NO_CLASS = "a class that the system does not have"
UNKNOWN, TWICE = "a row that the table does not have", "the same row twice"


@dataclass(frozen=True)
class Brought:
    """Predictions by identity of the row."""

    probabilities: Mapping[str, NDArray[np.float64]]  # id -> of each class; of labels: 1 and 0
    labels_only: bool
    set_aside: Mapping[str, int] = field(default_factory=dict)  # reason -> rows of the table


def read_predictions(system: System, source: str, ids: Sequence[str]) -> Brought:
    """The predictions of these rows. Raises: SourceError, SourceUnavailable.

    Args: ids: of the system's rows; the table may name them with the system's name in front or without.
    """
    table, name = _table(source)
    key = _id_column(system, table, name)
    columns = _class_columns(system, table)
    label = _label_column(system, table)
    if not columns and label is None:
        wanted = ", ".join(f"probability_{one}" for one in system.classes)
        raise SourceError(
            f"{name} has no predictions: want a column for each class ({wanted}), or one column `prediction` "
            f"with the class; found {', '.join(map(str, table.columns))[:300]}"
        )
    ours = set(ids)
    rows = [_full(system, str(one).strip(), ours) for one in table[key]]
    often = Counter(rows)
    kept: dict[str, NDArray[np.float64]] = {}
    why: Counter[str] = Counter()
    values = [table[column] for column in columns if column] if columns else [table[label]]
    for row, *given in zip(rows, *values, strict=True):
        if row not in ours:
            why[UNKNOWN] += 1
        elif often[row] > 1:
            why[TWICE] += 1
        else:
            shares = _shares(_complete(given, columns)) if columns else _label(system, given[0])
            if isinstance(shares, str):
                why[shares] += 1
            else:
                kept[row] = shares
    if not columns:
        _refuse_spellings(system, name, list(table[label]), len(rows))
    if not kept:
        reasons = "; ".join(f"{counted(n, 'row')}: {reason}" for reason, n in why.most_common())
        raise SourceError(f"no row of {name} can be used ({reasons or 'it has none'}); mend it")
    return Brought(kept, not columns, dict(why.most_common()))


def _table(source: str) -> tuple[pd.DataFrame, str]:
    name, data, _ = fetched(source)
    if data.startswith(PARQUET):
        try:
            table = pq.read_table(io.BytesIO(data)).to_pandas()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise SourceError(f"{name} is no Parquet that can be read: {error}") from error
        return table, name
    try:
        text = data.decode("utf-8-sig")
        head = text.split("\n", 1)[0]
        separator = max(SEPARATORS, key=head.count)
        table = pd.read_csv(
            io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, index_col=False
        )
    except (UnicodeDecodeError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise SourceError(f"{name} cannot be read as CSV in UTF-8: {str(error)[:200]}") from error
    return table, name


def _id_column(system: System, table: pd.DataFrame, name: str) -> str:
    for one in ("row_id", system.id_column, "id"):
        for column in table.columns:
            if _letters(column) == _letters(one):
                return str(column)
    raise SourceError(
        f"{name} names no rows: want a column row_id, {system.id_column} or id; found "
        f"{', '.join(map(str, table.columns))[:300]}"
    )


def _letters(name: object) -> str:
    """PassengerId and passenger_id are one name."""
    return "".join(sign for sign in str(name).lower() if sign.isalnum())


def _class_columns(system: System, table: pd.DataFrame) -> list[str]:
    """One for each class, in their order; none if one is missing; of two classes one is enough, "" the other.

    A class's bare name is a probability where each class has one: a lone `survived` is the label.
    """
    names = {str(column).strip().lower(): str(column) for column in table.columns}

    def named(one: str, forms: Sequence[str]) -> str:
        raws = (one, *(str(raw) for raw, category in system.label.aliases.items() if category == one))
        spelt = (form.format(raw).lower() for raw in raws for form in forms)
        return next((names[name] for name in spelt if name in names), "")

    columns = [named(one, ("probability_{}", "p_{}")) for one in system.classes]
    if len(columns) == 2 and any(columns):
        return columns
    columns = [named(one, ("probability_{}", "p_{}", "{}")) for one in system.classes]
    return columns if all(columns) else []


def _complete(given: Sequence[Any], columns: Sequence[str]) -> Sequence[Any]:
    """With what is left for the class that has no column."""
    if all(columns):
        return given
    try:
        rest = 1 - float(str(given[0]).strip())
    except ValueError:
        return [given[0], given[0]]
    return [given[0], rest] if columns[0] else [rest, given[0]]


def _label_column(system: System, table: pd.DataFrame) -> str | None:
    names = {str(column).strip().lower(): str(column) for column in table.columns}
    return next((names[one] for one in (*LABELS, system.label.name.lower()) if one in names), None)


def _full(system: System, row: str, ours: set[str]) -> str:
    short = row.removesuffix(".0")  # as whole numbers are written that stood beside an empty field
    spelt = (row, f"{system.name}-{row}", short, f"{system.name}-{short}")
    return next((one for one in spelt if one in ours), row)


def _shares(given: Sequence[Any]) -> NDArray[np.float64] | str:
    """Probabilities that sum to 1, or why they are none."""
    try:
        shares = np.array([float(str(one).strip()) for one in given])
    except ValueError:
        return "a probability that is no number"
    if not all(math.isfinite(one) for one in shares):
        return "a probability that is no number"
    if (shares < 0).any() or (shares > 1).any():
        return "a probability below 0 or above 1"
    if abs(shares.sum() - 1) > SUM_MAY_MISS:
        return "probabilities that do not sum to 1"
    return np.asarray(shares / shares.sum())


def _label(system: System, given: Any) -> NDArray[np.float64] | str:
    place = _place(system, given)
    if place is None:
        return NO_CLASS if _text(given) else "no class"
    return np.array([float(each == place) for each in range(len(system.classes))])


def _place(system: System, given: Any) -> int | None:
    """Which of the classes is meant, by its name or as sources write it."""
    aliases = {str(raw): category for raw, category in system.label.aliases.items()}
    text = _text(given)
    meant = {text, text.removesuffix(".0")}
    for place, one in enumerate(system.classes):
        if text.lower() == one.lower() or one in {aliases.get(spelt) for spelt in meant}:
            return place
    return None


def _text(given: Any) -> str:
    return "" if pd.isna(given) else str(given).strip()


def _refuse_spellings(system: System, name: str, given: Sequence[Any], rows: int) -> None:
    """Rows of a class that is spelt otherwise are not left out by chance: the rest flatters the model."""
    odd = Counter(_text(one)[:40] for one in given if _text(one) and _place(system, one) is None)
    if odd.total() > MOST_ODD * rows:
        spelt = ", ".join(f"{text!r} ({counted(n, 'row')})" for text, n in odd.most_common(3))
        raise SourceError(
            f"{name} predicts what is no class of {system.name}: {spelt}; want {', '.join(system.classes)}: "
            "spell them so, or leave these rows out"
        )
