"""What runs see of a database that is killed under their server."""

import os
import signal
import subprocess
import sys

from prefect.client.schemas.filters import FlowFilter
from prefect_server import ROOT, wait_for

from deployments import postgres


def test_a_run_that_ends_while_the_database_is_away_is_completed_with_all_its_tasks(prefect_server, tmp_path):
    os.mkfifo(tmp_path / "gate")
    code = "import sys, gated_flows; gated_flows.stepping(sys.argv[1], 20)"
    run = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, env=prefect_server.environment
    )
    wait_for((tmp_path / "attempts").exists, "the run waits at its gate")
    kill_the_database(prefect_server)
    (tmp_path / "gate").write_bytes(b"")
    assert run.wait(120) == 0
    assert states(prefect_server, "flow") == ["Completed"]
    wait_for(
        lambda: states(prefect_server, "task") == ["Completed"] * 20, "every task is recorded as completed"
    )


def kill_the_database(server) -> None:
    cluster = postgres.find(server.folders.state / "postgres")
    os.kill(int((cluster.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)


def states(server, kind: str) -> list[str]:
    """The states of the runs of the stepping flow, or of its tasks."""

    async def read(client):
        this = FlowFilter.model_validate({"name": {"any_": ["stepping"]}})
        return await getattr(client, f"read_{kind}_runs")(flow_filter=this)

    return [run.state_name for run in server.ask(read)]
