"""Raw rows: the embedded facts, or a table at a path, URL or s3:// address."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

from dagsverk.addresses import refuse_keys
from dagsverk.reading import NotRegular, TooLarge, may_pass, open_regular, read_at_most
from dagsverk.tabular import foreign
from dagsverk.tabular.delimited import parse_text
from dagsverk.tabular.errors import SourceError, SourceUnavailable
from dagsverk.tabular.packed import NEXT, unpack
from dagsverk.tabular.parquet import PARQUET, parse_parquet
from dagsverk.tabular.raw import Raw
from dagsverk.tabular.system import System
from dagsverk.tabular.web import download

MAX_BYTES = 512 * 2**20
EMBEDDED = "embedded"


def read_source(system: System, source: str | None = None) -> Raw:
    """The system's embedded facts (None), or the rows of a table at a path, http(s) URL or s3:// address.

    A table is text with separators or Parquet, packed or not; what it is, its first bytes say.

    Raises: SourceError: a key in the address, no such place, no regular file, unreadable, larger than 512
        MiB, empty, cut short, not a table; SourceUnavailable where it was not reached: try again later.
    """
    if source is None or source == EMBEDDED:
        return Raw(EMBEDDED, _numbered(system.read()))
    name, data, notes = fetched(source)
    raw = (parse_parquet if data.startswith(PARQUET) else parse_text)(system, name, data)
    if raw.rows.empty and not raw.malformed:
        raise SourceError(f"{name} has a header and no rows; nothing was changed")
    return replace(raw, guesses=(*notes, *raw.guesses))


def fetched(source: str) -> tuple[str, bytes, tuple[str, ...]]:
    """(name, content, what is to be said of it) of a CSV or Parquet file, unpacked. Raises: see above."""
    try:
        refuse_keys(source)
        name = source if "://" in source else Path(source).name
        suffix = Path(urlsplit(source).path if "://" in source else source).suffix.lower()
    except ValueError as error:
        raise SourceError(str(error)) from error
    if kind := foreign.by_suffix(suffix):
        raise SourceError(f"{name} is {kind}, want CSV or Parquet; {NEXT}")
    data = _fetch(source, name)
    if not data:
        raise SourceError(f"{name} is empty (0 bytes); nothing was changed")
    try:
        data, notes = unpack(name, data, MAX_BYTES)
    except TooLarge as error:
        raise SourceError(f"{name} unpacks to more than {MAX_BYTES // 2**20} MiB; divide it") from error
    if kind := foreign.by_content(data):
        raise SourceError(f"{name} is {kind}, want CSV or Parquet; {NEXT}")
    return name, data, notes


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
