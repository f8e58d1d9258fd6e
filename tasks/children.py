"""Runs of other deployments that a run needs: started once, waited for through crashes, cancelled with it."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar, cast
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelled, Cancelling

from tasks.logs import run_logger

POLL_S = 1.0  # between two looks at a child run
LOST_S = 600.0  # a crash that nobody has put back in the queue for so long will not be resumed
RESUMABLE = "resumable"  # tag of runs that go on after a crash
WITHOUT_PROCESS = (StateType.SCHEDULED, StateType.CRASHED)  # a crashed run may be resumed
UNFINISHED = (StateType.PENDING, StateType.RUNNING, StateType.PAUSED, *WITHOUT_PROCESS)
PASSING_STATUS = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
RAISED = "Flow run encountered an exception: "  # what Prefect puts before an exception's own sentence

Answer = TypeVar("Answer")


class ChildFailed(Exception):
    """A run of another deployment, which this run needs, did not complete."""


def run_child(deployment: str, parameters: Mapping[str, Any], part: str = "") -> FlowRun:
    """Run another deployment and wait for its end; a restarted parent finds the child it had started.

    The child comes from the same queue as its parent, so that a demo's parts are the demo's as well.
    Args: part: tells children of the same deployment apart.
    Raises: ChildFailed when it ends otherwise than completed.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise ChildFailed(f"{deployment} is started by a flow run; this is none")
    child = _started(context.flow_run, deployment, parameters, part)
    with get_client(sync_client=True) as client:
        child = _waited_for(client, child)
    if not has_ended(child) or _ended_badly(child):
        raise ChildFailed(_verdict(child, deployment))
    return child


def _started(parent: FlowRun, deployment: str, parameters: Mapping[str, Any], part: str) -> FlowRun:
    """The child that this run has started before, unless it has ended badly; else a new one."""
    for attempt in itertools.count(1):
        start = partial(
            run_deployment,
            deployment,
            parameters=dict(parameters),
            idempotency_key=":".join([str(parent.id), deployment, *([part] if part else []), str(attempt)]),
            work_queue_name=parent.work_queue_name if parent.work_queue_name != "default" else None,
            timeout=0,
        )
        try:
            child = cast(FlowRun, patiently(start))  # in a flow that is not async
        except ObjectNotFound as error:
            raise ChildFailed(f"no deployment {deployment}: give it an entry in prefect.yaml") from error
        if not _ended_badly(child):
            break
    return child


def _ended_badly(run: FlowRun) -> bool:
    return has_ended(run) and not (run.state and run.state.is_completed())


def has_ended(run: FlowRun) -> bool:
    """Whether the run stays as it is. A crash of a resumable run is no end: a worker puts it in the queue."""
    state = run.state
    if state is None or not state.is_final():
        return False
    return not (state.is_crashed() and RESUMABLE in run.tags)


def _waited_for(client: SyncPrefectClient, child: FlowRun) -> FlowRun:
    """The child at its end, or crashed and left so.

    The time of a crash is counted in looks that were answered: neither a server that is away nor a
    laptop that sleeps makes a child look lost.
    """
    logged, crashed_s = None, 0.0
    while not has_ended(child) and crashed_s < LOST_S:
        if child.state is not None and child.state.id != logged:
            logged, crashed_s = child.state.id, 0.0
            _tell(child, child.state)
        time.sleep(POLL_S)
        try:
            child = patiently(partial(client.read_flow_run, child.id))
        except ObjectNotFound as error:
            raise ChildFailed(f"{child.name} was deleted; retry this run to start it again") from error
        crashed_s = crashed_s + POLL_S if child.state and child.state.is_crashed() else 0.0
    return child


def _tell(child: FlowRun, state: State[Any]) -> None:
    waits = "; it is resumed by a worker of its pool" if state.is_crashed() else ""
    run_logger().info("%s is %s%s", child.name, state.name, waits)


def patiently(ask: Callable[[], Answer]) -> Answer:
    """The server's answer, however long it is away: who waits hours for a child can wait for the server.

    Raises: what a server that is there says, such as ObjectNotFound.
    """
    while True:
        try:
            return ask()
        except (httpx.TransportError, PrefectHTTPStatusError) as error:
            if not _passes(error):
                raise
            logging.getLogger(__name__).warning("the Prefect server does not answer, asked again: %s", error)
            time.sleep(POLL_S)


def _passes(error: httpx.HTTPError) -> bool:
    if not isinstance(error, PrefectHTTPStatusError):
        return True
    status = error.response.status_code
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in PASSING_STATUS


def _verdict(child: FlowRun, deployment: str) -> str:
    """What became of the child, its own reason, and the next move."""
    state, name = child.state, f"{child.name} ({deployment})"
    reason = (state.message or "" if state else "").removeprefix(RAISED)
    if state is not None and state.is_cancelled():
        return f"{name} was cancelled; retry this run to start it again"
    if state is not None and state.is_crashed() and not has_ended(child):
        return (
            f"{name} crashed and nobody resumed it for {LOST_S / 60:.0f} min; see that a worker of its pool "
            f"runs, then retry this run. It said: {reason}"
        )
    return f"{name} ended {child.state_name}: {reason}; mend that, then retry this run"


def cancel_children(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001
    """A flow's `on_cancellation`: whoever cancels a run means what it has started too.

    It runs in the worker, after the run's process has ended.
    """
    with get_client(sync_client=True) as client:
        for child in _children(client, flow_run.id):
            idle = child.state_type in WITHOUT_PROCESS
            message = f"{flow_run.name}, which had started it, was cancelled."
            client.set_flow_run_state(child.id, (Cancelled if idle else Cancelling)(message=message))


def _children(client: SyncPrefectClient, parent: UUID) -> list[FlowRun]:
    wanted = {"parent_flow_run_id": {"any_": [parent]}, "state": {"type": {"any_": list(UNFINISHED)}}}
    return client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted))
