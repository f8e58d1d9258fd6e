"""Runs and places that a kill has left, on a real Prefect server: what a reconciler makes of them."""

import fcntl
import json
import re
import time
from uuid import uuid4

import httpx
import pytest
from gated_runs import register_gated, start
from prefect import task
from prefect.client.schemas.objects import ConcurrencyLeaseHolder, FlowRun
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Completed, Crashed, Running
from prefect_server import TestServer, running_prefect, wait_for

from deployments import claims, launch, leases
from deployments.launch import DEMO_QUEUE
from deployments.reconcile import ATTEMPTS, LOST_S, RECORDED_S, RESUMED, SETTLES_S, Outcome, Reconciler


@pytest.fixture(scope="module")
def gated(prefect_server: TestServer, tmp_path_factory) -> str:
    return register_gated(prefect_server, tmp_path_factory)


def look(server: TestServer, *, late_s: float = SETTLES_S + 1) -> list[str]:
    """What a reconciler does that has seen the present facts for so long."""

    async def looked(client):
        reconciler = Reconciler(client, server.folders.logs, prefect_home=server.folders.prefect)
        reconciler.watch.last = time.monotonic()
        for run in await reconciler.candidates():
            reconciler.watch.since[run.id] = ((run.state_id, None), time.monotonic() - late_s)
        return await reconciler.look()

    return server.ask(looked)


async def taken(client, server: TestServer, deployment: str, worker: str = "worker-1") -> FlowRun:
    """A run that says it runs, and that a worker of this machine has claimed."""
    run = await start(client, deployment, {"folder": "nowhere"})
    await client.update_flow_run_labels(run.id, {"prefect.worker.name": "worker-1"})
    await client.set_flow_run_state(run.id, Running(), force=True)
    claims.claim(server.folders.logs, str(run.id), worker)
    return run


@pytest.fixture
def lost(prefect_server, gated):
    """Makes such runs, and removes them, so that no worker of another test takes them."""
    made = []

    def make(**more) -> FlowRun:
        made.append(prefect_server.ask(lambda client: taken(client, prefect_server, gated, **more)))
        return made[-1]

    yield make
    for run in made:
        prefect_server.ask(lambda client, r=run: client.delete_flow_run(r.id))


def read(server: TestServer, run: FlowRun) -> FlowRun:
    return server.ask(lambda client: client.read_flow_run(run.id))


def test_a_run_whose_process_is_gone_is_resumed_and_the_place_it_held_is_free(prefect_server, lost):
    run = lost()

    async def hold_a_place(client):
        holder = ConcurrencyLeaseHolder(type="flow_run", id=run.id)
        await client.increment_concurrency_slots_with_lease(
            ["tabular-iris"], 1, "concurrency", 60, holder=holder
        )

    prefect_server.ask(hold_a_place)
    lines = look(prefect_server)
    assert read(prefect_server, run).state_name == "AwaitingRetry"
    limit = prefect_server.ask(lambda client: client.read_global_concurrency_limit_by_name("tabular-iris"))
    assert limit.active_slots == 0
    assert any(run.name in line for line in lines)


def test_a_run_that_crashed_while_nobody_watched_is_resumed(prefect_server, lost):
    run = lost()
    prefect_server.ask(lambda client: client.set_flow_run_state(run.id, Crashed(), force=True))
    look(prefect_server)
    assert read(prefect_server, run).state_name == "AwaitingRetry"


