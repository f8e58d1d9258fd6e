"""What the deployments do on a real Prefect server with real workers."""

import os
import signal
from pathlib import Path

import psutil
import pytest
import yaml
from gated_runs import register_gated, start
from prefect.client.schemas.filters import DeploymentFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.events.schemas.automations import AutomationCore
from prefect_server import ROOT, TestServer, wait_for

from deployments import claims, launch
from deployments.engine import log_path
from deployments.launch import DEMO_QUEUE
from deployments.register import POOLS, RETIRED_AUTOMATIONS, Registered, retire_automations

ENTRIES = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.fixture(scope="module")
def gated(prefect_server: TestServer, registered: list[str], tmp_path_factory) -> str:
    """The name of a deployment whose flow waits until a test lets it go on."""
    return register_gated(prefect_server, tmp_path_factory)


@pytest.fixture(scope="module")
def registered(prefect_server: TestServer) -> list[str]:
    """What two registrations in a row printed."""
    done = [prefect_server.run("-m", "deployments.register") for _ in range(2)]
    assert [d.returncode for d in done] == [0, 0], done
    return [d.stdout for d in done]


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


def ending(server: TestServer, run: FlowRun) -> State | None:
    """The state in which a run ended, if it has."""
    state = server.ask(lambda client: client.read_flow_run(run.id)).state
    return state if state.is_final() else None


def test_the_server_answers_ready(prefect_server):
    assert launch.answers(f"{prefect_server.api_url}/ready")


def test_registering_deploys_every_entry_of_prefect_yaml(prefect_server, registered):
    deployments = prefect_server.ask(lambda client: client.read_deployments(limit=200))
    deployed = {(d.entrypoint, d.name): d for d in deployments}
    for entry in ENTRIES:
        deployment = deployed[entry["entrypoint"], entry["name"]]
        assert deployment.parameters == entry["parameters"]
        assert deployment.work_pool_name == entry["work_pool"]["name"]
        assert set(deployment.tags) == set(entry["tags"])
        assert deployment.pull_steps[0].popitem()[1]["directory"] == "{{ $DAGSVERK_ROOT }}"


def test_registering_again_changes_nothing(registered):
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
        wait_for(lambda: not list(claims.leftovers(str(gate.id))), "the end of what the attempts had started")
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
