"""`python -m deployments.up`: Prefect, workers, crons and pages on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from dagsverk.login import shell_words
from deployments import launch
from deployments.installation import Installation, running_server
from deployments.launch import Folders, LaunchError, Stages, say

DRAIN_S = 30.0


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    folders, stages = Folders(arguments.state.resolve()), Stages()
    try:
        with running_server(folders, stages, arguments.port) as installation:
            serve(installation, arguments.pages_port if arguments.pages else None, arguments.drain_s)
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


def serve(installation: Installation, pages_port: int | None, drain_s: float) -> None:
    """Start what is missing, register, and watch until a signal. Raises LaunchError when all cannot go on."""
    launch.prune_logs(installation.folders.logs, time.time())
    registration = installation.register()
    worker = installation.add_worker(drain_s=drain_s)
    pages, address = installation.add_pages(pages_port) if pages_port is not None else (None, "")
    installation.registered(registration)
    installation.ready(worker, "worker ready")
    if pages:
        installation.ready(pages, "pages ready")
    announce(installation, address)
    while not installation.signals.stop.wait(0.3):
        installation.supervisor.check()
    say(f"stopping; runs in flight get up to {drain_s:.0f} s, after Ctrl-C again they go back to the queue")


def announce(installation: Installation, pages: str) -> None:
    names = deployment_names(launch.ROOT / "prefect.yaml")
    say(f"{'ready after':<44}{installation.stages.total_s:6.1f} s\n")
    run_one = f"prefect deployment run {names[0]}"
    say(f"  Prefect  {installation.url}   {len(names)} deployments; run one: {run_one}")
    if pages:
        say(f"  pages    {pages}")
    say(f"  state    {installation.folders.state}")
    say(f"  shell    export PREFECT_API_URL={installation.api_url}{shell_words(os.environ)}")
    say("\nCtrl-C stops all of it.")


def deployment_names(prefect_file: Path) -> list[str]:
    """FLOW/NAME of each entry: a flow bears its function's name, with hyphens."""
    entries = yaml.safe_load(prefect_file.read_text())["deployments"]
    return [f"{e['entrypoint'].rpartition('.')[2].replace('_', '-')}/{e['name']}" for e in entries]


if __name__ == "__main__":
    sys.exit(main())
