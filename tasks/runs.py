"""Which day a run is for, and what keeps runs off each other's feet."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLeaseHolder, FlowRun
from prefect.concurrency.sync import concurrency
from prefect.context import FlowRunContext
from prefect.deployments import run_deployment

from dagsverk.tabular.days import check_date

POLL_S = 1.0  # between two looks at a child run
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


def run_name() -> str:
    """ "day titanic 2026-01-31". Refuses nothing: a run whose name cannot be made counts as crashed."""
    asked = runtime.flow_run.parameters
    return f"{runtime.flow_run.flow_name} {asked['system']} {asked.get('date') or _scheduled_day()}"


def speech_run_name() -> str:
    """ "speech-training sv". Refuses nothing, like `run_name`."""
    return f"{runtime.flow_run.flow_name} {runtime.flow_run.parameters.get('language')}"


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


class ChildFailed(Exception):
    """A run of another deployment, which this run needs, did not complete."""


def run_child(deployment: str, parameters: Mapping[str, Any]) -> FlowRun:
    """Run another deployment and wait for its end; a restarted parent finds the child it had started.

    The child comes from the same queue as its parent, so that a demo's parts are the demo's as well.
    Raises: ChildFailed when it ends otherwise than completed.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise ChildFailed(f"{deployment} is started by a flow run; this is none")
    parent = context.flow_run
    for attempt in itertools.count(1):
        child = cast(
            FlowRun,  # in a flow that is not async
            run_deployment(
                deployment,
                parameters=dict(parameters),
                idempotency_key=f"{parent.id}:{deployment}:{attempt}",
                work_queue_name=_inherited_queue(parent),
                timeout=0,
            ),
        )
        if not _ended_badly(child):  # a child that failed in an earlier try of this run stays failed
            break
    with get_client(sync_client=True) as client:
        while child.state is None or not child.state.is_final():
            time.sleep(POLL_S)
            child = client.read_flow_run(child.id)
    if _ended_badly(child):
        raise ChildFailed(
            f"{child.name} of {deployment} ended {child.state_name}: "
            f"{child.state.message if child.state else ''}; its log says why, then retry this run"
        )
    return child


def _inherited_queue(parent: FlowRun) -> str | None:
    return parent.work_queue_name if parent.work_queue_name not in (None, "default") else None


def _ended_badly(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final() and not run.state.is_completed()
