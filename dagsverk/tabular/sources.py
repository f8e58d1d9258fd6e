"""Raw rows: the embedded facts, or a file, URL or s3:// address with the same columns."""

from __future__ import annotations

import csv
import io
import ipaddress
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dagsverk.tabular.errors import SourceError, SourceUnavailable
from dagsverk.tabular.system import System

MAX_BYTES = 512 * 2**20
TIMEOUT_S = 30.0
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

    Raises SourceError: no such place, unreadable, larger than 512 MiB, empty, cut short, not a table.
    """
    if source is None or source == EMBEDDED:
        return Raw(EMBEDDED, _numbered(system.read()))
    name = _without_secrets(source)
    suffix = Path(urlsplit(source).path if "://" in source else source).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise SourceError(f"want a .csv or .parquet file, got {name!r}")
    data = _fetch(source, name)
    if not data:
        raise SourceError(f"{name} is empty (0 bytes); nothing was changed")
    raw = _parse_csv(name, data) if suffix == ".csv" else Raw(name, _parse_parquet(name, data))
    if raw.rows.empty and not raw.malformed:
        raise SourceError(f"{name} has a header and no rows; nothing was changed")
    return raw


def _numbered(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.set_axis(range(2, len(rows) + 2), axis=0)


def _without_secrets(source: str) -> str:
    """User names, passwords and signed queries never reach a table, a log or an error."""
    if "://" not in source:
        return Path(source).name
    parts = urlsplit(source)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def _fetch(source: str, name: str) -> bytes:
    scheme = urlsplit(source).scheme if "://" in source else ""
    if scheme in ("http", "https"):
        return _fetch_http(source, name)
    if scheme == "s3":
        return _fetch_s3(source, name)
    if scheme:
        raise SourceError(f"want a path, http(s):// or s3:// address, got {name!r}")
    path = Path(source)
    if not path.is_file():
        raise SourceError(f"no file {str(path)!r} (looked from {Path.cwd()})")
    _check_size(path.stat().st_size, name)
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {str(path)!r}: {error.strerror}") from error


def _check_size(size: int, name: str) -> None:
    if size > MAX_BYTES:
        raise SourceError(f"{name} has {size / 2**20:.0f} MiB, the limit is {MAX_BYTES // 2**20} MiB")


def _refuse_private(url: str, name: str) -> None:
    """A flow parameter must not become a way to read what only this machine can reach."""
    if os.environ.get("DAGSVERK_ALLOW_PRIVATE_URLS") == "1":
        return
    host = urlsplit(url).hostname or ""
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise SourceError(f"cannot find the host of {name}: {error.strerror}") from error
    if any(not ipaddress.ip_address(str(address).split("%")[0]).is_global for address in addresses):
        raise SourceError(
            f"{name} is a private address; set DAGSVERK_ALLOW_PRIVATE_URLS=1 where that is meant"
        )


def _fetch_http(url: str, name: str, redirects_left: int = 3) -> bytes:
    _refuse_private(url, name)
    try:
        with httpx.stream("GET", url, timeout=TIMEOUT_S) as response:
            if response.is_redirect:
                target = str(response.url.join(response.headers["location"]))
                if redirects_left == 0 or urlsplit(target).scheme not in ("http", "https"):
                    raise SourceError(f"{name} redirects too often, or away from http(s)")
                return _fetch_http(target, name, redirects_left - 1)
            if response.status_code != httpx.codes.OK:
                trouble = SourceUnavailable if response.is_server_error else SourceError
                raise trouble(f"{name} answered {response.status_code} {response.reason_phrase}")
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                _check_size(len(data), name)
            return bytes(data)
    except httpx.HTTPError as error:
        raise SourceUnavailable(
            f"cannot read {name}: {type(error).__name__}; try again, or download it first"
        ) from error


def _fetch_s3(address: str, name: str) -> bytes:
    import s3fs

    try:
        files = s3fs.S3FileSystem()  # endpoint and keys: the AWS variables of the environment
        _check_size(int(files.info(address)["size"]), name)
        return bytes(files.cat_file(address))
    except FileNotFoundError as error:
        raise SourceError(f"no object {name}") from error
    except Exception as error:  # botocore's errors share no other base, and their text may hold keys
        raise SourceError(
            f"cannot read {name}: {type(error).__name__}; check AWS_* in the environment"
        ) from error


def _parse_csv(name: str, data: bytes) -> Raw:
    """Read by hand-counted fields: pandas fills a line cut short with empty cells and says nothing."""
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
    if repeated := sorted({column for column in header if header.count(column) > 1}):
        raise SourceError(f"{name} has columns with the same name: {', '.join(repeated)}")
    good = {number: fields for number, fields in lines[1:] if len(fields) == len(header)}
    malformed = {
        number: f"{len(fields)} fields" for number, fields in lines[1:] if len(fields) != len(header)
    }
    rows = pd.DataFrame.from_dict(good, orient="index", columns=header, dtype=object)
    stripped = rows.apply(lambda column: column.str.strip())
    return Raw(name, stripped.mask(stripped.isin(MISSING)), malformed)


def _parse_parquet(name: str, data: bytes) -> pd.DataFrame:
    try:
        return _numbered(pq.read_table(pa.BufferReader(data)).to_pandas())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise SourceError(
            f"{name} is not a whole Parquet file; is it cut short? ({type(error).__name__})"
        ) from error
