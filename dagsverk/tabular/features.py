"""Raw rows -> checked, typed rows of the features table; and the inputs that models see."""

from __future__ import annotations

import difflib
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera
from pandera.errors import SchemaErrors

from dagsverk.tabular.errors import InvalidInput, SourceError
from dagsverk.tabular.sources import MISSING, Raw
from dagsverk.tabular.system import Column, System
from dagsverk.tabular.tables import HISTORIC, features_table, rejects_table

# pandera 0.35 joins its lists of failures in a way that pandas 2 warns of; nobody here can act on it.
warnings.filterwarnings("ignore", category=FutureWarning, module="pandera")

MAX_VALUE_LENGTH = 200  # of a rejected value that is kept
MAX_ID_LENGTH = 100


@dataclass(frozen=True)
class Validated:
    """What came of a source: every raw row is in `rows` or has a line in `rejects`."""

    source: str
    rows: pd.DataFrame  # layout of features_table
    rejects: pd.DataFrame  # layout of rejects_table: one line per failed check
    rows_in: int
    timed: bool = False  # the rows have times of their own; else `event_time` is the system's

    @property
    def rows_set_aside(self) -> int:
        return self.rows_in - len(self.rows)

    def complaint(self, max_bad_share: float) -> str:
        """Why nothing was taken: the share, and the checks that failed most."""
        counts = Counter(zip(self.rejects["column"], self.rejects["check"], strict=True)).most_common(3)
        worst = ", ".join(f"{column} is not {check} ({n})" for (column, check), n in counts)
        return (
            f"{self.rows_set_aside} of {self.rows_in} rows of {self.source} fail the checks, "
            f"more than the share {max_bad_share:g} that is accepted: {worst}. "
            f"The feature table was not changed; the rows and reasons are in the rejects table"
        )


def validate(system: System, raw: Raw, found_at: pd.Timestamp) -> Validated:
    """Split raw rows into good ones, typed, and set-aside ones with column, check and value.

    Raises SourceError when the columns as a whole do not fit.
    """
    _check_header(system, raw)
    ids = raw.rows[system.id_column].map(_text, na_action="ignore")
    typed, failures = _check(raw.rows, (*system.columns, replace(system.label, required=False)))
    failures += _id_failures(system.id_column, ids)
    failures += [(line, "", "as many fields as the header", fields) for line, fields in raw.malformed.items()]
    good = ~typed.index.isin({line for line, *_ in failures})
    return Validated(
        source=raw.name,
        rows=_feature_rows(system, ids[good], typed[good]),
        rejects=_reject_rows(system, raw.name, failures, found_at),
        rows_in=len(raw.rows) + len(raw.malformed),
    )


