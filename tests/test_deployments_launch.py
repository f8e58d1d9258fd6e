"""The start on one machine: ports, the lock, environments, child processes, the demo's choices."""

import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Crashed, Running

from deployments import demo, engine, launch, up
from deployments.engine import log_path
from deployments.launch import Child, Folders, LaunchError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(tmp_path / "state")
    made.make()
    return made


def test_a_taken_port_is_replaced_by_a_free_one():
    with socket.socket() as taken:
        taken.bind((launch.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert launch.free_port(port) not in (0, port)


def test_a_free_port_is_used():
    port = launch.free_port(0)
    assert launch.free_port(port) == port


def test_the_state_folder_has_one_owner_whose_address_the_second_is_told(folders):
    with launch.sole_owner(folders) as owner:
        owner.tell("http://127.0.0.1:4200/api")
        with (
            pytest.raises(LaunchError, match=rf"by process {os.getpid()}, Prefect at http://127.0.0.1:4200:"),
            launch.sole_owner(folders),
        ):
            pass


def test_the_state_folder_is_free_again_after_its_owner(folders):
    owners = []
    for name in ("first", "second"):
        with launch.sole_owner(folders):
            owners.append(name)
    assert owners == ["first", "second"]


@pytest.mark.slow
def test_what_a_killed_start_has_left_is_waited_for(folders, capsys):
    code = f"""
import subprocess, sys
from pathlib import Path
from deployments import launch
with launch.sole_owner(launch.Folders(Path({str(folders.state)!r}))) as owner:
    owner.tell("http://127.0.0.1:4200/api")
    code = "import time; time.sleep(3)"
    command = [sys.executable, "-c", code]
    left = subprocess.Popen(command, pass_fds=[owner.descriptor], stdout=subprocess.DEVNULL)
    print("held", flush=True)
    sys.stdin.read()
"""
    first = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert first.stdout.readline() == "held\n"
    first.kill()
    first.communicate()
    with launch.sole_owner(folders):
        assert "waiting for what a start that was killed has left" in capsys.readouterr().out


def test_a_state_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LaunchError, match="name another folder with --state"):
        Folders(tmp_path / "file" / "state").make()


def test_settings_of_another_server_do_not_reach_our_processes(folders):
    given = {
        "PREFECT_API_URL": "https://else/api",
        "PREFECT_API_KEY": "k",
        "PREFECT_PROFILE": "p",
        "HOME": "/h",
    }
    wanted = launch.environment(folders, "http://127.0.0.1:4200/api", given)
    assert wanted["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert wanted["PREFECT_HOME"] == str(folders.prefect)
    assert wanted["HOME"] == "/h"
    assert not {"PREFECT_API_KEY", "PREFECT_PROFILE"} & set(wanted)


def test_a_setting_that_a_person_gave_wins_over_ours(folders):
    given = {"PREFECT_WORKER_QUERY_SECONDS": "7"}
    assert launch.environment(folders, "http://x/api", given)["PREFECT_WORKER_QUERY_SECONDS"] == "7"


@pytest.mark.parametrize(
    "given, expected",
    [
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("/data/store", "/data/store"),
        (
            "here/store",
            str(Path.cwd() / "here" / "store"),
        ),  # flows run elsewhere: relative to where we are now
    ],
)
def test_a_store_that_a_person_gave_is_kept_and_made_absolute(folders, given, expected):
    assert (
        launch.environment(folders, "http://x/api", {"DAGSVERK_STORE": given})["DAGSVERK_STORE"] == expected
    )


def test_a_persons_own_prefect_address_is_said_to_be_ignored(folders):
    environ = {"PREFECT_API_URL": "https://else/api"}
    note = launch.adopt(environ, launch.environment(folders, "http://127.0.0.1:4200/api", environ))
    assert note == "PREFECT_API_URL=https://else/api is not used: this starts a Prefect server of its own"
    assert environ["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"


def test_a_child_ends_when_its_parent_is_gone(folders):
    child = Child("a server", ["http.server", "0", "--bind", launch.HOST], folders.logs / "child.log")
    child.process.stdin.close()  # what the end of the parent does
    assert child.process.wait(30) == -signal.SIGTERM


@pytest.mark.slow
def test_a_flow_process_keeps_its_output_in_a_file_of_its_run(tmp_path):
    environ = {**os.environ, "DAGSVERK_LOGS": str(tmp_path), "PREFECT__FLOW_RUN_ID": "not-an-id"}
    done = subprocess.run(
        [sys.executable, "-m", "deployments.engine"],
        check=False,
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert (done.stdout, done.stderr) == ("", "")
    assert log_path(tmp_path, "not-an-id").stat().st_size > 0


def test_old_logs_of_runs_are_removed_and_new_ones_kept(folders):
    old, new = folders.logs / "runs" / "old.log", folders.logs / "runs" / "new.log"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    launch.prune_logs(folders.logs, new.stat().st_mtime + launch.RUN_LOGS_KEPT_S - 1)
    assert [p.name for p in (folders.logs / "runs").iterdir()] == ["new.log"]


def test_the_demo_runs_the_days_that_are_tagged_for_it_or_those_asked_for():
    days = demo.days_of(ROOT / "prefect.yaml")
    assert [day.deployment for day in demo.chosen_days(None, days)] == [
        "day/titanic",
        "day/iris",
        "speech-day/swedish",
    ]
    assert [day.system for day in demo.chosen_days("italian, iris", days)] == ["italian", "iris"]


def test_the_demo_refuses_a_day_in_the_future():
    with pytest.raises(LaunchError, match=r"2026-02-01 is in the future: today is 2026-01-31 \(UTC\)"):
        demo.checked(dt.date(2026, 2, 1), dt.date(2026, 1, 31))


def test_the_demo_refuses_an_unknown_system_and_names_the_known():
    with pytest.raises(LaunchError, match=r"no day of wine in prefect.yaml; there are: titanic, iris"):
        demo.chosen_days("iris,wine", demo.days_of(ROOT / "prefect.yaml"))


def test_a_crash_counts_as_the_end_only_when_nothing_resumes_it():
    crashed = FlowRun(flow_id="00000000-0000-0000-0000-000000000000", state=Crashed())
    day = demo.Watched("iris", crashed)
    assert not day.ended(now=100.0)
    assert day.ended(now=100.0 + demo.CRASH_SETTLES_S + 1)
    assert demo.Watched("iris", crashed.model_copy(update={"state": Completed()})).ended(now=0.0)
    assert not demo.Watched("iris", crashed.model_copy(update={"state": Running()})).ended(now=0.0)


def test_up_and_demo_keep_state_below_the_checkout_unless_told():
    assert up.parse([]).state == demo.parse([]).state == ROOT / ".dagsverk"


@pytest.mark.parametrize("pool", ["cpu", "gpu"])
def test_pool_templates_are_those_of_the_installed_prefect_with_our_defaults(pool):
    from prefect.workers.process import ProcessWorker

    ours = json.loads((ROOT / "deployments" / "pools" / "process" / f"{pool}.json").read_text())
    theirs = ProcessWorker.get_default_base_job_template()
    defaults = {"stream_output": False, "command": "python -m deployments.engine"}
    defaults["env"] = {
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": launch.SETTINGS["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]
    }
    for name, value in defaults.items():
        theirs["variables"]["properties"][name]["default"] = value
    assert ours == theirs


def test_a_flow_whose_worker_was_killed_before_it_could_look_ends_all_the_same():
    ended = subprocess.Popen(["true"])
    ended.wait()
    code = "import runpy, time; runpy.run_module = lambda *_, **__: time.sleep(600)\n"
    code += "from deployments import engine; engine.main()"
    environ = {k: v for k, v in os.environ.items() if not k.startswith("DAGSVERK")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environ, engine.WORKER: str(ended.pid)},
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGTERM
