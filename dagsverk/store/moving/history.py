"""What each commit of a table wrote, from the files that it added.

So a whole history costs one reading of each stored file; reading the table as of every commit would cost
the square of that. The log is read as the Delta protocol states it: delta-rs tells only which files are in
use, and to open an old version is to replay the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSystem, LocalFileSystem, PyFileSystem, SubTreeFileSystem

from dagsverk.store.delta import DeltaReads, commit_of, delta_errors, wrote
from dagsverk.store.files import Location
from dagsverk.store.period import Period
from dagsverk.store.protocol import Commit, NotFound, Store, StoreError, Table, Unavailable


def written(store: Store, table: Table, after: int | None = None) -> Iterator[tuple[Commit, pa.Table]]:
    """The commits that follow the commit `after` (None: all), oldest first, each with the rows that it wrote.

    Rows that a commit rewrote as they were can be among them. Where files of old versions are gone (somebody
    vacuumed), commits are passed over, and the next one that can be read comes with the whole table as it
    stood then.
    Raises: StoreError if the table as it stands cannot be read; Unavailable.
    """
    if not isinstance(store, DeltaReads):
        raise TypeError(f"want a store that keeps its tables as Delta tables, got {type(store).__name__}")
    try:
        entries = list(reversed(store._history(table, None)))
    except NotFound:  # its maker was killed between the definition and the table
        return
    writes = [entry for entry in entries if wrote(entry)]
    new = [entry for entry in writes if after is None or commit_of(entry).id > after]
    lost = (
        len(new) == len(writes) and bool(entries) and int(entries[0]["version"]) > 0
    )  # the log itself was cut
    for entry in new:
        version = int(entry["version"])
        rows = _standing(store, table, version) if lost else _added(store, table, version)
        lost = rows is None
        if rows is not None:
            yield commit_of(entry), rows
    if lost:
        raise StoreError(
            f"table {table.name} version {table.version} in {store.url} lacks files of its newest commit; "
            "restore them from a copy"
        )


def _added(store: DeltaReads, table: Table, version: int) -> pa.Table | None:
    """The rows in the files that a version added; None if one of them is gone."""
    at = store._location(table)
    with delta_errors(table, at.url):
        try:
            files = _file_system(at)
            with files.open_input_stream(f"_delta_log/{version:020d}.json") as log:
                paths = _added_paths(log.read())
            stored = ds.dataset(paths, schema=_plain(table.schema), format="parquet", filesystem=files)
            return stored.to_table().cast(table.schema)
        except FileNotFoundError:
            return None


def _standing(store: DeltaReads, table: Table, version: int) -> pa.Table | None:
    """All rows as of a version; None if files that it needs are gone."""
    with delta_errors(table, store._location(table).url):
        try:
            stored = store._stored(store._open(table, version), table, Period(table.event_time))
            return stored.to_table(table.schema.names).cast(table.schema)
        except Unavailable:
            raise  # nothing says that they are gone
        except (FileNotFoundError, StoreError):
            return None


def _added_paths(log: bytes) -> list[str]:
    actions: list[dict[str, Any]] = [json.loads(line) for line in log.splitlines() if line.strip()]
    added = [action["add"] for action in actions if "add" in action]
    return [unquote(add["path"]) for add in added if add.get("dataChange", True)]


def _plain(schema: pa.Schema) -> pa.Schema:
    """The schema without promises: a null is refused when the rows are written, with words."""
    return pa.schema([field.with_nullable(True) for field in schema])


def _file_system(at: Location) -> FileSystem:
    """The table's folder. Arrow reads local files itself, several times faster than through delta-rs."""
    if "://" not in at.url:
        return SubTreeFileSystem(at.url, LocalFileSystem())
    options = dict(at.options) if at.options else None
    return PyFileSystem(DeltaStorageHandler(at.url, options))
