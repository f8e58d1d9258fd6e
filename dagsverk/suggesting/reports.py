"""What is the same of all reports. Light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagsverk.records import read_json, report_path
from dagsverk.store import NotFound, Store


def made_at(store: Store, name: str, step: str) -> str:
    """When the step's report was kept; "" if it does not say."""
    try:
        content = read_json(store, report_path(name, step))
    except NotFound:
        return ""
    at: Any = content.get("at") if isinstance(content, Mapping) else None
    return at if isinstance(at, str) else ""
