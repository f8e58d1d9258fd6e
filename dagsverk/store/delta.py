"""Delta tables, read side: everything but where a table lives, which a backend says."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import inspect
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from dagsverk.store.files import Location
from dagsverk.store.period import Period, event_time
from dagsverk.store.protocol import Commit, Moment, NotFound, SchemaError, StoreError, Table, Unavailable
from dagsverk.store.rows import moment, to_frame

# In each commit's own metadata, because a Delta timestamp can repeat within a millisecond or run backwards
ID, INSERTED, UPDATED = "dagsverk.id", "dagsverk.inserted", "dagsverk.updated"
ABOUT = "dagsverk.about."  # in front of what a writer says of its commit
MARK = "dagsverk.mark"  # of the upsert: it knows its commit by it
ARROW = re.compile(r"^(?:\x1b\[\d*m|\s|↳)+")  # in front of nested errors
CREATE = "CREATE TABLE"
MAINTENANCE = ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES")
# Hopsworks' build of deltalake, which alone reaches HopsFS, is of an older version
PRUNES = "file_pruning_predicate" in inspect.signature(DeltaTable.to_pyarrow_dataset).parameters

_handles = threading.local()  # url -> options and handle

UNANSWERED = ("error sending request", "HTTP error:")  # how delta-rs words that no, or half an, answer came
RECENT = 32  # commits read first when looking for a new one; the log of ten years has thousands


@contextlib.contextmanager
def delta_errors(table: Table, url: str) -> Iterator[None]:
    """Errors of delta-rs and Arrow as ours, by their first line: the rest may name options."""
    name = f"table {table.name} version {table.version}"
    try:
        yield
    except TableNotFoundError as error:
        raise NotFound(f"no {name} in {url}; create it with store.ensure(table)") from error
    except CommitFailedError:
        raise  # another writer was first: the caller tries again
    except FileNotFoundError as error:
        _handles.__dict__.pop(url, None)  # the table may have been removed and made again
        raise StoreError(f"{name} in {url} lacks a file: {_first(error)}; restore it from a copy") from error
    except PermissionError as error:
        raise StoreError(f"{name} in {url} may not be used: {_first(error)}; check permissions") from error
    except (pa.ArrowException, DeltaError) as error:
        if any(words in str(error) for words in UNANSWERED):
            raise Unavailable(f"{name} in {url} does not answer: {_first(error)}; try again") from error
        raise StoreError(f"{name} in {url} cannot be used: {_first(error)}") from error
    except OSError as error:
        raise Unavailable(f"{name} in {url} does not answer: {_first(error)}; try again") from error


def _first(error: Exception) -> str:
    """The first line, and the second where the first says only whose error it was."""
    lines = [ARROW.sub("", line) for line in str(error).splitlines()] or [type(error).__name__]
    return ": ".join(lines[:2]) if lines[0].endswith("error") else lines[0]


class DeltaReads(ABC):
    """The reading half of a FeatureStore."""

    @abstractmethod
    def _location(self, table: Table) -> Location:
        """Where the table is, and with which options delta-rs opens it."""

    def read(
        self,
        table: Table,
        *,
        columns: Sequence[str] | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        as_of: int | dt.datetime | None = None,
    ) -> pd.DataFrame:
        """Rows with event time in [since, until), sorted by event time and key; none keep their columns.

        `as_of` is a commit id or a moment. Types: see `rows.to_frame`. Raises NotFound, SchemaError.
        """
        wanted = _columns(table, columns)
        period = Period.between(table, since, until)
        return to_frame(self._sorted(table, wanted, period, as_of).select(wanted))

    def latest(self, table: Table, n: int, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The n rows with the greatest event time, newest first."""
        time, wanted = event_time(table), _columns(table, columns)
        if n < 0:
            raise SchemaError(f"latest rows of {table.name}: want n >= 0, got {n}")
        handle = self._open(table)
        with delta_errors(table, self._location(table).url):
            # times alone are cheap to read; they say from when on the other columns are needed
            times = self._stored(handle, table, Period(time)).to_table([time])
            newest = times.sort_by([(time, "descending")]).slice(0, max(n, 1))
            rows = self._stored(handle, table, Period.covering(table, newest)).to_table(
                _needed(table, wanted)
            )
        rows = _in_order(table, rows, wanted).select(wanted)
        return to_frame(rows.slice(max(0, len(rows) - n)))[::-1].reset_index(drop=True)

    def commits(self, table: Table) -> list[Commit]:
        """Writes of rows, oldest first (maintenance is not listed)."""
        return [commit_of(entry) for entry in reversed(self._history(table, None)) if wrote(entry)]

    def version(self, table: Table) -> int:
        """A number that changes whenever the table's rows change; one cheap read. Raises NotFound."""
        return self._open(table).version()

    def split(
        self,
        table: Table,
        test_share: float,
        *,
        by: Sequence[str],
        salt: str = "",
        as_of: int | dt.datetime | None = None,
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(training, test) rows by a hash of the columns `by`: the same rows always fall on the same side.

        With a greater share the test rows stay test rows, and others join them.
        """
        if not 0 <= test_share <= 1:
            raise SchemaError(f"split of {table.name}: want test_share in [0, 1], got {test_share}")
        if not by:
            raise SchemaError(f"split of {table.name}: name one column or more in `by`")
        rows = self._sorted(table, _columns(table, None), Period(table.event_time), as_of)
        test = _points(rows.select(_columns(table, by)), salt) < test_share
        return to_frame(rows.filter(pa.array(~test))), to_frame(rows.filter(pa.array(test)))

    def _open(self, table: Table, version: int | None = None) -> DeltaTable:
        """The table as it is now, or was at a version. In a bucket a thread's handle is used again: to bring
        it up to date is two requests or three, to open one anew is twenty."""
        at = self._location(table)
        options = dict(at.options) if at.options else None
        with delta_errors(table, at.url):
            if version is not None or "://" not in at.url:
                return DeltaTable(at.url, version=version, storage_options=options)
            kept: tuple[Any, DeltaTable] | None = _handles.__dict__.pop(at.url, None)
            if kept and kept[0] == options:  # keys may have been renewed
                handle = kept[1]
                handle.update_incremental()
            else:
                handle = DeltaTable(at.url, storage_options=options)
            _handles.__dict__[at.url] = (options, handle)  # only now, when it is known to work
            return handle

    def _history(self, table: Table, limit: int | None) -> list[dict[str, Any]]:
        """Writes and the creation, newest first. From a fresh handle: a pinned one numbers them wrongly."""
        with delta_errors(table, self._location(table).url):
            return [
                entry for entry in self._open(table).history(limit) if entry["operation"] not in MAINTENANCE
            ]

    def _newest(self, table: Table, handle: DeltaTable) -> Commit:
        """The newest write, or the creation."""
        for entry in _newest_first(handle):
            return commit_of(entry)
        raise StoreError(f"table {table.name} has a log without its creation; restore it from a copy")

    def _newest_write(self, handle: DeltaTable) -> int:
        """The id of the newest commit that wrote rows, 0 if none did: unlike `_newest` not the creation's."""
        return next((commit_of(entry).id for entry in _newest_first(handle) if wrote(entry)), 0)

    def _version_as_of(self, table: Table, as_of: int | dt.datetime) -> int:
        if isinstance(as_of, dt.datetime):
            last = int(pd.Timestamp(moment(as_of), tz="UTC").timestamp() * 1000)
        else:
            last = int(as_of)
        for limit in (RECENT, None):
            for entry in self._history(table, limit):
                if commit_of(entry).id <= last:
                    return int(entry["version"])
        raise NotFound(f"table {table.name} version {table.version} has no commit at or before {as_of}")

    def _sorted(
        self, table: Table, columns: list[str], period: Period, as_of: int | dt.datetime | None
    ) -> pa.Table:
        version = None if as_of is None else self._version_as_of(table, as_of)
        handle = self._open(table, version)
        with delta_errors(table, self._location(table).url):
            rows = self._stored(handle, table, period).to_table(_needed(table, columns))
        return _in_order(table, rows, columns)

    def _stored(self, handle: DeltaTable, table: Table, period: Period) -> ds.Dataset:
        """The stored rows of a period; files that cannot have any are not opened."""
        url = self._location(table).url
        # Arrow reads local files itself, several times faster than through delta-rs
        local = None if "://" in url else SubTreeFileSystem(url, LocalFileSystem())
        pruned: dict[str, Any] = {"file_pruning_predicate": period.sql} if PRUNES else {}
        stored = handle.to_pyarrow_dataset(filesystem=local, **pruned)
        return stored if period.expression is None else stored.filter(period.expression)


def _newest_first(handle: DeltaTable) -> Iterator[dict[str, Any]]:
    """Writes and the creation, to look for one: first the newest few, then, from the start again, more."""
    for limit in (1, RECENT, None):
        yield from (entry for entry in handle.history(limit) if entry["operation"] not in MAINTENANCE)


def wrote(entry: Mapping[str, Any]) -> bool:
    """Whether a history entry wrote rows: other programs may create a table by writing none."""
    commit = commit_of(entry)
    return entry["operation"] != CREATE and (ID in entry or commit.inserted + commit.updated > 0)


def commit_of(entry: Mapping[str, Any]) -> Commit:
    """A history entry as a commit; writes that are not ours are counted as delta-rs counts them."""
    measured = entry.get("operationMetrics") or {}
    inserted = measured.get("num_target_rows_inserted", measured.get("num_added_rows", 0))
    updated = measured.get("num_target_rows_updated", 0)
    return Commit(
        int(entry.get(ID, entry["timestamp"])),
        int(entry.get(INSERTED, inserted) or 0),
        int(entry.get(UPDATED, updated) or 0),
        {name.removeprefix(ABOUT): str(words) for name, words in entry.items() if name.startswith(ABOUT)},
    )


def properties_of(commit: Commit) -> dict[str, str]:
    """What a commit's own metadata hold, for `commit_of`."""
    about = {f"{ABOUT}{name}": words for name, words in commit.about.items()}
    return {ID: str(commit.id), INSERTED: str(commit.inserted), UPDATED: str(commit.updated), **about}


def _in_order(table: Table, rows: pa.Table, columns: list[str]) -> pa.Table:
    names = _needed(table, columns)
    fields = pa.schema([table.schema.field(name) for name in names])
    first = (table.event_time,) if table.event_time else ()
    by = [(name, "ascending") for name in (*first, *table.key)]
    return rows.select(names).cast(fields).sort_by(by)


def _needed(table: Table, columns: list[str]) -> list[str]:
    """The columns, and those that rows are sorted by."""
    return list(dict.fromkeys((*columns, *table.identity)))


def _columns(table: Table, columns: Sequence[str] | None) -> list[str]:
    if columns is None:
        return list(table.schema.names)
    if unknown := sorted(set(columns) - set(table.schema.names)):
        raise SchemaError(f"table {table.name} has no columns {unknown}; it has {table.schema.names}")
    return list(columns)


def _points(rows: pa.Table, salt: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A point in [0, 1) per row, from the SHA-256 of its values."""
    texts = zip(*(column.to_pylist() for column in rows.columns), strict=True)
    hashes = (hashlib.sha256(f"{salt}\x1f{values!r}".encode()).digest() for values in texts)
    return np.fromiter((int.from_bytes(h[:6], "big") / 2**48 for h in hashes), np.float64, len(rows))
