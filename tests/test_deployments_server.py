"""What the deployments do on a real Prefect server with real workers."""

import fcntl
import json
import os
import re
import signal
import time
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
import yaml
from prefect import task
from prefect.client.schemas.filters import DeploymentFilter
from prefect.client.schemas.objects import ConcurrencyLeaseHolder, FlowRun, State, StateType
from prefect.events.schemas.automations import AutomationCore
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Completed, Crashed, Running
from prefect_server import ROOT, TestServer, running_prefect, wait_for

from deployments import claims, launch, leases
from deployments.engine import log_path
from deployments.launch import DEMO_QUEUE
from deployments.reconcile import ATTEMPTS, LOST_S, RECORDED_S, RESUMED, SETTLES_S, Outcome, Reconciler
from deployments.register import POOLS, RETIRED_AUTOMATIONS, Registered, retire_automations

ENTRIES = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
GATED = """
name: gated
pull: [{prefect.deployments.steps.set_working_directory: {directory: "{{ $DAGSVERK_ROOT }}"}}]
deployments:
  - name: one-at-a-time
    entrypoint: gated_flows.gated
    tags: [resumable]
    concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW, grace_period_seconds: 120}
    work_pool: {name: cpu}
  - {name: missing, entrypoint: gated_flows.gated, work_pool: {name: cpu}}
  - {name: child, entrypoint: gated_flows.gated, tags: [resumable], work_pool: {name: cpu}}
  - {name: parent, entrypoint: gated_flows.parent, tags: [resumable], work_pool: {name: cpu}}
"""


@pytest.fixture(scope="module")
def registered(prefect_server: TestServer) -> list[str]:
    """What two registrations in a row printed."""
    done = [prefect_server.run("-m", "deployments.register") for _ in range(2)]
    assert [d.returncode for d in done] == [0, 0], done
    return [d.stdout for d in done]


@pytest.fixture(scope="module")
def gated(prefect_server: TestServer, registered: list[str], tmp_path_factory) -> str:
    """The name of a deployment whose flow waits until a test lets it go on."""
    path = tmp_path_factory.mktemp("gated") / "prefect.yaml"
    path.write_text(GATED)
    done = prefect_server.run("-m", "deployments.register", "--prefect-file", str(path))
    assert done.returncode == 0, done.stderr
    return "gated/one-at-a-time"


class Gate:
    """One run of the gated flow."""

    def __init__(self, server: TestServer, deployment: str, folder) -> None:
        self.server, self.folder = server, folder
        os.mkfifo(folder / "gate")
        self.id = server.ask(lambda client: start(client, deployment, {"folder": str(folder)})).id

    def read(self) -> FlowRun:
        return self.server.ask(lambda client: client.read_flow_run(self.id))

    def pids(self) -> list[int]:
        """Processes that began an attempt, oldest first."""
        path = self.folder / "attempts"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def wait_for_attempt(self, n: int) -> int:
        """The process of the n-th attempt, once it has begun and says it is running."""
        wait_for(
            lambda: len(self.pids()) >= n and self.read().state.is_running(), f"attempt {n} of {self.id}"
        )
        return self.pids()[n - 1]

    def open(self) -> None:
        """Let the flow go on."""
        (self.folder / "gate").write_bytes(b"")

    def wait_until_completed(self) -> None:
        def completed() -> bool:
            return self.read().state.is_completed()

        wait_for(completed, f"completion of {self.id}")


async def start(client, deployment: str, parameters: dict) -> FlowRun:
    found = await client.read_deployment_by_name(deployment)
    return await client.create_flow_run_from_deployment(found.id, parameters=parameters)


def ending(server: TestServer, run: FlowRun) -> State | None:
    """The state in which a run ended, if it has."""
    state = server.ask(lambda client: client.read_flow_run(run.id)).state
    return state if state.is_final() else None


def test_the_server_answers_ready(prefect_server):
    assert launch.answers(f"{prefect_server.api_url}/ready")


