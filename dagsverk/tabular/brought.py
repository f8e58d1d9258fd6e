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
    values = [table[column] for column in columns] if columns else [table[label]]
    for row, *given in zip(rows, *values, strict=True):
        if row not in ours:
            why[UNKNOWN] += 1
        elif often[row] > 1:
            why[TWICE] += 1
        else:
            shares = _shares(given) if columns else _label(system, given[0])
            if isinstance(shares, str):
                why[shares] += 1
            else:
                kept[row] = shares
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
        table = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    except (UnicodeDecodeError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise SourceError(f"{name} cannot be read as CSV in UTF-8: {str(error)[:200]}") from error
    return table, name


def _id_column(system: System, table: pd.DataFrame, name: str) -> str:
    wanted = ("row_id", system.id_column.lower(), "id")
    for one in wanted:
        for column in table.columns:
            if str(column).strip().lower() == one:
                return str(column)
    raise SourceError(
        f"{name} names no rows: want a column row_id, {system.id_column} or id; found "
        f"{', '.join(map(str, table.columns))[:300]}"
    )


def _class_columns(system: System, table: pd.DataFrame) -> list[str]:
    """One for each class, in their order; none if one is missing."""
    names = {str(column).strip().lower(): str(column) for column in table.columns}
    columns = []
    for one in system.classes:
        spelt = (f"probability_{one}", f"p_{one}", one)
        columns.append(next((names[s.lower()] for s in spelt if s.lower() in names), ""))
    return columns if all(columns) else []


def _label_column(system: System, table: pd.DataFrame) -> str | None:
    names = {str(column).strip().lower(): str(column) for column in table.columns}
    return next((names[one] for one in (*LABELS, system.label.name.lower()) if one in names), None)


def _full(system: System, row: str, ours: set[str]) -> str:
    return row if row in ours else f"{system.name}-{row}"


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
    text = str(given).strip()
    aliases = {str(raw): category for raw, category in system.label.aliases.items()}
    for place, one in enumerate(system.classes):
        if text.lower() == one.lower() or aliases.get(text) == one:
            return np.array([float(each == place) for each in range(len(system.classes))])
    return "a class that the system does not have"
