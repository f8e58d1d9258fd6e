"""Rows of a Parquet file from anywhere: unpacked in a process with limits, for its sizes are only claims."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, cast

import pandas as pd
import pyarrow as pa

from dagsverk.reading import TooLarge
from dagsverk.tabular.errors import SourceError
from dagsverk.tabular.parquet_child import TOO_LARGE
from dagsverk.tabular.raw import MAX_CELLS

CHILD = Path(__file__).with_name("parquet_child.py")
MEMORY_BYTES = 4 << 30
TIME_S = 300
PATIENCE_S = 10  # with its end, when all is read
MAX_ROWS_BYTES = 1 << 30


def parse_parquet(name: str, data: bytes) -> pd.DataFrame:
    """Raises SourceError: damaged, or more than can be brought into memory."""
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
    try:
        rows: pd.DataFrame = table.to_pandas()
    except Exception as error:  # what a file says about its index and types may be anything
        raise SourceError(
            f"{name} has rows of no usual types ({type(error).__name__}); save it anew"
        ) from error
    return rows


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
