"""Real rows -> a day's synthetic rows, in the layout of the features table."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from dagsverk.tabular import generators
from dagsverk.tabular.days import check_count, check_method, check_seed, check_shares, day_prefix, row_id
from dagsverk.tabular.system import System
from dagsverk.tabular.tables import HISTORIC, SYNTHETIC, features_table

BLOCK_ROWS = 8192  # part of what a day is: another size gives other rows


def rows_of_day(
    system: System,
    rows: pd.DataFrame,
    *,
    date: dt.date,
    method: str = "cart",
    seed: int = 42,
    count: int,
    label_shares: Mapping[str, float] | None = None,
) -> Iterator[pd.DataFrame]:
    """A day's new rows, with their outcomes, block by block (8192 rows, the last one fewer).

    They depend on the arguments alone, and on the versions of numpy, scipy and scikit-learn: the same
    day drawn again is the same rows with the same ids, and the first rows of a greater count are the
    rows of a smaller one. Other real rows give other synthetic ones under the same ids.
    Memory is that of one block, however many rows are asked for; for none nothing is fitted.

    Args:
        rows: real rows that the generator is fitted on: inputs and label as in the features table;
            rows without a label are left out.
        date: the rows' day; row i has the event time 00:00 UTC + i milliseconds.
        method: one of `days.METHODS`.
        label_shares: class -> share, sum 1; None: the real shares (for `columns` equal ones).
    Returns: frames with the columns of `features_table(system)`, index 0 upwards in each.
    Raises: ValueError at once, before the first block: for the arguments as `days.SynthesisConfig`,
        for synthetic rows among `rows`, and as `generators.fit` and `Generator.draw`.
    """
    check_method(method)
    check_count(count)
    check_seed(seed)
    if label_shares is not None:
        check_shares(label_shares, system.classes)
    _refuse_synthetic(system, rows)
    if not count:
        return iter(())
    generator = generators.fit(system, rows, method, seed)
    generator.check(label_shares)
    return _blocks(generator, date, seed, count, label_shares)


def _refuse_synthetic(system: System, rows: pd.DataFrame) -> None:
    """A generator fitted on its own rows would drift away from the real ones, a little more each day."""
    if "origin" in rows and (strange := int((rows["origin"] != HISTORIC).sum())):
        raise ValueError(
            f"want real rows of {system.name}, found {strange} of {len(rows)} with another origin; "
            f"pass those with origin == {HISTORIC!r}"
        )


def _blocks(
    generator: generators.Generator,
    date: dt.date,
    seed: int,
    count: int,
    label_shares: Mapping[str, float] | None,
) -> Iterator[pd.DataFrame]:
    system, method = generator.system, generator.method
    prefix = day_prefix(system.name, date, method, seed, label_shares)
    names = features_table(system).schema.names
    for first in range(0, count, BLOCK_ROWS):
        size = min(BLOCK_ROWS, count - first)
        # Always a whole block: what a row is must not depend on how many follow it.
        drawn = generator.draw(
            _block_rng(generator, date, seed, first // BLOCK_ROWS), BLOCK_ROWS, label_shares
        )
        block = drawn.iloc[:size].copy()
        block["row_id"] = [row_id(prefix, i) for i in range(first, first + size)]
        block["event_time"] = np.datetime64(date, "us") + 1000 * np.arange(first, first + size)
        block["origin"] = SYNTHETIC
        block["generator"] = method
        yield block[names]


def _block_rng(generator: generators.Generator, date: dt.date, seed: int, block: int) -> np.random.Generator:
    """A stream of its own for each block, so that none depends on the ones before."""
    words = f"{generator.system.name}|{date.isoformat()}|{generator.method}|{seed}|{block}"
    digest = hashlib.sha256(words.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
