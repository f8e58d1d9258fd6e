"""What is to be said of a whole source when it comes in, and not after models were fitted to it."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from dagsverk.tabular.errors import SourceError
from dagsverk.tabular.numerals import number
from dagsverk.tabular.spellings import Cells
from dagsverk.tabular.system import System

FEW_ROWS = 20  # of fewer nothing is said: a day may bring three alike
MANY_NUMBERS = 20  # different ones that are no class: more are a quantity


def refuse_quantity(system: System, source: str, outcomes: Cells | None, bad: set[str]) -> None:
    """Raises SourceError where the outcomes are numbers of all sizes and not classes.

    Args: outcomes: the cells of the label, `bad`: texts among them that are no class.
    """
    if outcomes is None:
        return
    numbers = [text for text in bad if number(text) is not None]
    if len(numbers) <= MANY_NUMBERS or 2 * len(numbers) < len(set(outcomes.used())):
        return
    raise SourceError(
        f"{system.label.name} of {source} holds {len(numbers):,} different numbers, such as {numbers[0]}: "
        f"that is a quantity (regression), and {system.name} predicts one of {', '.join(system.classes)}; "
        "cut it into ranges, and give their names. Nothing was changed"
    )


def remarks(system: System, rows: pd.DataFrame) -> Iterator[str]:
    """Sentences about checked rows from which little can be learned."""
    outcomes = rows[system.label.name].dropna()
    if len(outcomes) < FEW_ROWS:
        return
    for name in system.inputs:
        values = rows[name].dropna().unique()
        if len(values) == 0:
            yield f"{name} is empty in every row: nothing can be learned from it"
        elif len(values) == 1:
            yield f"{name} is {values[0]} wherever it is there: nothing can be learned from it"
    counts = outcomes.value_counts()
    rare = [f"{name} ({counts.get(name, 0)})" for name in system.classes if counts.get(name, 0) < 2]
    if rare:
        yield f"fewer than two rows have the outcome {', '.join(rare)}"
