"""The days on which rows became known: the steps in which evidence grows."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd


@dataclass(frozen=True, eq=False)
class Clock:
    """The steps of a history, in the order in which its rows were first predicted, then of their own days.

    By when they were predicted, because that never changes and later rows come after it; by their own day,
    because a month that was filled in within an hour is still thirty days.
    """

    day: npt.NDArray[np.int64]  # per row, the position of its step, shape (rows,)
    dates: tuple[dt.datetime, ...]  # per step, what a person calls it: a midnight, UTC

    def __len__(self) -> int:
        return len(self.dates)

    @classmethod
    def of(cls, history: pd.DataFrame) -> Clock:
        """Of rows from `monitoring.history`, in any order."""
        days = pd.DataFrame(
            {
                "predicted": history["predicted_at"].dt.floor("D"),
                "own": history["event_time"].dt.floor("D"),
            }
        )
        groups = days.groupby(["predicted", "own"], sort=True)
        steps = groups.size().index.to_frame(index=False)
        # Where all rows are of one and the same moment, that moment tells nothing.
        named = steps["own" if steps["own"].nunique() > 1 else "predicted"]
        dates = tuple(pd.Timestamp(date).to_pydatetime() for date in named)
        return cls(np.asarray(groups.ngroup(), dtype=np.int64), dates)

    def at(self, position: int | None) -> dt.datetime | None:
        """The date of a step; None of none."""
        return None if position is None else self.dates[position]
