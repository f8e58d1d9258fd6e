"""Which rows of a batch are new to a table, and which differ from what is stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dagsverk.store.protocol import Table
from dagsverk.store.rows import ROW

STORED = "__stored"
Mask = np.ndarray[Any, np.dtype[np.bool_]]


def compare(table: Table, batch: pa.Table, stored: Iterable[pa.Table]) -> tuple[Mask, Mask]:
    """(new, changed) masks over the rows of `batch`, which has no identity twice.

    Args: stored: blocks of the table that together hold every row whose identity is in `batch`.
    """
    present = np.zeros(len(batch), np.bool_)
    changed = np.zeros(len(batch), np.bool_)
    values = [name for name in table.schema.names if name not in table.identity]
    keys = _numbered(batch.select(list(table.identity)), ROW)
    for block in stored:
        pairs = _numbered(block.select(list(table.identity)), STORED).join(
            _near(table, keys, block), list(table.identity), join_type="inner"
        )
        theirs = pairs.column(STORED).to_numpy()
        in_order = np.argsort(theirs, kind="stable")
        theirs, ours = theirs[in_order], pairs.column(ROW).to_numpy()[in_order]
        present[ours] = True
        for name in values:
            differ = _differ(_take(batch.column(name), ours), _take(block.column(name), theirs))
            changed[ours] |= differ
    return ~present, changed


def without(table: Table, block: pa.Table, replaced: pa.Table) -> pa.Table:
    """The rows of the block whose identity is not in `replaced`."""
    names = list(table.identity)
    keys = _near(table, replaced.select(names), block)
    left = _numbered(block.select(names), STORED).join(keys, names, join_type="left anti")
    return block.take(left.column(STORED).combine_chunks().sort())


def _near(table: Table, keys: pa.Table, block: pa.Table) -> pa.Table:
    """The keys of the block's own range of event time: blocks are runs of time, and a join costs by size."""
    if table.event_time is None:
        return keys
    times, bounds = keys.column(table.event_time), pc.min_max(block.column(table.event_time))
    return keys.filter(pc.and_(pc.greater_equal(times, bounds["min"]), pc.less_equal(times, bounds["max"])))


def _numbered(rows: pa.Table, name: str) -> pa.Table:
    return rows.append_column(name, pa.array(np.arange(len(rows))))


def _take(column: pa.ChunkedArray, rows: np.ndarray[Any, np.dtype[np.int64]]) -> pa.Array:
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        taken = column.slice(rows[0], len(rows))  # as usual when rows come in the order of the table
    else:
        taken = column.take(pa.array(rows))
    return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken


def _differ(left: pa.Array, right: pa.Array) -> Mask:
    """Whether two arrays of one type differ, element by element; null equals null only."""
    if not pa.types.is_list(left.type):
        unequal = pc.fill_null(pc.not_equal(left, right), False)
        unequal = pc.or_(unequal, pc.xor(pc.is_null(left), pc.is_null(right)))
        mask: Mask = unequal.to_numpy(zero_copy_only=False).copy()  # a writable one
        return mask
    lengths = pc.list_value_length
    differ = _differ(lengths(left), lengths(right))
    same = pa.array(~differ)
    left, right = left.filter(same), right.filter(same)
    parents = np.flatnonzero(~differ)[pc.list_parent_indices(left).to_numpy()]
    differ[parents[_differ(pc.list_flatten(left), pc.list_flatten(right))]] = True
    return differ