def test_registering_deploys_every_entry_of_prefect_yaml(prefect_server, registered):
    found = prefect_server.ask(lambda client: client.read_deployments(limit=200))
    deployed = {(d.entrypoint, d.name): d for d in found}
    for entry in ENTRIES:
        deployment = deployed[entry["entrypoint"], entry["name"]]
        assert deployment.parameters == entry["parameters"]
        assert deployment.work_pool_name == entry["work_pool"]["name"]
        assert set(deployment.tags) == set(entry["tags"])
        assert deployment.pull_steps[0].popitem()[1]["directory"] == "{{ $DAGSVERK_ROOT }}"


def test_registering_again_changes_nothing(registered):
    assert "pool cpu created" in registered[0]
    assert registered[1].splitlines()[-1] == "changed: nothing"


def test_registering_makes_the_pools_the_demo_queue_and_a_limit_per_system(prefect_server, registered):
    pools = prefect_server.ask(lambda client: client.read_work_pools())
    assert {p.name for p in pools} >= set(POOLS)
    queues = prefect_server.ask(lambda client: client.read_work_queues(work_pool_name="cpu"))
    assert DEMO_QUEUE in {q.name for q in queues}
    limits = prefect_server.ask(lambda client: client.read_global_concurrency_limits(limit=200))
    assert {(limit.name, limit.limit) for limit in limits} >= {("tabular-titanic", 1), ("tabular-iris", 1)}


def test_a_deployment_with_a_cron_gets_scheduled_runs(prefect_server, registered):
    async def scheduled(client):
        day = await client.read_deployment_by_name("day/titanic")
        wanted = DeploymentFilter.model_validate({"id": {"any_": [day.id]}})
        return await client.read_flow_runs(deployment_filter=wanted)

    runs = wait_for(lambda: prefect_server.ask(scheduled), "a scheduled run of day/titanic")
    assert runs[0].state_type == StateType.SCHEDULED
    assert runs[0].parameters == {"system": "titanic"}


