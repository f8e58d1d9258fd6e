"""What a row is: the one place where rows of a user become rows of a table, and back.

In the store a missing value is null, never NaN; a moment is UTC in microseconds, without a zone; an identity
is never null and never twice.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dagsverk.store.protocol import Moment, Rows, SchemaError, Table

logger = logging.getLogger(__name__)

STAMP = pa.timestamp("us")
SCALARS = (pa.string(), pa.bool_(), pa.int64(), pa.int32(), pa.float64(), pa.float32(), STAMP, pa.date32())
STORABLE = (*SCALARS, pa.binary())
ROW = "__row"  # no column can have this name: protocol.NAME asks for a letter first


def check_storable(table: Table) -> None:
    """Raises SchemaError if a column's type is not one that every backend keeps unchanged."""
    for field in table.schema:
        kind = field.type
        while pa.types.is_list(kind):
            kind = kind.value_type
        if kind not in STORABLE:
            storable = ", ".join(str(t) for t in STORABLE)
            raise SchemaError(
                f"{table.name}.{field.name} has type {field.type}; want {storable}, or lists of these"
            )
        if field.name in table.identity and pa.types.is_list(field.type):
            raise SchemaError(
                f"{table.name}.{field.name} is a list; an identity column must be a single value"
            )
    if not table.identity:
        raise SchemaError(f"table {table.name} has neither key nor event time; a row needs an identity")


def normalise(table: Table, rows: Rows) -> pa.Table:
    """The rows as the table keeps them.

    Columns come in the order of the schema; integers widen, whole floats fill integer columns, zoned
    timestamps become UTC, naive ones are taken as UTC, finer than a microsecond is cut off; NaN becomes null.
    Of rows with the same identity the last stays.
    Raises: SchemaError for missing or extra columns, a value that its column cannot hold, a null identity.
    """
    names = [str(name) for name in (rows.columns if isinstance(rows, pd.DataFrame) else rows.column_names)]
    _check_columns(table, names)
    if not len(rows):
        return table.schema.empty_table()  # no value, so no type that could be wrong
    fitted = pa.table([_fit(table, field, rows) for field in table.schema], schema=table.schema)
    for name in table.schema.names:
        nulls = fitted.column(name).null_count
        if nulls and (name in table.identity or not table.schema.field(name).nullable):
            raise SchemaError(
                f"{table.name}.{name} is empty in {nulls} of {len(fitted)} rows; it must not be"
            )
    kept = last_of_each(fitted, table.identity)
    if dropped := len(fitted) - len(kept):
        logger.info(
            "%s: %d of %d rows repeat an identity; the last of each stays", table.name, dropped, len(fitted)
        )
    return kept


def last_of_each(rows: pa.Table, identity: Sequence[str]) -> pa.Table:
    """The last row of each identity, in the order in which they came."""
    numbered = rows.select(list(identity)).append_column(ROW, pa.array(np.arange(len(rows))))
    last = numbered.group_by(list(identity)).aggregate([(ROW, "max")]).column(f"{ROW}_max")
    if len(last) == len(rows):
        return rows
    return rows.take(last.combine_chunks().sort())


def to_frame(rows: pa.Table) -> pd.DataFrame:
    """Rows as pandas: int64 and bool (Int64, Int32 and boolean where a value is missing), float64 with NaN,
    datetime64[us] in UTC without a zone, str or None, datetime.date, bytes, and an ndarray per list."""
    nullable = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = rows.to_pandas()
    for field in rows.schema:
        if field.type in nullable and rows.column(field.name).null_count:
            frame[field.name] = rows.column(field.name).to_pandas(types_mapper=nullable.get)
    return frame


def moment(value: Moment) -> dt.datetime:
    """A moment as naive UTC, in microseconds. Raises SchemaError."""
    try:
        stamp = pd.Timestamp(value)
    except (ValueError, TypeError) as error:
        raise SchemaError(f"not a moment: {value!r}; give a datetime or ISO 8601 text") from error
    if pd.isna(stamp):
        raise SchemaError("not a moment: NaT; give a datetime or ISO 8601 text")
    naive = stamp.tz_convert("UTC").tz_localize(None) if stamp.tz is not None else stamp
    return naive.as_unit("us").to_pydatetime(warn=False)


def _check_columns(table: Table, names: list[str]) -> None:
    wanted = set(table.schema.names)
    if len(set(names)) < len(names):
        raise SchemaError(f"rows for {table.name} name a column twice: {sorted(names)}")
    if extra := sorted(set(names) - wanted):
        raise SchemaError(f"rows for {table.name} have unknown columns {extra}; it has {sorted(wanted)}")
    if missing := sorted(wanted - set(names)):
        raise SchemaError(f"rows for {table.name} lack the columns {missing}; found {sorted(names)}")


def _fit(table: Table, field: pa.Field, rows: Rows) -> pa.ChunkedArray:
    try:
        given = rows[field.name]
        column = pa.array(given, from_pandas=True) if isinstance(rows, pd.DataFrame) else given
        if isinstance(column, pa.Array):
            column = pa.chunked_array([column])
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if not _family(column.type, field.type):
            raise SchemaError(f"{table.name}.{field.name} wants {field.type}, found {column.type}")
        return _convert(_null_for_nan(column), field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        cause = str(error).splitlines()[0]
        raise SchemaError(f"{table.name}.{field.name} wants {field.type}: {cause}") from error


def _family(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of one type may stand for the other; text never stands for a number, nor the reverse."""
    if pa.types.is_null(given):
        return True
    if _is_list(given) and _is_list(wanted):
        return _family(given.value_type, wanted.value_type)
    return _kind(given) == _kind(wanted)


def _kind(kind: pa.DataType) -> str:
    t = pa.types
    tests = {
        "number": t.is_integer(kind) or t.is_floating(kind),
        "text": t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind),
        "bytes": t.is_binary(kind) or t.is_large_binary(kind) or t.is_binary_view(kind),
        "time": t.is_timestamp(kind) or t.is_date(kind),
    }
    return next((name for name, holds in tests.items() if holds), str(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _convert(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        if column.type.tz:  # first to UTC, so that dropping the zone drops only its name
            column = column.cast(pa.timestamp("us", "UTC"), safe=False)
        column = column.cast(STAMP, safe=False)
    return column.cast(wanted)


def _null_for_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_floating(column.type) and not _is_list(column.type):
        return column
    return pa.chunked_array(
        [_null_for_nan_in(chunk) for chunk in column.chunks] or [pa.array([], column.type)]
    )


def _null_for_nan_in(values: pa.Array) -> pa.Array:
    if pa.types.is_floating(values.type):
        return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    if not _is_list(values.type):
        return values
    whole = values.cast(pa.list_(values.type.value_type)).take(pa.array(range(len(values)), pa.int64()))
    inner = _null_for_nan_in(whole.values)
    return pa.ListArray.from_arrays(whole.offsets, inner, whole.type, mask=whole.is_null())
