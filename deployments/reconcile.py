"""The one place that settles runs whose process is gone: `RULES`, and a loop that applies them.

Every worker runs it, on whichever machine and whoever started it; `python -m deployments.reconcile` runs it
alone, for pools of other types. It compares what the server says of a run, what processes live (claims), and
for how long neither has changed. It acts on what it has just read again, never on what it read before.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_HOME
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Crashed, Failed

from deployments import claims
from deployments.claims import Life
from deployments.leases import release_leases

LOG = logging.getLogger("prefect.dagsverk.reconcile")
RESUMABLE = "resumable"  # tag of runs that go on after a crash
LOOK_S = 5.0  # between two looks
SETTLES_S = 3.0  # a process that has just ended has reported its end, or its worker is about to
LOST_S, LOST_PENDING_S = 120.0, 300.0  # without a sign of life from elsewhere: four heartbeats; a slow start
ATTEMPTS = 8  # in a row that got nowhere
SOMEWHERE_S = 600.0  # an attempt that ran for so long got somewhere
RECORDED_S = 20.0  # the record of a task's end may come so long after the end of its run
CRASHES_LOOKED_AT = dt.timedelta(days=7)
RESUMED = "Goes on where it stopped"  # how the message of such a state begins; they are counted by it
STARTED = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)


class Outcome(Enum):
    """What is to be done about a run."""

    LEAVE = "nothing"
    RESUME = "back into the queue"
    CRASH = "crashed"
    STOP = "told to stop"
    CANCEL = "cancelled"
    FAIL = "failed: given up"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Everything that a decision about a run depends on."""

    state: StateType
    life: Life
    same_s: float = 0.0  # seconds awake in which neither its state nor its last heartbeat changed
    managed: bool = False  # a worker of this process waits for its process, and will report its end
    resumable: bool = True
    deployed: bool = True
    heartbeat: bool = True  # it has sent a heartbeat, or its worker is one of ours
    parent_ended: bool = False  # it is a part, in the same process, of a run that has ended
    parent_cancelled: bool = False  # it was started by a run that was cancelled
    fruitless: int = 0  # attempts in a row that got nowhere


Rule = tuple[str, Callable[[Seen], bool], Outcome]

# The first that fits decides. Each has its test.
RULES: Sequence[Rule] = (
    ("the run that had started it was cancelled", lambda s: s.parent_cancelled
        and s.state is not StateType.CANCELLING, Outcome.STOP),
    ("it waits in the queue", lambda s: s.state is StateType.SCHEDULED, Outcome.LEAVE),
    ("its worker waits for it", lambda s: s.managed, Outcome.LEAVE),
    ("its process lives", lambda s: s.life is Life.LIVES, Outcome.LEAVE),
    ("its end may be on the way", lambda s: s.same_s < SETTLES_S, Outcome.LEAVE),
    ("the run that it is a part of has ended", lambda s: s.parent_ended, Outcome.CRASH),
    ("somebody called a function, and it sends no heartbeat", lambda s: not s.deployed and not s.heartbeat,
        Outcome.LEAVE),
    ("it may be slow to start elsewhere", lambda s: s.life is Life.ELSEWHERE and s.state is StateType.PENDING
        and s.same_s < LOST_PENDING_S, Outcome.LEAVE),
    ("it may live elsewhere", lambda s: s.life is Life.ELSEWHERE and s.state in STARTED
        and s.same_s < LOST_S, Outcome.LEAVE),
    ("it was to be cancelled", lambda s: s.state is StateType.CANCELLING, Outcome.CANCEL),
    ("its process is gone, and it cannot go on", lambda s: not (s.resumable and s.deployed)
        and s.state in STARTED, Outcome.CRASH),
    ("it crashed, and cannot go on", lambda s: not (s.resumable and s.deployed), Outcome.LEAVE),
    (f"{ATTEMPTS} attempts in a row got nowhere", lambda s: s.fruitless >= ATTEMPTS, Outcome.FAIL),
    ("its process is gone", lambda _: True, Outcome.RESUME),
)  # fmt: skip


def _in_states(states: Iterable[StateType]) -> FlowRunFilter:
    return FlowRunFilter.model_validate({"state": {"type": {"any_": list(states)}}})


def _tasks_in_states(states: Iterable[StateType]) -> TaskRunFilter:
    return TaskRunFilter.model_validate({"state": {"type": {"any_": list(states)}}})


def decide(seen: Seen) -> tuple[Outcome, str]:
    """What is to be done, and why."""
    return next((outcome, why) for why, fits, outcome in RULES if fits(seen))


def fruitless(states: Iterable[State]) -> int:
    """How many of the last attempts got nowhere, from a run's history: resumed, and under ten minutes."""
    count, began = 0, None
    for state in sorted(states, key=lambda s: s.timestamp):
        if state.type is StateType.RUNNING:
            began = began or state.timestamp
            continue
        if began and (state.timestamp - began).total_seconds() >= SOMEWHERE_S:
            count = 0
        began = None
        count += state.name == "AwaitingRetry" and (state.message or "").startswith(RESUMED)
    return count


