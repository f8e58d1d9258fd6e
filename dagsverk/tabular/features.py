"""Raw rows -> checked, typed rows of the features table; and the inputs that models see."""

from __future__ import annotations

import operator
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera
from pandera.errors import SchemaErrors

from dagsverk.tabular import headers
from dagsverk.tabular.errors import InvalidInput
from dagsverk.tabular.numerals import Marks
from dagsverk.tabular.raw import Raw
from dagsverk.tabular.remarks import refuse_quantity, remarks
from dagsverk.tabular.spellings import EXACT, Cells, categories, identities, is_missing, numbers, with_prefix
from dagsverk.tabular.system import Column, System
from dagsverk.tabular.tables import HISTORIC, features_table, rejects_table
from dagsverk.tabular.times import moments

# pandera 0.35 joins its lists of failures in a way that pandas 2 warns of; nobody here can act on it.
warnings.filterwarnings("ignore", category=FutureWarning, module="pandera")

MAX_VALUE_LENGTH = 200  # of a rejected value that is kept
MAX_ID_LENGTH = 100
MADE = (
    "there is no column {name}: rows are named by their content, and equal ones by their count; "
    "a row that comes again is taken for the same"
)

Failure = tuple[int, str, str, Any]  # line, column, check, value


@dataclass(frozen=True)
class Validated:
    """What came of a source: every raw row is in `rows` or has a line in `rejects`."""

    source: str
    rows: pd.DataFrame  # layout of features_table
    rejects: pd.DataFrame  # layout of rejects_table: one line per failed check
    rows_in: int
    timed: bool = False  # the rows have times of their own; else `event_time` is the system's
    named: bool = True  # the rows have ids of their own; else they are named by their content
    guesses: tuple[str, ...] = ()  # what was found out about the source: sentences

    def __post_init__(self) -> None:
        if len(self.rows) + self.rejects["line"].nunique() != self.rows_in:
            raise AssertionError(  # a fault of ours: no row may be lost in silence
                f"{self.source}: {self.rows_in} rows came in, {len(self.rows)} were taken and "
                f"{self.rejects['line'].nunique()} set aside"
            )

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
    matched = headers.match(system, raw.name, [str(name) for name in raw.rows.columns])
    cells = {name: Cells(raw.rows.iloc[:, place]) for name, place in matched.places.items()}
    columns = (*system.columns, replace(system.label, required=False))
    typed, failures, guesses = _check(cells, columns, raw.rows.index)
    _refuse_quantity(system, raw.name, cells, failures)
    times, time_failures, time_guess = _times(system, cells, typed.index, found_at)
    ids, id_failures, id_guess = _identities(system, cells, typed, times)
    failures = _with_values(failures + id_failures + time_failures, raw.rows, matched.places)
    failures += [(line, "", "as many fields as the header", fields) for line, fields in raw.malformed.items()]
    good = ~typed.index.isin({line for line, *_ in failures})
    rows = _feature_rows(system, ids[good], typed[good], times[good])
    return Validated(
        source=raw.name,
        rows=rows,
        rejects=_reject_rows(system, raw.name, failures, found_at),
        rows_in=len(raw.rows) + len(raw.malformed),
        timed=system.time_column in cells,
        named=system.id_column in cells,
        guesses=tuple(
            g
            for g in (*raw.guesses, *matched.guesses, *guesses, id_guess, time_guess, *remarks(system, rows))
            if g
        ),
    )


def _refuse_quantity(
    system: System, source: str, cells: Mapping[str, Cells], failures: Sequence[Failure]
) -> None:
    label = system.label.name
    bad = {str(value) for _, column, _, value in failures if column == label}
    refuse_quantity(system, source, cells.get(label), bad)


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
    typed, problems = check_many(system, [values])
    if problems:
        raise InvalidInput(problems[0])
    return typed


