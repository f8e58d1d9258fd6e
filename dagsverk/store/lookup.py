"""Single rows of Delta tables, found by their values and not by reading tables whole; and what wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import and_
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from dagsverk.store.delta import DeltaReads, commit_of, delta_errors, wrote
from dagsverk.store.period import Period
from dagsverk.store.protocol import Commit, SchemaError, StoreError, Table
from dagsverk.store.rows import moment, to_frame

MOST = 1000


class DeltaLookups(DeltaReads):
    """The half of a FeatureStore that looks for rows."""

    def lookup(
        self,
        table: Table,
        where: Mapping[str, Any],
        *,
        prefix: bool = False,
        most: int = MOST,
        as_of: int | None = None,
    ) -> pd.DataFrame:
        """At most so many of the rows whose columns have these values, in no order; types as of `read`.

        Args: prefix: text columns need only begin with them. as_of: a commit id.
        Raises NotFound, SchemaError.
        """
        version = None if as_of is None else self._version_as_of(table, as_of)
        with delta_errors(table, self._location(table).url):
            stored = self._matching(table, where, prefix, version)
            rows = stored.head(most, columns=table.schema.names)
        return to_frame(rows.cast(_plain(table.schema)))

    def count(self, table: Table, where: Mapping[str, Any]) -> int:
        """How many rows have these values. Raises NotFound, SchemaError."""
        with delta_errors(table, self._location(table).url):
            return int(self._matching(table, where, False, None).count_rows())

    def writer_of(self, table: Table, where: Mapping[str, Any]) -> Commit | None:
        """The commit since which there is a row with these values; None if none is there, or files of older
        versions are gone. Reads a few versions: rows are never removed, so it is found by halving."""
        versions = [
            (int(entry["version"]), commit_of(entry))
            for entry in reversed(self._history(table, None))
            if wrote(entry)
        ]
        first, last = 0, len(versions)
        try:
            if not versions or not self._has(table, where, versions[-1][0]):
                return None
            while first < last:
                middle = (first + last) // 2
                if self._has(table, where, versions[middle][0]):
                    last = middle
                else:
                    first = middle + 1
        except StoreError as error:
            if "lacks a file" in str(error):
                return None
            raise
        return versions[first][1]

    def _has(self, table: Table, where: Mapping[str, Any], version: int) -> bool:
        with delta_errors(table, self._location(table).url):
            return len(self._matching(table, where, False, version).head(1, columns=list(where))) > 0

    def _matching(
        self, table: Table, where: Mapping[str, Any], prefix: bool, version: int | None
    ) -> ds.Dataset:
        if not where:
            raise SchemaError(f"rows of {table.name} are looked for by nothing; name a column and its value")
        terms = [_term(table, name, value, prefix) for name, value in where.items()]
        period = Period(table.event_time)
        if table.event_time and table.event_time in where:
            at = moment(where[table.event_time])
            period = Period(table.event_time, at, at)
        return self._stored(self._open(table, version), table, period).filter(reduce(and_, terms))


def _term(table: Table, name: str, value: Any, prefix: bool) -> ds.Expression:
    if name not in table.schema.names:
        raise SchemaError(f"table {table.name} has no column {name!r}; it has {table.schema.names}")
    kind = table.schema.field(name).type
    try:
        if prefix and pa.types.is_string(kind):
            return pc.starts_with(ds.field(name), pattern=str(value))
        scalar = pa.scalar(moment(value) if pa.types.is_timestamp(kind) else value, kind)
    except (pa.ArrowException, OverflowError, UnicodeError) as error:
        raise SchemaError(f"{table.name}.{name} cannot be {value!r}: {error}") from error
    return ds.field(name) == scalar


def _plain(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])