def new_rejects(rejects: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """The rejects that are not in the table yet: one that comes up again keeps its first time."""
    same = ["source", "line", "column", "check", "value"]
    again = pd.MultiIndex.from_frame(rejects[same]).isin(pd.MultiIndex.from_frame(stored[same]))
    return rejects[~again]


def model_inputs(system: System, rows: pd.DataFrame) -> pd.DataFrame:
    """Stored or entered rows -> what every model gets, shape (rows, inputs + derived), index reset.

    Numbers are float64 (missing: NaN), categories are Categorical with all the column's categories.
    """
    inputs: dict[str, Any] = {}
    for column in system.columns:
        values = rows[column.name]
        if column.kind == "category":
            inputs[column.name] = pd.Categorical(values, categories=list(column.categories))
        else:
            inputs[column.name] = pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
    frame = pd.DataFrame(inputs)
    if system.derive is not None:
        frame = system.derive(frame)
    return frame[[*system.inputs, *system.derived]]


def check_inputs(system: System, values: Mapping[str, object]) -> pd.DataFrame:
    """One row of inputs, typed, from what a person or program entered. Raises InvalidInput."""
    problems = {
        name: f"no such input; known: {', '.join(system.inputs)}"
        for name in values
        if name not in system.inputs
    }
    cells = pd.DataFrame([{name: _cell(values.get(name)) for name in system.inputs}], dtype=object)
    typed, failures = _check(cells, system.columns)
    for _, column, check, _ in failures:
        given = cells[column].item()
        shown = "nothing" if pd.isna(given) else repr(str(given)[:MAX_VALUE_LENGTH])
        problems.setdefault(column, f"want {check}, got {shown}")
    if problems:
        raise InvalidInput(problems)
    return typed


def _cell(value: object) -> object:
    if isinstance(value, (bool, list, dict)):
        return repr(value)  # becomes a refused text rather than a 1
    text = value.strip() if isinstance(value, str) else value
    return None if text is None or text in MISSING else text


def _check_header(system: System, raw: Raw) -> None:
    required = [system.id_column, *system.inputs, system.label.name]
    missing = [name for name in required if name not in raw.rows.columns]
    if not missing:
        return
    extra = [str(name) for name in raw.rows.columns if name not in required and name not in system.unused]
    hints = {name: difflib.get_close_matches(name, extra, 1, cutoff=0.5) for name in missing}
    wanted = ", ".join(f"{name} (is it {hints[name][0]!r}?)" if hints[name] else name for name in missing)
    raise SourceError(
        f"{raw.name} lacks {len(missing)} of the columns of {system.name}: {wanted}; "
        f"found: {', '.join(map(str, raw.rows.columns))}. Nothing was changed"
    )


Failure = tuple[int, str, str, Any]  # line, column, check, value


def _check(rows: pd.DataFrame, columns: Sequence[Column]) -> tuple[pd.DataFrame, list[Failure]]:
    """Cells -> typed columns, and every cell that fails a check (its typed value is then worth nothing)."""
    typed: dict[str, Any] = {}
    failures: list[Failure] = []
    for column in columns:
        cells = rows[column.name]
        if column.kind == "category":
            typed[column.name] = cells.map(partial(_category, column), na_action="ignore").astype(object)
        else:
            typed[column.name] = numbers = pd.to_numeric(cells, errors="coerce").astype(np.float64)
            unreadable = cells.index[numbers.isna() & cells.notna()]
            failures += [(int(line), column.name, "a number", cells[line]) for line in unreadable]
    table = pd.DataFrame(typed, index=rows.index)
    unreadable_cells = {(line, name) for line, name, *_ in failures}
    try:
        _schema(columns).validate(table, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases[["index", "column", "check", "failure_case"]].itertuples(index=False)
        failures += [
            (int(line), name, "a value" if check == "not_nullable" else check, value)
            for line, name, check, value in cases
            if (line, name) not in unreadable_cells
        ]
    return table, failures


def _schema(columns: Sequence[Column]) -> pandera.DataFrameSchema:
    return pandera.DataFrameSchema(
        {c.name: pandera.Column(checks=_checks(c), nullable=not c.required) for c in columns}
    )


def _checks(column: Column) -> list[pandera.Check]:
    """The column's limits; each check's `error` is how it is worded to people."""
    if column.kind == "category":
        return [pandera.Check.isin(column.categories, error=f"one of {', '.join(column.categories)}")]
    checks = [pandera.Check(np.isfinite, error="a finite number")]
    if column.minimum is not None:
        checks.append(pandera.Check.ge(column.minimum, error=f"at least {column.minimum:g}"))
    if column.maximum is not None:
        checks.append(pandera.Check.le(column.maximum, error=f"at most {column.maximum:g}"))
    if column.kind == "integer":
        checks.append(pandera.Check(lambda values: values == np.floor(values), error="a whole number"))
    return checks


def _text(cell: object) -> str:
    """7, 7.0 and "7" are the same passenger, and the same category."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _category(column: Column, cell: object) -> str:
    text = _text(cell)
    return column.aliases.get(text, text)


def _id_failures(name: str, ids: pd.Series[Any]) -> list[Failure]:
    """Of rows with the same identity the first is kept."""
    too_long = ids.str.len() > MAX_ID_LENGTH
    checks = {"a value": ids.isna(), "unique": ids.duplicated() & ids.notna()}
    checks[f"at most {MAX_ID_LENGTH} characters"] = too_long.fillna(False).astype(bool)
    return [
        (line, name, check, value)
        for check, bad in checks.items()
        for line, value in zip(ids.index[bad].tolist(), ids[bad].tolist(), strict=True)
    ]


def _feature_rows(system: System, ids: pd.Series[Any], typed: pd.DataFrame) -> pd.DataFrame:
    rows = typed.assign(
        row_id=[f"{system.name}-{identity}" for identity in ids],
        event_time=pd.Timestamp(system.event_time).tz_convert("UTC").tz_localize(None),
        origin=HISTORIC,
        generator=None,
    )
    ordered: pd.DataFrame = rows[features_table(system).schema.names]
    return ordered.reset_index(drop=True)


def _reject_rows(
    system: System, source: str, failures: list[Failure], found_at: pd.Timestamp
) -> pd.DataFrame:
    rows = pd.DataFrame(failures, columns=["line", "column", "check", "value"])
    rows = rows.assign(
        source=source,
        found_at=found_at.tz_convert("UTC").tz_localize(None),
        value=[str(value)[:MAX_VALUE_LENGTH] for value in rows["value"]],
    )
    ordered: pd.DataFrame = rows[rejects_table(system).schema.names]
    return ordered.drop_duplicates(["line", "column", "check"])
