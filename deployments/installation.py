"""One embedded installation as processes: database, Prefect server, worker and pages, supervised.

The launcher itself imports no Prefect: it stays small, and hears Ctrl-C whatever the others do.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import threading
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from deployments import database, launch
from deployments.launch import Child, Folders, LaunchError, Stages, say
from deployments.supervisor import Running, Service, Supervisor

POOLS_SERVED = ("cpu", "gpu")
ROOM_BYTES = 64 * 2**20
STOP_MARGIN_S = 30.0  # for a worker to hand runs back and end, after it has waited for them


@dataclass
class Signals:
    """Ctrl-C and SIGTERM: the first asks to stop, the second not to wait."""

    stop: threading.Event = field(default_factory=threading.Event)
    hurry: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()


@dataclass
class Installation:
    """A running Prefect server and what else was started."""

    folders: Folders
    url: str
    supervisor: Supervisor
    signals: Signals
    stages: Stages

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    def ready(self, running: Running, stage: str) -> None:
        """Wait until a service is ready. Raises LaunchError; KeyboardInterrupt when told to stop."""
        with self.stages.stage(stage):
            self.supervisor.wait_ready(running, self.signals.stop)
        self.check()

    def check(self) -> None:
        """Raises LaunchError when something vital was given up, KeyboardInterrupt when told to stop."""
        if self.signals.stop.is_set():
            raise KeyboardInterrupt
        self.supervisor.check()

    def register(self) -> Child:
        """Begin to bring the server to what prefect.yaml describes: a process that waits for the server."""
        arguments = ["deployments.register", "--abandon-demo"]
        log = self.folders.logs / "register.log"
        log.write_bytes(b"")  # what it says is about this start
        return Child("the registration", arguments, log, keep_open=self.supervisor.keep_open)

    def registered(self, child: Child) -> None:
        """Wait for its end. Raises LaunchError with what it said when it failed."""
        with self.stages.stage("deployments registered"):
            try:
                while (reason := child.ended()) is None:
                    self.check()
                    self.signals.stop.wait(0.1)
            finally:
                child.kill()
        if child.process.returncode != 0:
            raise LaunchError(reason)

    def add_worker(self, queues: Sequence[str] = (), drain_s: float = 5.0) -> Running:
        """One process serves all pools. It waits by itself for the server and its pools."""
        options = [f"--pool={pool}" for pool in POOLS_SERVED] + [f"--queue={name}" for name in queues]
        command = ["deployments.worker", *options, f"--drain-s={drain_s}"]
        return self.supervisor.add(
            Service(
                name="the worker",
                command=lambda: command,
                log=self.folders.logs / "worker.log",
                grace_s=drain_s + STOP_MARGIN_S,
            )
        )

    def add_pages(self, port: int) -> tuple[Running, str]:
        """The pages, and their address."""
        chosen = _port(port, "the pages answer")
        url = f"http://{launch.HOST}:{chosen}"
        command = ["ui", "--host", launch.HOST, "--port", str(chosen)]
        running = self.supervisor.add(
            Service(
                name="the pages",
                command=lambda: command,
                log=self.folders.logs / "pages.log",
                ready=functools.partial(launch.responds, f"{url}/healthz"),
                alive=functools.partial(launch.responds, f"{url}/api/openapi.json"),  # asks no store
                vital=False,
            )
        )
        return running, url


@contextlib.contextmanager
def running_server(
    folders: Folders, stages: Stages, port: int = launch.SERVER_PORT
) -> Iterator[Installation]:
    """Database and Prefect server below the state folder, stopped at the end with all that was added.

    Raises LaunchError. Changes this process's environment, which its children inherit; Prefect must not be
    imported before.
    """
    signals = Signals()
    signals.listen()
    folders.make()
    with launch.sole_owner(folders) as owner:
        url = f"http://{launch.HOST}:{_port(port, 'Prefect answers')}"
        owner.tell(f"{url}/api")
        if note := launch.adopt(os.environ, launch.environment(folders, f"{url}/api", os.environ)):
            say(note)
        installation = Installation(folders, url, Supervisor(owner.descriptor), signals, stages)
        try:
            add_server(installation.supervisor, folders, url, os.environ)
            yield installation
        finally:
            with stages.stage("stopped"):
                installation.supervisor.stop(signals.hurry)


def add_server(
    supervisor: Supervisor, folders: Folders, url: str, environ: MutableMapping[str, str]
) -> Running:
    """The database, where it is ours, and the server on it. Raises LaunchError.

    Takes DAGSVERK_DATABASE out of `environ`: it may hold a password, and only the server needs it.
    """
    try:
        prepared = database.prepare(folders.state, environ.get(database.VARIABLE, ""))
    except database.DatabaseError as error:
        raise LaunchError(str(error)) from error
    of_server = prepared.server_environment(environ)
    environ.pop(database.VARIABLE, None)
    for note in prepared.notes:
        say(note)
    if prepared.arguments:
        supervisor.add(
            Service(
                name="PostgreSQL",
                command=lambda: prepared.arguments,
                log=folders.logs / "postgres.log",
                ready=prepared.ready,
                grace_s=30.0,
                excuse=functools.partial(disk_full, folders.state),
            )
        )
    host, _, port = url.removeprefix("http://").rpartition(":")
    return supervisor.add(
        Service(
            name="the Prefect server",
            command=lambda: launch.server_arguments(host, int(port)),
            log=folders.logs / "server.log",
            ready=functools.partial(launch.answers, f"{url}/api/ready"),
            alive=functools.partial(launch.responds, f"{url}/api/health"),
            start_s=launch.SERVER_START_S,
            environ=of_server,
        )
    )


def disk_full(folder: Path) -> str:
    """A sentence when there is no room for what a database writes; empty when there is."""
    free = shutil.disk_usage(folder).free
    return "" if free > ROOM_BYTES else f"the disk of {folder} is full: make room on it"


def _port(preferred: int, what: str) -> int:
    chosen = launch.free_port(preferred)
    if preferred and chosen != preferred:
        say(f"port {preferred} is taken: {what} on {chosen}")
    return chosen
