"""Raw rows: the embedded facts, or a file, URL or s3:// address with the same columns."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

from dagsverk.addresses import refuse_keys
from dagsverk.reading import NotRegular, TooLarge, may_pass, open_regular, read_at_most
from dagsverk.tabular.errors import SourceError, SourceUnavailable
from dagsverk.tabular.parquet import MAX_CELLS, parse_parquet
from dagsverk.tabular.system import System
from dagsverk.tabular.web import download

MAX_BYTES = 512 * 2**20
MAX_COLUMNS = 2_000
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
EMBEDDED = "embedded"


@dataclass(frozen=True)
class Raw:
    """Rows as they came. The index is the line in the source (the header is line 1)."""

    name: str  # where from, without credentials
    rows: pd.DataFrame  # cells as text or as Parquet typed them; None or NaN: missing
    malformed: dict[int, str] = field(default_factory=dict)  # line -> what is wrong with its shape


def read_source(system: System, source: str | None = None) -> Raw:
    """The system's embedded facts (None), or rows of a .csv or .parquet path, http(s) URL or s3:// address.

    Raises: SourceError: a key in the address, no such place, no regular file, unreadable, larger than 512
        MiB, empty, cut short, not a table; SourceUnavailable where it was not reached: try again later.
    """
    if source is None or source == EMBEDDED:
        return Raw(EMBEDDED, _numbered(system.read()))
    try:
        refuse_keys(source)
        name = source if "://" in source else Path(source).name
        suffix = Path(urlsplit(source).path if "://" in source else source).suffix.lower()
    except ValueError as error:
        raise SourceError(str(error)) from error
    if suffix not in (".csv", ".parquet"):
        raise SourceError(f"want a .csv or .parquet file, got {name!r}")
    data = _fetch(source, name)
    if not data:
        raise SourceError(f"{name} is empty (0 bytes); nothing was changed")
    raw = _parse_csv(name, data) if suffix == ".csv" else Raw(name, _numbered(parse_parquet(name, data)))
    if raw.rows.empty and not raw.malformed:
        raise SourceError(f"{name} has a header and no rows; nothing was changed")
    return raw


def _numbered(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.set_axis(range(2, len(rows) + 2), axis=0)


def _fetch(source: str, name: str) -> bytes:
    scheme = urlsplit(source).scheme.lower() if "://" in source else ""
    try:
        if scheme in ("http", "https"):
            return download(source, name, MAX_BYTES)
        if scheme == "s3":
            return _fetch_s3(source, name)
        if scheme:
            raise SourceError(f"want a path, http(s):// or s3:// address, got {name!r}")
        return _read_file(Path(source))
    except TooLarge as error:
        raise SourceError(f"{name} has more than {MAX_BYTES // 2**20} MiB, the limit; divide it") from error


def _read_file(path: Path) -> bytes:
    """Only a regular file: a pipe or device may have no end."""
    try:
        with open_regular(path) as file:
            return read_at_most(file, MAX_BYTES)
    except NotRegular as error:
        raise SourceError(f"{str(path)!r} is {error}; want a regular file") from error
    except FileNotFoundError as error:
        raise SourceError(f"no file {str(path)!r} (looked from {Path.cwd()})") from error
    except OSError as error:
        trouble = SourceUnavailable if may_pass(error) else SourceError
        raise trouble(f"cannot read {str(path)!r}: {error.strerror}") from error


def _fetch_s3(address: str, name: str) -> bytes:
    from dagsverk import s3  # botocore takes half a second to import

    kinds = s3.Kinds(missing=SourceError, wrong=SourceError, unavailable=SourceUnavailable)
    with s3.errors("read", name, kinds):
        return s3.read_object(s3.client(), address.partition("://")[2], MAX_BYTES)


def _parse_csv(name: str, data: bytes) -> Raw:
    """Read by hand-counted fields: pandas fills a line cut short with empty cells and says nothing."""
    if (cells := sum(map(data.count, (b",", b"\n", b"\r")))) > MAX_CELLS:  # before any of them takes memory
        raise SourceError(f"{name} has about {cells:,} cells, the limit is {MAX_CELLS:,}; divide it")
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        lines = [(reader.line_num, fields) for fields in reader if fields]
    except UnicodeDecodeError as error:
        raise SourceError(f"{name} is not UTF-8 text (byte {error.start})") from error
    except csv.Error as error:
        raise SourceError(
            f"{name} is not whole CSV: {error} near line {reader.line_num}; is it cut short?"
        ) from error
    if not lines:
        raise SourceError(f"{name} holds no table")
    header = [field.strip() for field in lines[0][1]]
    if len(header) > MAX_COLUMNS:
        raise SourceError(f"{name} has {len(header):,} columns, the limit is {MAX_COLUMNS:,}")
    if repeated := sorted(column for column, times in Counter(header).items() if times > 1):
        raise SourceError(f"{name} has columns with the same name: {', '.join(repeated)}")
    good = {number: fields for number, fields in lines[1:] if len(fields) == len(header)}
    malformed = {
        number: f"{len(fields)} fields" for number, fields in lines[1:] if len(fields) != len(header)
    }
    rows = pd.DataFrame.from_dict(good, orient="index", columns=header, dtype=object)
    stripped = rows.apply(lambda column: column.str.strip())
    return Raw(name, stripped.mask(stripped.isin(MISSING)), malformed)