def test_registering_deploys_what_prefect_deploy_does(prefect_server, registered, tmp_path):
    entry = next(e for e in ENTRIES if (e["entrypoint"], e["name"]) == ("flows.tabular.day", "iris"))
    path = tmp_path / "prefect.yaml"
    head = {
        k: v for k, v in yaml.safe_load((ROOT / "prefect.yaml").read_text()).items() if k in ("name", "pull")
    }
    path.write_text(yaml.safe_dump({**head, "deployments": [{**entry, "name": "by-command"}]}))
    done = prefect_server.run("-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(path))
    assert done.returncode == 0, done.stderr
    own = {
        "id",
        "created",
        "updated",
        "name",
        "version",
        "version_id",
        "version_info",
        "schedules",
        "global_concurrency_limit",
    }
    ours, theirs = (
        prefect_server.ask(lambda client, n=name: client.read_deployment_by_name(f"day/{n}"))
        for name in ("iris", "by-command")
    )
    form = ours.parameter_openapi_schema
    assert form == {**theirs.parameter_openapi_schema, "additionalProperties": False}
    own |= {"parameter_openapi_schema"}
    assert ours.model_dump(exclude=own) == theirs.model_dump(exclude=own)
    assert [s.schedule for s in ours.schedules] == [s.schedule for s in theirs.schedules]


def test_a_worker_told_to_stop_lets_its_run_finish(prefect_server, gated, tmp_path):
    gate = Gate(prefect_server, gated, tmp_path)
    with prefect_server.worker(drain_s=60) as worker:
        gate.wait_for_attempt(1)
        worker.send_signal(signal.SIGTERM)
        gate.open()
        assert worker.wait(60) == 0
    assert gate.read().state.is_completed()
    assert len(gate.pids()) == 1


def test_runs_are_handed_back_by_a_stopped_worker_and_resumed_after_a_crash(prefect_server, gated, tmp_path):
    gate = Gate(prefect_server, gated, tmp_path)
    with prefect_server.worker(drain_s=0) as worker:
        first = gate.wait_for_attempt(1)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    assert gate.read().state_name == "AwaitingRetry"
    assert not Path(f"/proc/{first}").exists()
    with prefect_server.worker(drain_s=0):
        os.kill(gate.wait_for_attempt(2), signal.SIGKILL)
        wait_for(lambda: len(gate.pids()) == 3, "an attempt after the crash")
        gate.open()
        gate.wait_until_completed()
    log = log_path(prefect_server.folders.logs, str(gate.id)).read_text()
    assert log.count("Beginning flow run") == 3, "the output of every attempt is kept"


def test_a_parent_that_is_killed_goes_on_with_the_child_it_had_started(prefect_server, gated, tmp_path):
    gate = Gate(prefect_server, "parent/parent", tmp_path)
    parents = tmp_path / "parents"
    with prefect_server.worker(drain_s=0):
        wait_for(gate.pids, "the child's attempt")
        os.kill(int(parents.read_text()), signal.SIGKILL)
        wait_for(lambda: len(parents.read_text().split()) == 2, "the parent's second attempt")
        gate.open()
        gate.wait_until_completed()
    assert len(gate.pids()) == 1


def test_a_child_that_fails_fails_its_parent(prefect_server, gated, tmp_path):
    (tmp_path / "gate").mkdir()  # cannot be read
    run = prefect_server.ask(lambda client: start(client, "parent/parent", {"folder": str(tmp_path)}))
    with prefect_server.worker(drain_s=0):
        ended = wait_for(lambda: ending(prefect_server, run), "the end of the parent")
    assert ended.is_failed()
    assert "(gated/child) ended Failed: IsADirectoryError" in ended.message


def look(server: TestServer, *, late_s: float = SETTLES_S + 1) -> list[str]:
    """What a reconciler does that has seen the present facts for so long."""

    async def looked(client):
        found = Reconciler(client, server.folders.logs, prefect_home=server.folders.prefect)
        found.watch.last = time.monotonic()
        for run in await found.candidates():
            found.watch.since[run.id] = ((run.state_id, None), time.monotonic() - late_s)
        return await found.look()

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
    told = look(prefect_server)
    assert read(prefect_server, run).state_name == "AwaitingRetry"
    limit = prefect_server.ask(lambda client: client.read_global_concurrency_limit_by_name("tabular-iris"))
    assert limit.active_slots == 0
    assert any(run.name in line for line in told)


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
        found = Reconciler(client, prefect_server.folders.logs, prefect_home=prefect_server.folders.prefect)
        await found._end_left_tasks(0.0)
        early = (await client.read_task_run(left.id)).state
        await found._end_left_tasks(RECORDED_S + 1)
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


def test_automations_of_earlier_versions_are_removed(prefect_server, registered):
    async def make_and_register(client):
        automation = AutomationCore.model_validate(
            {
                "name": RETIRED_AUTOMATIONS[0],
                "trigger": {"type": "event", "posture": "Reactive", "expect": ["x"], "threshold": 1},
                "actions": [{"type": "do-nothing"}],
            }
        )
        await client.create_automation(automation)
        done = Registered()
        await retire_automations(client, done)
        return done.changes, await client.read_automations()

    changes, left = prefect_server.ask(make_and_register)
    assert changes == [f"automation {RETIRED_AUTOMATIONS[0]} removed"]
    assert not {a.name for a in left} & set(RETIRED_AUTOMATIONS)


def test_a_flow_ends_with_its_worker_and_the_next_worker_goes_on(prefect_server, gated, tmp_path):
    gate = Gate(prefect_server, gated, tmp_path)
    with prefect_server.worker(drain_s=0) as worker:
        first = gate.wait_for_attempt(1)
        worker.kill()
        wait_for(lambda: not psutil.pid_exists(first), "the end of the flow's process")
    with prefect_server.worker(drain_s=0):
        wait_for(lambda: len(gate.pids()) == 2, "the attempt of the next worker")
        gate.open()
        gate.wait_until_completed()


def test_a_pool_of_another_type_is_refused_with_the_next_move(prefect_server, registered):
    done = prefect_server.run("-m", "deployments.register", "--pool-type", "kubernetes")
    assert done.returncode == 1
    assert "pool types with templates: process" in done.stderr


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
        found = await client.read_global_concurrency_limits(limit=200)
        return {limit.name: limit.active_slots for limit in found}

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
