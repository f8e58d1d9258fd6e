"""One embedded installation: a Prefect server as a child process, our workers in this process's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from deployments import launch
from deployments.launch import Child, Folders, Stages, say

if TYPE_CHECKING:
    from deployments.worker import DrainingWorker


@dataclass(frozen=True)
class Server:
    """A running Prefect server."""

    child: Child
    url: str

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"


@contextlib.contextmanager
def running_server(folders: Folders, stages: Stages, port: int = launch.SERVER_PORT) -> Iterator[Server]:
    """Start the server below the state folder and stop it at the end. Raises LaunchError.

    Changes this process's environment, which its children inherit; Prefect must not be imported before.
    """
    _stop_on_signals()
    folders.make()
    with launch.sole_owner(folders) as tell_owner:
        chosen = launch.free_port(port)
        if port and chosen != port:
            say(f"port {port} is taken: Prefect answers on {chosen}")
        server_url = f"http://{launch.HOST}:{chosen}"
        tell_owner(f"{server_url}/api")
        if note := launch.adopt(os.environ, launch.environment(folders, f"{server_url}/api", os.environ)):
            say(note)
        child = launch.start_server(chosen, folders)
        try:
            with stages.stage("server started"):
                _import_prefect(folders)
                child.wait_until(f"{server_url}/api/ready", launch.SERVER_START_S)
            yield Server(child, server_url)
        finally:
            with stages.stage("server stopped"):
                child.stop()


def _stop_on_signals() -> None:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt, also when a shell started us in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _import_prefect(folders: Folders) -> None:
    """Import while the server boots, and send Prefect's own log lines to a file, not between ours."""
    import deployments.recovery
    import deployments.worker  # noqa: F401

    keep_log(folders.logs / "launcher.log")


def keep_log(path: Path) -> None:
    """Write what Prefect logs in this process to the file instead of the terminal."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s | %(levelname)-7s | %(name)s - %(message)s"))
    for name in ("", "prefect"):
        logger = logging.getLogger(name)
        for old in list(logger.handlers):
            if type(old).__name__ == "PrefectConsoleHandler":
                logger.removeHandler(old)
    for name in ("prefect", "asyncio"):  # asyncio: sockets that were open when their server ended
        logging.getLogger(name).addHandler(handler)


class Workers:
    """Workers in the running loop: 40 MB each and no start of their own, as against 100 MB and 3 s."""

    def __init__(self, workers: Sequence[DrainingWorker]) -> None:
        self.workers = workers
        self.tasks = [asyncio.create_task(worker.start(printer=_silent)) for worker in workers]

    @property
    def busy(self) -> int:
        return sum(worker.busy for worker in self.workers)

    def failure(self) -> BaseException | None:
        """Why a worker ended by itself; None while all work."""
        return next((task.exception() for task in self.tasks if task.done()), None)

    async def stop(self, limit_s: float, give_up: asyncio.Event) -> bool:
        """Drain all at once, then end them. Returns whether every run ended by itself."""
        from deployments.worker import stop_worker

        pairs = zip(self.workers, self.tasks, strict=True)
        return all(await asyncio.gather(*(stop_worker(w, t, limit_s, give_up) for w, t in pairs)))


def start_workers(queues: Sequence[str] = ()) -> Workers:
    """A worker per pool; `queues` limits them to those queues."""
    from deployments.register import POOLS
    from deployments.worker import DrainingWorker, prepare_environment

    prepare_environment()
    return Workers(
        [
            DrainingWorker(
                work_pool_name=pool,
                work_queues=list(queues) or None,
                name=f"{pool}-{os.getpid()}",
                create_pool_if_not_found=False,
            )
            for pool in POOLS
        ]
    )


def _silent(*_: object) -> None:
    return None