@dataclass
class Watch:
    """For how long the facts about each run have been the same, in seconds that this process was awake.

    Not by the clock: a laptop that slept, a process that was stopped, a clock that was set or a server that
    did not answer would make every run look lost. After a gap all waiting begins anew.
    """

    since: dict[UUID, tuple[object, float]] = field(default_factory=dict)
    last: float | None = None

    def look(self, facts: dict[UUID, object], now: float) -> dict[UUID, float]:
        """Seconds per run since its facts changed."""
        if self.last is None or now - self.last > 3 * LOOK_S + 5:
            self.since.clear()
        self.last = now
        before = self.since
        self.since = {
            run: before[run] if run in before and before[run][0] == fact else (fact, now)
            for run, fact in facts.items()
        }
        return {run: now - begun for run, (_, begun) in self.since.items()}


class Reconciler:
    """Looks every few seconds, and at once when `soon` is set."""

    def __init__(
        self,
        client: PrefectClient,
        logs: Path,
        managed: Callable[[], Collection[UUID]] = frozenset,
        prefect_home: Path | None = None,
    ) -> None:
        self.client, self.logs, self.managed = client, logs, managed
        self.prefect_home = prefect_home or PREFECT_HOME.value()
        self.watch, self.soon = Watch(), asyncio.Event()
        self.parents: dict[UUID, UUID | None] = {}
        self.left_tasks: dict[UUID, float] = {}

    async def run(self) -> None:
        """Until cancelled. A server that does not answer is waited for."""
        while True:
            try:
                await self.look()
            except (httpx.HTTPError, PrefectHTTPStatusError, OSError) as error:
                LOG.debug("no look at the runs this time: %s", error)
            await self._pause()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.soon.wait(), LOOK_S)
            self.soon.clear()

    async def look(self) -> list[str]:
        """One look at all runs that may need settling. Returns what was done, a line each."""
        runs = await self.candidates()
        beats = await self.heartbeats(runs)
        same = self.watch.look({r.id: (r.state_id, beats.get(r.id)) for r in runs}, time.monotonic())
        lines = []
        for run in runs:
            seen = await self.seen(run, same[run.id], run.id in beats)
            outcome, why = decide(seen)
            if outcome is not Outcome.LEAVE and (
                line := await self.settle(run, outcome, why, seen.fruitless)
            ):
                LOG.info(line)
                lines.append(line)
        await self._end_left_tasks(time.monotonic())
        return lines

    async def _end_left_tasks(self, now: float) -> None:
        """Crash tasks that a dead attempt left open, and whose record came after it was settled."""
        open_tasks = await self.client.read_task_runs(
            flow_run_filter=_in_states(TERMINAL_STATES),
            task_run_filter=_tasks_in_states(STARTED),
            limit=200,
        )
        since = self.left_tasks
        self.left_tasks = {task.id: since.get(task.id, now) for task in open_tasks}
        for task, begun in self.left_tasks.items():
            if now - begun > RECORDED_S:
                await self._crash_task(task)

    async def candidates(self) -> list[FlowRun]:
        """Runs that count as started, crashed ones of the last days, those that another run waits for."""
        started = await self._all({"state": {"type": {"any_": list(STARTED)}}})
        since = (dt.datetime.now(dt.UTC) - CRASHES_LOOKED_AT).isoformat()
        crashed = await self._all(
            {
                "state": {"type": {"any_": [StateType.CRASHED]}},
                "expected_start_time": {"after_": since},
                "tags": {"all_": [RESUMABLE]},
            }
        )
        waiting = await self._all(
            {
                "state": {"type": {"any_": [StateType.SCHEDULED]}},
                "parent_task_run_id": {"is_null_": False},
            }
        )
        return [*started, *crashed, *waiting]

    async def _all(self, wanted: dict[str, object]) -> list[FlowRun]:
        runs: list[FlowRun] = []
        while page := await self.client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(wanted), limit=200, offset=len(runs)
        ):
            runs += page
            if len(page) < 200:
                break
        return runs

    async def heartbeats(self, runs: Iterable[FlowRun]) -> dict[UUID, str]:
        """When each run that is not of this machine was last heard of."""
        away = [r for r in runs if r.state_type in STARTED and self.life(r) is Life.ELSEWHERE]
        if not away:
            return {}
        body = {
            "filter": {
                "event": {"name": ["prefect.flow-run.heartbeat"]},
                "resource": {"id": [f"prefect.flow-run.{r.id}" for r in away]},
                "order": "DESC",
            },
            "limit": 50,
        }
        answer = await self.client.request("POST", "/events/filter", json=body)
        newest: dict[UUID, str] = {}
        for event in answer.json()["events"]:
            newest.setdefault(
                UUID(event["resource"]["prefect.resource.id"].rpartition(".")[2]), event["occurred"]
            )
        return newest

    def life(self, run: FlowRun) -> Life:
        """A claim that another worker's has followed, elsewhere, says nothing any more."""
        life = claims.life(self.logs, str(run.id))
        if life is not Life.ENDED:
            return life
        taken_by = run.labels.get("prefect.worker.name")
        return life if taken_by in (None, claims.claimant(self.logs, str(run.id))) else Life.ELSEWHERE

    async def seen(self, run: FlowRun, same_s: float, heartbeat: bool) -> Seen:
        state = run.state_type or StateType.SCHEDULED
        resumable, parent = RESUMABLE in run.tags, await self.parent_state(run)
        life, managed = self.life(run), run.id in self.managed()
        # asked only where it can matter: a run at work is looked at every few seconds, for days
        counts = resumable and same_s >= SETTLES_S and not managed and life is not Life.LIVES
        history = await self.client.read_flow_run_states(run.id) if counts else []
        return Seen(
            state=state,
            life=life,
            same_s=same_s,
            managed=managed,
            resumable=resumable,
            deployed=run.deployment_id is not None,
            heartbeat=heartbeat,
            parent_ended=parent is not None and parent.is_final() and run.deployment_id is None,
            parent_cancelled=parent is not None and parent.is_cancelled() and run.deployment_id is not None,
            fruitless=fruitless(history),
        )

    async def parent_state(self, run: FlowRun) -> State | None:
        """The state of the run that called or started this one; None when there is none."""
        if run.parent_task_run_id is None:
            return None
        try:
            if run.id not in self.parents:
                self.parents[run.id] = (await self.client.read_task_run(run.parent_task_run_id)).flow_run_id
            of = self.parents[run.id]
            return (await self.client.read_flow_run(of)).state if of else None
        except ObjectNotFound:  # its record comes seconds after it, and is no more when somebody deleted it
            return None

    async def settle(self, run: FlowRun, outcome: Outcome, why: str, tries: int = 0) -> str | None:
        """Do it, unless the run has changed in the meantime. Returns what was done.

        `tries`: its attempts in a row that got nowhere.
        """
        if outcome is Outcome.STOP:
            return await self._stop(run, why)
        claims.end_leftovers(str(run.id))
        now = await self.client.read_flow_run(run.id)
        if now.state_id != run.state_id or now.id in self.managed():
            return None
        # before the next attempt can hold one
        await release_leases(self.client, str(run.id), self.prefect_home)
        await self._end_tasks(now)
        answer = await self.client.set_flow_run_state(now.id, _wanted(now, outcome, why, tries))
        if answer.status is not SetStateStatus.ACCEPT:
            return None
        claims.release(self.logs, str(run.id))
        return f"{run.name}: {why}; {outcome.value}"

    async def _stop(self, run: FlowRun, why: str) -> str | None:
        """Cancel a run that may have a process: its worker ends that."""
        idle = run.state_type in (StateType.SCHEDULED, StateType.CRASHED)
        state = (Cancelled if idle else Cancelling)(message=f"Cancelled: {why}.")
        answer = await self.client.set_flow_run_state(run.id, state)
        return None if answer.status is SetStateStatus.ABORT else f"{run.name}: {why}; {state.name}"

    async def _end_tasks(self, run: FlowRun) -> None:
        """Tasks of a dead attempt would be shown as running for ever."""
        of_run = FlowRunFilter.model_validate({"id": {"any_": [run.id]}})
        for task in await self.client.read_task_runs(flow_run_filter=of_run):
            if task.state is not None and not task.state.is_final():
                await self._crash_task(task.id)

    async def _crash_task(self, task: UUID) -> None:
        await self.client.set_task_run_state(task, Crashed(message="Its process is gone."), force=True)


def _wanted(run: FlowRun, outcome: Outcome, why: str, tries: int) -> State:
    """The state that an outcome puts a run in."""
    last = run.state.message if run.state and run.state.is_crashed() else why
    if outcome is Outcome.CANCEL:
        return Cancelled(message=f"Cancelled: {why}.")
    if outcome is Outcome.CRASH:
        return Crashed(message=f"Crashed: {why}.")
    if outcome is Outcome.FAIL:
        return Failed(message=f"Given up: {why}; the last: {last} See its log, then start a new run.")
    wait = dt.timedelta(seconds=min(2**tries - 1, 60))
    return AwaitingRetry(message=f"{RESUMED}: {why} ({last}).", scheduled_time=dt.datetime.now(dt.UTC) + wait)


async def alone(logs: Path) -> None:
    async with get_client() as client:
        await Reconciler(client, logs).run()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deployments.reconcile", description=__doc__)
    parser.add_argument(
        "--logs", type=Path, default=Path(os.environ.get("DAGSVERK_LOGS", ".dagsverk/logs")),
        help="folder with the claims of this machine's workers (%(default)s)",
    )  # fmt: skip
    asyncio.run(alone(parser.parse_args(argv).logs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
