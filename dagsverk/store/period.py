"""A range of event time, as both engines that read a Delta table want it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from dagsverk.store.protocol import Moment, SchemaError, Table
from dagsverk.store.rows import STAMP, moment

RESOLUTION = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class Period:
    """Event times from `first` to `last`, both included, in naive UTC; None has no limit."""

    column: str | None
    first: dt.datetime | None = None
    last: dt.datetime | None = None

    @classmethod
    def between(cls, table: Table, since: Moment | None, until: Moment | None) -> Period:
        """[since, until). Raises SchemaError."""
        if since is None and until is None:
            return cls(table.event_time)
        last = None if until is None else moment(until) - RESOLUTION
        return cls(event_time(table), None if since is None else moment(since), last)

    @classmethod
    def covering(cls, table: Table, rows: pa.Table) -> Period:
        """From the first to the last event time of the rows; all time if the table has none."""
        if table.event_time is None or not len(rows):
            return cls(table.event_time)
        bounds = pc.min_max(rows.column(table.event_time))
        return cls(table.event_time, bounds["min"].as_py(), bounds["max"].as_py())

    @property
    def expression(self) -> ds.Expression | None:
        """For Arrow, which filters rows."""
        parts = [
            compare(ds.field(self.column), pa.scalar(limit, STAMP))
            for limit, compare in ((self.first, pc.greater_equal), (self.last, pc.less_equal))
            if limit is not None
        ]
        return parts[0] & parts[-1] if parts else None

    @property
    def sql(self) -> str | None:
        """For delta-rs, which passes over files whose statistics lie outside."""
        parts = [
            f"{self.column} {sign} '{limit.isoformat(sep=' ', timespec='microseconds')}'"
            for limit, sign in ((self.first, ">="), (self.last, "<="))
            if limit is not None
        ]
        return " AND ".join(parts) or None


def event_time(table: Table) -> str:
    """The table's event time column. Raises SchemaError if it has none."""
    if table.event_time is None:
        raise SchemaError(f"table {table.name} has no event time, so it has no since, until or latest")
    return table.event_time
