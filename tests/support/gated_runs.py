"""Deployments whose flow waits until a test lets it go on, and runs of them."""

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect_server import TestServer

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


def register_gated(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Pools, limits and these deployments on the server; the name of the first."""
    path = tmp_path_factory.mktemp("gated") / "prefect.yaml"
    path.write_text(GATED)
    done = server.run("-m", "deployments.register", "--prefect-file", str(path))
    assert done.returncode == 0, done.stderr
    return "gated/one-at-a-time"


async def start(client, deployment: str, parameters: dict) -> FlowRun:
    found = await client.read_deployment_by_name(deployment)
    return await client.create_flow_run_from_deployment(found.id, parameters=parameters)
