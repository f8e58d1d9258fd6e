"""`make up` as a person meets it: one start, its processes killed one by one, Ctrl-C, a dead launcher."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from prefect_server import ROOT, wait_for

from deployments import launch

PARTS = {
    "database": "deployments.postmaster",
    "server": "deployments.server",
    "worker": "deployments.worker",
    "pages": "deployments.guard ui ",
}


class Up:
    """A launcher, and what it has started."""

    def __init__(self, state: Path) -> None:
        self.output = state.with_suffix(".out")
        options = ["--state", str(state), "--port", "0", "--pages-port", "0", "--drain-s", "2"]
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "DAGSVERK_STORE"))}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deployments.up", *options],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environ,
            )
        wait_for(
            lambda: "Ctrl-C stops all of it" in self.said or self.process.poll() is not None, "the start"
        )
        assert self.process.poll() is None, self.said

    @property
    def said(self) -> str:
        return self.output.read_text()

    def address(self, word: str) -> str:
        return next(line.split()[1] for line in self.said.splitlines() if line.startswith(f"  {word} "))

    def parts(self) -> dict[str, psutil.Process]:
        parts = {}
        for child in self.children():
            with contextlib.suppress(psutil.Error):
                line = " ".join(child.cmdline())
                parts |= {name: child for name, mark in PARTS.items() if mark in line}
        return parts

    def children(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=False)
        return []

    def everything(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("up") / "state"


@pytest.fixture(scope="module")
def up(state) -> Iterator[Up]:
    started = Up(state)
    yield started
    started.process.kill()
    started.process.wait()


def ended(processes: list[psutil.Process]) -> Callable[[], bool]:
    def all_ended() -> bool:
        return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    return all_ended


@pytest.mark.parametrize("name", ["pages", "worker", "server", "database"])
def test_a_part_that_is_killed_is_started_again(up, name):
    before = up.parts()[name]
    before.kill()

    def again() -> bool:
        now = up.parts().get(name)
        return now is not None and now.pid != before.pid

    wait_for(again, f"another process for the {name}")
    wait_for(lambda: launch.answers(f"{up.address('Prefect')}/api/ready"), "the server's answer")
    wait_for(lambda: launch.responds(f"{up.address('pages')}/healthz"), "the pages' answer")
    assert up.process.poll() is None


def test_the_database_has_no_port_and_no_login_reaches_it_from_outside(up):
    postgres = [p for p in up.everything() if p.name().startswith("postgres")]
    assert postgres
    for process in postgres:
        with contextlib.suppress(psutil.NoSuchProcess):  # one that served a connection may end meanwhile
            assert process.net_connections("inet") == []


def test_ctrl_c_is_heard_while_the_server_is_frozen_and_leaves_no_process(up, state):
    everything = up.everything()
    up.parts()["server"].send_signal(signal.SIGSTOP)
    up.process.send_signal(signal.SIGINT)
    wait_for(lambda: up.process.poll() is not None, "the end of the launcher", 60)
    assert up.process.returncode == 0, up.said
    assert ended(everything)()


def test_a_launcher_that_is_killed_leaves_nothing_and_the_next_start_goes_on(state):
    first = Up(state)
    everything = first.everything()
    first.process.kill()
    first.process.wait()
    wait_for(ended(everything), "the end of what it had started")
    second = Up(state)
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(60) == 0, second.said
