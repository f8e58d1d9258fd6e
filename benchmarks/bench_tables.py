"""A table of many rows through `ingest`: processor time and peak memory of a process of its own.

    python benchmarks/bench_tables.py [--rows 1000000] [--checkout FOLDER]

`--checkout` measures the code of another folder, such as a worktree of an earlier commit, on the same file.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CHILD = """
import os, resource, sys
sys.path.insert(0, os.getcwd())
from tasks import tabular
def now():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
before = now()
tabular.ingest.fn("iris", sys.argv[1])
after = now()
print(f"imports {before[1]:.0f} MiB; ingest {after[0] - before[0]:.1f} s, peak {after[1]:.0f} MiB")
"""
SPECIES = np.array(["setosa", "versicolor", "virginica"])


def write(path: Path, rows: int) -> None:
    """Flowers of no kind that ever grew, as CSV."""
    rng = np.random.default_rng(1)
    lengths = rng.uniform([4, 2, 1, 0.1], [8, 4, 7, 2.5], (rows, 4)).round(2)
    species = SPECIES[rng.integers(0, 3, rows)]
    with path.open("w") as file:
        file.write("flower_id,sepal_length_cm,sepal_width_cm,petal_length_cm,petal_width_cm,species\n")
        for number, (four, name) in enumerate(zip(lengths.tolist(), species, strict=True)):
            file.write(f"{number},{','.join(map(str, four))},{name}\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--checkout", type=Path, default=Path(__file__).parents[1])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        write(path, given.rows)
        print(f"{given.rows:,} rows, {path.stat().st_size / 1e6:.0f} MB")
        command = [sys.executable, "-c", CHILD, str(path)]
        subprocess.run(
            command, cwd=given.checkout, env={**os.environ, "DAGSVERK_STORE": f"{folder}/store"}, check=True
        )


if __name__ == "__main__":
    main()
