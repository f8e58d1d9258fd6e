"""Records: what steps keep as JSON in the store. One way to write them, one to read them back as types.

In memory a record is a frozen dataclass; JSON types exist at this edge only.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from dagsverk.store import Conflict, NotFound, Store, StoreError
from dagsverk.store.encoding import decode, encode

__all__ = [
    "digest",
    "encode",
    "from_bytes",
    "keep_report",
    "last_report",
    "parse",
    "plain",
    "read",
    "read_file",
    "read_json",
    "remembered",
    "report_path",
    "report_version",
    "to_bytes",
    "write",
    "write_file",
    "write_json",
]

T = TypeVar("T")


def read_json(store: Store, path: str) -> Any:
    """An artefact's JSON types. Raises NotFound; StoreError if it is damaged."""
    return decode(store.get(path), f"artefact {path} in {store.url}", "remove it")


def write_json(store: Store, path: str, content: Any) -> None:
    """Replace an artefact with these JSON types."""
    store.put(path, encode(content), overwrite=True)


def read(store: Store, path: str, kind: type[T]) -> T:
    """An artefact as the dataclass that was written. Raises NotFound; StoreError if it is damaged or of
    another version."""
    return parse(read_json(store, path), kind, f"artefact {path} in {store.url}")


def write(store: Store, path: str, record: Any) -> None:
    """Replace an artefact with this dataclass."""
    write_json(store, path, plain(record))


def to_bytes(record: Any) -> bytes:
    """A dataclass as the bytes of a file that is not in the store."""
    return encode(plain(record))


def from_bytes(data: bytes, kind: type[T], where: str) -> T:
    """The dataclass that `to_bytes` was given. Raises StoreError, which names `where` it was."""
    return parse(decode(data, where, "remove it"), kind, where)


def plain(record: Any) -> Any:
    """A dataclass, or a list or mapping of them, in JSON types; each field under its alias if it has one."""
    return _adapter(type(record)).dump_python(record, mode="json", by_alias=True)


def write_file(path: Path, content: Any) -> None:
    """Write JSON types to a file of a model folder. Raises ValueError for NaN and infinity."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def read_file(path: Path) -> Any:
    """The JSON types of a file of a model folder. Raises OSError and ValueError."""
    return json.loads(path.read_text(encoding="utf-8"))


def parse(content: Any, kind: type[T], where: str = "a record") -> T:
    """JSON types -> the dataclass; fields that it does not know are ignored. Raises StoreError."""
    try:
        record: T = _adapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "all of it"
        raise StoreError(
            f"{where} is damaged or of another version ({field}: {first['msg']}); remove it, and "
            "the step that made it makes it anew"
        ) from error
    return record


_adapter: Callable[[Any], TypeAdapter[Any]] = functools.cache(TypeAdapter)


def keep_report(store: Store, name: str, step: str, report: Any) -> None:
    """Replace the report of the step's last run, and note when. `name`: of a system or language; `report`: a
    dataclass."""
    at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    write_json(store, report_path(name, step), {"at": at, **plain(report)})


def last_report(store: Store, name: str, step: str, kind: type[T]) -> T | None:
    """What the step's last run kept; None before the first. Raises StoreError if it is of another version."""
    try:
        return read(store, report_path(name, step), kind)
    except NotFound:
        return None


def report_version(store: Store, name: str, step: str) -> int:
    """A number that is another one when the step has kept another report; 0 before the first."""
    try:
        return zlib.crc32(store.get(report_path(name, step)))
    except NotFound:
        return 0


def report_path(name: str, step: str) -> str:
    """The artefact of the step's report."""
    return f"reports/{name}/{step}.json"


def remembered(store: Store, path: str, kind: type[T], compute: Callable[[], T]) -> T:
    """The record at `path`, computed and kept if it is not there.

    The path must name everything that the result depends on. Two processes may compute it at once; the first
    one's result is the one that both return.
    """
    try:
        return read(store, path, kind)
    except NotFound:
        computed = compute()
    try:
        store.put(path, encode(plain(computed)))
    except Conflict:
        return read(store, path, kind)
    return computed


def digest(rows: pd.DataFrame, *settings: object) -> str:
    """16 hexadecimal digits that change when a row's content, whatever the order, or a setting changes."""
    hashes = pd.util.hash_pandas_object(rows, index=False).sort_values()
    sha256 = hashlib.sha256(hashes.to_numpy().tobytes())
    sha256.update(json.dumps([list(rows.columns), *settings], default=str, sort_keys=True).encode())
    return sha256.hexdigest()[:16]
