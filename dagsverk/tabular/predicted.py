"""Does the model name each class as often as in cross-validation? Seen before any outcome is known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from dagsverk.tabular.accuracy import UNKNOWN_ROWS
from dagsverk.tabular.alarms import UNTIL, Alert
from dagsverk.tabular.clock import Clock
from dagsverk.tabular.evidence import Watched
from dagsverk.tabular.shift import Values, watch_columns
from dagsverk.tabular.system import System

KEY: Final = "prediction"


@dataclass(frozen=True, kw_only=True)
class Shift:
    """That class whose share among the predictions has changed most."""

    name: str
    share: float  # since then
    promised: float  # in cross-validation
    n: int  # predictions since then
    since: dt.datetime  # UTC day
    noticed: dt.datetime


def watch_predictions(
    system: System,
    history: pd.DataFrame,
    shares: Mapping[str, float],
    version: int | None,
    reference_rows: int,
) -> tuple[Shift | None, Watched | None, Clock]:
    """Has the model begun to name other classes? With the evidence per day, and the days.

    At most 5 % of systems alarm falsely in a year, beside those of accuracy and of drift.
    Args:
        history: rows from `monitoring.history`; only those that this model predicted count.
        shares: class -> share of the predictions in cross-validation; empty: not kept, nothing to compare.
        reference_rows: that these shares are of.
    """
    rows = history if version is None else history[history["model_version"] == version]
    names = pd.Index(system.classes)
    rows = rows[rows["prediction"].isin(names)]
    clock = Clock.of(rows)
    if not shares or not len(clock):
        return None, None, clock
    before = np.array([shares.get(name, 0.0) for name in names])
    codes = names.get_indexer(pd.Index(rows["prediction"]))
    cells = np.bincount(clock.day * len(names) + codes, minlength=len(clock) * len(names))
    daily = cells.reshape(len(clock), len(names)).astype(np.float64)
    values = Values(reference=before * (reference_rows or UNKNOWN_ROWS), daily=daily, ordered=0)
    (watched,) = watch_columns([values])
    if watched.standing is None:
        return None, watched, clock
    counts = daily[watched.standing.began :].sum(axis=0)
    most = int(np.abs(counts / counts.sum() - before).argmax())
    shift = Shift(
        name=str(names[most]),
        share=float(counts[most] / counts.sum()),
        promised=float(before[most]),
        n=int(counts.sum()),
        since=clock.dates[watched.standing.began],
        noticed=clock.dates[watched.standing.noticed],
    )
    return shift, watched, clock


def prediction_alerts(system: System, shift: Shift | None) -> list[Alert]:
    """At most one."""
    if shift is None:
        return []
    return [
        Alert(
            kind=KEY,
            message=f"The model predicts otherwise than it did: {system.label.words(shift.name)} in "
            f"{100 * shift.share:.0f} % of the {shift.n:,} rows since {shift.since:%Y-%m-%d}, "
            f"{100 * shift.promised:.0f} % in cross-validation.",
            since=shift.since,
            noticed=shift.noticed,
            advice="Look at the inputs that have drifted and, as they come in, at the outcomes: has the "
            f"source changed, or the world? {UNTIL}",
        )
    ]
