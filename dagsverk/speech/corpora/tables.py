"""Tables of texts: CSV, TSV and JSON lines. A line that cannot be read is set aside, not the table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from dagsverk.speech.corpora.corpus import RejectedClip
from dagsverk.speech.errors import CorpusError

MAX_ROWS = 5_000_000
MAX_CELLS = 100_000_000
MAX_LINE_BYTES = 1 << 20

Row = dict[str, str]


def parse_table(content: bytes, where: str, faults: list[RejectedClip]) -> Iterator[tuple[int, Row]]:
    """(line, row) of a table; its kind is told by the ending of its name. Raises CorpusError."""
    if where.endswith(".jsonl"):
        return parse_jsonl(content, where, faults)
    if where.endswith(".tsv"):
        return parse_tsv(content, where, faults)
    return parse_csv(content, where, faults)


def parse_tsv(
    content: bytes, where: str, faults: list[RejectedClip], needed: set[str] | frozenset[str] = frozenset()
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a TSV in which quotes mean themselves. Lines with another number of fields are faults.

    Raises: CorpusError if it is no UTF-8, is too large, or has not the columns that are needed.
    """
    lines = text_lines(content, where, "\t")
    _, header = next(lines, (1, ""))
    names = [name.strip() for name in header.split("\t")]
    if missing := needed - set(names):
        raise CorpusError(
            f"{where} has no column {', '.join(sorted(missing))}; it has {', '.join(names[:50])}"
        )
    for number, line in lines:
        count = line.count("\t") + 1
        if count == len(names):
            yield number, dict(zip(names, line.split("\t"), strict=True))
        elif line.strip():
            faults.append(_malformed(where, number, f"{count} fields, the header has {len(names)}"))


def parse_csv(content: bytes, where: str, faults: list[RejectedClip]) -> Iterator[tuple[int, Row]]:
    """(line, row) of a CSV; with semicolons where the header has them, as spreadsheets of Europe write."""
    header = content.split(b"\n", 1)[0]
    delimiter = ";" if header.count(b";") > header.count(b",") else ","
    lines = (f"{line}\n" for _, line in text_lines(content, where, delimiter))
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        names = [name.strip() for name in next(reader, [])]
        for values in reader:
            if len(values) == len(names):
                yield reader.line_num, dict(zip(names, values, strict=True))
            elif any(value.strip() for value in values):
                detail = (
                    f"{len(values)} fields, the header has {len(names)}; quote texts that hold {delimiter!r}"
                )
                faults.append(_malformed(where, reader.line_num, detail))
    except csv.Error as error:
        raise CorpusError(f"{where} line {reader.line_num} is no CSV ({error}); mend the line") from error


def parse_jsonl(content: bytes, where: str, faults: list[RejectedClip]) -> Iterator[tuple[int, Row]]:
    """(line, row) of JSON lines, values as text. A last line that was not finished is set aside."""
    for number, line in text_lines(content, where, ","):
        if not line.strip():
            continue
        try:
            row = {str(name): _plain(value) for name, value in json.loads(line).items()}
        except (ValueError, RecursionError) as error:
            faults.append(_malformed(where, number, f"no JSON: {error}"))
        except AttributeError:
            faults.append(_malformed(where, number, "want a JSON object"))
        else:
            yield number, row


def text_lines(content: bytes, where: str, delimiter: str) -> Iterator[tuple[int, str]]:
    """(number, line) without its end; one at a time, so that a large table is in memory once.

    Raises: CorpusError if it is no UTF-8, or has more rows, cells or bytes in a line than tables of texts.
    """
    rows, cells = content.count(b"\n"), content.count(delimiter.encode())
    if rows > MAX_ROWS or cells > MAX_CELLS:
        raise CorpusError(
            f"{where} has {rows:,} lines and {cells:,} times {delimiter!r}; want at most {MAX_ROWS:,} and "
            f"{MAX_CELLS:,}: divide it"
        )
    place = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    source = io.BytesIO(content)
    source.seek(place)
    for number, line in enumerate(iter(lambda: source.readline(MAX_LINE_BYTES + 1), b""), start=1):
        if len(line) > MAX_LINE_BYTES:
            raise CorpusError(
                f"{where} line {number} has more than {MAX_LINE_BYTES:,} bytes; is it a table of texts?"
            )
        try:
            yield number, line.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise not_utf8(where, place + error.start) from error
        place += len(line)


def decode_utf8(content: bytes, where: str) -> str:
    """Raises CorpusError."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(where, error.start) from error


def not_utf8(where: str, place: int) -> CorpusError:
    return CorpusError(f"{where} is not UTF-8 (byte {place}); save it as UTF-8")


def _plain(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _malformed(where: str, line: int, detail: str) -> RejectedClip:
    return RejectedClip(clip=f"{where.rpartition('/')[2]} line {line}", reason="malformed row", detail=detail)
