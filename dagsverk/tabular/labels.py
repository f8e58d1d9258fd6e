"""Decisions of people about rows, as they are read: the table stays what its source says. Light.

A decision applies to a row with the very values and outcome that it was about. So what a source brings later
never overwrites a decision, one that is undone leaves no trace, and a row that has changed is as it came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from dagsverk.label_decisions import LabelDecision, State, content_key
from dagsverk.tabular.system import System
from dagsverk.words import counted

GONE = "no row has those values and that outcome"
NO_CLASS = "the new outcome is none of the system's"


@dataclass(frozen=True)
class Decided:
    """Rows with what was decided of them."""

    rows: pd.DataFrame
    mended: int = 0
    dropped: int = 0
    not_applied: Mapping[str, int] = field(default_factory=dict)  # why decisions do not apply -> how many

    @property
    def words(self) -> str:
        """ "3 labels mended and 1 row dropped by hand"; "": nothing was done."""
        if not self.mended + self.dropped:
            return ""
        return f"{counted(self.mended, 'label')} mended and {counted(self.dropped, 'row')} dropped by hand"


def row_key(system: System, row: Mapping[Any, Any]) -> str:
    """What a row is: its id, its values, and its outcome as the source has it."""
    names = ("row_id", *system.inputs, system.label.name)
    return content_key(*(_written(row[name]) for name in names))


def with_decisions(system: System, rows: pd.DataFrame, state: State) -> Decided:
    """The rows, those that were dropped left out, those that were mended with their new outcome.

    Args: rows: layout of the features table.
    """
    decided = {key: one for key, one in state.by_key.items() if one.action != "keep"}
    if not decided:
        return Decided(rows)
    label, names = system.label.name, {one.name for one in decided.values()}
    applied: dict[object, LabelDecision] = {}
    why: Counter[str] = Counter()
    seen = set()
    for place, row in rows[rows["row_id"].isin(names)].iterrows():
        key = row_key(system, row.to_dict())
        if (decision := decided.get(key)) is None:
            continue
        seen.add(key)
        if decision.action == "mend" and decision.value not in system.classes:
            why[NO_CLASS] += 1
        else:
            applied[place] = decision
    why[GONE] = len(set(decided) - seen)
    mended = {place: one.value for place, one in applied.items() if one.action == "mend"}
    dropped = [place for place, one in applied.items() if one.action == "drop"]
    labels = rows[label].astype(object)
    labels = pd.Series(mended, dtype=object).reindex(labels.index).fillna(labels)
    kept = rows.assign(**{label: labels}).drop(index=dropped).reset_index(drop=True)
    return Decided(kept, len(mended), len(dropped), {name: n for name, n in why.items() if n})


def _written(value: object) -> str:
    """One spelling for a value, whichever type a table gives it in."""
    if value is None or bool(pd.isna(value)):  # type: ignore[call-overload]
        return ""
    return repr(float(value)) if isinstance(value, (int, float)) else str(value)
