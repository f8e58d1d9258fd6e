"""Which day a run is for, and what keeps runs off each other's feet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect import runtime
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.concurrency.sync import concurrency

from dagsverk.tabular.days import check_date
from dagsverk.version import kind_of_machine

LEASE_S = 60  # a killed holder blocks its system for this long at the most


@contextmanager
def one_at_a_time(system: str, family: str = "tabular") -> Iterator[None]:
    """Hold the system's place: two runs that write one system's tables never interleave.

    The limit is made by `python -m deployments.register`; where it is missing (a flow called as a function)
    nothing is held, and writes by key keep the tables right all the same.
    """
    run = runtime.flow_run.id
    # by the holder, a reconciler finds the lease of a run that was killed, and gives the place back at once
    holder = ConcurrencyLeaseHolder(type="flow_run", id=UUID(str(run))) if run else None
    with concurrency(f"{family}-{system}", occupy=1, lease_duration=LEASE_S, holder=holder):
        yield


def noted(step: str, **more: object) -> dict[str, str]:
    """What a step notes with what it writes: its name, Prefect's run, the kind of machine, and `more`."""
    run = runtime.flow_run
    about = {"step": step, "flow_run": run.id, "run": run.name, "machine": kind_of_machine(), **more}
    return {name: str(value) for name, value in about.items() if value not in (None, "")}


def run_name() -> str:
    """ "day titanic 2026-01-31". Refuses nothing: a run whose name cannot be made counts as crashed."""
    asked = runtime.flow_run.parameters
    return f"{runtime.flow_run.flow_name} {asked['system']} {asked.get('date') or _scheduled_day()}"


def speech_run_name() -> str:
    """ "speech-training sv". Refuses nothing, like `run_name`."""
    return f"{runtime.flow_run.flow_name} {runtime.flow_run.parameters.get('language')}"


def trial_run_name() -> str:
    """ "speech-trial sv 0123456789abcdef until 12". Refuses nothing, like `run_name`."""
    training = runtime.flow_run.parameters.get("training")
    settings, until = getattr(training, "run_key", ""), getattr(training, "until", None)
    return f"{speech_run_name()} {settings}" + (f" until {until}" if until is not None else "")


def day_of(date: dt.date | None) -> dt.date:
    """The day a run works for: as asked, else the one it was scheduled on, however late it runs or resumes.

    Raises ValueError for a day in the future (UTC).
    """
    return check_date(date or _scheduled_day(), dt.datetime.now(dt.UTC).date())


def _scheduled_day() -> dt.date:
    now = dt.datetime.now(dt.UTC)
    start = runtime.flow_run.scheduled_start_time or now
    return min(start, now).astimezone(dt.UTC).date()


def days_between(first: dt.date, last: dt.date) -> list[dt.date]:
    """All days from first to last. Raises ValueError when there is none, or one is in the future."""
    if first > last:
        raise ValueError(f"first {first} is after last {last}: a range runs from the older day to the newer")
    check_date(last, dt.datetime.now(dt.UTC).date())
    return [first + dt.timedelta(days=i) for i in range((last - first).days + 1)]
