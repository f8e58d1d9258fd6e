"""A real Prefect server for tests, and real processes of ours that talk to it."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from prefect.client.orchestration import PrefectClient

from deployments import installation, launch
from deployments.launch import Folders
from deployments.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0  # for a loaded machine; a quiet one needs seconds


@dataclass(frozen=True)
class TestServer:
    """Where the server answers, and the environment of processes that use it."""

    __test__ = False
    api_url: str
    folders: Folders
    environment: dict[str, str]

    def ask(self, question: Callable[[PrefectClient], object]):
        """The answer of a coroutine function that takes a client."""

        async def asked():
            async with PrefectClient(self.api_url) as client:
                return await question(client)

        return asyncio.run(asked())

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        """Run `python ...` to its end."""
        return subprocess.run(
            [sys.executable, *arguments],
            check=False,
            cwd=ROOT,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    @contextmanager
    def worker(self, drain_s: float) -> Iterator[subprocess.Popen]:
        """A worker of pool cpu in a process of its own, killed at the end if it still runs."""
        with (self.folders.logs / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "deployments.worker", "--pool", "cpu", "--drain-s", str(drain_s)],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def wait_for(condition: Callable[[], object], what: str, limit_s: float = PATIENCE_S) -> object:
    """What the condition returns as soon as that is true. Fails the test when the time is up."""
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {limit_s:.0f} s")
        time.sleep(0.1)
    return found


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory) -> Iterator[TestServer]:
    """An embedded server with an empty database, as `make up` starts it."""
    with running_prefect(Folders(tmp_path_factory.mktemp("installation"))) as server:
        yield server


@contextmanager
def running_prefect(folders: Folders, given: Mapping[str, str] = os.environ) -> Iterator[TestServer]:
    """Database and server below the folders, stopped at the end; `given`: a person's own environment."""
    folders.make()
    port = launch.free_port(0)
    api_url = f"http://{launch.HOST}:{port}/api"
    environment = launch.environment(folders, api_url, given)
    environment["PYTHONPATH"] = str(Path(__file__).parent)  # for the flows that tests deploy
    supervisor = Supervisor()
    try:
        server = installation.add_server(supervisor, folders, api_url.removesuffix("/api"), environment)
        supervisor.wait_ready(server, threading.Event())
        yield TestServer(api_url, folders, environment)
    finally:
        supervisor.stop()