def check_many(
    system: System, rows: Sequence[Mapping[str, object]], *, beside: Collection[str] = ()
) -> tuple[pd.DataFrame, dict[int, dict[str, str]]]:
    """Rows of inputs, typed; and of each faulty one, by its place, what is wrong with which input.

    How a number is written is found out from all the rows together.

    Args: beside: names that are no inputs and may be there.
    """
    problems: dict[int, dict[str, str]] = {}
    for place, row in enumerate(rows):
        if unknown := [name for name in row if name not in system.inputs and name not in beside]:
            problems[place] = {name: f"no such input; known: {', '.join(system.inputs)}" for name in unknown}
    given = {name: [_cell(row.get(name)) for row in rows] for name in system.inputs}
    cells = {name: Cells(pd.Series(values, dtype=object)) for name, values in given.items()}
    typed, failures, _ = _check(cells, system.columns, pd.RangeIndex(len(rows)))
    for place, column, check, _ in failures:
        value = given[column][place]
        shown = "nothing" if value is None else repr(str(value)[:MAX_VALUE_LENGTH])
        problems.setdefault(place, {}).setdefault(column, f"want {check}, got {shown}")
    return typed, problems


def check_table(system: System, raw: Raw) -> tuple[pd.DataFrame, list[Failure], list[str]]:
    """The inputs of raw rows, typed; every cell that fails a check, and what was guessed.

    Raises SourceError when the columns as a whole do not fit.
    """
    matched = headers.match(system, raw.name, [str(name) for name in raw.rows.columns])
    cells = {name: Cells(raw.rows.iloc[:, place]) for name, place in matched.places.items()}
    typed, failures, guesses = _check(cells, system.columns, raw.rows.index)
    failures = _with_values(failures, raw.rows, matched.places)
    return typed, failures, [g for g in (*raw.guesses, *matched.guesses, *guesses) if g]


def _cell(value: object) -> object:
    if isinstance(value, (bool, list, dict)):
        return repr(value)  # becomes a refused text rather than a 1
    return None if value is None or is_missing(str(value).strip()) else value


def _check(
    cells: Mapping[str, Cells], columns: Sequence[Column], lines: pd.Index
) -> tuple[pd.DataFrame, list[Failure], list[str]]:
    """Cells -> typed columns, every cell that fails a check (its typed value is worth nothing), guesses."""
    typed: dict[str, Any] = {}
    failures: list[Failure] = []
    guesses: list[str] = []
    marks = _marks(cells, columns)
    for column in columns:
        if column.name not in cells:
            typed[column.name] = np.nan if column.kind != "category" else None
        elif column.kind == "category":
            typed[column.name], guess = categories(column, cells[column.name])
            guesses.append(guess)
        else:
            read = numbers(column, cells[column.name], marks)
            typed[column.name] = read.values
            guesses.append(read.guess)
            failures += _unreadable(column.name, cells[column.name], read.unreadable)
    table = pd.DataFrame(typed, index=lines)
    failures += _failed_checks(table, columns, {(line, name) for line, name, *_ in failures})
    return table, failures, [*guesses, _missing_words(cells)]


def _marks(cells: Mapping[str, Cells], columns: Sequence[Column]) -> Marks:
    """How the clear numbers of the whole source are written."""
    each = (
        cells[column.name].marks() for column in columns if column.kind != "category" and column.name in cells
    )
    return reduce(operator.or_, each, Marks())


def _unreadable(name: str, cells: Cells, wanted: Mapping[int, str]) -> list[Failure]:
    if not wanted:
        return []
    places = np.flatnonzero(np.isin(cells.codes, list(wanted)))
    codes = cells.codes[places]
    return [
        (int(line), name, wanted[code], cells.texts[code])
        for line, code in zip(cells.lines[places], codes.tolist(), strict=True)
    ]


