"""Text with separators -> rows. What is found out (encoding, separator, header) is said; no row is lost.

A line of another number of fields than the header is set aside with its number. So is one that opens a
quotation mark and does not close it: it must not swallow the lines below. A cell may still hold line breaks,
if no line in it is a row of its own.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dagsverk.tabular import headers
from dagsverk.tabular.encoded import encoding_of
from dagsverk.tabular.errors import SourceError
from dagsverk.tabular.raw import MAX_CELLS, MAX_COLUMNS, TEXT, Raw
from dagsverk.tabular.system import System

Numbers = NDArray[np.int64]
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
MAX_LINE = 1 << 19  # characters
HEAD_LINES = 30  # in which the header is looked for
MAX_CELL_LINES = 100  # of one cell
MAX_MALFORMED = 100_000  # lines, each with its reason
BLOCK_ROWS = 50_000  # gathered as Python's text before they become Arrow's, a tenth of it
UNCLOSED = "a quotation mark that is not closed"


def parse_text(system: System, name: str, data: bytes) -> Raw:
    """The rows of CSV, TSV and their like: the system's columns only, under its names, cells as text.

    Raises: SourceError: no text, no header, columns that do not fit, too large, cut short.
    """
    encoding, guesses = encoding_of(name, data, headers.words(system))
    lines = Lines(name, io.TextIOWrapper(io.BytesIO(data), encoding, newline=""))
    _refuse_size(name, data)
    head = _head(system, name, lines)
    matched = headers.match(system, name, head.names)
    table = _Table(name, head, matched.places)
    for number, fields, problem in _records(lines, head):
        table.add(number, fields, problem)
    _refuse_cut(name, lines)
    rows = table.rows()
    return Raw(name, rows, table.malformed, (*guesses, *head.guesses, *matched.guesses, *table.notes))


class Lines:
    """Physical lines with their numbers, from 1, as an editor shows them; some can be given back."""

    def __init__(self, name: str, text: TextIO) -> None:
        self.number = 0  # of the line that was given last
        self.unclosed_end = False  # the last line opens a quotation mark and has no end
        self._name, self._text = name, text
        self._back: deque[str] = deque()

    def next(self) -> str | None:
        """The line with its end; None after the last."""
        line = self._back.popleft() if self._back else self._text.readline(MAX_LINE + 1)
        if not line:
            return None
        self.number += 1
        if len(line) > MAX_LINE:
            raise SourceError(
                f"line {self.number} of {self._name} is longer than {MAX_LINE:,} characters; is it a table?"
            )
        return line

    def give_back(self, lines: list[str]) -> None:
        """They come again, the first of them first."""
        self._back.extendleft(reversed(lines))
        self.number -= len(lines)


@dataclass(frozen=True)
class Head:
    """How the lines are to be read."""

    separator: str
    names: list[str]  # of all columns, those at the end without a name left out
    blank: list[int]  # places of columns without a name, among all of the header
    width: int  # fields that a row has at least
    line: int  # the header's
    guesses: tuple[str, ...] = ()


def _head(system: System, name: str, lines: Lines) -> Head:
    """Find separator and header: the line in which the system knows most names."""
    seen = [line for _ in range(HEAD_LINES) if (line := lines.next()) is not None]
    lines.give_back(seen)
    stated = next(filter(None, (re.fullmatch(r'"?sep=(.)"?\s*', line) for line in seen[:2])), None)
    choices = [stated[1]] if stated else list(SEPARATORS)
    best, rank = None, (0, 0, 0)
    for place, line in enumerate(seen):
        if not line.strip() or (stated and line == stated.string):
            continue
        for choice in choices:
            names = [cell.strip() for cell in _split(line, choice) or [line]]
            # what the system knows; among lines that it does not, the first with most fields
            this = (headers.score(system, names), -place, len(names))
            if best is None or (this[0], this[1], this[2]) > rank:
                best, rank = (place, choice, names), this
    if best is None:
        raise SourceError(f"{name} holds no table")
    place, separator, names = best
    above = [number for number, line in enumerate(seen[:place], 1) if line.strip()]
    for _ in range(place + 1):
        lines.next()
    return _checked_head(name, separator, names, place + 1, _head_guesses(stated, separator, above, seen))


def _checked_head(name: str, separator: str, names: list[str], line: int, guesses: tuple[str, ...]) -> Head:
    if len(names) > MAX_COLUMNS:
        raise SourceError(f"{name} has {len(names):,} columns, the limit is {MAX_COLUMNS:,}")
    blank = [place for place, one in enumerate(names) if not one]
    while names and not names[-1]:
        names.pop()
    return Head(separator, names, blank, len(names), line, guesses)


def _head_guesses(
    stated: re.Match[str] | None, separator: str, above: list[int], seen: list[str]
) -> tuple[str, ...]:
    guesses = []
    if separator != ",":
        guesses.append(f"fields are separated by {SEPARATORS.get(separator, repr(separator))}")
    if stated:
        above = [number for number in above if seen[number - 1] != stated.string]
    if above:
        first = seen[above[0] - 1].strip()[:60]
        guesses.append(f"{len(above)} lines above the header left out (line {above[0]}: {first!r})")
    return tuple(guesses)


def _refuse_size(name: str, data: bytes) -> None:
    """Before any cell takes memory."""
    cells = sum(map(data.count, (b"\n", b"\r"))) + max(data.count(one.encode()) for one in SEPARATORS)
    if cells > MAX_CELLS:
        raise SourceError(f"{name} has about {cells:,} cells, the limit is {MAX_CELLS:,}; divide it")


def _refuse_cut(name: str, lines: Lines) -> None:
    if lines.unclosed_end:
        raise SourceError(
            f"{name} ends in the middle of a quoted cell (line {lines.number}); is it cut short?"
        )


def _split(line: str, separator: str) -> list[str] | None:
    """The fields of one line; None where its quotation marks do not fit."""
    if '"' not in line:
        return line.rstrip("\r\n").split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, strict=True, skipinitialspace=separator != " "))
    except csv.Error:
        return None


def _records(lines: Lines, head: Head) -> Iterator[tuple[int, list[str], str]]:
    """Line, fields, and what is wrong with its shape: "" for nothing. Empty lines are passed over."""
    while (line := lines.next()) is not None:
        number, fields = lines.number, _split(line, head.separator)
        if fields is None:
            more = _rest_of_cell(line, lines, head)
            fields = _split("".join([line, *more]), head.separator) if more else None
        if fields is None:
            yield number, [], f"{UNCLOSED}, or one inside a quoted cell: {line.strip()[:60]}"
        elif any(cell and not cell.isspace() for cell in fields):
            yield number, fields, ""


def _rest_of_cell(line: str, lines: Lines, head: Head) -> list[str]:
    """The lines that a quoted cell goes on in; none where it does not end, or swallows a row."""
    more: list[str] = []
    marks = line.count('"')
    lines.unclosed_end = marks % 2 == 1 and not line.endswith(("\n", "\r"))
    while marks % 2 and len(more) < MAX_CELL_LINES and (one := lines.next()) is not None:
        more.append(one)
        marks += one.count('"')
    whole = marks % 2 == 0 and _is_whole("".join([line, *more]), more, head)
    if not whole:
        lines.give_back(more)
    return more if whole else []


def _is_whole(text: str, more: list[str], head: Head) -> bool:
    fields = _split(text, head.separator)
    if fields is None or len(fields) < head.width:
        return False
    return all(len(one.split(head.separator)) < head.width for one in more)


@dataclass
class _Table:
    """Rows as they come, in blocks that take little memory."""

    name: str
    head: Head
    places: dict[str, int]
    malformed: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        unnamed = [place for place in self.head.blank if place < self.head.width]
        self._columns = {**self.places, **{f"column {place + 1}": place for place in unnamed}}
        self._block: list[list[str]] = []
        self._numbers: list[int] = []
        self._blocks: list[list[pa.Array]] = []
        self._lines: list[Numbers] = []

    def add(self, number: int, fields: list[str], problem: str) -> None:
        """A row, or the reason why this line is none. Raises SourceError where there are too many reasons."""
        width = self.head.width
        if not problem and (len(fields) < width or any(cell.strip() for cell in fields[width:])):
            problem = f"{len(fields)} fields"
        if problem:
            self.malformed[number] = problem
            if len(self.malformed) > MAX_MALFORMED:
                raise SourceError(self._misfit(f"more than {MAX_MALFORMED:,} lines"))
            return
        self._block.append(fields)
        self._numbers.append(number)
        if len(self._block) >= BLOCK_ROWS:
            self._close()

    def _close(self) -> None:
        self._blocks.append([_cells([row[at] for row in self._block]) for at in self._columns.values()])
        self._lines.append(np.array(self._numbers, dtype=np.int64))
        self._block, self._numbers = [], []

    def _misfit(self, what: str) -> str:
        line, problem = next(iter(self.malformed.items()))
        return (
            f"{what} of {self.name} do not fit its header, {self.head.width} names in line {self.head.line}; "
            f"the first is line {line} ({problem}). Is a name missing, or is what separates fields also in "
            "numbers or words?"
        )

    def rows(self) -> pd.DataFrame:
        """All rows; the columns without a name are looked at and left out."""
        self._close()
        lines = np.concatenate(self._lines)
        if not len(lines) and self.malformed:
            raise SourceError(self._misfit(f"all {len(self.malformed):,} lines"))
        columns = {
            name: pa.chunked_array([block[at] for block in self._blocks], pa.string())
            for at, name in enumerate(self._columns)
        }
        self._blocks = []
        for name in self._columns.keys() - self.places.keys():
            self._look_at_unnamed(name, columns.pop(name), lines)
        return pd.DataFrame(
            {name: pd.array(cells, dtype=TEXT) for name, cells in columns.items()}, index=lines
        )

    def _look_at_unnamed(self, name: str, cells: pa.ChunkedArray, lines: Numbers) -> None:
        """It may be left out where it is empty or counts the rows. Raises SourceError for other values."""
        if cells.null_count == len(cells):
            self.notes.append(f"{name} has no name and no values: left out")
        elif _counts(cells):
            self.notes.append(f"{name} has no name and counts the rows: left out")
        else:
            at = pc.index(cells.is_valid(), True).as_py()
            raise SourceError(
                f"{name} of {self.name} has no name and holds values ({cells[at].as_py()!r} in line "
                f"{lines[at]}); give it a name, or remove it"
            )


def _cells(values: list[str]) -> pa.Array:
    """Without the spaces around them; what is empty then is missing."""
    trimmed = pc.utf8_trim_whitespace(pa.array(values, pa.string()))
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def _counts(cells: pa.ChunkedArray) -> bool:
    """Whether every row has a number one greater than the row before."""
    try:
        numbers = cells.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        return False
    return cells.null_count == 0 and bool((np.diff(numbers) == 1).all())
