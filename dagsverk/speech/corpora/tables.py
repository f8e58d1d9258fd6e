"""Tables of texts: CSV, TSV and JSON lines. A line that cannot be read is set aside, not the table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from dagsverk.speech.corpus import SetAside
from dagsverk.speech.errors import CorpusError

Row = dict[str, str]


def parse_table(content: bytes, where: str, faults: list[SetAside]) -> Iterator[tuple[int, Row]]:
    """(line, row) of a table; its kind is told by the ending of its name. Raises CorpusError."""
    if where.endswith(".jsonl"):
        return parse_jsonl(content, where, faults)
    if where.endswith(".tsv"):
        return parse_tsv(content, where, faults)
    return parse_csv(content, where, faults)


def parse_tsv(
    content: bytes, where: str, faults: list[SetAside], needed: set[str] | frozenset[str] = frozenset()
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a TSV in which quotes mean themselves. Lines with another number of fields are faults.

    Raises: CorpusError if it is no UTF-8, or has not the columns that are needed.
    """
    lines = decode_utf8(content, where).split("\n")
    names = [name.strip() for name in lines[0].rstrip("\r").split("\t")]
    if missing := needed - set(names):
        raise CorpusError(f"{where} has no column {', '.join(sorted(missing))}; it has {', '.join(names)}")
    for number, line in enumerate(lines[1:], start=2):
        values = line.rstrip("\r").split("\t")
        if len(values) == len(names):
            yield number, dict(zip(names, values, strict=True))
        elif line.strip():
            detail = f"{len(values)} fields, the header has {len(names)}"
            faults.append(
                SetAside(
                    clip=f"{where.rpartition('/')[2]} line {number}", reason="malformed row", detail=detail
                )
            )


def parse_csv(content: bytes, where: str, faults: list[SetAside]) -> Iterator[tuple[int, Row]]:
    """(line, row) of a CSV; with semicolons where the header has them, as spreadsheets of Europe write."""
    text = decode_utf8(content, where)
    header = text.split("\n", 1)[0]
    delimiter = ";" if header.count(";") > header.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
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


def parse_jsonl(content: bytes, where: str, faults: list[SetAside]) -> Iterator[tuple[int, Row]]:
    """(line, row) of JSON lines, values as text. A last line that was not finished is set aside."""
    for number, line in enumerate(decode_utf8(content, where).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as error:
            faults.append(_malformed(where, number, f"no JSON: {error}"))
            continue
        if isinstance(found, dict):
            yield number, {str(name): _plain(value) for name, value in found.items()}
        else:
            faults.append(_malformed(where, number, "want a JSON object"))


def decode_utf8(content: bytes, where: str) -> str:
    """Raises CorpusError."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{where} is not UTF-8 (byte {error.start}); save it as UTF-8") from error


def _plain(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _malformed(where: str, line: int, detail: str) -> SetAside:
    return SetAside(clip=f"{where.rpartition('/')[2]} line {line}", reason="malformed row", detail=detail)