def _failed_checks(
    table: pd.DataFrame, columns: Sequence[Column], unreadable: Collection[tuple[int, str]]
) -> list[Failure]:
    """Failures of the columns' limits, but those of cells that could not be read."""
    try:
        _schema(columns).validate(table, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases[["index", "column", "check", "failure_case"]].itertuples(index=False)
        return [
            (int(line), name, "a value" if check == "not_nullable" else check, value)
            for line, name, check, value in cases
            if (line, name) not in unreadable
        ]
    return []


def _missing_words(cells: Mapping[str, Cells]) -> str:
    """Which words were taken as missing, and how often, in words."""
    words = sorted({word for one in cells.values() for word in one.missing})
    shown = [
        f"{word!r} in "
        + ", ".join(f"{name} ({one.missing[word]})" for name, one in cells.items() if one.missing[word])
        for word in words
    ]
    return f"taken as missing: {'; '.join(shown)}" if shown else ""


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
        checks.append(
            pandera.Check(lambda values: abs(values) <= EXACT, error=f"at most {EXACT}, to be exact")
        )
    return checks


def _with_values(failures: list[Failure], rows: pd.DataFrame, places: Mapping[str, int]) -> list[Failure]:
    """The failures with what stands in the source, where anything does."""
    at = rows.index.get_indexer(pd.Index([line for line, *_ in failures])).tolist()
    return [
        (line, name, check, _shown(rows.iat[row, places[name]]) if name in places else "")
        for row, (line, name, check, _) in zip(at, failures, strict=True)
    ]


def _shown(cell: Any) -> str:
    return "" if pd.isna(cell) else str(cell)


def _times(
    system: System, cells: Mapping[str, Cells], lines: pd.Index, now: pd.Timestamp
) -> tuple[pd.Series[Any], list[Failure], str]:
    """When every row was, in UTC; what fails, and what was guessed. Else the system's own time."""
    name = system.time_column
    if name not in cells:
        facts = pd.Timestamp(system.event_time).tz_convert("UTC").tz_localize(None)
        return pd.Series(facts, lines), [], ""
    values, wanted, guess = moments(name, cells[name], system.time_zone, now)
    failures = _unreadable(name, cells[name], wanted)
    failures += [(int(line), name, "a time", "") for line in lines[cells[name].codes < 0]]
    return pd.Series(values, lines), failures, guess


def _identities(
    system: System, cells: Mapping[str, Cells], typed: pd.DataFrame, times: pd.Series[Any]
) -> tuple[pd.Series[Any], list[Failure], str]:
    """Every row's identity, what fails, and what was guessed. Of rows with the same one the first is kept."""
    name = system.id_column
    if name not in cells:
        return made_identities(typed, system.inputs, times), [], MADE.format(name=name)
    values, wanted, guess = identities(name, cells[name])
    ids = pd.Series(values, index=typed.index)
    failures = _unreadable(name, cells[name], wanted)
    again = pd.DataFrame({"id": ids, "time": times}).duplicated() & ids.notna()
    checks = {"a value": ids.isna(), "unique": again}
    checks[f"at most {MAX_ID_LENGTH} characters"] = ids.str.len().gt(MAX_ID_LENGTH).fillna(False).astype(bool)
    failures += [
        (int(line), name, check, value)
        for check, bad in checks.items()
        for line, value in zip(ids.index[bad].tolist(), ids[bad].tolist(), strict=True)
    ]
    return ids, failures, guess


def made_identities(typed: pd.DataFrame, inputs: Sequence[str], times: pd.Series[Any]) -> pd.Series[Any]:
    """For rows without one: a digest of a row without its outcome, and which of its equals at its time it is.

    So the same table gives the same names in any order, and an outcome that comes later finds its row.
    """
    digests = pd.util.hash_pandas_object(typed[list(inputs)], index=False)
    count = digests.groupby([digests, times.to_numpy()]).cumcount() + 1
    names = [f"{one:016x}-{number}" for one, number in zip(digests, count, strict=True)]
    return pd.Series(names, index=typed.index, dtype=object)


def _feature_rows(
    system: System, ids: pd.Series[Any], typed: pd.DataFrame, times: pd.Series[Any]
) -> pd.DataFrame:
    rows = typed.assign(
        row_id=with_prefix(f"{system.name}-", ids),
        event_time=times,
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
