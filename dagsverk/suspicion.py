"""How suspicious labels are, in [0, 1]: learned from faults that were put in on purpose.

Labels as they are against copies with a planted fault: a logistic regression of a few features says how
much more a label looks like a fault than like the others. Some of those others are wrong themselves, so each
counts as right only so far as it is not suspicious, and the regression is fitted again, until that settles.
A share of wrong labels is assumed beforehand, for what it is nobody can tell from scores alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from dagsverk.label_report import PlantedKind

SHARE = 0.05  # of labels that are wrong, as assumed beforehand
ROUNDS = 10
FOLDS = 5  # a label is judged by what was learned of others
LEAST = 20  # labels, and planted faults: of fewer nothing is learned

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Suspicion of each label, and of each planted fault."""

    suspicion: Floats
    planted: Floats


def judge(
    features: Floats,
    planted: Floats,
    *,
    of: Sequence[int],
    share: float = SHARE,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Judged:
    """How suspicious labels are.

    Args:
        features: (labels, features), each larger the worse a label fits.
        planted: (faults, features), the same of labels with a planted fault.
        rounds: how often it is fitted. 1: all labels count as right, however little they fit; for labels that
            are a matter of luck.
        of: (faults,), which label each fault is made of: both are judged by what was learned of others.
    Raises: ValueError for fewer than LEAST labels or faults.
    """
    if min(len(features), len(planted)) < LEAST:
        raise ValueError(
            f"want {LEAST} labels and planted faults or more, got {len(features)}, {len(planted)}"
        )
    count = len(features)
    both = np.concatenate([features, planted])
    scaled = (both - both.mean(axis=0)) / (both.std(axis=0) + 1e-9)
    wrong = np.repeat([0, 1], [count, len(planted)])
    groups = np.concatenate([np.arange(count), np.asarray(of)])
    folds = list(GroupKFold(FOLDS, shuffle=True, random_state=seed).split(scaled, wrong, groups))
    suspicion = np.zeros(len(both))
    for _ in range(rounds):
        right = np.clip(1 - suspicion[:count], 1e-3, 1.0)
        each = share / (1 - share) * right.sum() / len(planted)
        weights = np.concatenate([right, np.full(len(planted), each)])
        for others, own in folds:
            learned = LogisticRegression(max_iter=2000).fit(scaled[others], wrong[others], weights[others])
            suspicion[own] = learned.predict_proba(scaled[own])[:, 1]
    return Judged(suspicion[:count], suspicion[count:])


def precision_at(suspicion: Floats, cut: float) -> tuple[float, float, float] | tuple[None, None, None]:
    """Expected share of wrong ones among those from the cut on, with its 95 % interval; None: there are none.

    The interval is of so many draws, each wrong with its own probability.
    """
    listed = suspicion[suspicion >= cut]
    if not len(listed):
        return None, None, None
    mean = float(listed.mean())
    spread = 1.96 * float(np.sqrt((listed * (1 - listed)).sum())) / len(listed)
    return mean, max(0.0, mean - spread), min(1.0, mean + spread)


def by_kind(judged: Judged, kinds: Sequence[str], cut: float) -> dict[str, PlantedKind]:
    """How many of the planted faults of each kind reach the cut."""
    names, seen = np.asarray(kinds), judged.planted >= cut
    return {
        str(kind): PlantedKind(planted=int((names == kind).sum()), seen=int(seen[names == kind].sum()))
        for kind in dict.fromkeys(kinds)
    }
