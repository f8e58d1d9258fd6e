"""`dagsverk doctor` at a real Prefect server, with runs, workers, limits and schedules in each bad state."""

import datetime as dt
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from doctor_site import SECRET, package, reported, silent, warned, wrong
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import Crashed, Pending, Running, Scheduled
from prefect_server import TestServer, wait_for

from dagsverk.doctor import runs, server
from dagsverk.doctor.finding import Installation, Level
from dagsverk.doctor.server import NoAnswer
from dagsverk.doors import Doors, rules_from
from dagsverk.login import prefect_settings
from deployments import claims, launch

MINUTE_S = 60.0


@dataclass
class Site:
    """A pool and a deployment of their own on the server of the session."""

    server: TestServer
    root: Path
    pool: str
    deployment: uuid.UUID
    flow: uuid.UUID

    def here(self, later_s: float = 0.0, **environ: str) -> Installation:
        """The installation, looked at some seconds later."""
        given = {"PREFECT_API_URL": self.server.api_url, **environ}
        return Installation(self.root, self.server.folders.state, given, lambda: time.time() + later_s)

    def run(self, state, **more):
        """A run of the deployment in a state."""

        async def made(client):
            run = await client.create_flow_run_from_deployment(self.deployment, state=Scheduled(), **more)
            answer = await client.set_flow_run_state(run.id, state, force=True)
            assert answer.status.value == "ACCEPT"
            return await client.read_flow_run(run.id)

        return self.server.ask(made)

    def post(self, path: str, body) -> httpx.Response:
        return httpx.post(f"{self.server.api_url}{path}", json=body).raise_for_status()


@pytest.fixture
def site(prefect_server, tmp_path) -> Iterator[Site]:
    name = f"doctor-{uuid.uuid4().hex[:6]}"

    async def made(client):
        await client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        flow = await client.create_flow_from_name(name)
        deployment = await client.create_deployment(
            flow, "titanic", entrypoint="flows.tabular.day", work_pool_name=name, tags=["resumable"]
        )
        return flow, deployment

    flow, deployment = prefect_server.ask(made)
    yield Site(prefect_server, tmp_path, name, deployment, flow)

    async def removed(client):
        await client.delete_flow(flow)
        await client.delete_work_pool(name)

    prefect_server.ask(removed)


# ---------------------------------------------------------------- the server


def test_a_server_that_is_ready_is_fine_and_a_clock_that_differs_is_told(site):
    assert "is ready" in reported(server.answers, site.here(), Level.FINE) and silent(
        server.answers, site.here()
    )
    words = wrong(server.answers, site.here(later_s=5 * MINUTE_S))
    assert "the clock of the Prefect server is" in words and "behind" in words


