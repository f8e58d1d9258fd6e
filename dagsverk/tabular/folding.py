"""How rows are divided into folds: stratified, and what is one thing in one fold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import RepeatedStratifiedKFold, StratifiedGroupKFold, train_test_split

from dagsverk.tabular.config import EvaluationConfig
from dagsverk.tabular.metrics import Integers
from dagsverk.tabular.near_equal import Twins, joined
from dagsverk.tabular.system import System

Split: TypeAlias = tuple[Integers, Integers]  # positions of the rows fitted on, and of those tested

TRIES = 20  # of draws that keep things together
MAX_SEED_STEP = 1000  # more than there are repeats, so that no draw is another repeat's
HELD_OUT = 5  # one in so many rows is held out, where there is one split


@dataclass(frozen=True)
class Things:
    """What each row is of, where one thing has several rows."""

    of: Integers  # shape (rows,)
    by_id: bool  # whether ids come again; else some rows are one thing by their values


def things(ids: pd.Series[Any], twins: Twins, codes: Integers) -> Things | None:
    """What has several rows, by id or by value; None: nothing has.

    Rows that are one by their values count singly where an outcome would have rows of one thing only.
    """
    by_id = bool(ids.duplicated().any())
    own = pd.factorize(ids)[0].astype(np.int64) if by_id else np.arange(len(codes), dtype=np.int64)
    if twins.groups:
        together = Things(joined(twins.groups, own), by_id)
        if _counts(codes, together).min() >= 2:
            return together
    return Things(own, by_id) if by_id else None


def splits(
    system: System, codes: Integers, labels: NDArray[Any], of: Things | None, config: EvaluationConfig
) -> tuple[list[Split], EvaluationConfig]:
    """The folds of all repeats, and the protocol as the rows allow it. Raises ValueError for too few rows."""
    counts = np.unique(codes, return_counts=True)[1]
    if len(counts) < 2 or counts.min() < 2:
        raise ValueError(
            f"{system.name}: cross-validation wants two outcomes with two rows each, found "
            f"{pd.Series(labels).value_counts().to_dict()} in {len(codes)} rows"
        )
    fewest = int(counts.min()) if of is None else _fewest(system, codes, of)
    config = replace(config, folds=min(config.folds, fewest), repeats=config.repeats_for(len(codes)))
    if of is not None and of.by_id:
        seeds = range(config.seed, config.seed + config.repeats)
        return [pair for seed in seeds for pair in kept_together(codes, of.of, config.folds, seed)], config
    folds = RepeatedStratifiedKFold(n_splits=config.folds, n_repeats=config.repeats, random_state=config.seed)
    if of is None:
        return list(folds.split(codes, codes)), config
    first, thing = _first(of.of)
    return [_all_of(thing, tested, len(first)) for _, tested in folds.split(first, codes[first])], config


def one_split(system: System, codes: Integers, of: Things | None, seed: int) -> Split | None:
    """A fifth of the rows held out; None where there are too few of some class to split."""
    classes = np.unique(codes, return_counts=True)[1]
    if classes.min() < 2 or len(codes) // HELD_OUT < len(classes):
        return None
    if of is None:
        every = np.arange(len(codes))
        train, test = train_test_split(every, test_size=1 / HELD_OUT, random_state=seed, stratify=codes)
        return train, test
    if _fewest(system, codes, of) < 2 * len(classes):
        return None
    if of.by_id:
        return kept_together(codes, of.of, HELD_OUT, seed)[0]
    first, thing = _first(of.of)
    every = np.arange(len(first))
    _, test = train_test_split(every, test_size=1 / HELD_OUT, random_state=seed, stratify=codes[first])
    return _all_of(thing, test, len(first))


def kept_together(codes: Integers, of: Integers, folds: int, seed: int) -> list[Split]:
    """Folds that keep the rows of one thing together: who is seen again would be known, not predicted.

    Of TRIES draws the first in which every fold tests every outcome; else the last.
    """
    pairs: list[Split] = []
    for attempt in range(TRIES):
        drawn = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + attempt * MAX_SEED_STEP)
        pairs = [(train, test) for train, test in drawn.split(codes, codes, of) if len(test)]
        if all(len(np.unique(codes[test])) == len(np.unique(codes)) for _, test in pairs):
            break
    return pairs


def _fewest(system: System, codes: Integers, of: Things) -> int:
    """How many things have the outcome that the fewest of them have. Raises ValueError for one."""
    fewest = int(_counts(codes, of).min())
    if fewest < 2:
        raise ValueError(
            f"{system.name}: rows of one id are kept in one fold, and an outcome has rows of one id only; "
            "want two ids with each outcome"
        )
    return fewest


def _counts(codes: Integers, of: Things) -> Integers:
    """Things with each outcome that occurs; by value, a thing counts with the outcome of its first row."""
    if of.by_id:
        counts = [len(np.unique(of.of[codes == code])) for code in np.unique(codes)]
    else:
        own = codes[_first(of.of)[0]]
        counts = [int((own == code).sum()) for code in np.unique(codes)]
    return np.array(counts, np.int64)


def _first(of: Integers) -> tuple[Integers, Integers]:
    """The first row of each thing, in the order of the rows, and each row's thing in that order."""
    _, first, thing = np.unique(of, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return first[order].astype(np.int64), place[thing].astype(np.int64)


def _all_of(thing: Integers, tested: Integers, count: int) -> Split:
    """Rows whose thing is not tested, and those whose thing is."""
    test = np.zeros(count, bool)
    test[tested] = True
    return np.flatnonzero(~test[thing]).astype(np.int64), np.flatnonzero(test[thing]).astype(np.int64)
