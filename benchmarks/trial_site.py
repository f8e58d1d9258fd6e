"""One installation under trial: a real `python -m deployments.up` in a folder of its own, and its processes.

A process belongs to a trial when its environment or its working folder names the trial's folder; nothing else
is ever signalled.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[1]
START_S = 240.0  # a busy machine that recovers a database
STOP_S = 120.0
MARKS = {  # role -> what its command line holds
    "guard of PostgreSQL": "deployments.postmaster",
    "server": "deployments.server",
    "worker": "deployments.worker",
    "pages": "deployments.guard ui ",
    "flow": "deployments.engine",
}
PLAIN_MARKS = {
    "server": "prefect server start",
    "worker": "prefect worker start",
    "pages": "nothing",
    "flow": "-m prefect.engine",
}


class TrialError(Exception):
    """The trial cannot go on: the installation does not start or end."""


def environment_of(process: psutil.Process) -> dict[str, str]:
    with contextlib.suppress(psutil.Error, OSError):
        return dict(process.environ())
    return {}


def line_of(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def send(processes: Iterable[psutil.Process], number: int) -> list[psutil.Process]:
    """Signal them all. Returns those that were there to hear it."""
    reached = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)
            reached.append(process)
    return reached


@dataclass
class Site:
    """The installation below `room`."""

    room: Path
    pages: bool = True
    extra: Mapping[str, str] = field(default_factory=dict)  # environment
    launcher: subprocess.Popen[bytes] | None = None
    starts: int = 0
    gave_up: int = 0  # times that the launcher ended by itself
    api_url: str = ""
    pages_url: str = ""
    idle_s: float = 1e9  # without a flow process for so long, nothing comes any more

    marks = MARKS

    @property
    def state(self) -> Path:
        return self.room / "state"

    @property
    def output(self) -> Path:
        return self.room / "up.out"

    def start(self) -> None:
        """Start, as a person would, and return when it says that it is ready. Raises TrialError."""
        options = f"--state {self.state} --port 0 --pages-port 0 --drain-s 2".split()
        options += [] if self.pages else ["--no-pages"]
        begun = self.output.stat().st_size if self.output.exists() else 0
        with self.output.open("ab") as output:
            self.launcher = subprocess.Popen(
                [sys.executable, "-m", "deployments.up", *options],
                cwd=ROOT,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.starts += 1
        self._wait_ready(begun)

    def environment(self) -> dict[str, str]:
        foreign = ("PREFECT", "DAGSVERK", "FAKETIME", "LD_PRELOAD")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        return {**kept, "DAGSVERK_RECORDINGS": str(self.room / "recordings"), **self.extra}

    def _wait_ready(self, begun: int) -> None:
        deadline = time.monotonic() + START_S
        while True:
            printed = self.output.read_bytes()[begun:].decode(errors="replace")
            if "Ctrl-C stops all of it" in printed:
                break
            if self.launcher is None or self.launcher.poll() is not None:
                raise TrialError(f"up ended while starting:\n{printed[-2000:]}")
            if time.monotonic() > deadline:
                raise TrialError(f"up was not ready within {START_S:.0f} s:\n{printed[-2000:]}")
            time.sleep(0.1)
        addresses = {
            line.split()[0]: line.split()[1] for line in printed.splitlines() if line.startswith("  ")
        }
        self.api_url, self.pages_url = f"{addresses['Prefect']}/api", addresses.get("pages", "")

    def dead(self) -> bool:
        return self.launcher is None or self.launcher.poll() is not None

    def start_again(self) -> None:
        """After the launcher was told to end, or was killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self.launcher:
                self.launcher.wait(STOP_S)
        self.start()

    def restart_if_ended(self) -> bool:
        """What a person does who sees that the launcher has ended."""
        if not self.dead():
            return False
        self.start()
        return True

    def processes(self) -> list[psutil.Process]:
        """All that belongs to this trial."""
        mark, processes = str(self.room), []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                named = any(mark in value for value in environment_of(process).values())
                if named or mark in line_of(process) or process.cwd().startswith(mark):
                    processes.append(process)
        return processes

    def role(self, name: str) -> list[psutil.Process]:
        """The processes that play a part now."""
        everything = self.processes()
        if name == "everything":
            return everything
        if name == "launcher":
            return [p for p in everything if self.launcher and p.pid == self.launcher.pid]
        if name in ("PostgreSQL", "backend"):
            return self._database(everything, name)
        flows = {p.pid for p in everything if self.marks["flow"] in line_of(p)}
        if name == "child of a flow":
            return [p for p in everything if p.pid not in flows and _below(p, flows)]
        processes = [p for p in everything if self.marks[name] in line_of(p)]
        return processes if name != "flow" else [p for p in processes if not _below(p, flows)]

    def _database(self, everything: list[psutil.Process], name: str) -> list[psutil.Process]:
        servers = [p for p in everything if _name(p).startswith("postgres")]
        pids = {p.pid for p in servers}
        first = [p for p in servers if not _below(p, pids)]
        return first if name == "PostgreSQL" else [p for p in servers if p not in first]

    def answers(self) -> bool:
        """Whether every part that was asked for answers."""
        try:
            ready = httpx.get(f"{self.api_url}/ready", timeout=2).status_code == httpx.codes.OK
            shown = not self.pages_url or httpx.get(f"{self.pages_url}/healthz", timeout=2).is_success
        except httpx.HTTPError:
            return False
        return ready and shown and bool(self.role("worker"))

    def stop(self) -> list[str]:
        """Ctrl-C. Returns the command lines of processes that are left, which are then killed."""
        if self.launcher is not None and self.launcher.poll() is None:
            self.launcher.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.launcher.wait(STOP_S)
        left = self.processes()
        lines = [f"{process.pid} {line_of(process)[:150]}" for process in left]
        send(left, signal.SIGKILL)
        if self.launcher is not None:
            self.launcher.wait()
        return lines

    def locked_claims(self) -> list[str]:
        locked = []
        for path in (self.state / "logs" / "runs").glob("*.claim"):
            with path.open("r+") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    locked.append(path.name)
        return locked


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return str(process.name())
    return ""


def _below(process: psutil.Process, pids: set[int]) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(parent.pid in pids for parent in process.parents())
    return False
