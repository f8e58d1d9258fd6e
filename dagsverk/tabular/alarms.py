"""What a person should look at: since when, on what evidence, and what to do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dagsverk.tabular.accuracy import AccuracyAlarm
from dagsverk.tabular.clock import Clock
from dagsverk.tabular.evidence import Watched

UNTIL = "It stands until a new champion is in use, or until later rows speak as strongly against it."


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something that a person should look at."""

    kind: Literal["drift", "accuracy", "stale"]
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


def past_alarms(key: str, watched: Watched | None, clock: Clock) -> Sequence[PastAlarm]:
    """Those of one thing watched that have ended."""
    return [
        PastAlarm(
            key=key,
            since=clock.dates[episode.began],
            noticed=clock.dates[episode.noticed],
            ended=clock.dates[episode.ended],
        )
        for episode in (watched.episodes if watched else ())
        if episode.ended is not None
    ]
