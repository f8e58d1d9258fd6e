"""`python -m deployments.worker --pool cpu`: a process worker that loses no run when it is stopped.

Prefect's own process worker, told to stop, kills its flows and leaves their runs "Running" for ever
(PrefectHQ/prefect issues 16746 and 22528). This one stops taking runs, lets those in flight finish for a
while, and puts the rest back in the queue, where the next worker finds them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio
from prefect.states import AwaitingRetry, Failed, Running
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from deployments.launch import ROOT, prune_logs

if TYPE_CHECKING:
    import anyio.abc
    from prefect.client.schemas.objects import FlowRun

DRAIN_S = 60.0
RESUMABLE = "resumable"  # tag of runs that go on after a crash
MAX_ATTEMPTS = 8  # of one run on one worker: crashed runs are resumed without counting
SETTLED = ProcessWorkerResult(status_code=0, identifier="settled")


class DrainingWorker(ProcessWorker):
    """A process worker whose stop loses no run. `drain()` first, then cancel the task that runs `start()`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.draining = False
        self.in_flight: set[UUID] = set()
        self.attempts: Counter[UUID] = Counter()

    @classmethod
    def __dispatch_key__(cls) -> str | None:
        return "draining-process"  # in Prefect's list of classes "process" stays its own

    @property
    def busy(self) -> int:
        """Runs that were taken and have not ended."""
        return len(self.in_flight | self._submitting_flow_run_ids)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        return [] if self.draining else await super().get_and_submit_flow_runs()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        if flow_run.id in self.in_flight:
            return await self.keep(flow_run, task_status)
        self.attempts[flow_run.id] += 1
        if self.attempts[flow_run.id] > MAX_ATTEMPTS:
            return await self.refuse(flow_run, task_status)
        self.in_flight.add(flow_run.id)
        try:
            result = await super().run(flow_run, configuration, task_status)
            return SETTLED if await self.resume(flow_run) else result
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self.hand_back(flow_run)
            raise
        finally:
            self.in_flight.discard(flow_run.id)

    async def resume(self, flow_run: FlowRun) -> bool:
        """Put a run back in the queue whose process has just crashed, if it is tagged resumable.

        Prefect's retries do not apply to crashes. An automation could do this, but on SQLite under load
        automations miss events (the database is locked, and after four tries the event is dropped).
        """
        if RESUMABLE not in flow_run.tags:
            return False
        current = await self.client.read_flow_run(flow_run.id)
        if current.state is None or not current.state.is_crashed():
            return False
        await self.requeue(flow_run, "Its process crashed; it goes on where it stopped.")
        return True

    async def keep(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[int] | None
    ) -> ProcessWorkerResult:
        """Start no second process for a run that was taken for lost while its process lives here."""
        await self.client.set_flow_run_state(
            flow_run.id, Running(message="Its process is alive."), force=True
        )
        return _settled(task_status)

    async def refuse(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[int] | None
    ) -> ProcessWorkerResult:
        """Fail a run that crashes at every attempt: a flow cannot refuse when its import is what crashes."""
        message = (
            f"Given up after {MAX_ATTEMPTS} attempts on this worker; see the run's log, then start a new run."
        )
        await self.client.set_flow_run_state(flow_run.id, Failed(message=message), force=True)
        return _settled(task_status)

    async def hand_back(self, flow_run: FlowRun) -> None:
        """Put a run, whose process has just been stopped with us, back in the queue."""
        current = await self.client.read_flow_run(flow_run.id)
        if current.state is not None and current.state.is_final():
            return
        await self.requeue(flow_run, "Its worker was stopped; the next worker goes on with it.")

    async def requeue(self, flow_run: FlowRun, message: str) -> None:
        await self.client.set_flow_run_state(flow_run.id, AwaitingRetry(message=message), force=True)

    async def drain(self, limit_s: float, give_up: asyncio.Event | None = None) -> bool:
        """Take no more runs and wait for those in flight. Returns whether all of them ended in time."""
        self.draining = True
        deadline = time.monotonic() + limit_s
        while self.busy and time.monotonic() < deadline and not (give_up and give_up.is_set()):
            await asyncio.sleep(0.1)
        return not self.busy


def _settled(task_status: anyio.abc.TaskStatus[int] | None) -> ProcessWorkerResult:
    """What `run` gives for a run whose state is already right: the base class shall not touch it."""
    if task_status is not None:
        task_status.started(os.getpid())
    return SETTLED


def prepare_environment(root: Path = ROOT) -> None:
    """What flow processes need from the worker that starts them: our code, and this Python as `python`."""
    os.environ["DAGSVERK_ROOT"] = str(root)  # the pull step of prefect.yaml asks for it
    # Threads that wait shall sleep: on few cores, those of two learning flows else spin for nothing.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("DAGSVERK_LOGS", str(root / ".dagsverk" / "logs"))
    _prepend("PYTHONPATH", str(root))  # for the pools' command, which starts in a temporary folder
    _prepend("PATH", str(Path(sys.executable).parent))


def _prepend(name: str, entry: str) -> None:
    entries = [e for e in os.environ.get(name, "").split(os.pathsep) if e and e != entry]
    os.environ[name] = os.pathsep.join([entry, *entries])


async def stop_worker(
    worker: DrainingWorker, task: asyncio.Task[None], limit_s: float, give_up: asyncio.Event
) -> bool:
    """Drain, then end the worker's task. Returns whether every run ended by itself."""
    drained = await worker.drain(limit_s, give_up)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return drained


async def work(pool: str, drain_s: float, limit: int | None, name: str | None) -> None:
    """Serve a pool until SIGTERM or SIGINT; a second signal hands runs back at once."""
    stop, give_up = asyncio.Event(), asyncio.Event()
    on_signals(lambda: give_up.set() if stop.is_set() else stop.set())
    worker = DrainingWorker(work_pool_name=pool, limit=limit, name=name, create_pool_if_not_found=False)
    task = asyncio.create_task(worker.start())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        stopping.cancel()
        return task.result()
    if worker.busy:
        print(f"worker {pool}: waiting up to {drain_s:.0f} s for {worker.busy} run(s)", flush=True)
    drained = await stop_worker(worker, task, drain_s, give_up)
    print(f"worker {pool}: {'all runs ended' if drained else 'runs handed back'}", flush=True)
    return None


def on_signals(act: Callable[[], object]) -> None:
    """Call `act` in the running loop on SIGINT and SIGTERM."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, act)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deployments.worker", description=__doc__)
    parser.add_argument(
        "--pool", required=True, help="work pool to serve; `python -m deployments.register` makes it"
    )
    parser.add_argument("--name", help="name in the Prefect UI; two workers need two names")
    parser.add_argument("--limit", type=int, help="most runs at a time")
    parser.add_argument(
        "--drain-s", type=float, default=DRAIN_S, help="seconds that runs get to finish (%(default)s)"
    )
    arguments = parser.parse_args(argv)
    prepare_environment()
    prune_logs(Path(os.environ["DAGSVERK_LOGS"]), time.time())
    asyncio.run(work(arguments.pool, arguments.drain_s, arguments.limit, arguments.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
