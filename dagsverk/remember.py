"""Results that are costly to compute and small to keep: computed once for the same inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pandas as pd

from dagsverk.store import Conflict, NotFound, Store


def remembered(store: Store, path: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The JSON artefact at `path`, computed and kept if it is not there.

    The path must name everything that the result depends on. Two processes may compute it at once; the first
    one's result is the one that both return.
    """
    try:
        return _load(store, path)
    except NotFound:
        found = compute()
    try:
        store.put(path, json.dumps(found).encode())
    except Conflict:
        return _load(store, path)
    return found


def _load(store: Store, path: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(store.get(path))
    return loaded


def digest(rows: pd.DataFrame, *settings: object) -> str:
    """16 hexadecimal digits that change when a row's content, whatever the order, or a setting changes."""
    hashes = pd.util.hash_pandas_object(rows, index=False).sort_values()
    found = hashlib.sha256(hashes.to_numpy().tobytes())
    found.update(json.dumps([list(rows.columns), *settings], default=str, sort_keys=True).encode())
    return found.hexdigest()[:16]
