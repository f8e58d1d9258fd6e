"""What a search for better settings comes to on the embedded rows of a system, and what it takes.

    python -m benchmarks.bench_search --system titanic --trials 24 --outer-folds 5

Nothing is kept: neither a store nor Prefect takes part, and the trials are in a folder that is removed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

import pandas as pd

from dagsverk.tabular import search
from dagsverk.tabular.features import validate
from dagsverk.tabular.search_result import conclude
from dagsverk.tabular.searched_words import search_words
from dagsverk.tabular.searching import SearchConfig
from dagsverk.tabular.sources import read_source
from dagsverk.tabular.system import load_system
from dagsverk.tabular.tables import HISTORIC


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--system", default="titanic")
    asked.add_argument("--trials", type=int, default=24)
    asked.add_argument("--outer-folds", type=int, default=5)
    asked.add_argument("--outer-repeats", type=int, default=3)
    asked.add_argument("--inner-folds", type=int, default=5)
    asked.add_argument("--seed", type=int, default=42)
    given = asked.parse_args()
    system = load_system(given.system)
    rows = validate(system, read_source(system), pd.Timestamp.now("UTC")).rows.assign(origin=HISTORIC)
    config = SearchConfig(
        trials=given.trials,
        outer_folds=given.outer_folds,
        outer_repeats=given.outer_repeats,
        inner_folds=given.inner_folds,
        seed=given.seed,
    )
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DAGSVERK_CACHE"] = folder
        for part in range(search.parts(system, rows, config)):
            search.trial(search.search_of(system, rows, config, part), given.trials - 1)
            print(f"search {part}: {time.monotonic() - started:.0f} s", flush=True)
        report = conclude(system, rows, config, 0, lambda _: None)
    print(search_words(report))
    print(f"\n{time.monotonic() - started:.0f} s in one thread, start to end")


if __name__ == "__main__":
    main()
