"""Whether a table holds the same rows in two stores."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dagsverk.store.protocol import Commit, Store, Table


def digest_of_rows(store: Store, table: Table, commit: Commit) -> tuple[int, str]:
    """Count and SHA-256 of the rows as of a commit, in the order in which `read` gives them."""
    frame = store.read(table, as_of=commit.id)
    rows = pa.Table.from_pandas(frame, schema=table.schema, preserve_index=False)
    digest = hashlib.sha256()
    for column in rows.columns:
        _feed(digest, pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type))
    return len(rows), digest.hexdigest()


def _feed(digest: Any, column: pa.Array) -> None:
    """Feed the values; what lies in memory where a value is missing is chance, and left out."""
    digest.update(_bytes(pc.is_null(column).cast(pa.uint8())))
    values = column.drop_null()
    if pa.types.is_list(values.type):
        digest.update(_bytes(pc.list_value_length(values)))
        _feed(digest, pc.list_flatten(values))
    elif pa.types.is_string(values.type) or pa.types.is_binary(values.type):
        digest.update(_bytes(pc.binary_length(values)))
        digest.update(b"".join(values.cast(pa.binary()).to_pylist()))
    else:
        digest.update(_bytes(values.cast(pa.uint8()) if pa.types.is_boolean(values.type) else values))


def _bytes(values: pa.Array) -> bytes:
    return bytes(values.to_numpy(zero_copy_only=False).tobytes())
