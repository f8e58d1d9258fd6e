"""`python -m deployments.worker --pool cpu`: a worker whose stop loses no run, and which settles lost ones.

Prefect's own process worker, told to stop, kills its flows and leaves their runs "Running" for ever
(PrefectHQ/prefect issues 16746 and 22528). This one takes no more runs, lets those in flight finish for a
while, and puts the rest back in the queue, where the next worker finds them. What nobody could put back (a
kill at any line) its reconciler does: deployments/reconcile.py.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio
import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import AwaitingRetry
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from dagsverk import threads
from deployments import claims, engine
from deployments.launch import ROOT, prune_logs
from deployments.reconcile import Reconciler

if TYPE_CHECKING:
    import anyio.abc
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

DRAIN_S = 60.0
HAND_BACK_S = 8.0  # for the server's answer when we stop: what is not handed back now is found lost later
END_S = 12.0  # for all of that
SETTLED = ProcessWorkerResult(status_code=0, identifier="settled")


class DrainingWorker(ProcessWorker):
    """A process worker whose stop loses no run. `drain()` first, then cancel the task that runs `start()`."""

    def __init__(self, *args: Any, ended: Callable[[], object] = lambda: None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.draining = False
        self.in_flight: set[UUID] = set()
        self.ended = ended  # called when a process of ours has ended

    @classmethod
    def __dispatch_key__(cls) -> str | None:
        return "draining-process"  # in Prefect's list of classes "process" stays its own

    @property
    def managed(self) -> set[UUID]:
        """Runs that were taken and have not ended."""
        return self.in_flight | self._submitting_flow_run_ids

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        return [] if self.draining else await super().get_and_submit_flow_runs()

    async def _propose_pending_state(self, flow_run: FlowRun) -> bool:
        """Claim the run first: killed between the two, we have claimed a run that is still in the queue."""
        logs, run_id = os.environ["DAGSVERK_LOGS"], str(flow_run.id)
        if claims.life(logs, run_id) is claims.Life.LIVES:
            return False  # taken for lost, but its process lives: it stays where it is until that ends
        try:
            claims.claim(logs, run_id, self.name)
        except OSError as error:
            self._logger.warning("cannot claim run %s (%s): it stays in the queue", run_id, error)
            return False
        return await super()._propose_pending_state(flow_run)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        self.in_flight.add(flow_run.id)
        try:
            await super().run(flow_run, configuration, task_status)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(HAND_BACK_S, shield=True):
                await self.hand_back(flow_run)
            raise
        finally:
            if claims.life(os.environ["DAGSVERK_LOGS"], str(flow_run.id)) is not claims.Life.LIVES:
                claims.end_leftovers(str(flow_run.id))  # no other container sees these processes
            self.in_flight.discard(flow_run.id)
            self.ended()
        return SETTLED  # a crash has been reported already, and may be settled: not to be reported twice

    async def hand_back(self, flow_run: FlowRun) -> None:
        """Put a run, whose process has just been stopped with us, back in the queue."""
        current = await self.client.read_flow_run(flow_run.id)
        if current.state is not None and current.state.is_final() and not current.state.is_crashed():
            return
        message = "Handed back: its worker was stopped; the next worker goes on with it."
        await self.client.set_flow_run_state(flow_run.id, AwaitingRetry(message=message), force=True)
        claims.release(os.environ["DAGSVERK_LOGS"], str(flow_run.id))

    async def drain(self, limit_s: float, give_up: asyncio.Event | None = None) -> bool:
        """Take no more runs and wait for those in flight. Returns whether all of them ended in time."""
        self.draining = True
        deadline = time.monotonic() + limit_s
        while self.managed and time.monotonic() < deadline and not (give_up and give_up.is_set()):
            await asyncio.sleep(0.1)
        return not self.managed


def prepare_environment(root: Path = ROOT) -> None:
    """What flow processes need from the worker that starts them: our code, and this Python as `python`."""
    os.environ["DAGSVERK_ROOT"] = str(root)  # the pull step of prefect.yaml asks for it
    os.environ[engine.WORKER] = str(os.getpid())
    threads.prepare_environment()  # on few cores, threads of two learning flows else spin for nothing
    os.environ.setdefault("DAGSVERK_LOGS", str(root / ".dagsverk" / "logs"))
    _prepend("PYTHONPATH", str(root))  # for the pools' command, which starts in a temporary folder
    _prepend("PATH", str(Path(sys.executable).parent))


def _prepend(name: str, entry: str) -> None:
    entries = [e for e in os.environ.get(name, "").split(os.pathsep) if e and e != entry]
    os.environ[name] = os.pathsep.join([entry, *entries])


def make_workers(
    pools: Sequence[str],
    queues: Sequence[str],
    limit: int | None,
    name: str | None,
    ended: Callable[[], object],
) -> list[DrainingWorker]:
    """A worker per pool. A name is of one process only: claims are told apart by it."""
    unique = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns() // 1_000_000 % 100_000:05d}"
    return [
        DrainingWorker(
            work_pool_name=pool,
            work_queues=list(queues) or None,
            limit=limit,
            name=f"{name or pool}-{unique}",
            create_pool_if_not_found=False,
            ended=ended,
        )
        for pool in pools
    ]  # fmt: skip


async def work(
    pools: Sequence[str], queues: Sequence[str], drain_s: float, limit: int | None, name: str | None
) -> None:
    """Serve pools until SIGTERM or SIGINT; a second signal hands runs back at once."""
    stop, give_up = asyncio.Event(), asyncio.Event()
    on_signals(lambda: give_up.set() if stop.is_set() else stop.set())
    async with get_client() as client:
        await wait_for_pools(client, pools, stop)
        reconciler = Reconciler(client, Path(os.environ["DAGSVERK_LOGS"]), lambda: managed_by(workers))
        workers = make_workers(pools, queues, limit, name, reconciler.soon.set)
        tasks = [asyncio.create_task(w.start(printer=_silent)) for w in workers]
        tasks.append(asyncio.create_task(reconciler.run()))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        failed = next((task for task in tasks if task.done()), None)
        drained = await stop_workers(workers, tasks, drain_s, give_up)
        print(f"worker: {'all runs ended' if drained else 'runs handed back'}", flush=True)
        if failed:
            failed.result()


async def wait_for_pools(client: PrefectClient, pools: Sequence[str], stop: asyncio.Event) -> None:
    """Return when the server has them: both may be starting beside us."""
    while not stop.is_set():
        with contextlib.suppress(httpx.HTTPError, PrefectHTTPStatusError):
            present = {pool.name for pool in await client.read_work_pools()}
            if set(pools) <= present:
                return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.5)


def managed_by(workers: Sequence[DrainingWorker]) -> set[UUID]:
    return set().union(*(worker.managed for worker in workers))


async def stop_workers(
    workers: Sequence[DrainingWorker],
    tasks: Sequence[asyncio.Task[None]],
    limit_s: float,
    give_up: asyncio.Event,
) -> bool:
    """Drain all at once, then end them. Returns whether every run ended by itself."""
    if waiting := len(managed_by(workers)):
        print(f"worker: waiting up to {limit_s:.0f} s for {waiting} run(s)", flush=True)
    drained = all(await asyncio.gather(*(worker.drain(limit_s, give_up) for worker in workers)))
    for task in tasks:
        task.cancel()
    end_within(END_S)
    await asyncio.gather(*tasks, return_exceptions=True)
    return drained


def end_within(limit_s: float) -> None:
    """End this process at the latest then, whatever waits for a server that does not answer.

    Flow processes end with it, and their runs are found lost later.
    """
    timer = threading.Timer(limit_s, os._exit, (1,))
    timer.daemon = True
    timer.start()


def on_signals(act: Callable[[], object]) -> None:
    """Call `act` in the running loop on SIGINT and SIGTERM."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, act)


def _silent(*_: object) -> None:
    return None


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deployments.worker", description=__doc__)
    parser.add_argument(
        "--pool", required=True, action="append",
        help="work pool to serve, may be given again; `python -m deployments.register` makes it",
    )  # fmt: skip
    parser.add_argument("--queue", action="append", default=[], help="serve only this queue of the pools")
    parser.add_argument("--name", help="how its name in the Prefect UI begins (default: the pool's)")
    parser.add_argument("--limit", type=int, help="most runs at a time, per pool")
    parser.add_argument(
        "--drain-s", type=float, default=DRAIN_S, help="seconds that runs get to finish (%(default)s)"
    )
    arguments = parser.parse_args(argv)
    prepare_environment()
    prune_logs(Path(os.environ["DAGSVERK_LOGS"]), time.time())
    asyncio.run(work(arguments.pool, arguments.queue, arguments.drain_s, arguments.limit, arguments.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
