"""What is done to an installation under trial, and what a theme of trials does, drawn from a seed."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from trial_site import Site, environment_of, send

KILL, TERM, STOP = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP
FIVE_MINUTES_S = 300.0
DISK_BYTES = 400 << 20  # of the small file system
APPEARS_S = 25.0  # a part that is not there is waited for


@dataclass(frozen=True)
class Fault:
    """One blow: after a pause, to all processes that play the part then."""

    pause_s: float
    role: str
    number: int = KILL
    hold_s: float = 0.0  # frozen, full or at the wrong time for so long
    run: str = ""  # flows of runs whose name begins so

    def __str__(self) -> str:
        names = {KILL: "kill", TERM: "term", STOP: f"freeze {self.hold_s:.0f} s"}
        return f"{self.role}: {names.get(self.number, 'end')}"


@dataclass
class Blow:
    """A fault as it hit."""

    fault: str
    at: dt.datetime
    signals: int
    runs: list[str] = field(default_factory=list)
    answered_s: float | None = None  # until every part answered again


@dataclass(frozen=True)
class Theme:
    """A kind of trial: which parts, which signals, how often, how many trials."""

    name: str
    trials: int
    roles: Sequence[str]
    numbers: Sequence[int] = (KILL,)
    blows: int = 6
    hold_s: tuple[float, float] = (5.0, 40.0)
    run: str = ""
    quick: float = 0.5  # share of blows that do not wait until all answer again


THEMES: Sequence[Theme] = (
    Theme("flow killed", 6, ("flow",), blows=8),
    Theme("flow told to end (SIGTERM)", 3, ("flow",), (TERM,), blows=8),
    Theme("child process of a flow killed", 4, ("child of a flow",)),
    Theme("evaluation killed", 3, ("flow",), run="run 'speech-evaluation", blows=4),
    Theme("worker killed", 5, ("worker",)),
    Theme("worker told to end (SIGTERM)", 3, ("worker",), (TERM,)),
    Theme("server killed", 5, ("server",), (KILL, TERM), quick=0.2),
    Theme("PostgreSQL killed: its guard", 3, ("guard of PostgreSQL",), (KILL, TERM), quick=0.2),
    Theme("PostgreSQL killed: the server", 3, ("PostgreSQL",), (KILL, TERM), quick=0.2),
    Theme("PostgreSQL killed: a connection", 3, ("backend",), quick=0.2),
    Theme("pages and flow killed", 3, ("pages", "flow"), (KILL, TERM)),
    Theme("launcher killed, started again", 5, ("launcher",), (KILL, TERM), blows=5),
    Theme("everything killed at once, started again", 4, ("everything",), blows=5),
    Theme("frozen for 5 to 40 s", 5, ("flow", "worker", "server", "PostgreSQL", "everything"), (STOP,)),
    Theme("worker frozen for five minutes", 1, ("worker",), (STOP,), blows=1, hold_s=(300, 300)),
    Theme("server frozen for five minutes", 1, ("server",), (STOP,), blows=1, hold_s=(300, 300)),
    Theme("everything frozen for five minutes", 1, ("everything",), (STOP,), blows=1, hold_s=(300, 300)),
    Theme("disk full for 5 to 20 s", 3, ("disk",), (0,), blows=3, hold_s=(5, 20)),
    Theme("clock set, up to 3 hours off", 3, ("clock",), (0,), blows=4, hold_s=(5, 10)),
    Theme("all of these", 5, ("flow", "flow", "worker", "server", "PostgreSQL", "pages", "launcher",
          "everything"), (KILL, TERM, STOP), blows=7, hold_s=(5, 20)),
)  # fmt: skip


def plan(theme: Theme, seed: int) -> list[Fault]:
    """The blows of one trial."""
    chance = random.Random(f"{theme.name} {seed}")
    return [
        Fault(
            chance.uniform(1, 6) if chance.random() < theme.quick else -chance.uniform(1, 6),
            chance.choice(theme.roles),
            chance.choice(theme.numbers),
            chance.uniform(*theme.hold_s),
            theme.run,
        )
        for _ in range(theme.blows)
    ]


def strike(site: Site, fault: Fault, seed: int) -> Blow | None:
    """Do it now. None when the part did not appear in time, as when all work is done."""
    if fault.role == "disk":
        return _held(fault, lambda: fill(site.state), fault.hold_s)
    if fault.role == "clock":
        return _set_clock(site, fault, random.Random(f"{seed} {fault}"))
    deadline = time.monotonic() + (5 * APPEARS_S if fault.run else APPEARS_S)
    while not (victims := targets(site, fault)):
        if time.monotonic() > deadline:
            return None
        time.sleep(0.2)
    chance = random.Random(f"{seed} {fault}")
    if fault.role == "backend":
        victims = victims[: max(1, len(victims) // 2)]
    elif fault.role == "flow":
        victims = [chance.choice(victims)]  # one at a time, so that none is given up for good after eight
    flows = {e.get("PREFECT__FLOW_RUN_ID", "") for e in map(environment_of, site.role("flow"))}
    mine = {environment_of(p).get("PREFECT__FLOW_RUN_ID", "") for p in victims}
    all_flows = fault.role in ("worker", "launcher") and fault.number != STOP
    blow = Blow(str(fault), dt.datetime.now(dt.UTC), 0, sorted((flows if all_flows else mine) - {""}))
    blow.signals = len(send(victims, fault.number))
    if fault.number == STOP:
        time.sleep(fault.hold_s)
        send(reversed(victims), signal.SIGCONT)
    elif fault.role in ("launcher", "everything"):
        site.start_again()
    return blow if blow.signals else None


def targets(site: Site, fault: Fault) -> list[psutil.Process]:
    processes = site.role(fault.role)
    if fault.run:
        begun = [p for p in processes if fault.run.encode() in _log_of(site, environment_of(p))]
        return begun
    return processes


def _log_of(site: Site, environ: dict[str, str]) -> bytes:
    path = site.state / "logs" / "runs" / f"{environ.get('PREFECT__FLOW_RUN_ID')}.log"
    return path.read_bytes() if path.exists() else b""


def _held(fault: Fault, act: Callable[[], Callable[[], None]], hold_s: float) -> Blow:
    blow = Blow(f"{fault.role}: {hold_s:.0f} s", dt.datetime.now(dt.UTC), 1)
    undo = act()
    time.sleep(hold_s)
    undo()
    return blow


def fill(folder: Path) -> Callable[[], None]:
    """Fill the file system, to the last byte; the answer frees it again."""
    path = folder / "filler"
    with path.open("ab") as file:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while os.write(file.fileno(), b"x" * size):
                    continue
    return lambda: path.unlink(missing_ok=True)


def _set_clock(site: Site, fault: Fault, chance: random.Random) -> Blow:
    """Every process of ours reads the clock through libfaketime, which follows a file."""
    offset_s = chance.choice((-1, 1)) * chance.uniform(300, 3 * 3600)
    blow = Blow(f"clock: {offset_s:+.0f} s", dt.datetime.now(dt.UTC), 1)
    (site.room / "clock").write_text(f"{offset_s:+.0f}\n")
    time.sleep(fault.hold_s)
    return blow