def test_a_run_whose_process_lives_is_left_alone_whatever_the_server_says(prefect_server, lost):
    run = lost()
    claim = claims.claim_path(prefect_server.folders.logs, str(run.id))
    with claim.open("r+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        prefect_server.ask(lambda client: client.set_flow_run_state(run.id, Crashed(), force=True))
        look(prefect_server, late_s=10_000)
        assert read(prefect_server, run).state.is_crashed()


def test_a_run_that_another_machine_has_taken_since_is_not_judged_by_our_claim(prefect_server, lost):
    run = lost(worker="worker-0")
    look(prefect_server)
    assert read(prefect_server, run).state.is_running()


def test_a_run_that_changes_under_our_eyes_is_left_as_it_is(prefect_server, lost):
    run = lost()

    async def settle(client):
        stale = await client.read_flow_run(run.id)
        await client.set_flow_run_state(run.id, Completed(), force=True)
        return await Reconciler(client, prefect_server.folders.logs).settle(stale, Outcome.RESUME, "gone")

    assert prefect_server.ask(settle) is None
    assert read(prefect_server, run).state.is_completed()


def test_a_run_whose_process_died_while_it_was_cancelled_is_cancelled(prefect_server, lost):
    run = lost()
    prefect_server.ask(lambda client: client.set_flow_run_state(run.id, Cancelling(), force=True))
    look(prefect_server)
    assert read(prefect_server, run).state.is_cancelled()


def test_a_run_that_crashes_again_and_again_fails_with_the_last_reason(prefect_server, lost):
    run = lost()

    async def crash_often(client):
        for _ in range(ATTEMPTS):
            again = AwaitingRetry(message=f"{RESUMED}: its process is gone.")
            for state in (Running(), Crashed(message="exit 137"), again):
                await client.set_flow_run_state(run.id, state, force=True)
        await client.set_flow_run_state(run.id, Crashed(message="exit 137"), force=True)

    prefect_server.ask(crash_often)
    look(prefect_server)
    ended = read(prefect_server, run).state
    assert ended.is_failed()
    assert re.search(r"8 attempts in a row got nowhere.*exit 137", ended.message)


@pytest.mark.parametrize("waits", [True, False], ids=["in the queue", "running"])
def test_what_a_cancelled_run_had_started_is_cancelled_too(prefect_server, gated, waits):
    async def leave(client):
        parent = await start(client, gated, {"folder": "nowhere"})
        dummy = await client.create_task_run(task(lambda: None, name="part"), parent.id, dynamic_key="0")
        deployment = await client.read_deployment_by_name("gated/child")
        child = await client.create_flow_run_from_deployment(
            deployment.id, parameters={"folder": "nowhere"}, parent_task_run_id=dummy.id
        )
        if not waits:
            await client.set_flow_run_state(child.id, Running(), force=True)
        await client.set_flow_run_state(parent.id, Cancelled(), force=True)
        return child

    child = prefect_server.ask(leave)
    look(prefect_server)
    state = read(prefect_server, child).state
    assert state.is_cancelled() if waits else state.is_cancelling()
    look(prefect_server, late_s=LOST_S + 1)
    assert read(prefect_server, child).state.is_cancelled()


def test_a_task_that_a_dead_attempt_left_open_is_ended_once_its_run_has_ended(prefect_server, gated):
    async def leave_and_look(client):
        run = await start(client, gated, {"folder": "nowhere"})
        left = await client.create_task_run(
            task(lambda: None, name="left"), run.id, dynamic_key="0", state=Running()
        )
        await client.set_flow_run_state(run.id, Completed(), force=True)
        reconciler = Reconciler(
            client, prefect_server.folders.logs, prefect_home=prefect_server.folders.prefect
        )
        await reconciler._end_left_tasks(0.0)
        early = (await client.read_task_run(left.id)).state
        await reconciler._end_left_tasks(RECORDED_S + 1)
        return early, (await client.read_task_run(left.id)).state

    early, late = prefect_server.ask(leave_and_look)
    assert early.is_running()
    assert late.is_crashed()


def test_what_a_stopped_demo_left_is_cancelled_at_the_next_start(prefect_server, gated):
    async def leave(client):
        deployment = await client.read_deployment_by_name(gated)
        return await client.create_flow_run_from_deployment(
            deployment.id, parameters={"folder": "nowhere"}, work_queue_name=DEMO_QUEUE
        )

    run = prefect_server.ask(leave)
    done = prefect_server.run("-m", "deployments.register", "--abandon-demo")
    assert run.name in done.stdout
    assert read(prefect_server, run).state.is_cancelled()


def test_a_place_whose_lease_a_killed_server_lost_is_free_after_its_next_start(tmp_path_factory):
    """And a lease that its index has forgotten holds its place, and can run out."""
    folders = launch.Folders(tmp_path_factory.mktemp("restored"))
    kept = leases.leases_folder(folders.prefect)

    async def take_two_places(client):
        for name in ("lost", "kept"):
            await client.upsert_global_concurrency_limit_by_name(name, 1)
            holder = ConcurrencyLeaseHolder(type="flow_run", id=uuid4())
            await client.increment_concurrency_slots_with_lease([name], 1, "concurrency", 600, holder=holder)

    async def places(client):
        limits = await client.read_global_concurrency_limits(limit=200)
        return {limit.name: limit.active_slots for limit in limits}

    with running_prefect(folders) as server:
        server.ask(take_two_places)
        limits = server.ask(lambda client: client.read_global_concurrency_limits(limit=200))
        lost = next(limit.id for limit in limits if limit.name == "lost")
        assert server.ask(places) == {"lost": 1, "kept": 1}
    for path in kept.glob("*-*.json"):  # what a kill between the database and the file leaves
        if str(lost) in path.read_text():
            path.unlink()
    (kept / leases.INDEX).write_text("{")
    with running_prefect(folders) as server:
        assert server.ask(places) == {"lost": 0, "kept": 1}
        assert len(json.loads((kept / leases.INDEX).read_text())) == 1


def test_a_place_whose_lease_cannot_be_written_is_free_again(prefect_server):
    address = f"{prefect_server.api_url}/v2/concurrency_limits/"
    httpx.post(address, json={"name": "full-disk", "limit": 1}, timeout=30).raise_for_status()
    ask = {"names": ["full-disk"], "slots": 1, "mode": "concurrency", "lease_duration": 60}
    folder = leases.leases_folder(prefect_server.folders.prefect)
    aside = folder.with_name("leases-aside")
    folder.mkdir(exist_ok=True)
    folder.rename(aside)
    folder.touch()  # a file in the folder's place: no lease can be written, as on a full disk
    try:
        assert httpx.post(f"{address}increment-with-lease", json=ask, timeout=30).status_code == 500
    finally:
        folder.unlink()
        aside.rename(folder)
    wait_for(
        lambda: httpx.post(f"{address}increment-with-lease", json=ask, timeout=30).is_success,
        "the place",
        30,
    )
