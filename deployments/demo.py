"""`python -m deployments.demo`: one whole day of every system through its deployment, a summary, and stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from dagsverk.words import counted
from deployments import launch
from deployments.engine import log_path
from deployments.installation import Installation, running_server
from deployments.launch import DEMO_QUEUE, Folders, LaunchError, Stages, say

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

LIMIT_S = 900.0
GIVE_UP_S = 10.0
CRASH_SETTLES_S = 90.0  # a crashed run is resumed within seconds, or fails; after this nobody sees to it


@dataclass(frozen=True)
class Day:
    """A system's day: its deployment, and whether the demo runs it unasked."""

    system: str
    deployment: str  # FLOW/NAME
    unasked: bool

    @property
    def spoken(self) -> bool:
        return self.deployment.startswith("speech-")


@dataclass
class Watched:
    """A day that the demo waits for."""

    system: str
    run: FlowRun
    line: str = ""
    crashed_at: float | None = None

    def ended(self, now: float) -> bool:
        """Whether its state will not change any more."""
        state = self.run.state
        if state is None or not state.is_final():
            return False
        if not state.is_crashed():
            return True
        self.crashed_at = self.crashed_at or now
        return now - self.crashed_at > CRASH_SETTLES_S

    @property
    def completed(self) -> bool:
        return self.run.state is not None and self.run.state.is_completed()


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    folders, stages = Folders(arguments.state.resolve()), Stages()
    try:
        chosen = chosen_days(arguments.systems, days_of(launch.ROOT / "prefect.yaml"))
        date = checked(arguments.date, dt.datetime.now(dt.UTC).date())
        with running_server(folders, stages, arguments.port) as installation:
            registration = installation.register()
            installation.add_worker([DEMO_QUEUE])
            keep_prefect_quiet(folders.logs / "launcher.log")
            installation.registered(registration)
            asyncio.run(demo(installation, chosen, date, stages.started + arguments.time_limit_s))
    except LaunchError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130
    say(f"{'demo, start to end':<44}{stages.total_s:6.1f} s")
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deployments.demo", description=__doc__)
    parser.add_argument(
        "--systems", help="names, comma between them (default: the days tagged demo in prefect.yaml)"
    )
    parser.add_argument(
        "--date", type=dt.date.fromisoformat, help="the day, YYYY-MM-DD (default: today, UTC)"
    )
    parser.add_argument(
        "--time-limit-s", type=float, default=LIMIT_S, help="seconds until it gives up (%(default)s)"
    )
    parser.add_argument(
        "--state", type=Path, default=launch.ROOT / ".dagsverk", help="state folder (%(default)s)"
    )
    parser.add_argument("--port", type=int, default=launch.SERVER_PORT, help="Prefect's port (%(default)s)")
    return parser.parse_args(argv)


def keep_prefect_quiet(path: Path) -> None:
    """Import Prefect while the server boots; what it logs here goes to the file, not between our lines."""
    import prefect.client.orchestration  # noqa: F401

    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s | %(levelname)-7s | %(name)s - %(message)s"))
    for name in ("", "prefect", "prefect.flow_runs"):
        logger = logging.getLogger(name)
        for old in list(logger.handlers):
            if type(old).__name__ == "PrefectConsoleHandler":
                logger.removeHandler(old)
    for name in ("prefect", "asyncio"):  # asyncio: sockets that were open when their server ended
        logging.getLogger(name).addHandler(handler)


async def demo(installation: Installation, chosen: Sequence[Day], date: dt.date, deadline: float) -> None:
    """Run the days, print what they did. Raises LaunchError when a day does not complete."""
    from prefect.client.orchestration import get_client

    stages = installation.stages
    async with get_client() as client:
        days = [await trigger(client, day, date) for day in chosen]
        try:
            with stages.stage(f"days of {', '.join(day.system for day in chosen)}"):
                await watch(client, installation, days, deadline)
            check(days, installation.folders)
            with stages.stage("summary"):
                by_system = await asyncio.to_thread(summaries, chosen)
        finally:
            await give_up_on(client, days)
    show(by_system, date, installation.folders)


def days_of(prefect_file: Path) -> list[Day]:
    """The days that the file deploys, in its order; the demo runs those with the tag `demo` unasked."""
    entries = yaml.safe_load(prefect_file.read_text())["deployments"]
    flows = {"day": "day", "speech_day": "speech-day"}
    named = [(flows.get(e["entrypoint"].rpartition(".")[2]), e) for e in entries]
    return [Day(e["name"], f"{flow}/{e['name']}", "demo" in e["tags"]) for flow, e in named if flow]