def test_a_server_of_another_version_is_told(site, tmp_path, monkeypatch):
    package(tmp_path, "prefect", "3.8.8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "here is 3.8.8" in wrong(server.answers, site.here())


def told_before_the_end(here: Installation) -> str:
    """What is said before the checks that follow are left out."""
    words = []
    with pytest.raises(NoAnswer):
        for finding in server.answers(here):
            words.append(f"{finding.what} -> {finding.remedy}")
    return "\n".join(words)


def test_no_server_a_silent_one_and_one_that_is_not_prefects_are_told(tmp_path):
    assert "no Prefect server runs here" in told_before_the_end(Installation(tmp_path, tmp_path, {}))
    with socket.socket() as silent_one:
        silent_one.bind(("127.0.0.1", 0))
        silent_one.listen()
        url = f"http://127.0.0.1:{silent_one.getsockname()[1]}/api"
        begun = time.monotonic()
        words = told_before_the_end(Installation(tmp_path, tmp_path, {"PREFECT_API_URL": url}))
        assert "does not answer (ReadTimeout)" in words and time.monotonic() - begun < 10
    with served(plain) as address:
        words = told_before_the_end(Installation(tmp_path, tmp_path, {"PREFECT_API_URL": f"{address}/api"}))
        assert "is no Prefect server (200)" in words
    folders = launch.Folders(tmp_path / "state")
    folders.make()
    with launch.sole_owner(folders) as owner:
        owner.tell("http://127.0.0.1:9/api")
        words = told_before_the_end(Installation(tmp_path, folders.state, {}))
        assert "http://127.0.0.1:9 does not answer" in words and "server.log" in words


async def plain(scope, _, send):
    await answer(send, b"<html>", "text/html")


async def like_prefect(scope, _, send):
    await answer(send, b'"3.9.1"', "application/json")


async def answer(send, body: bytes, kind: str):
    headers = [(b"content-type", kind.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def served(app, host: str = "127.0.0.1") -> Iterator[str]:
    config = uvicorn.Config(app, host=host, port=0, log_level="critical", lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    wait_for(lambda: running.started, "the server")
    try:
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join()


def test_a_login_that_the_server_does_not_know_is_told_and_the_right_one_is_fine(tmp_path):
    rules = rules_from({"DAGSVERK_LOGIN": f"anna:{SECRET}"}, "127.0.0.1")
    doors = Doors(like_prefect, rules, open_paths=("/api/health", "/api/ready"), guarded="/api/", asks=False)

    def here(**environ: str) -> Installation:
        return Installation(tmp_path, tmp_path, {"PREFECT_API_URL": f"{address}/api", **environ})

    with served(doors) as address:
        assert "wants another login (401)" in told_before_the_end(here())
        assert "wants another login" in told_before_the_end(here(DAGSVERK_LOGIN="anna:something else"))
        assert "is ready" in reported(server.answers, here(DAGSVERK_LOGIN=f"anna:{SECRET}"), Level.FINE)
        given = prefect_settings(rules.login)
        assert "is ready" in reported(server.answers, here(**given), Level.FINE)


def test_a_name_by_which_the_server_is_not_known_is_told(tmp_path):
    name = socket.gethostname()
    with suppress(OSError):
        socket.gethostbyname(name)
        doors = Doors(
            like_prefect, rules_from({"DAGSVERK_LOGIN": f"anna:{SECRET}"}, "0.0.0.0"), open_paths=()
        )
        with served(doors, "0.0.0.0") as address:
            url = address.replace("127.0.0.1", name) + "/api"
            words = told_before_the_end(Installation(tmp_path, tmp_path, {"PREFECT_API_URL": url}))
            assert "DAGSVERK_HOSTS" in words
        return
    pytest.skip("this machine's name has no address")


def test_a_shell_that_talks_to_another_server_is_told(tmp_path):
    folders = launch.Folders(tmp_path)
    folders.make()
    with launch.sole_owner(folders) as owner:
        owner.tell("http://127.0.0.1:4200/api")
        given = {"PREFECT_API_URL": f"http://u:{SECRET}@elsewhere:4200/api"}
        words = warned(server.elsewhere, Installation(tmp_path, tmp_path, given))
    assert "export PREFECT_API_URL=http://127.0.0.1:4200/api" in words and SECRET not in words


# ---------------------------------------------------------------- workers and runs


def test_a_pool_with_runs_to_start_and_no_worker_is_told_until_one_is_online(site):
    assert f"no worker serves pool {site.pool}; nothing is due" in reported(
        runs.workers, site.here(), Level.FINE
    )
    site.run(Scheduled(scheduled_time=dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)))
    assert f"no worker serves pool {site.pool}; due by tomorrow: 1 " in wrong(runs.workers, site.here())
    site.post(
        f"/work_pools/{site.pool}/workers/heartbeat", {"name": "anna", "heartbeat_interval_seconds": 30}
    )
    assert f"pool {site.pool}: anna" in reported(runs.workers, site.here(), Level.FINE)
    httpx.patch(f"{site.server.api_url}/work_pools/{site.pool}", json={"is_paused": True}).raise_for_status()
    assert f"pool {site.pool} is paused; due by tomorrow: 1 " in warned(runs.workers, site.here())


def test_a_late_run_is_told_and_one_that_waits_for_its_turn_is_not(site):
    run = site.run(Scheduled(scheduled_time=dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)))
    turn = Scheduled(scheduled_time=dt.datetime.now(dt.UTC), name="AwaitingConcurrencySlot")
    waiting = site.run(turn)
    assert run.name not in warned(runs.late, site.here())
    later = site.here(later_s=3 * MINUTE_S)
    assert run.name in warned(runs.late, later) and waiting.name not in warned(runs.late, later)
    assert "waiting for their turn" in reported(runs.late, later, Level.FINE)


def test_a_running_run_is_stuck_when_its_process_has_ended_here_or_it_sends_no_heartbeat(site):
    run = site.run(Running())
    assert run.name not in wrong(runs.stuck, site.here(later_s=MINUTE_S))
    later = site.here(later_s=3.1 * MINUTE_S)
    assert f"{run.name} (Running for 3 min, without a heartbeat" in wrong(runs.stuck, later)
    logs = site.server.folders.logs
    claims.claim(logs, str(run.id), "worker")
    assert f"{run.name} (Running for 3 min, its process has ended here)" in wrong(runs.stuck, later)
    handle = claims.hold(logs, str(run.id))
    assert run.name not in wrong(runs.stuck, later)
    os.close(handle)
    claims.release(logs, str(run.id))


def test_a_called_function_is_stuck_only_if_it_has_sent_heartbeats_and_stopped(site):
    body = {"flow_id": str(site.flow), "state": {"type": "RUNNING", "name": "Running"}}
    called = site.post("/flow_runs/", body).json()
    later = site.here(later_s=3.1 * MINUTE_S)
    assert called["name"] not in wrong(runs.stuck, later)
    heartbeat(site, called["id"])
    wait_for(lambda: called["name"] in wrong(runs.stuck, later), "the heartbeat is kept")
    assert called["name"] not in wrong(runs.stuck, site.here(later_s=MINUTE_S))


@pytest.mark.parametrize("beat_s, is_lost", [(30, False), (119, False), (121, True), (None, True)])
def test_a_run_that_has_run_for_an_hour_is_lost_four_heartbeats_after_the_last(beat_s, is_lost, tmp_path):
    now = dt.datetime.now(dt.UTC)

    def ago(seconds: float) -> str:
        return (now - dt.timedelta(seconds=seconds)).isoformat()

    run = {"id": "1", "state_name": "Running", "state_type": "RUNNING", "parent_task_run_id": None}
    run |= {"deployment_id": "2", "state": {"timestamp": ago(3600)}}
    here = Installation(tmp_path, tmp_path, {}, now.timestamp)
    assert bool(runs.lost(here, run, beat_s and ago(beat_s))) is is_lost


def heartbeat(site: Site, run_id: str) -> None:
    event = {
        "occurred": dt.datetime.now(dt.UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run_id}"},
        "id": str(uuid.uuid4()),
    }
    site.post("/events", [event])


def test_a_run_that_is_pending_for_long_is_stuck(site):
    run = site.run(Pending())
    assert run.name not in wrong(runs.stuck, site.here(later_s=4 * MINUTE_S))
    assert f"{run.name} (Pending for 6 min)" in wrong(runs.stuck, site.here(later_s=6.2 * MINUTE_S))


def test_a_crashed_run_that_nobody_resumes_is_told(site):
    run = site.run(Crashed())
    assert run.name not in warned(runs.crashed, site.here())
    assert run.name in warned(runs.crashed, site.here(later_s=2 * MINUTE_S))


def test_a_place_that_no_started_run_holds_is_told(site):
    name = f"limit-{site.pool}"
    site.post("/v2/concurrency_limits/", {"name": name, "limit": 2, "active": True})
    run = site.run(Running())
    with served_here(site) as here:
        lease = {"names": [name], "slots": 1, "mode": "concurrency", "lease_duration": 300}
        site.post(
            "/v2/concurrency_limits/increment-with-lease",
            {**lease, "holder": {"type": "flow_run", "id": str(run.id)}},
        )
        assert name not in warned(runs.limits, here)
        site.post("/v2/concurrency_limits/increment", {"names": [name], "slots": 1, "mode": "concurrency"})
        assert f"limit {name}: places taken 2, by started runs 1" in warned(runs.limits, here)
        site.server.ask(lambda client: client.set_flow_run_state(run.id, Crashed(), force=True))
        assert f"limit {name}: places taken 2, by started runs 0" in warned(runs.limits, here)
    httpx.delete(f"{site.server.api_url}/v2/concurrency_limits/{name}").raise_for_status()


@contextmanager
def served_here(site: Site) -> Iterator[Installation]:
    """As when the launcher of this state folder has started the server."""
    with launch.sole_owner(site.server.folders) as owner:
        owner.tell(site.server.api_url)
        yield site.here()


def test_a_schedule_that_somebody_paused_is_told_and_one_that_is_meant_so_is_not(site, monkeypatch):
    # The server is shared: others' paused schedules must not push this one off the short list.
    monkeypatch.setattr(runs, "some", ", ".join)
    (site.root / "prefect.yaml").write_text(
        json.dumps(
            {
                "deployments": [
                    {
                        "entrypoint": "flows.tabular.day",
                        "name": "titanic",
                        "schedules": [
                            {"cron": "1 1 * * *", "slug": "daily"},
                            {"slug": "hourly", "active": False},
                        ],
                    },
                    {"entrypoint": "flows.tabular.day", "name": "a-new-one"},
                ]
            }
        )
    )
    schedules = [
        {"schedule": {"cron": "1 1 * * *", "timezone": "UTC"}, "active": True, "slug": "daily"},
        {"schedule": {"cron": "1 * * * *", "timezone": "UTC"}, "active": False, "slug": "hourly"},
    ]
    made = site.post(f"/deployments/{site.deployment}/schedules", schedules).json()
    mine = "day/titanic"
    before = warned(runs.schedules, site.here()).count(mine)
    daily = next(one["id"] for one in made if one["slug"] == "daily")
    url = f"{site.server.api_url}/deployments/{site.deployment}/schedules/{daily}"
    httpx.patch(url, json={"active": False}).raise_for_status()
    assert warned(runs.schedules, site.here()).count(mine) == before + 1
    words = warned(runs.deployments, site.here())
    assert "in prefect.yaml, and not on the server: flows.tabular.day a-new-one" in words
