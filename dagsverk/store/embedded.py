"""The embedded store: tables, models and artefacts below a folder or an S3 prefix; no server needed.

Layout, beside the files of `backend`:
    tables/{name}_{version}/        a Delta table
    .tmp/                           unfinished files of running writers
"""

from __future__ import annotations

from dagsverk.store.backend import Backend
from dagsverk.store.files import Location, TableFiles
from dagsverk.store.protocol import Table


class Embedded(Backend):
    """A Store whose every part is a file."""

    _files: TableFiles

    def __init__(self, files: TableFiles, *, create: bool = True) -> None:
        super().__init__(files, files.url, create=create)

    def _location(self, table: Table) -> Location:
        return self._files.delta(f"tables/{table.name}_{table.version}")

    def _create(self, table: Table) -> None:
        self._create_delta(table)
