"""Records of a table whose cells may be quoted: a quote that is no quoting never joins or swallows rows.

A record is read by RFC 4180: a cell that begins with a quote ends with one, and holds quotes twice. What is
not so written is decided line by line:

- A quoted cell goes on over the next lines only if it closes as it should, the record then has as many cells
  as the header, and none of the lines is a row of its own.
- Else quotes mean themselves, if that gives as many cells as the header and only the last cell is left open.
- Else the line is set aside.

A line that is too short and names no recording is part of a text that was not quoted: the row beside it that
it may belong to is set aside with it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeAlias

MAX_RECORD_LINES = 1000  # that one quoted cell goes on over
FILE_ENDING = re.compile(r"\.[A-Za-z0-9]{2,5}$")
DIGITS = re.compile(r"\d+")

Line: TypeAlias = tuple[int, str]  # its number in the table, from 1


@dataclass(frozen=True)
class Record:
    """Some lines of a table that belong together: cells as many as the header's, or why there are none."""

    first: int  # line
    last: int
    cells: Sequence[str]
    fault: str = ""
    quoted: bool = (
        False  # holds what only a writer that quotes leaves: a quote twice, a delimiter or line end
    )


@dataclass
class Records:
    """The records of a table below its header.

    Args: audio, text: the places of the columns of recordings and texts; None if not known.
        ended: whether the last line has an end: one that has none may have been cut short.
    """

    lines: Iterable[Line]
    delimiter: str
    width: int
    audio: int | None = None
    text: int | None = None
    ended: bool = True
    quotes: bool = True  # False: each line is a row, and quotes mean themselves
    _ahead: deque[Line] = field(default_factory=deque)
    _lines: Iterator[Line] = field(init=False)
    _shapes: set[str] = field(default_factory=set)  # of the recordings' names so far

    def __iter__(self) -> Iterator[Record]:
        self._lines = split_at_cr(self.lines, self._is_row)
        after_part = False
        while self._peek(0) is not None:
            number, line = self._ahead.popleft()
            if not line.strip():
                continue
            part = self._is_part(line)
            record = self._record(number, line)
            if not record.fault and self.audio is not None:
                self._shapes.add(_shape(record.cells[self.audio]))
                before = self.text == self.width - 1 and self._is_part(self._next_filled())
                if before or (self.text == 0 and after_part):
                    side = "below" if before else "above"
                    record = replace(record, fault=f"the line {side} is no row: its text may stand there too")
            after_part = part and bool(record.fault)
            yield record

    def _is_part(self, line: str) -> bool:
        """Whether a line is no row but too short for one, as what follows a line end within a text is."""
        cells = line.split(self.delimiter)
        return bool(line.strip()) and len(cells) < self.width and not any(map(self._is_recording, cells))

    def _next_filled(self) -> str:
        """The next line, or the one behind it where that is empty."""
        lines = [self._peek(0), self._peek(1)]
        return next((line[1] for line in lines if line and line[1].strip()), "")

    def _record(self, number: int, line: str) -> Record:
        if '"' not in line or not self.quotes:
            return self._counted(number, number, line.split(self.delimiter))
        read = self._read(line)
        if read.state == "whole":
            return self._counted(number, number, read.cells, quoted=read.quoted)
        if read.state == "open" and (more := self._lines_more(line)):
            taken = [self._ahead.popleft() for _ in range(more)]
            read = self._read("\n".join([line, *(text for _, text in taken)]))
            return self._counted(number, taken[-1][0], read.cells, quoted=True)
        return self._literal(number, line, read.state)

    def _counted(self, first: int, last: int, cells: Sequence[str], *, quoted: bool = False) -> Record:
        spare = cells[self.width :]
        if len(cells) >= self.width and not any(cell.strip() for cell in spare):
            return Record(first, last, cells[: self.width], quoted=quoted)
        hint = f"; quote texts that hold {self.delimiter!r}" if spare else ""
        return Record(first, last, cells, f"{len(cells)} fields, the header has {self.width}{hint}")

    def _literal(self, number: int, line: str, state: str) -> Record:
        """The line with quotes that mean themselves, where no other reading is as likely."""
        cells = line.split(self.delimiter)
        odd = [place for place, cell in enumerate(cells) if cell.count('"') % 2]
        begun = {cell: self._read(cell) for cell in cells if cell.lstrip().startswith('"')}
        fault = "its quotes are not in pairs; write a quote within a quoted text twice"
        if any('""' in cell for cell, read in begun.items() if read.state != "whole"):
            return Record(number, number, cells, fault)
        if len(odd) > 1 or (odd and cells[odd[0]] in begun and odd[0] != len(cells) - 1):
            return Record(number, number, cells, fault)
        following = self._peek(0)
        alone = self._is_row(following[1]) if following else self.ended
        if state == "open" and not alone:
            return Record(number, number, cells, "it opens a quote that is not closed")
        bare = [
            read.cells[0] if (read := begun.get(cell)) and read.state == "whole" else cell for cell in cells
        ]
        return self._counted(number, number, bare)

    def _lines_more(self, line: str) -> int:
        """How many of the next lines belong to a record whose quoted cell is not closed; 0: it is no such."""
        text = line
        for count in range(1, MAX_RECORD_LINES):
            following = self._peek(count - 1)
            if following is None:
                return 0
            text = f"{text}\n{following[1]}"
            read = self._read(text) if '"' in following[1] else Reading([], "open")
            if read.state == "broken" or (read.state == "open" and self._is_row(following[1])):
                return 0
            if read.state == "whole":
                fits = not self._counted(0, 0, read.cells).fault
                two_rows = self._is_row(line) and self._is_row(following[1])
                return count if fits and not two_rows else 0
        return 0

    def _is_row(self, line: str) -> bool:
        """Whether a line names a recording where rows do; where that is not known, whether it is as wide."""
        readings = [line.split(self.delimiter)]
        if '"' in line:
            read = self._read(line)
            readings += [read.cells] if read.state == "whole" else []
        if self.audio is None:
            return any(len(cells) == self.width for cells in readings)
        return any(
            self._is_recording(cells[self.audio]) for cells in readings if len(cells) > max(self.audio, 1)
        )

    def _is_recording(self, cell: str) -> bool:
        name = cell.strip(' "')
        return bool(FILE_ENDING.search(name) or (name and _shape(name) in self._shapes))

    def _peek(self, place: int) -> Line | None:
        while len(self._ahead) <= place:
            following = next(self._lines, None)
            if following is None:
                return None
            self._ahead.append(following)
        return self._ahead[place]

    def _read(self, record: str) -> Reading:
        return read_cells(record, self._patterns)

    @cached_property
    def _patterns(self) -> Patterns:
        return Patterns(self.delimiter)


