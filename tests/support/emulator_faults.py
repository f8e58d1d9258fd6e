"""Faults that tests ask the emulator for, and barriers that force a race."""

from __future__ import annotations

import contextlib
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from emulator_http import Answer, Dropped, Request

KINDS = ("status", "status_after", "drop", "drop_after", "stall")


@dataclass
class Rule:
    """Strikes requests of a method whose path?query holds the pattern, at most `times` times."""

    method: str
    pattern: str
    kind: str
    code: int = 503
    seconds: float = 0.0
    times: int | None = 1
    probability: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        self.random = random.Random(self.seed)

    def strikes(self, request: Request) -> bool:
        if self.times == 0 or not matches(self.method, self.pattern, request):
            return False
        if self.random.random() >= self.probability:
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Barrier:
    """The first `parties` matching requests leave `wait` together, or when the time is up."""

    def __init__(self, method: str, pattern: str, parties: int, timeout_s: float) -> None:
        self.method, self.pattern, self.timeout_s = method, pattern, timeout_s
        self.places = parties
        self.gate = threading.Barrier(parties)

    def wait(self) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):  # released by time or by `clear`
            self.gate.wait(self.timeout_s)


def matches(method: str, pattern: str, request: Request) -> bool:
    where = request.line.partition(" ")[2]
    return method in ("*", request.method) and re.search(pattern, where) is not None


@dataclass
class Faults:
    """The rules in force. The first one that strikes decides what happens to a request."""

    rules: list[Rule] = field(default_factory=list)
    barriers: list[Barrier] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    quiet: threading.Event = field(default_factory=threading.Event)  # set: stalls end at once

    def add_rule(self, rule: dict[str, Any]) -> None:
        with self.lock:
            self.quiet.clear()
            self.rules.append(Rule(**rule))

    def add_barrier(self, barrier: dict[str, Any]) -> None:
        with self.lock:
            self.barriers.append(Barrier(**barrier))

    def clear(self) -> None:
        with self.lock:
            self.quiet.set()
            for barrier in self.barriers:
                barrier.gate.abort()
            self.rules.clear()
            self.barriers.clear()

    def around(self, request: Request, handle: Callable[[], Answer]) -> Answer:
        """The answer of `handle`, unless a rule strikes.

        Raises: Dropped when the client is to get no answer.
        """
        barrier, rule = self._drawn(request)
        if barrier is not None:
            barrier.wait()
        if rule is None:
            return handle()
        if rule.kind == "stall":
            self.quiet.wait(rule.seconds)
            return handle()
        if rule.kind in ("status_after", "drop_after"):
            handle()
        if rule.kind in ("drop", "drop_after"):
            raise Dropped
        return Answer({"errorCode": 100, "errorMsg": "injected fault", "usrMsg": ""}, rule.code)

    def _drawn(self, request: Request) -> tuple[Barrier | None, Rule | None]:
        with self.lock:
            rule = next((rule for rule in self.rules if rule.strikes(request)), None)
            for barrier in self.barriers:
                if barrier.places and matches(barrier.method, barrier.pattern, request):
                    barrier.places -= 1
                    return barrier, rule
            return None, rule
