"""After a hard stop on one machine: put lost runs back in the queue and free the places they held.

Only for an embedded server, whose every flow process runs on this machine. With workers elsewhere, the
automations do this by heartbeats.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowRunFilter, WorkQueueFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import AwaitingRetry, Cancelled

from deployments.register import DEMO_QUEUE

STARTED = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)
WAITING = (StateType.SCHEDULED, StateType.PAUSED)


async def recover(client: PrefectClient, prefect_home: Path) -> list[str]:
    """Settle every run whose process is gone. Returns what was done, a line each."""
    told = [await _cancel(client, run, "left by a demo that was stopped") for run in await _demo_runs(client)]
    started = await client.read_flow_runs(flow_run_filter=_in_states(STARTED))
    alive = running_here(run for run in started)
    told += [await _settle(client, run) for run in started if run.id not in {r.id for r in alive}]
    told += [f"{run.name} still runs by itself; left alone" for run in alive]
    if not alive:
        await _free_places(client, prefect_home / "concurrency_leases")
    return told


async def _settle(client: PrefectClient, run: FlowRun) -> str:
    if run.state_type == StateType.CANCELLING or run.deployment_id is None:
        return await _cancel(client, run, "its process was gone")
    message = "Its process was gone when Dagsverk started again."
    await client.set_flow_run_state(run.id, AwaitingRetry(message=message), force=True)
    return f"{run.name} was cut off; it goes on where it stopped"


async def _cancel(client: PrefectClient, run: FlowRun, why: str) -> str:
    await client.set_flow_run_state(run.id, Cancelled(message=why), force=True)
    return f"{run.name} cancelled: {why}"


async def _demo_runs(client: PrefectClient) -> list[FlowRun]:
    return await client.read_flow_runs(
        flow_run_filter=_in_states((*STARTED, *WAITING)),
        work_queue_filter=WorkQueueFilter.model_validate({"name": {"any_": [DEMO_QUEUE]}}),
    )


def _in_states(states: Iterable[StateType]) -> FlowRunFilter:
    return FlowRunFilter.model_validate({"state": {"type": {"any_": list(states)}}})


async def _free_places(client: PrefectClient, leases: Path) -> None:
    """Nothing runs, so nothing holds a place in a limit: a place that a killed run held would stay taken.

    Its lease goes too: run out later, it would free the place of another run.
    """
    for path in (*leases.glob("*.json"), leases / "expirations.lock"):
        path.unlink(missing_ok=True)
    for limit in await client.read_global_concurrency_limits(limit=200):
        if limit.active_slots:
            await client.update_global_concurrency_limit(
                limit.name, GlobalConcurrencyLimitUpdate(active_slots=0)
            )


def running_here(runs: Iterable[FlowRun]) -> list[FlowRun]:
    """Those of the runs that have a living process on this machine."""
    present = list(runs)
    if not present:
        return []
    if not Path("/proc/self/environ").exists():
        return [run for run in present if _process_exists(run.infrastructure_pid)]
    ids = _run_ids_in_proc()
    return [run for run in present if str(run.id) in ids]


def _run_ids_in_proc() -> set[str]:
    """Ids of flow runs that some process of ours works for, read from the environments of all processes."""
    wanted, found = b"PREFECT__FLOW_RUN_ID=", set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            entries = path.read_bytes().split(b"\0")
        except OSError:  # it has just ended, or is not ours
            continue
        found |= {e.removeprefix(wanted).decode() for e in entries if e.startswith(wanted)}
    return found


def _process_exists(pid: str | None) -> bool:
    """For where environments cannot be read: a process id that another program has by now counts as ours."""
    try:
        os.kill(int(pid or ""), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
