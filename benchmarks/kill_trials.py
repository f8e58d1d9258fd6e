"""Kill everything, in every way, and see that nothing is lost: seeded trials on real installations.

Each trial starts a real `python -m deployments.up`, triggers days of both families, strikes while they run,
waits until the queue is empty, stops, and asks: is every run completed, does the store hold what an
undisturbed one holds, is every place free, every process gone? Started by hand, on Linux,
as root (the full disk is a file system of its own):

    python benchmarks/kill_trials.py run --room /tmp/trials      # all of them: two hours on 2 cores
    python benchmarks/kill_trials.py table --room /tmp/trials    # what docs/reliability.md shows

A failing trial prints its theme and seed and keeps its folder.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime as dt
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import trial_work as work  # noqa: E402
from trial_faults import DISK_BYTES, THEMES, Blow, Theme, plan, strike  # noqa: E402
from trial_plain import PlainSite  # noqa: E402
from trial_site import Site, TrialError  # noqa: E402

QUIET_S = 420.0  # from the last blow until every run is final
PLAIN_ROLES = {"flow", "child of a flow", "worker", "server", "everything"}  # that Prefect alone has too
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


@dataclass
class Result:
    """What a trial found."""

    theme: str
    seed: int
    runs: int = 0
    kills: int = 0  # blows that hit
    signals: int = 0  # processes that were hit
    lost: list[str] = field(default_factory=list)  # runs that ended otherwise than completed
    stuck: list[str] = field(default_factory=list)  # runs that have not ended
    doubled: list[str] = field(default_factory=list)  # runs more than were asked for
    differences: list[str] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)  # processes
    locked: list[str] = field(default_factory=list)  # claims
    open_tasks: list[str] = field(default_factory=list)
    recovered_s: list[float] = field(default_factory=list)  # from a blow until its runs ran on
    answered_s: list[float] = field(default_factory=list)  # from a blow until every part answered
    took_s: float = 0.0
    gave_up: int = 0
    error: str = ""
    blows: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        kinds = (self.lost, self.stuck, self.doubled, self.differences, self.places, self.left, self.locked,
                 self.open_tasks, self.error)  # fmt: skip
        return any(kinds) or not self.kills  # a trial without a blow has shown nothing


def trial(
    theme: Theme, seed: int, room: Path, reference: dict[str, object], kind: type[Site] = Site
) -> Result:
    """One trial in a folder of its own, which is kept only if it failed."""
    result, begun = Result(theme.name, seed), time.monotonic()
    with prepared(theme, room, kind) as site:
        server = work.Server(lambda: site.api_url)
        try:
            site.start()
            triggered = server.trigger(work.WORK)
            blows = struck(site, theme, seed, result)
            quiet_s = work.quiet(server, lambda: restarted(site, result), QUIET_S, idle(site))
            if quiet_s > QUIET_S:
                result.error = f"not quiet after {QUIET_S:.0f} s"
            judge(server, triggered, blows, result)
        except Exception:  # noqa: BLE001  a trial that breaks is a finding, and the next one begins
            result.error = traceback.format_exc()
        finally:
            result.left = site.stop()
        result.locked = site.locked_claims()
        if not result.error:
            differences = work.differences(reference, work.held(site.state))
            result.differences = [line[:500] for line in differences]
        result.took_s = time.monotonic() - begun
        if result.failed:
            shutil.rmtree(room.with_name(f"{room.name}-failed"), ignore_errors=True)
            shutil.copytree(site.room, room.with_name(f"{room.name}-failed"), dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns(".s.PGSQL*"), symlinks=True)  # fmt: skip
    return result


@contextlib.contextmanager
def prepared(theme: Theme, room: Path, kind: type[Site]) -> Iterator[Site]:
    """A site for the theme: a small disk, a clock that can be set."""
    room.mkdir(parents=True)
    site = kind(room, pages="pages" in theme.roles)
    template = room.parent / f"template-{kind.__name__}"
    try:
        site.state.mkdir()
        if "disk" in theme.roles:
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "trial", str(site.state)], check=True
            )
        subprocess.run(["cp", "-a", f"{template}/.", str(site.state)], check=True)
        if "clock" in theme.roles:
            (room / "clock").write_text("+0\n")
            site.extra = {
                "LD_PRELOAD": FAKETIME,
                "FAKETIME_TIMESTAMP_FILE": str(room / "clock"),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        yield site
    finally:
        if "disk" in theme.roles:
            subprocess.run(["umount", str(site.state)], check=False)
        shutil.rmtree(room, ignore_errors=True)


def idle(site: Site) -> Callable[[], bool]:
    """Whether no flow process has been seen for as long as the site needs to start one."""
    seen = time.monotonic()

    def nothing_moves() -> bool:
        nonlocal seen
        seen = time.monotonic() if site.idle_s > QUIET_S or site.role("flow") else seen
        return time.monotonic() - seen > site.idle_s

    return nothing_moves


def restarted(site: Site, result: Result) -> None:
    if site.restart_if_ended():
        result.gave_up += 1


def struck(site: Site, theme: Theme, seed: int, result: Result) -> list[Blow]:
    """All blows of the plan that found what they were meant for."""
    blows: list[Blow] = []
    for fault in plan(theme, seed):
        if fault.pause_s < 0:
            wait_answers(site, blows[-1] if blows else None)
        time.sleep(abs(fault.pause_s))
        restarted(site, result)
        if blow := strike(site, fault, seed):
            blows.append(blow)
    wait_answers(site, blows[-1] if blows else None)
    return blows


def wait_answers(site: Site, blow: Blow | None, limit_s: float = 200.0) -> None:
    """Until all parts answer, or there is no hope."""
    begun = time.monotonic()
    while not site.answers() and time.monotonic() - begun < limit_s:
        if site.dead():
            return
        time.sleep(0.2)
    if blow is not None and blow.answered_s is None:
        blow.answered_s = (dt.datetime.now(dt.UTC) - blow.at).total_seconds()


def judge(server: work.Server, triggered: list[str], blows: list[Blow], result: Result) -> None:
    """What the server says once the queue is empty."""
    runs = {run["id"]: run for run in server.runs()}
    states = {i: f"{run['name']}: {run['state_type']} {run['state']['message']}" for i, run in runs.items()}
    result.runs = len(runs)
    result.stuck = [states[i] for i, run in runs.items() if run["state_type"] not in work.FINAL]
    deployed = {i: run for i, run in runs.items() if run["deployment_id"]}
    # a killed backfill's day of that attempt is crashed, rightly: the next attempt runs the day as a new run
    result.lost = [states[i] for i, r in deployed.items() if r["state_type"] in work.FINAL - {"COMPLETED"}]
    result.lost += [f"run {i} is unknown" for i in set(triggered) - set(runs)]
    expected = len(triggered) + 3 * sum(name.startswith("speech-day") for name, _ in work.WORK)
    if len(deployed) > expected:
        result.doubled = [f"{len(deployed)} runs of deployments, wanted {expected}"]
    deadline = time.monotonic() + 75  # a lease lasts for a minute
    while (places := server.places_taken()) and time.monotonic() < deadline:
        time.sleep(2)
    result.places = places
    while (open_tasks := server.unfinished_tasks()) and time.monotonic() < deadline:
        time.sleep(2)  # the server records them from events, on a busy machine some seconds later
    result.open_tasks = open_tasks
    result.kills, result.signals = len(blows), sum(blow.signals for blow in blows)
    result.blows = [f"{b.at:%H:%M:%S} {b.fault} ({b.signals}; {len(b.runs)} runs)" for b in blows]
    result.answered_s = [round(blow.answered_s, 1) for blow in blows if blow.answered_s is not None]
    result.recovered_s = [s for blow in blows for s in recovered(server, blow, runs)]


def recovered(server: work.Server, blow: Blow, runs: dict[str, object]) -> list[float]:
    """Seconds until each run that was hit ran on, or was found to be complete."""
    waits_s = []
    for run in (r for r in blow.runs if r in runs):
        later = [at for kind, at in server.history(run) if kind in ("RUNNING", "COMPLETED") and at > blow.at]
        waits_s += [round((later[0] - blow.at).total_seconds(), 1)] if later else []
    return waits_s


def undisturbed(room: Path, kind: type[Site]) -> dict[str, object]:
    """What a store holds after the same work without a blow; made once."""
    kept = room / f"undisturbed-{kind.__name__}"
    if not (kept / "state" / "store").exists():
        site = kind(kept, pages=False)
        kept.mkdir(parents=True)
        try:
            site.start()
            site.stop()  # an installation that was started once, where every trial begins
            subprocess.run(["cp", "-a", str(site.state), str(room / f"template-{kind.__name__}")], check=True)
            site.start()
            server = work.Server(lambda: site.api_url)
            server.trigger(work.WORK)
            took_s = work.quiet(server, lambda: None, QUIET_S)
            if wrong := [run["name"] for run in server.runs() if run["state_type"] != "COMPLETED"]:
                raise TrialError(f"undisturbed, and not completed: {wrong}")
            print(f"undisturbed: {took_s:.0f} s", flush=True)
        finally:
            site.stop()
    return work.held(kept / "state")


def chosen(names: Sequence[str], themes: Sequence[Theme]) -> list[tuple[Theme, int]]:
    """Theme and seed of each trial, themes taking turns so that an early end has seen all kinds."""
    wanted = [theme for theme in themes if not names or any(name in theme.name for name in names)]
    rounds = itertools.zip_longest(*([(theme, n) for n in range(theme.trials)] for theme in wanted))
    return [pair for turn in rounds for pair in turn if pair]


def run(arguments: argparse.Namespace) -> int:
    room, failures = arguments.room.resolve(), 0
    kind = PlainSite if arguments.plain else Site
    reference = undisturbed(room, kind)
    themes = [theme for theme in THEMES if not arguments.plain or set(theme.roles) <= PLAIN_ROLES]
    todo = chosen(arguments.theme, themes)
    for number, (theme, turn) in list(enumerate(todo))[arguments.share :: arguments.shares]:
        seed = turn + arguments.seed
        place = room / f"{number:03d}-{seed}"
        result = trial(theme, seed, place, reference, kind)
        with (room / "results.jsonl").open("a") as file:
            file.write(json.dumps(dataclasses.asdict(result)) + "\n")
        failures += result.failed
        print(f"{'FAILED' if result.failed else 'ok':<7}{theme.name}, seed {seed}: {result.kills} kills, "
              f"{result.runs} runs, {result.took_s:.0f} s", flush=True)  # fmt: skip
        if result.failed:
            print(json.dumps(dataclasses.asdict(result), indent=1), flush=True)
    return 1 if failures else 0


def table(arguments: argparse.Namespace) -> int:
    """The results as Markdown."""
    results = [Result(**json.loads(line)) for line in (arguments.room / "results.jsonl").open()]
    print("| fault | trials | kills | runs | lost | doubled | stuck | runs on after, s: median / most |")
    print("|---|---|---|---|---|---|---|---|")
    for name in [theme.name for theme in THEMES] + ["all"]:
        if some := [result for result in results if name in (result.theme, "all")]:
            print(row(name, some))
    return 0


def row(name: str, some: Sequence[Result]) -> str:
    waits = [s for result in some for s in result.recovered_s or result.answered_s]
    counts = [len(some), *(sum(r.__dict__[k] for r in some) for k in ("kills", "runs"))]
    bad = [sum(len(r.__dict__[k]) for r in some) for k in ("lost", "doubled", "stuck")]
    spread = f"{statistics.median(waits):.0f} / {max(waits):.0f}" if waits else "–"
    return f"| {name} | {' | '.join(map(str, counts + bad))} | {spread} |"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python benchmarks/kill_trials.py", description=__doc__)
    parser.add_argument("act", choices=("run", "table"))
    parser.add_argument("--room", type=Path, required=True, help="folder of trials and results; a short path")
    parser.add_argument("--theme", action="append", default=[], help="only themes whose name holds this")
    parser.add_argument("--seed", type=int, default=0, help="added to each trial's seed (%(default)s)")
    parser.add_argument("--shares", type=int, default=1, help="for processes that share the work")
    parser.add_argument(
        "--plain", action="store_true", help="Prefect's own server and workers instead of ours"
    )
    parser.add_argument("--share", type=int, default=0)
    arguments = parser.parse_args(argv)
    return run(arguments) if arguments.act == "run" else table(arguments)


if __name__ == "__main__":
    sys.exit(main())
