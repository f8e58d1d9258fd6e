"""How the pages of both families read the store: it is opened on first use, and read once per version."""

from __future__ import annotations

import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Hashable
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

from dagsverk.store import Model, Store, StoreError, Unavailable, open_store


class Subject(Protocol):
    """What a page is about: a system, or a language."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...


class Versioned(Protocol):
    """What a page shows, as of one version."""

    @property
    def version(self) -> Hashable: ...


S = TypeVar("S", bound=Subject)
V = TypeVar("V", bound=Versioned)


class OpenedStore:
    """A store that is opened on first use.

    Args: url: as `open_store` takes it.
    """

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._store: Store | None = None
        self._lock = threading.Lock()

    def get(self) -> Store:
        """Raises StoreError while the store cannot be opened; the next call tries again."""
        with self._lock:
            if self._store is None:
                self._store = open_store(self._url)
            return self._store


class Desk(ABC, Generic[S, V]):
    """Reads on behalf of a family's pages and the REST API; safe to call from several threads.

    Args: store: its URL, as `open_store` takes it, or what another desk has `opened`.
    """

    card_file: ClassVar[str]  # of a model

    def __init__(self, store: str | OpenedStore | None = None) -> None:
        self.opened = store if isinstance(store, OpenedStore) else OpenedStore(store)
        self._views: dict[str, V] = {}
        self._lock = threading.RLock()

    @property
    def store(self) -> Store:
        """Raises StoreError while the store cannot be opened; the next call tries again."""
        return self.opened.get()

    def version(self, of: S) -> Hashable:
        """Cheap to read, and different whenever `view` would be.

        Raises: Unavailable when what was there before is gone: a folder that is not mounted reads as empty.
        """
        version, before = self._version(of), self._views.get(of.name)
        if before is not None and self._is_gone(before, version):
            raise Unavailable(
                f"what the store {self.store.url} held of {of.title} is gone; is the folder mounted? "
                "If it was emptied on purpose, restart the pages"
            )
        return version

    def view(self, of: S) -> V:
        """What the monitor shows now; read once per version, whoever asks."""
        with self._lock:
            version = self.version(of)
            view = self._views.get(of.name)
            if view is None or view.version != version:
                view = self._views[of.name] = self._read(of, version)
            return view

    @abstractmethod
    def _version(self, of: S) -> Hashable:
        """What `version` gives."""

    @abstractmethod
    def _is_gone(self, before: V, version: Hashable) -> bool:
        """Whether something that was shown before is not there any more."""

    @abstractmethod
    def _read(self, of: S, version: Hashable) -> V:
        """The view, from the store."""

    def _card(self, model: Model | None) -> tuple[str, str]:
        """(the model's card, why it cannot be had)"""
        if model is None or self.card_file not in model.files:
            return "", ""
        with tempfile.TemporaryDirectory(prefix="dagsverk-card-") as folder:
            try:
                file = self.store.download(model, Path(folder) / "model") / self.card_file
            except Unavailable:
                raise
            except StoreError as error:
                return "", str(error)
            return file.read_text(encoding="utf-8"), ""
