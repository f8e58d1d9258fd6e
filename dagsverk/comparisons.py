"""Where comparisons of two models are kept, for both families. Light.

Below a folder: reports/<comparison>.json, and newest.json, a small file that says which was made last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from dagsverk.records import read, write
from dagsverk.store import NotFound, Store, StoreError, Unavailable


class Kept(Protocol):
    """What a report has: its name, and when it was made (ISO 8601, UTC)."""

    @property
    def key(self) -> str: ...
    @property
    def at(self) -> str: ...


K = TypeVar("K", bound=Kept)


@dataclass(frozen=True)
class Newest:
    """Which comparison was made last, and when."""

    key: str
    at: str


def keep(store: Store, folder: str, report: Kept) -> None:
    """Replace what was kept of the same comparison before."""
    write(store, f"{folder}/reports/{report.key}.json", report)
    write(store, f"{folder}/newest.json", Newest(report.key, report.at))


def version(store: Store, folder: str) -> str:
    """Another one when a comparison was made, or made again. Cheap: one small file."""
    try:
        newest = read(store, f"{folder}/newest.json", Newest)
    except Unavailable:
        raise
    except StoreError:  # not there, or damaged: the next comparison writes it
        return ""
    return f"{newest.key} {newest.at}"


def reports(store: Store, folder: str, kind: type[K]) -> list[K]:
    """All comparisons below a folder that can be read, newest first."""
    return read_all(store, folder, kind)[0]


def read_all(store: Store, folder: str, kind: type[K]) -> tuple[list[K], list[str]]:
    """All comparisons below a folder, newest first; and a sentence for each that cannot be read."""
    kept, damaged = [], []
    for path in store.list(f"{folder}/reports"):
        if not path.endswith(".json"):
            continue
        try:
            kept.append(read(store, path, kind))
        except Unavailable:
            raise
        except NotFound:  # removed since it was listed
            continue
        except StoreError as error:
            damaged.append(str(error))
    return sorted(kept, key=lambda one: one.at, reverse=True), damaged
