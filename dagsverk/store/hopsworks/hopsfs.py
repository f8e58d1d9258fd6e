"""Folders and files of a Hopsworks project, through the SDK's dataset API: steps that others build on.

Paths are relative to the project, such as `Resources/dagsverk/a.json`. Every step is safe to repeat.
"""

from __future__ import annotations

import functools
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hopsworks_common.client.exceptions import DatasetException

from dagsverk.store.files import hashed_copy
from dagsverk.store.hopsworks.connection import Connection, again, errors
from dagsverk.store.protocol import NotFound, StoreError, Unavailable

PAGE = 1000  # what a listing gives at most


@dataclass(frozen=True)
class Entry:
    """A file or folder as a listing names it."""

    path: str
    folder: bool
    size: int
    modified: str

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


class HopsFS:
    """The project's file system."""

    def __init__(self, connection: Connection) -> None:
        self._api = connection.datasets
        self._url = connection.address.url

    def entry(self, path: str) -> Entry | None:
        """What is at the path, None if nothing. Unlike the SDK's `exists`, a server that fails is no "no"."""
        try:
            return _entry(path, again(lambda: self._ask(path))["attributes"])
        except NotFound:
            return None

    def entries(self, folder: str) -> list[Entry]:
        """What is in the folder, by name; [] if it is absent."""
        entries: dict[str, Entry] = {}
        first, count = 0, 1
        while first < count:
            try:
                count, page = again(functools.partial(self._page, folder, first))
            except NotFound:
                return []
            entries |= {item["name"]: _entry(f"{folder}/{item['name']}", item) for item in page}
            first += PAGE
        return sorted(entries.values(), key=lambda entry: entry.name)

    def files(self, folder: str) -> Iterator[Entry]:
        """All files in the folder and below it."""
        for entry in self.entries(folder):
            if entry.folder:
                yield from self.files(entry.path)
            else:
                yield entry

    def make(self, folder: str) -> None:
        """Make the folder, and those above it, unless they are there."""
        if self._is_made(folder):
            return
        above = folder.rpartition("/")[0]
        if "/" not in above and self.entry(above) is None:
            raise NotFound(f"cannot make {folder} in {self._url}: the project has no folder {above}")
        self.make(above)
        if not self._is_made(folder):
            raise StoreError(f"cannot make {folder} in {self._url}: the server refused; look at its logs")

    def _is_made(self, folder: str) -> bool:
        """Whether the folder is there now; False if the one above it is not."""
        try:
            again(lambda: self._mkdir(folder))
        except Unavailable:
            raise
        except StoreError:  # it is there, perhaps by a try whose answer was lost, or there is none above it
            return self.entry(folder) is not None
        return True

    def upload(self, local: Path, folder: str) -> str:
        """Copy a local file into the folder, under its own name, which must be new there; its path."""
        path = f"{folder}/{local.name}"

        def act() -> str:
            try:
                with errors(self._url, "upload", path):
                    self._api.upload(str(local), folder)
            except Unavailable:
                raise
            except (
                StoreError
            ):  # the SDK repeats a chunk whose answer was lost, and is refused the second time
                if self._whole(path, local.stat().st_size) is None:
                    raise
            return path

        return again(act, lambda: self._whole(path, local.stat().st_size))

    def move(self, source: str, target: str) -> bool:
        """Rename a file that only this caller knows; False, and nothing done, if the target exists.

        The server renames without replacing, so of several callers one wins."""

        def act() -> bool:
            try:
                with errors(self._url, "move", source):
                    self._api.move(source, target)
            except NotFound:
                return self._moved(source, target)
            except Unavailable:
                raise
            except StoreError as error:
                if isinstance(error.__cause__, DatasetException) or self.entry(target) is not None:
                    return self._moved(source, target)
                raise
            return True

        return again(act, lambda: True if self.entry(source) is None else None)

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all below it; absent is done."""

        def act() -> None:
            with errors(self._url, "remove", path):
                self._api.remove(path)

        try:
            again(act)
        except NotFound:
            return
        except StoreError:
            if self.entry(path) is not None:
                raise

    def content(self, path: str) -> bytes:
        """A file's bytes. Raises NotFound."""

        def act() -> bytes:
            with errors(self._url, "read", path):
                return bytes(self._api.read_content(f"/{path}").content)  # it cuts the first character off

        return again(act)

    def download(self, path: str, target: Path) -> str:
        """Copy a file of any size to a local path. Returns its SHA-256. Raises NotFound."""
        target.parent.mkdir(parents=True, exist_ok=True)

        def act() -> str:
            with (
                errors(self._url, "read", path),
                self._api.read_content(f"/{path}") as answer,
                target.open("wb") as write,
            ):
                return hashed_copy(_Body(answer), write)  # type: ignore[arg-type]

        return again(act)

    def _moved(self, source: str, target: str) -> bool:
        """Whether an unclear move was ours: then the source, which nobody else knows, is gone."""
        if self.entry(source) is None:
            if self.entry(target) is None:
                raise NotFound(f"cannot move {source} in {self._url}: it is not there")
            return True
        if self.entry(target) is None:
            raise NotFound(f"cannot move {source} in {self._url} to {target}: no such folder")
        return False

    def _whole(self, path: str, size: int) -> str | None:
        """The path, if an upload whose answer was lost has put it there."""
        uploaded = self.entry(path)
        if uploaded is None:
            return None
        if uploaded.size == size:
            return path
        self.remove(path)
        return None

    def _page(self, folder: str, first: int) -> tuple[int, list[Mapping[str, Any]]]:
        """How many entries there are, and those from the `first`."""
        with errors(self._url, "list", folder):
            count, page = self._api._list_dataset_path(folder, _Listing, offset=first, limit=PAGE)
        return int(count), page

    def _ask(self, path: str) -> Mapping[str, Any]:
        with errors(self._url, "look at", path):
            return self._api.get(path)  # type: ignore[no-any-return]

    def _mkdir(self, folder: str) -> None:
        with errors(self._url, "make the folder", folder):
            self._api.mkdir(folder)


class _Listing:
    """What the SDK's listing is asked to return: unlike its own type, with sizes."""

    @classmethod
    def from_response_json(cls, answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        return [item["attributes"] for item in answer.get("items") or []]


class _Body:
    """The body of an answer as a file to read from."""

    def __init__(self, answer: Any) -> None:
        self._blocks = answer.iter_content(1 << 20)

    def read(self, size: int) -> bytes:  # noqa: ARG002  blocks come as they come
        return next(self._blocks, b"")


def _entry(path: str, attributes: Mapping[str, Any]) -> Entry:
    return Entry(
        path,
        bool(attributes.get("dir")),
        int(attributes.get("size") or 0),
        str(attributes.get("modificationTime", "")),
    )


def new_name() -> str:
    """A name that nobody else uses."""
    return uuid.uuid4().hex


def local_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder of this machine for what is being sent."""
    return tempfile.TemporaryDirectory(prefix="dagsverk-")
