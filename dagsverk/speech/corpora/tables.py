"""Tables of texts: CSV, TSV and JSON lines. A line that cannot be read is set aside, not the table."""

from __future__ import annotations

import codecs
import io
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from dagsverk.speech.corpora.corpus import Tally
from dagsverk.speech.corpora.identity import clean_name
from dagsverk.speech.corpora.quoting import Line, Patterns, Records, read_cells, split_at_cr
from dagsverk.speech.corpora.rows import COLUMNS, find_columns
from dagsverk.speech.errors import CorpusError

MAX_ROWS = 5_000_000
MAX_CELLS = 100_000_000
MAX_LINE_BYTES = 1 << 20
STATED_DELIMITER = re.compile(r'"?sep=(.)"?\s*$', re.IGNORECASE)  # a first line that spreadsheets write
FIRST_END = re.compile(rb"\r\n|\r|\n")
CR_AS_LF = bytes.maketrans(b"\r\n", b"\n\r")
USUAL = {name for names in COLUMNS.values() for name in names}

Row = dict[str, str]


def parse_table(
    content: bytes, where: str, tally: Tally, named: Mapping[str, str] | None = None
) -> Iterator[tuple[int, Row]]:
    """(line, row) of a table; its kind is told by the ending of its name. Each row is counted in the tally.

    Args: named: meaning -> what the user calls the column. Raises: CorpusError.
    """
    if where.lower().endswith(".jsonl"):
        return parse_jsonl(content, where, tally, named)
    return parse_delimited(content, where, tally, named)


def parse_tsv(
    content: bytes, where: str, tally: Tally, needed: set[str] | frozenset[str] = frozenset()
) -> Iterator[tuple[int, Row]]:
    """(line, row) of a TSV in which quotes mean themselves. Lines with another number of fields are rejected.

    Raises: CorpusError if it is no text, is too large, or has not the columns that are needed.
    """
    content = as_utf8(content, where)
    check_size(content, where, "\t")
    lines = text_lines(content, where)
    _, header = next(lines, (1, ""))
    names = column_names(header.split("\t"), where)
    if missing := needed - set(names):
        raise CorpusError(
            f"{where} has no column {', '.join(sorted(missing))}; it has {', '.join(names[:50])}"
        )
    for number, line in split_at_cr(lines, lambda part: part.count("\t") + 1 == len(names)):
        if not line.strip():
            continue
        tally.rows += 1
        count = line.count("\t") + 1
        if count == len(names):
            yield number, dict(zip(names, line.split("\t"), strict=True))
        else:
            _malformed(tally, where, number, f"{count} fields, the header has {len(names)}")


def parse_delimited(
    content: bytes, where: str, tally: Tally, named: Mapping[str, str] | None = None
) -> Iterator[tuple[int, Row]]:
    """(line, row) of a CSV or TSV; the first line of a record counts. See `quoting` for what quotes mean.

    What divides the cells is told by the header. In a TSV, quotes around whole texts mean themselves, unless
    its header is quoted, or one of its texts is so written as only a writer that quotes does.
    """
    content = as_utf8(content, where)
    filled = ((number, line) for number, line in text_lines(content, where) if line.strip())
    number, header = next(filled, (1, ""))
    stated = STATED_DELIMITER.match(header)
    if stated:
        number, header = next(filled, (number, ""))
    delimiter = stated[1] if stated else find_delimiter(header, where, named or {})
    check_size(content, where, delimiter)
    names = column_names(_cells(header, delimiter), where)
    columns = find_columns(names, named or {}, where)

    def records() -> Records:
        below = ((at, line) for at, line in text_lines(content, where) if at > number)
        audio, text = (names.index(columns[of]) if of in columns else None for of in ("audio", "text"))
        ended = content.endswith((b"\n", b"\r"))
        return Records(below, delimiter, len(names), audio, text, ended=ended)

    wanted = records()
    if delimiter == "\t" and b'"' in content and '"' not in header:
        wanted.quotes = any(record.quoted and not record.fault for record in records())
    for record in wanted:
        if not any(cell.strip() for cell in record.cells):
            continue  # of delimiters alone, as spreadsheets leave them below their rows
        tally.rows += 1
        if record.fault:
            _malformed(tally, where, record.first, record.fault, record.last)
        else:
            yield record.first, dict(zip(names, record.cells, strict=True))


def parse_jsonl(
    content: bytes, where: str, tally: Tally, named: Mapping[str, str] | None = None
) -> Iterator[tuple[int, Row]]:
    """(line, row) of JSON lines, values as text. A last line that was not finished is rejected."""
    content = as_utf8(content, where)
    check_size(content, where, ",")
    used = USUAL | {name.strip().lower() for name in (named or {}).values()}
    for number, line in split_at_cr(text_lines(content, where), _is_object):
        if not line.strip():
            continue
        tally.rows += 1
        try:
            row = _object(line, used)
        except RecursionError:
            _malformed(tally, where, number, "no JSON of a row: too deep")
        except ValueError as error:
            _malformed(tally, where, number, str(error))
        else:
            yield number, row


def find_delimiter(header: str, where: str, named: Mapping[str, str]) -> str:
    """What divides the cells: that by which the header names a recording and a text, else the commonest."""
    usual = "\t,;|" if where.lower().endswith(".tsv") else ",;\t|"
    best, delimiter = (False, 1), usual[0]
    for one in usual:
        names = _cells(header, one)
        rated = (_names_clips(names, named), len(names))
        if rated > best:
            best, delimiter = rated, one
    return delimiter


