"""Delta tables, write side: an upsert that writes only what differs, in one commit or none.

How: the stored rows that could have the same identity are read in blocks and compared with the new ones. If
nothing differs, nothing is written; if all that differs is new, it is appended; else the affected range of
event time is replaced. Each commit must follow exactly the version that was compared (no commit retries
inside delta-rs), so of two writers one starts again, and no identity can be stored twice.

Memory: the upserted rows about three times, plus a block of stored rows, whatever the size of the table; if
stored rows change, also the stored rows of the affected range.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from dagsverk.store.delta import MARK, RECENT, commit_of, delta_errors, properties_of
from dagsverk.store.difference import compare, without
from dagsverk.store.lookup import DeltaLookups
from dagsverk.store.period import Period
from dagsverk.store.protocol import Commit, Conflict, Rows, StoreError, Table
from dagsverk.store.rows import normalise

logger = logging.getLogger(__name__)

ATTEMPTS = 40
LONGEST_WAIT_S = 1.0
BLOCK_ROWS = 1 << 18
SMALL_FILES = 32  # more of them and reads feel it
COMPACTED_BYTES = 4 << 20  # files of this size, or of this share of the table, are left alone: rewriting them
COMPACTED_SHARE = 1 / 16  # again and again would cost more than it saves, as old files are kept
# The log is kept for ever: "as of" needs it. Files are never vacuumed for the same reason.
CONFIGURATION = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
    "delta.enableExpiredLogCleanup": "false",
    "delta.checkpointInterval": "10",  # opening a table replays the log since its last checkpoint
}

_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # threads queue; processes retry


class DeltaStore(DeltaLookups):
    """A FeatureStore on Delta tables, but for `ensure` and where they are."""

    def upsert(self, table: Table, rows: Rows, about: Mapping[str, str] | None = None) -> Commit:
        """Write rows by identity, all or nothing; the last of equal identities wins.

        Rows equal to what is stored are left alone; if all are, there is no new commit. `about` is kept with
        the commit.
        Raises SchemaError (nothing written), NotFound, Conflict when retries against other writers are spent.
        """
        return self._committed(table, normalise(table, rows), None, about)

    def restore(self, table: Table, rows: Rows, commit: Commit) -> Commit:
        """Write the rows of a commit of another store as that commit: with its id and its counts.

        Commits come oldest first; one that is there already, or an older one, is left alone. Raises as
        `upsert`."""
        return self._committed(table, normalise(table, rows), commit)

    def _committed(
        self, table: Table, batch: pa.Table, given: Commit | None, about: Mapping[str, str] | None = None
    ) -> Commit:
        url = self._location(table).url
        with _locks[url], delta_errors(table, url):
            mark = uuid.uuid4().hex
            for attempt in range(ATTEMPTS):
                try:
                    commit = self._marked(table, mark) if attempt else None
                    commit = commit or self._write(table, batch, given, mark, about)
                except CommitFailedError:
                    time.sleep(random.uniform(0, min(LONGEST_WAIT_S, 0.02 * 2**attempt)))
                else:
                    self._announce(table)
                    return commit
        raise Conflict(
            f"table {table.name} version {table.version} in {url}: other writers were first {ATTEMPTS} "
            "times; nothing was written, try again"
        )

    def compact(self, table: Table) -> None:
        """Merge small files so that reads stay fast; changes no row and no history."""
        url = self._location(table).url
        with delta_errors(table, url):
            try:
                handle = self._open(table)
                handle.optimize.compact(target_size=_target_bytes(_sizes(handle)))
            except CommitFailedError as error:
                raise Conflict(
                    f"table {table.name} in {url} was written to while it was compacted; try again"
                ) from error

    def _marked(self, table: Table, mark: str) -> Commit | None:
        """Our own commit, if the conflict was with it: its answer was lost, and delta-rs tried it again."""
        entries = self._history(table, RECENT)
        return next((commit_of(entry) for entry in entries if entry.get(MARK) == mark), None)

    def _announce(self, table: Table) -> None:
        """Tell who else keeps a list of commits; called after each upsert."""

    def _create_delta(self, table: Table) -> None:
        """Make an empty Delta table at its location, if none is there."""
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
                    at.url, pa.schema(fields), configuration=CONFIGURATION, storage_options=options
                )
            except DeltaError:
                if not DeltaTable.is_deltatable(at.url, options):  # else another process was first
                    raise

    def _write(
        self,
        table: Table,
        batch: pa.Table,
        given: Commit | None,
        mark: str,
        about: Mapping[str, str] | None = None,
    ) -> Commit:
        handle = self._open(table)
        last = self._newest(table, handle)
        if given and self._newest_write(handle) >= given.id:
            return given
        if not len(batch):
            return Commit(last.id, 0, 0)
        new, changed = compare(table, batch, self._blocks(handle, table, batch))
        if not (new | changed).any():
            return Commit(last.id, 0, 0)
        commit = given or Commit(
            max(int(time.time() * 1000), last.id + 1), int(new.sum()), int(changed.sum()), dict(about or {})
        )
        properties = CommitProperties({**properties_of(commit), MARK: mark}, max_commit_retries=0)
        written = batch.filter(pa.array(new | changed))
        if changed.any():
            self._replace(handle, table, written, properties)
        else:
            write_deltalake(handle, written, mode="append", commit_properties=properties)
        self._tidy(table, handle)
        return commit

    def _tidy(self, table: Table, handle: DeltaTable) -> None:
        """Compact when there are many small files. The rows are safe already, so a failure is only logged."""
        sizes = _sizes(handle)
        # any two files below half the target fit into one, so after a compaction few are left
        if (sizes < _target_bytes(sizes) / 2).sum() <= SMALL_FILES:
            return
        try:
            self.compact(table)
        except StoreError as error:
            logger.warning("compaction is left for the next write: %s", error)

    def _blocks(self, handle: DeltaTable, table: Table, rows: pa.Table) -> Iterator[pa.Table]:
        """The stored rows whose identity could be among `rows`, in blocks of about BLOCK_ROWS."""
        stored = self._stored(handle, table, Period.covering(table, rows))
        held: list[pa.RecordBatch] = []
        for piece in stored.scanner(table.schema.names, batch_readahead=4, fragment_readahead=4).to_batches():
            held.append(piece)
            if sum(map(len, held)) >= BLOCK_ROWS:
                yield pa.Table.from_batches(held).cast(table.schema)
                held = []
        if held:
            yield pa.Table.from_batches(held).cast(table.schema)

    def _replace(
        self, handle: DeltaTable, table: Table, written: pa.Table, properties: CommitProperties
    ) -> None:
        """Replace the range of event time that `written` covers (the whole table if it has none)."""
        # Read fully before writing: delta-rs cannot read a table from inside a running write
        kept = [without(table, block, written) for block in self._blocks(handle, table, written)]
        write_deltalake(
            handle,
            pa.concat_tables([*kept, written]),
            mode="overwrite",
            predicate=Period.covering(table, written).sql,
            commit_properties=properties,
        )


def _sizes(handle: DeltaTable) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Bytes of each active file."""
    actions = pa.table(handle.get_add_actions(flatten=True))
    return np.asarray(actions.column("size_bytes"), np.int64)


def _target_bytes(sizes: np.ndarray[Any, np.dtype[np.int64]]) -> int:
    return max(COMPACTED_BYTES, int(sizes.sum() * COMPACTED_SHARE))
