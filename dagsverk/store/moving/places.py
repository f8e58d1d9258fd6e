"""The two ends of a copy: one that must be there, and one that must not lie in the other."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from dagsverk.store import open_store
from dagsverk.store.moving.journal import something_in
from dagsverk.store.protocol import Conflict, NotFound, Store


def open_existing(url: str) -> Store:
    """The store at `url`. Raises NotFound if there is none, or nothing in it; else as `open_store`."""
    store = open_store(url, create=False)
    if not something_in(store):
        raise NotFound(f"the store at {store.url} is empty; check the address")
    return store


def refuse_overlap(source: str, target: str) -> None:
    """Raises Conflict if two stores are one, or one lies inside the other."""
    one, other = _place(source), _place(target)
    if one == other:
        raise Conflict(f"{source} and {target} are the same store; name another place to copy to")
    if f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/"):
        raise Conflict(f"of {source} and {target} one lies inside the other; name a place beside it")


def _place(url: str) -> str:
    """The address in one spelling, without options."""
    if (folder := _folder(url)) is not None:
        return str(folder)
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/{parts.path.strip('/')}".rstrip("/")


def _folder(url: str) -> Path | None:
    if url.startswith("file://"):
        url = unquote(urlsplit(url).path)
    return None if "://" in url else Path(url).expanduser().resolve()
