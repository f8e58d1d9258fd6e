"""Services as child processes: started in order, started again when they end or hang, stopped in reverse.

A thread watches, so that neither a slow start nor a lost server keeps the launcher from hearing Ctrl-C.
Why not an existing supervisor: docs/decisions/0021-one-reconciler-one-supervisor.md.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deployments.launch import Child, LaunchError, say

TICK_S = 0.3
PROBE_S = 10.0  # between two questions whether a service still answers
HUNG_S = 120.0  # lives and does not answer, in seconds that we were awake: killed and started again
STEADY_S = 10.0  # a service that lived so long after it was ready counts as well started
MOST_STARTS = 5  # in a row that came to nothing, then it is given up
LONGEST_PAUSE_S = 30.0
KILLED = (-signal.SIGKILL, -signal.SIGTERM)


def _yes() -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Service:
    """How one service is started, asked and stopped."""

    name: str
    command: Callable[[], Sequence[str]]  # what the guard runs; made anew for each start
    log: Path
    ready: Callable[[], bool] = _yes
    alive: Callable[[], bool] | None = None  # asked now and then: one that stops to answer is started again
    start_s: float = 60.0
    grace_s: float = 10.0
    stop_signal: int = signal.SIGTERM
    environ: Mapping[str, str] | None = None
    vital: bool = True  # the rest cannot go on without it
    excuse: Callable[[], str] = str  # why it cannot start through no fault of its own; empty: no excuse


@dataclass
class Running:
    """A service and its present process."""

    service: Service
    child: Child | None = None
    was_ready: bool = False
    started: float = 0.0
    ready_at: float = 0.0
    answered: float = 0.0
    probed: float = 0.0
    fruitless: int = 0
    again_at: float = 0.0
    given_up: bool = False
    excused: str = ""


@dataclass
class Supervisor:
    """Watches the services that were started with it."""

    keep_open: int | None = None  # descriptor that children inherit: the lock of the state folder
    services: list[Running] = field(default_factory=list)
    failure: str | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _tick: float = 0.0

    def add(self, service: Service) -> Running:
        """Begin to watch a service; it is started by the watching thread, once those before it are ready."""
        running = Running(service)
        self.services.append(running)
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._thread.start()
        return running

    def wait_ready(self, running: Running, stop: threading.Event) -> None:
        """Return when the service is ready, or all is to stop. Raises LaunchError when it cannot be had."""
        while not (running.was_ready or running.given_up or stop.is_set()):
            self.check()
            time.sleep(0.05)
        self.check()

    def check(self) -> None:
        """Raises LaunchError when a vital service was given up."""
        if self.failure:
            raise LaunchError(self.failure)

    def stop(self, hurry: threading.Event | None = None) -> None:
        """End all services, the last started first; `hurry` set while it waits: those that wait shall not."""
        self.stopping.set()
        if self._thread is not None:
            self._thread.join()
        for running in reversed(self.services):
            if running.child is not None:
                running.child.stop(running.service.grace_s, running.service.stop_signal, hurry)

    def _watch(self) -> None:
        while not self.stopping.wait(TICK_S):
            now = time.monotonic()
            slept = now - self._tick > 10 * TICK_S + 5 if self._tick else False
            self._tick = now
            for running in self.services:
                if slept:
                    running.answered = running.started = now  # nobody can be blamed for that time
                if not self._see_to(running, now):
                    break  # those after it need it

    def _see_to(self, running: Running, now: float) -> bool:
        """Bring one service a step further. Returns whether those after it may be started."""
        if running.given_up:
            return not running.service.vital
        if running.child is None:
            return self._begin(running, now) or not running.service.vital
        if (reason := running.child.ended()) is not None:
            self._lost(running, reason, now, killed=running.child.process.returncode in KILLED)
            return not running.service.vital
        if not running.was_ready:
            self._ask_first(running, now)
            return running.was_ready or not running.service.vital
        if now - running.ready_at >= STEADY_S:
            running.fruitless = 0
        self._ask_again(running, now)
        return True

    def _begin(self, running: Running, now: float) -> bool:
        if now < running.again_at:
            return False
        service = running.service
        try:
            command = service.command()
        except LaunchError as error:
            self._lost(running, str(error), now)
            return False
        running.child = Child(service.name, command, service.log, service.environ, self.keep_open)
        running.started = running.answered = running.probed = now
        running.was_ready = False
        return False

    def _ask_first(self, running: Running, now: float) -> None:
        service = running.service
        if service.ready():
            running.was_ready, running.ready_at, running.answered = True, now, now
            if running.fruitless:
                say(f"{service.name}: answers again")
        elif now - running.started > service.start_s and running.child is not None:
            running.child.kill()
            self._lost(
                running, f"{service.name} was not ready within {service.start_s:.0f} s: {service.log}", now
            )

    def _ask_again(self, running: Running, now: float) -> None:
        if running.service.alive is None or now - running.probed < PROBE_S:
            return
        running.probed = now
        if running.service.alive():
            running.answered = time.monotonic()
        elif now - running.answered > HUNG_S and running.child is not None:
            running.child.kill()
            self._lost(running, f"{running.service.name} did not answer for {HUNG_S:.0f} s", now)

    def _lost(self, running: Running, reason: str, now: float, *, killed: bool = False) -> None:
        running.child, running.was_ready = None, False
        running.fruitless += 1
        pause_s = 0.5 * 2 ** (running.fruitless - 1) if running.fruitless > 1 else 0.0
        running.again_at = now + min(pause_s, LONGEST_PAUSE_S)
        if killed:  # by somebody else, or for want of memory: no reason to give it up, however often
            running.fruitless = min(running.fruitless, MOST_STARTS)
        if excuse := running.service.excuse():
            running.fruitless = min(running.fruitless, MOST_STARTS)
            if excuse != running.excused:
                say(f"{reason.splitlines()[0]}: {excuse}; it is tried again until then")
            running.excused = excuse
        elif running.fruitless <= MOST_STARTS:
            say(f"{reason.splitlines()[0]}: it is started again")
        elif running.service.vital:
            running.given_up, self.failure = True, reason
        else:
            running.again_at = now + LONGEST_PAUSE_S  # goes on trying, in silence
            if running.fruitless == MOST_STARTS + 1:
                say(f"{reason}\nthe rest goes on without {running.service.name}")
