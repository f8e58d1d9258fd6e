"""`python -m deployments.up`: Prefect, workers, crons and pages on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from deployments import launch
from deployments.installation import Server, Workers, running_server, start_workers
from deployments.launch import Child, Folders, LaunchError, Stages, say

DRAIN_S = 30.0


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    folders, stages = Folders(arguments.state.resolve()), Stages()
    try:
        with (
            running_server(folders, stages, arguments.port) as server,
            pages(folders, arguments.pages_port if arguments.pages else None) as shown,
        ):
            asyncio.run(serve(server, shown, folders, stages, arguments.drain_s))
    except LaunchError as error:
        print(f"up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("stopped while starting")
        return 130
    say("all stopped")
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deployments.up", description=__doc__)
    parser.add_argument(
        "--state", type=Path, default=launch.ROOT / ".dagsverk", help="state folder (%(default)s)"
    )
    parser.add_argument("--port", type=int, default=launch.SERVER_PORT, help="Prefect's port (%(default)s)")
    parser.add_argument(
        "--pages-port", type=int, default=launch.PAGES_PORT, help="the pages' port (%(default)s)"
    )
    parser.add_argument("--no-pages", dest="pages", action="store_false", help="start no pages")
    parser.add_argument(
        "--drain-s", type=float, default=DRAIN_S, help="seconds that runs get to finish (%(default)s)"
    )
    return parser.parse_args(argv)


class Pages:
    """The pages as a child process; None as port: no pages."""

    def __init__(self, child: Child, url: str) -> None:
        self.child, self.url = child, url


@contextlib.contextmanager
def pages(folders: Folders, port: int | None) -> Iterator[Pages | None]:
    """The pages, started beside everything else and stopped at the end."""
    if port is None:
        yield None
        return
    chosen = launch.free_port(port)
    if port and chosen != port:
        say(f"port {port} is taken: the pages answer on {chosen}")
    child = launch.start_pages(chosen, folders)
    try:
        yield Pages(child, f"http://{launch.HOST}:{chosen}")
    finally:
        child.stop()


async def serve(
    server: Server, shown: Pages | None, folders: Folders, stages: Stages, drain_s: float
) -> None:
    """Register, recover, work until a signal, drain. Raises LaunchError when the server or a worker ends."""
    from prefect.client.orchestration import get_client

    from deployments.recovery import recover
    from deployments.register import register
    from deployments.worker import on_signals

    stop, give_up = asyncio.Event(), asyncio.Event()
    on_signals(lambda: give_up.set() if stop.is_set() else stop.set())
    launch.prune_logs(folders.logs, time.time())
    async with get_client() as client:
        with stages.stage("deployments registered"):
            registered = await register(client)
        for line in await recover(client, folders.prefect):
            say(f"  {line}")
    workers = start_workers()
    if shown:
        with stages.stage("pages ready"):
            await pages_ready(shown, stop)
    announce(server, shown, folders, stages, registered.deployments)
    try:
        await until(stop, server, shown, workers)
    finally:
        if workers.busy:
            say(f"waiting up to {drain_s:.0f} s for {workers.busy} run(s); Ctrl-C again: back to the queue")
        if not await workers.stop(drain_s, give_up):
            say("runs were put back in the queue; the next start goes on with them")


async def pages_ready(shown: Pages, stop: asyncio.Event) -> None:
    """Return when the pages answer, or when all of it is to stop. Raises LaunchError when they ended."""
    while not stop.is_set() and not await asyncio.to_thread(launch.answers, f"{shown.url}/healthz"):
        if reason := shown.child.ended():
            raise LaunchError(reason)
        await asyncio.sleep(0.2)


def announce(
    server: Server, shown: Pages | None, folders: Folders, stages: Stages, names: Sequence[str]
) -> None:
    say(f"{'ready after':<44}{stages.total_s:6.1f} s\n")
    say(f"  Prefect  {server.url}   {len(names)} deployments; run one: prefect deployment run {names[0]}")
    if shown:
        say(f"  pages    {shown.url}")
    say(f"  state    {folders.state}")
    say(f"  shell    export PREFECT_API_URL={server.api_url}")
    say("\nCtrl-C stops all of it.")


async def until(stop: asyncio.Event, server: Server, shown: Pages | None, workers: Workers) -> None:
    """Wait for a signal. Raises LaunchError when the server or a worker ends first; pages may end."""
    told = False
    while not stop.is_set():
        if reason := server.child.ended():
            raise LaunchError(reason)
        if failure := workers.failure():
            raise LaunchError(f"a worker ended: {failure}") from failure
        if shown and not told and (reason := shown.child.ended()):
            say(f"{reason}\nthe rest goes on without pages")
            told = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.5)


if __name__ == "__main__":
    sys.exit(main())
