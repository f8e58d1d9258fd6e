"""What all backends share: definitions, artefacts and models as Files, rows as Delta tables.

Layout of the files:
    dagsverk-store.json             {"format": 1}: this place is ours
    tables/{name}_{version}.json    a table's definition; where its rows are, a backend says
    models/{name}/                  see `models`
    artefacts/                      see `put`
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from dagsverk.store.encoding import encode, read_object
from dagsverk.store.files import Files, checked_path
from dagsverk.store.models import FileModels
from dagsverk.store.protocol import Conflict, NotFound, StoreError, Table
from dagsverk.store.rows import STORABLE, check_storable
from dagsverk.store.upsert import DeltaStore

MARKER = "dagsverk-store.json"
FORMAT = 1

Paths: TypeAlias = list[str]  # inside the class `list` is its method


class Backend(DeltaStore, FileModels):
    """A Store; safe with several threads, processes and, where its files are, machines."""

    def __init__(self, files: Files, url: str, *, create: bool) -> None:
        self.url = url
        self._files = files
        _claim(files, create)
        if create:
            files.prove()
        files.sweep()

    @abstractmethod
    def _create(self, table: Table) -> None:
        """Make the table, without rows, if it is absent."""

    def ensure(self, table: Table) -> None:
        """Create the table if it is absent. Raises Conflict if it exists with another definition."""
        check_storable(table)
        stored, wanted = self._defined(table), _definition(table)
        if stored != wanted:
            raise Conflict(
                f"table {table.name} version {table.version} in {self.url} has another definition "
                f"({_first_difference(stored, wanted)}); give the new one a new version"
            )
        self._create(table)

    def tables(self) -> list[Table]:
        """Every table that was made, by name and version."""
        tables = [
            _table(read_object(self._files, path)) for path in self._files.paths("tables") if _defines(path)
        ]
        return sorted(tables, key=lambda table: (table.name, table.version))

    def put(self, path: str, data: bytes, *, overwrite: bool = False) -> None:
        """Store a small file whole or not at all. Raises Conflict if it exists and not `overwrite`."""
        target = f"artefacts/{checked_path(path)}"
        if overwrite:
            self._files.write(target, data)
        elif not self._files.create(target, data):
            raise Conflict(f"artefact {path!r} exists in {self.url}; pass overwrite=True to replace it")

    def get(self, path: str) -> bytes:
        """Raises NotFound."""
        try:
            return self._files.read(f"artefacts/{checked_path(path)}")
        except NotFound as error:
            raise NotFound(f"no artefact {path!r} in {self.url}; see store.list('')") from error

    def put_file(self, path: str, source: Path) -> str:
        """Store a file of any size whole or not at all, replacing what is there. Returns its SHA-256."""
        target = f"artefacts/{checked_path(path)}"
        if not source.is_file():
            raise StoreError(f"cannot store {source} as artefact {path!r}: it is not a file")
        return self._files.upload(source, target)

    def fetch(self, path: str, cache: Path) -> Path:
        """A local file with the artefact's bytes, to be read and never written: the very file where the store
        is a folder, else a copy below the folder `cache`, used again as long as the artefact stays the same.
        Raises NotFound."""
        try:
            return self._files.fetch(f"artefacts/{checked_path(path)}", cache)
        except NotFound as error:
            raise NotFound(f"no artefact {path!r} in {self.url}; see store.list('')") from error

    def remove(self, prefix: str) -> None:
        """Remove the artefacts below the folder `prefix`; absent is done."""
        self._files.remove(f"artefacts/{checked_path(prefix.removesuffix('/'))}")

    def list(self, prefix: str) -> Paths:
        """Paths of the artefacts below the folder `prefix` ("" for all), sorted."""
        folder = prefix.removesuffix("/")
        paths = self._files.paths(f"artefacts/{checked_path(folder)}" if folder else "artefacts")
        return [path.removeprefix("artefacts/") for path in paths]

    def stamps(self) -> Mapping[str, str]:
        """A stamp per artefact, by path: another one means that its bytes may differ."""
        stamps = self._files.stamps("artefacts")
        return {path.removeprefix("artefacts/"): stamp for path, stamp in stamps.items()}

    def _defined(self, table: Table) -> dict[str, Any]:
        """The definition that the store has of the table; this one, if it had none."""
        path = f"tables/{table.name}_{table.version}.json"
        try:
            stored = read_object(self._files, path)
        except NotFound:
            definition = {**_definition(table), "description": table.description}
            self._files.create(path, encode(definition))  # if another process is first, its own stays
            stored = read_object(self._files, path)
        return {key: value for key, value in stored.items() if key != "description"}


def _claim(files: Files, create: bool) -> None:
    """See that the place is a store of ours, or make it one. Raises NotFound if it is not to be made one."""
    try:
        marker = read_object(files, MARKER)
    except NotFound as error:
        if names := [name for name in files.foreign() if name != MARKER]:
            raise StoreError(
                f"{files.url} is not a Dagsverk store: it has no {MARKER}, but {', '.join(names)}; "
                "name an empty or a new place"
            ) from error
        if not create:
            raise NotFound(
                f"there is no store at {files.url}: no {MARKER} is there; check the address"
            ) from error
        files.create(MARKER, encode({"format": FORMAT}))
        marker = read_object(files, MARKER)
    version = marker.get("format")
    if version != FORMAT:
        raise StoreError(
            f"{files.url} has store format {version!r}, this version reads {FORMAT}; upgrade dagsverk, "
            "or name another place"
        )


def _definition(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "version": table.version,
        "key": list(table.key),
        "event_time": table.event_time,
        "columns": [[field.name, str(field.type), field.nullable] for field in table.schema],
    }


def _first_difference(stored: dict[str, Any], wanted: dict[str, Any]) -> str:
    name = next(name for name in (*wanted, *stored) if stored.get(name) != wanted.get(name))
    return f"{name}: stored {stored.get(name)}, asked for {wanted.get(name)}"


def _defines(path: str) -> bool:
    """Whether a file below tables/ is a definition: a table's own files lie deeper."""
    return path.count("/") == 1 and path.endswith(".json")


def _table(definition: dict[str, Any]) -> Table:
    columns = [pa.field(name, _type(kind), nullable) for name, kind, nullable in definition["columns"]]
    return Table(
        definition["name"],
        definition["version"],
        pa.schema(columns),
        tuple(definition["key"]),
        definition["event_time"],
        definition.get("description", ""),
    )


def _type(text: str) -> pa.DataType:
    """The Arrow type that prints as `text`."""
    if text.startswith("list<"):
        name, _, inner = text.removeprefix("list<").removesuffix(">").partition(": ")
        return pa.list_(pa.field(name, _type(inner)))
    return next(kind for kind in STORABLE if str(kind) == text)