def checked(date: dt.date | None, today: dt.date) -> dt.date:
    """The day to run, today unless asked. Raises LaunchError for one in the future."""
    if date and date > today:
        raise LaunchError(f"{date} is in the future: today is {today} (UTC)")
    return date or today


def chosen_days(asked: str | None, offered: Sequence[Day]) -> list[Day]:
    """The days to run. Raises LaunchError for a system that has no day in prefect.yaml."""
    if not asked:
        return [day for day in offered if day.unasked]
    names = [s.strip() for s in asked.split(",") if s.strip()]
    days = {day.system: day for day in offered}
    if unknown := [name for name in names if name not in days]:
        raise LaunchError(f"no day of {unknown[0]} in prefect.yaml; there are: {', '.join(days)}")
    return [days[name] for name in names]


async def trigger(client: PrefectClient, day: Day, date: dt.date) -> Watched:
    """Ask Prefect for a run of the system's day, as a click on "Run" does."""
    deployment = await client.read_deployment_by_name(day.deployment)
    parameters = {} if day.spoken else {"date": date.isoformat()}
    run = await client.create_flow_run_from_deployment(
        deployment.id, parameters=parameters, work_queue_name=DEMO_QUEUE
    )
    return Watched(day.system, run)


async def watch(
    client: PrefectClient, installation: Installation, days: Sequence[Watched], deadline: float
) -> None:
    """Show progress until every day has ended. Raises LaunchError, or KeyboardInterrupt on Ctrl-C."""
    begun = time.monotonic()
    while not all(day.ended(time.monotonic()) for day in days):
        installation.check()
        if time.monotonic() > deadline:
            waiting = ", ".join(f"{d.system}: {d.line}" for d in days if not d.completed)
            raise LaunchError(f"the time limit is up ({waiting}); allow more with --time-limit-s")
        await asyncio.sleep(0.5)
        for day in days:
            day.run = await client.read_flow_run(day.run.id)
            line = await progress(client, day.run)
            if line != day.line:
                day.line = line
                say(f"  {time.monotonic() - begun:5.1f} s  {day.system:<10} {line}")


async def progress(client: PrefectClient, run: FlowRun) -> str:
    """A run's state in words: tasks done, and those running now."""
    from prefect.client.schemas.filters import FlowRunFilter

    state = run.state_name or "unknown"
    if run.state is None or not run.state.is_running():
        return state.lower()
    of_run = FlowRunFilter.model_validate({"id": {"any_": [run.id]}})
    tasks = await client.read_task_runs(flow_run_filter=of_run)
    done = sum(1 for t in tasks if t.state is not None and t.state.is_completed())
    now = [t.name for t in tasks if t.state is not None and t.state.is_running()]
    return f"{counted(done, 'task')} done" + (f", now {', '.join(now)}" if now else "")


def check(days: Sequence[Watched], folders: Folders) -> None:
    """Raises LaunchError, with the end of the run's log, for the first day that did not complete."""
    for day in days:
        if not day.completed:
            state = day.run.state
            what = f"{state.name}: {state.message}" if state else "unknown"
            log = log_path(folders.logs, str(day.run.id))
            raise LaunchError(
                f"the day of {day.system} ended {what}\nthe end of {log}:\n{launch.tail(log, 25)}"
            )


async def give_up_on(client: PrefectClient, days: Sequence[Watched]) -> None:
    """Cancel days that have not ended, so that the next start does not go on with them."""
    from prefect.states import Cancelled

    with contextlib.suppress(TimeoutError):  # the next start does it as well
        async with asyncio.timeout(GIVE_UP_S):
            for day in days:
                if day.run.state is None or not day.run.state.is_final():
                    await client.set_flow_run_state(
                        day.run.id, Cancelled(message="The demo was stopped."), force=True
                    )


def summaries(days: Sequence[Day]) -> dict[str, str]:
    """What each system's last day did, as kept in the store."""
    from dagsverk.speech.languages import language
    from dagsverk.speech.summary import speech_summary
    from dagsverk.store import open_store
    from dagsverk.tabular.summary import day_summary

    store = open_store()
    return {
        day.system: speech_summary(store, language(day.system))
        if day.spoken
        else day_summary(store, day.system)
        for day in days
    }


def show(by_system: Mapping[str, str], date: dt.date, folders: Folders) -> None:
    for system, summary in by_system.items():
        say(f"\n{system}, {date}\n{summary}")
    say("\nwhere to look")
    say("  make up          the pages and the Prefect UI with these runs, and the daily crons, until Ctrl-C")
    say("  make ui          the pages alone")
    say(f"  {os.environ['DAGSVERK_STORE']}   tables, models, artefacts")
    say(f"  {folders.logs}   logs\n")


if __name__ == "__main__":
    sys.exit(main())