class Patterns:
    """Of one cell, quoted or bare, with what ends it; and of a quoted one that is not closed."""

    def __init__(self, delimiter: str) -> None:
        end = rf"({re.escape(delimiter)}|\Z)"
        self.quoted = re.compile(rf' *"([^"]*(?:""[^"]*)*)" *{end}')
        self.bare = re.compile(rf'(?! *")([^{re.escape(delimiter)}]*){end}')
        self.special = re.compile(rf'["\n{re.escape(delimiter)}]')  # what is in a cell only if it is quoted
        self.open = re.compile(r' *"[^"]*(?:""[^"]*)*\Z')


@dataclass(frozen=True)
class Reading:
    """The cells of a record by RFC 4180, as far as it is so written."""

    cells: list[str]
    state: Literal["whole", "open", "broken"]
    quoted: bool = False  # see Record


def read_cells(record: str, patterns: Patterns) -> Reading:
    cells: list[str] = []
    place, quoted = 0, False
    while True:
        if match := patterns.quoted.match(record, place):
            quoted = quoted or bool(patterns.special.search(match[1]))
            cells.append(match[1].replace('""', '"'))
        elif match := patterns.bare.match(record, place):
            cells.append(match[1])
        else:
            return Reading(cells, "open" if patterns.open.match(record, place) else "broken")
        if not match[2]:
            return Reading(cells, "whole", quoted)
        place = match.end()


def split_at_cr(lines: Iterable[Line], is_row: Callable[[str], bool]) -> Iterator[Line]:
    """The lines; one that holds CR is several where each part of it is a row (tables of two systems, joined),
    else CR is white space within it."""
    for number, line in lines:
        parts = [part for part in line.split("\r") if part.strip()] if "\r" in line else []
        whole = not (len(parts) > 1 and all(map(is_row, parts)))
        yield from [(number, line)] if whole else [(number, part) for part in parts]


def _shape(name: str) -> str:
    """A name without its numbers: LJ-0 of LJ001-0012 is that of its neighbours."""
    return DIGITS.sub("0", name.strip())
