"""What a person should look at: since when, on what evidence, and what to do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dagsverk.tabular.accuracy import AccuracyAlarm
from dagsverk.tabular.clock import Clock
from dagsverk.tabular.drift import ColumnDrift
from dagsverk.tabular.evidence import Watched
from dagsverk.tabular.system import System

UNTIL = "It stands until a new champion is in use, or until later rows speak as strongly against it."


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something that a person should look at."""

    kind: Literal["drift", "accuracy", "prediction", "stale"]
    message: str  # one sentence, with its numbers
    since: dt.datetime | None  # UTC; the day on which it most likely began
    noticed: dt.datetime | None = None  # UTC; the first day on which the evidence sufficed
    about: str = ""  # the column that has drifted
    advice: str = ""  # what to do, and when it ends

    @property
    def key(self) -> str:
        """The same for the same alarm on every look: "accuracy", "drift:age"."""
        return f"{self.kind}:{self.about}" if self.about else self.kind


@dataclass(frozen=True, kw_only=True)
class PastAlarm:
    """An alarm that later rows have ended. UTC days."""

    key: str  # as of `Alert`
    since: dt.datetime
    noticed: dt.datetime
    ended: dt.datetime


def stale_alerts(predicted_at: dt.datetime | None, now: dt.datetime, stale_days: float) -> list[Alert]:
    """Before the first prediction there is nothing to be late."""
    if predicted_at is None or now - predicted_at <= dt.timedelta(days=stale_days):
        return []
    age_days = (now - predicted_at) / dt.timedelta(days=1)
    message = f"No prediction for {age_days:.0f} days; the newest is of {predicted_at:%Y-%m-%d %H:%M} UTC."
    advice = "Look in the Prefect UI for the system's last day: did it fail, or is its schedule off?"
    return [Alert(kind="stale", message=message, since=predicted_at, advice=advice)]


def accuracy_alerts(alarm: AccuracyAlarm) -> list[Alert]:
    """At most one."""
    if not alarm.alarm or alarm.since is None or alarm.noticed is None or alarm.promised is None:
        return []
    message = (
        f"Accuracy is below its promise: {100 * alarm.correct_since / alarm.n_since:.0f} % of the "
        f"{alarm.n_since:,} outcomes since {alarm.since:%Y-%m-%d} were predicted right, "
        f"{100 * alarm.promised:.0f} % was promised."
    )
    advice = (
        "Look at the rows predicted wrong since then, and at the inputs that have drifted; are the outcomes "
        f"right, train on rows of that time. {UNTIL}"
    )
    return [Alert(kind="accuracy", message=message, since=alarm.since, noticed=alarm.noticed, advice=advice)]


def drift_alerts(system: System, columns: Sequence[ColumnDrift], *, invented: bool) -> list[Alert]:
    """One per column whose change stands."""
    return [_drift_alert(system, column, invented=invented) for column in columns if column.drifted]


def _drift_alert(system: System, column: ColumnDrift, *, invented: bool) -> Alert:
    described = system.column(column.column)
    rows = "outcomes" if described is system.label else "invented rows" if invented else "rows"
    advice = (
        "Is the source right: units, codes, missing values? If the world has changed, train on rows of that "
        f"time. {UNTIL}"
    )
    if invented:
        advice = f"Invented rows say how good the generator is, nothing of the world. {UNTIL}"
    return Alert(
        kind="drift",
        message=f"{described.description} has drifted in the last {column.n} {rows}"
        + (f": {column.change}." if column.change else "."),
        since=column.since,
        noticed=column.noticed,
        about=column.column,
        advice=advice,
    )


def past_alarms(watched: Mapping[str, Watched | None], clock: Clock) -> Sequence[PastAlarm]:
    """Those that have ended, of all that was watched by this clock."""
    return [
        PastAlarm(
            key=key,
            since=clock.dates[episode.began],
            noticed=clock.dates[episode.noticed],
            ended=clock.dates[episode.ended],
        )
        for key, evidence in watched.items()
        for episode in (evidence.episodes if evidence else ())
        if episode.ended is not None
    ]
