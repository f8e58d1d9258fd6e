"""JSON in a store: one way to write it, one way to read it."""

from __future__ import annotations

import json
from typing import Any

from dagsverk.store.files import Files
from dagsverk.store.protocol import StoreError


def encode(content: Any, *, indent: int | None = 1) -> bytes:
    """JSON types -> the bytes of a file. Args: indent: None is ten times faster, for what nobody reads."""
    try:
        return json.dumps(content, indent=indent, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which is no character: only an escape can hold it
        return json.dumps(content, indent=indent).encode()


def decode(data: bytes, where: str, remedy: str = "restore it from a copy") -> Any:
    """The bytes of a file -> JSON types. Raises StoreError, which names the file and the remedy."""
    try:
        return json.loads(data)
    except ValueError as error:
        raise StoreError(f"{where} is damaged ({error}); {remedy}") from error


def read_object(files: Files, path: str) -> dict[str, Any]:
    """A file's JSON object. Raises NotFound; StoreError if it is damaged."""
    content = decode(files.read(path), f"{files.url}/{path}")
    if not isinstance(content, dict):
        raise StoreError(f"{files.url}/{path} is damaged: want a JSON object; restore it from a copy")
    return content