def _names_clips(names: Sequence[str], named: Mapping[str, str]) -> bool:
    there = {name.strip().casefold() for name in names}
    wanted = [
        {named.get(meaning, "").strip().casefold(), *COLUMNS[meaning]} - {""} for meaning in ("audio", "text")
    ]
    return all(there & one for one in wanted)


def _cells(header: str, delimiter: str) -> list[str]:
    read = read_cells(header, Patterns(delimiter))
    return read.cells if read.state == "whole" else header.split(delimiter)


def column_names(cells: Sequence[str], where: str) -> list[str]:
    """The names of a header, cleaned; several may be empty. Raises CorpusError if one is there twice."""
    names = [clean_name(cell) for cell in cells]
    first: dict[str, str] = {}
    for name in filter(None, names):
        if name.casefold() in first:
            both = sorted({repr(first[name.casefold()]), repr(name)})
            raise CorpusError(
                f"{where} has two columns {' and '.join(both)}: which one counts? Rename or remove one"
            )
        first[name.casefold()] = name
    return names


def text_lines(content: bytes, where: str) -> Iterator[Line]:
    """(number, line) of UTF-8 without its end: LF or CRLF, or CR where the first line ends so. One at a time,
    so that a large table is in memory once.

    Raises: CorpusError if it is no UTF-8, or has more rows or bytes in a line than tables of texts.
    """
    if (end := FIRST_END.search(content)) and end[0] == b"\r":  # as spreadsheets on a Mac save it
        content = content.translate(CR_AS_LF)
    if (rows := content.count(b"\n")) > MAX_ROWS:
        raise CorpusError(f"{where} has {rows:,} lines; want at most {MAX_ROWS:,}: divide it")
    place = 3 if content.startswith(codecs.BOM_UTF8) else 0
    source = io.BytesIO(content)
    source.seek(place)
    for number, line in enumerate(iter(lambda: source.readline(MAX_LINE_BYTES + 1), b""), start=1):
        if len(line) > MAX_LINE_BYTES:
            raise CorpusError(
                f"{where} line {number} has more than {MAX_LINE_BYTES:,} bytes; is it a table of texts?"
            )
        try:
            text = line.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise not_utf8(where, content, place + error.start) from error
        yield number, text
        place += len(line)


def check_size(content: bytes, where: str, delimiter: str) -> None:
    """Raises CorpusError for more cells than tables of texts have."""
    if (cells := content.count(delimiter.encode())) > MAX_CELLS:
        wanted = f"want at most {MAX_CELLS:,}: divide it"
        raise CorpusError(f"{where} has {cells:,} times {delimiter!r}; {wanted}")


def as_utf8(content: bytes, where: str) -> bytes:
    """The table in UTF-8, also if its first bytes tell that it is UTF-16. Raises CorpusError."""
    try:
        if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
            return content.decode("utf-32").encode()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return content.decode("utf-16").encode()
    except UnicodeError as error:
        raise CorpusError(
            f"{where} begins as UTF-16 or UTF-32, and is damaged ({error}); save it as UTF-8"
        ) from error
    if b"\0" in re.split(rb"[\r\n]", content[:MAX_LINE_BYTES], maxsplit=1)[0]:
        raise CorpusError(
            f"{where} holds NUL characters in its first line: it is no table of texts, or UTF-16 that does "
            "not say so; save it as UTF-8"
        )
    return content


def decode_utf8(content: bytes, where: str) -> str:
    """Raises CorpusError."""
    content = as_utf8(content, where)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(where, content, error.start) from error


def not_utf8(where: str, content: bytes, place: int) -> CorpusError:
    """What stands at the place, and what it would be in the code that spreadsheets of Windows write."""
    start, end = max(place - 20, 0), place + 20
    nearby = content[start:place].rpartition(b"\n")[2] + content[place:end].split(b"\n", 1)[0]
    line = content.count(b"\n", 0, place) + 1
    return CorpusError(
        f"{where} is not UTF-8 (line {line}, byte {place}); in Windows-1252 it "
        f"would say {nearby.decode('cp1252', 'replace').strip()!r} there: save it as UTF-8 (CSV UTF-8)"
    )


def _object(line: str, used: Collection[str]) -> Row:
    """The object of a line, values as text. Raises ValueError, which says what is wrong."""
    try:
        value = json.loads(line, object_pairs_hook=_Pairs)
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from error
    if not isinstance(value, _Pairs):
        raise ValueError("want a JSON object")  # noqa: TRY004  of what is read, not of an argument
    row: Row = {}
    spelt: set[str] = set()
    for name, each in value:
        key = clean_name(name)
        if key.casefold() in spelt:
            raise ValueError(f"{name!r} is there twice")
        spelt.add(key.casefold())
        if key.casefold() in used and isinstance(each, (list, bool)):
            raise ValueError(f"{name!r} is {json.dumps(each)[:60]}; want a text or a number")
        row[key] = _plain(each)
    return row


def _is_object(line: str) -> bool:
    return line.lstrip().startswith("{") and line.rstrip().endswith("}")


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON, with all that it says of a name."""


def _plain(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _malformed(tally: Tally, where: str, line: int, detail: str, last: int = 0) -> None:
    lines = f"lines {line}-{last}" if last > line else f"line {line}"
    tally.reject(f"{where.rpartition('/')[2]} {lines}", "malformed row", detail)
