"""Rows of a Parquet file from anywhere: unpacked in a process with limits, for its sizes are only claims."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, cast

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.api.extensions import ExtensionArray

from dagsverk.reading import TooLarge
from dagsverk.tabular import headers
from dagsverk.tabular.errors import SourceError
from dagsverk.tabular.parquet_child import TOO_LARGE
from dagsverk.tabular.raw import MAX_CELLS, MAX_COLUMNS, TEXT, Raw
from dagsverk.tabular.system import System

PARQUET = b"PAR1"
CHILD = Path(__file__).with_name("parquet_child.py")
MEMORY_BYTES = 4 << 30
TIME_S = 300
PATIENCE_S = 10  # with its end, when all is read
MAX_ROWS_BYTES = 1 << 30


def parse_parquet(system: System, name: str, data: bytes) -> Raw:
    """The system's columns of a Parquet file, an index that has a name among them, as CSV would give them.

    Raises: SourceError: damaged, more than can be brought into memory, columns that do not fit or hold lists.
    """
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        table, code = _unpack(file)
    if code == TOO_LARGE or code < 0:
        raise SourceError(
            f"{name} unpacks to more than {MAX_ROWS_BYTES >> 20:,} MiB, {MAX_CELLS:,} cells or "
            f"{MEMORY_BYTES >> 30} GiB while it is read; divide it, or give it as .csv"
        )
    if table is None or code:
        raise SourceError(f"{name} is not a whole Parquet file; is it cut short?")
    table = _with_index(table)
    if table.num_columns > MAX_COLUMNS:
        raise SourceError(f"{name} has {table.num_columns:,} columns, the limit is {MAX_COLUMNS:,}")
    matched = headers.match(system, name, table.column_names)
    lines = pd.RangeIndex(2, table.num_rows + 2)
    cells = {column: as_text(name, column, table.column(at)) for column, at in matched.places.items()}
    return Raw(name, pd.DataFrame(cells, index=lines), guesses=matched.guesses)


def as_text(source: str, name: str, values: pa.ChunkedArray) -> ExtensionArray:
    """A column of any type as text, so that all that is said of cells in CSV holds here as well."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if pa.types.is_nested(kind):
        raise SourceError(
            f"{name} of {source} holds {kind}, want one value in each row; divide it into columns"
        )
    try:
        texts = values.cast(pa.string())
    except pa.ArrowException as error:
        raise SourceError(f"{name} of {source} holds {kind}, no text or number; save it anew") from error
    if pa.types.is_decimal(kind) and kind.scale > 0:
        texts = pc.utf8_rtrim(pc.utf8_rtrim(texts, "0"), ".")
    trimmed = pc.utf8_trim_whitespace(texts)
    texts = pc.if_else(pc.or_(pc.equal(trimmed, ""), pc.equal(trimmed, "nan")), None, trimmed)
    array: ExtensionArray = pd.array(texts, dtype=TEXT)
    return array


def _with_index(table: pa.Table) -> pa.Table:
    """With the index that pandas kept beside the columns, where it has a name; another only counts rows."""
    try:
        described = (table.schema.pandas_metadata or {}).get("index_columns", [])
    except (ValueError, AttributeError):  # what a file says about its index may be anything
        described = []
    for index in described if isinstance(described, list) else []:
        if isinstance(index, dict) and isinstance(index.get("name"), str):
            start, step = index.get("start", 0), index.get("step", 1)
            if isinstance(start, int) and isinstance(step, int):
                numbers = pa.array([start + step * row for row in range(table.num_rows)])
                table = table.append_column(index["name"], numbers)
    unnamed = [name for name in table.column_names if re.fullmatch(r"__index_level_\d+__", name)]
    return table.drop_columns(unnamed)


def _unpack(file: IO[bytes]) -> tuple[pa.Table | None, int]:
    """The table, and how the process that unpacked it ended: below 0 where it had to be ended."""
    command = [sys.executable, "-I", str(CHILD), str(MEMORY_BYTES), str(TIME_S)]
    with subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        late = threading.Timer(TIME_S, child.kill)
        late.start()
        try:
            table = _collect(cast(IO[bytes], child.stdout))
            return table, child.wait(PATIENCE_S)
        except (TooLarge, subprocess.TimeoutExpired):
            return None, TOO_LARGE
        finally:
            late.cancel()
            child.kill()


def _collect(stream: IO[bytes]) -> pa.Table | None:
    """The table; None where it breaks off. Raises TooLarge."""
    try:
        with pa.ipc.open_stream(pa.PythonFile(Counted(stream), mode="r")) as reader:
            batches, cells = [], 0
            for batch in reader:
                cells += batch.num_rows * max(1, batch.num_columns)
                if cells > MAX_CELLS:
                    raise TooLarge(MAX_CELLS)
                batches.append(batch)
            return pa.Table.from_batches(batches, schema=reader.schema)
    except (pa.ArrowException, OSError):
        return None


class Counted(io.RawIOBase):
    """A stream that ends with TooLarge after MAX_ROWS_BYTES."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self._left = source, MAX_ROWS_BYTES

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size > self._left:
            raise TooLarge(MAX_ROWS_BYTES)
        block = self._source.read(size)
        self._left -= len(block)
        return block
