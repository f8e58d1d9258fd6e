"""A sensible row to begin with: what real rows are like, column by column."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dagsverk.tabular.system import Column, System

DIGITS = 4  # of a number that was measured: nobody wants to correct 17.2999992


def typical_case(system: System, rows: pd.DataFrame) -> dict[str, Any]:
    """A value per input, in JSON types: the median of numbers, the commonest category.

    What may be left empty is empty (None), for that is what is least often known; so is a column of which
    no value is known.

    Args: rows: real rows, at least the inputs, as stored.
    """
    return {column.name: _typical(column, rows[column.name].dropna()) for column in system.columns}


def _typical(column: Column, values: pd.Series[Any]) -> Any:
    if not column.required or values.empty:
        return None
    if column.kind == "category":
        counts = values.value_counts()
        return max(column.categories, key=lambda name: int(counts.get(name, 0)))  # of equals the first
    if column.kind == "integer":
        return int(values.quantile(0.5, interpolation="lower"))
    median = float(values.quantile(0.5))
    rounded = float(f"{median:.{DIGITS}g}")
    inside = (column.minimum is None or column.minimum <= rounded) and (
        column.maximum is None or rounded <= column.maximum
    )
    return rounded if inside else median
