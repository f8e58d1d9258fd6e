"""Which other sets of the language a training draws from, and how much of each. Light; checked when built."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from dagsverk.form import CLOSED, NOT_BLANK

MOST_WEIGHT = 100.0

SetId = Annotated[str, Field(json_schema_extra={"pattern": NOT_BLANK})]


@dataclass(frozen=True, kw_only=True)
class MixtureConfig:
    """A prepared set of the same language whose train clips are drawn beside the run's own."""

    __pydantic_config__ = CLOSED

    set: SetId  # its id, such as sv-0123456789abcdef
    # clips in an epoch for each of the run's own: 1 as many, 0.25 a quarter; more than there are, again and
    # again; None: each of them once
    weight: Annotated[float, Field(gt=0, le=MOST_WEIGHT)] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.set, str) or not self.set.strip():
            raise ValueError("a mixture names a set by its id, such as sv-0123456789abcdef; got none")
        weight = self.weight
        if weight is not None and not (math.isfinite(weight) and 0 < weight <= MOST_WEIGHT):
            raise ValueError(
                f"the weight of {self.set} must be above 0 and at most {MOST_WEIGHT:g}, got {weight!r}; "
                "leave out a set that is not to be drawn from"
            )

    def of_epoch(self, own: int, size: int) -> int:
        """How many of `size` clips an epoch with `own` clips of the run's draws; some more than once."""
        return size if self.weight is None else max(1, round(self.weight * own))


@dataclass(frozen=True, kw_only=True)
class MixedSet:
    """What a run draws from one other set."""

    set: str
    corpus: str
    clips: int  # to draw from
    of_epoch: int  # drawn in each epoch
    left_out: Mapping[str, int]  # reason -> clips
    held_out_sentences: int  # of `clips`, those that say a sentence of dev or test, too


def in_order(mixture: Iterable[MixtureConfig]) -> tuple[MixtureConfig, ...]:
    """By set: the order in which they are named changes nothing. Raises ValueError for a set named twice."""
    ordered = tuple(sorted(mixture, key=lambda one: one.set))
    if twice := next((a.set for a, b in itertools.pairwise(ordered) if a.set == b.set), None):
        raise ValueError(f"mixture names {twice} twice; give it once, with the sum of the weights")
    return ordered
