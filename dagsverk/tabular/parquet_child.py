"""Run by `parquet`, in a process of its own with little memory: it takes a Parquet file, and gives its rows
as Arrow writes them. A few bytes of Parquet can become terabytes in ways that only reading shows."""

import os
import resource
import sys

DAMAGED, TOO_LARGE = 3, 4


def main(memory_bytes: int, time_s: int) -> int:
    """The exit status."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (time_s, time_s))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(sys.stdin.buffer)
        with pa.ipc.new_stream(sys.stdout.buffer, file.schema_arrow) as out:
            for batch in file.iter_batches(batch_size=4096, use_threads=False):
                out.write_batch(batch)
        sys.stdout.flush()
    except (MemoryError, OverflowError, pa.ArrowCapacityError):
        return TOO_LARGE
    except (pa.ArrowException, OSError, ValueError):
        return DAMAGED
    return 0


if __name__ == "__main__":
    # At once: threads of Arrow that still start while Python ends have it aborted now and then.
    os._exit(main(int(sys.argv[1]), int(sys.argv[2])))
