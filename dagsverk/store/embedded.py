"""The embedded store: Delta tables, models and artefacts below a folder or an S3 prefix; no server needed.

Layout:
    dagsverk-store.json             {"format": 1}: this place is ours
    tables/{name}_{version}/        a Delta table; its definition beside it, in {name}_{version}.json
    models/{name}/                  see `models`
    artefacts/                      see `put`
    .tmp/                           unfinished files of running writers
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from dagsverk.store.delta import delta_errors
from dagsverk.store.files import Files, Location, checked_path, parsed
from dagsverk.store.models import FileModels
from dagsverk.store.protocol import Conflict, NotFound, StoreError, Table
from dagsverk.store.rows import check_storable
from dagsverk.store.upsert import CONFIGURATION, DeltaStore

MARKER = "dagsverk-store.json"
FORMAT = 1

Paths: TypeAlias = list[str]  # inside the class `list` is its method


class Embedded(DeltaStore, FileModels):
    """A Store whose every part is a file; safe with several threads, processes and, on S3, machines."""

    def __init__(self, files: Files) -> None:
        self.url = files.url
        self._files = files
        _claim(files)
        files.sweep()

    def ensure(self, table: Table) -> None:
        """Create the table if it is absent. Raises Conflict if it exists with another definition."""
        check_storable(table)
        found, wanted = self._defined(table), _definition(table)
        if found != wanted:
            raise Conflict(
                f"table {table.name} version {table.version} in {self.url} has another definition "
                f"({_first_difference(found, wanted)}); give the new one a new version"
            )
        self._create(table)

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
        found = self._files.paths(f"artefacts/{checked_path(folder)}" if folder else "artefacts")
        return [path.removeprefix("artefacts/") for path in found]

    def _location(self, table: Table) -> Location:
        return self._files.delta(f"tables/{table.name}_{table.version}")

    def _defined(self, table: Table) -> dict[str, Any]:
        """The definition that the store has of the table; this one, if it had none."""
        path = f"tables/{table.name}_{table.version}.json"
        try:
            found = parsed(self._files, path)
        except NotFound:
            text = json.dumps({**_definition(table), "description": table.description}, indent=1)
            self._files.create(path, text.encode())  # if another process is first, its definition stays
            found = parsed(self._files, path)
        found.pop("description", None)  # words may change
        return found

    def _create(self, table: Table) -> None:
        at = self._location(table)
        options = dict(at.options) if at.options else None
        fields = [
            field.with_nullable(True) for field in table.schema
        ]  # `normalise` refuses nulls, with words
        with delta_errors(table, at.url):
            if DeltaTable.is_deltatable(at.url, options):
                return
            try:
                DeltaTable.create(
                    at.url,
                    pa.schema(fields),
                    configuration=CONFIGURATION,
                    storage_options=options,
                )
            except DeltaError:
                if not DeltaTable.is_deltatable(at.url, options):  # else another process was first
                    raise


def _claim(files: Files) -> None:
    """See that the place is a store of ours, or make it one."""
    try:
        found = parsed(files, MARKER)
    except NotFound as error:
        if names := [name for name in files.foreign() if name != MARKER]:
            raise StoreError(
                f"{files.url} is not a Dagsverk store: it has no {MARKER}, but {', '.join(names)}; "
                "name an empty or a new place"
            ) from error
        files.create(MARKER, json.dumps({"format": FORMAT}).encode())
        found = parsed(files, MARKER)
    version = found.get("format")
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


def _first_difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    name = next(name for name in (*wanted, *found) if found.get(name) != wanted.get(name))
    return f"{name}: stored {found.get(name)}, asked for {wanted.get(name)}"
