"""Work for people who may leave: places, first come, first served; stages as it goes on; a way to stop it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TypeAlias, TypeVar

from dagsverk.speech.errors import Busy

ASK_EVERY_S = 0.25  # how often who waits is asked whether he still wants to

# Asked several times a second while there is nothing but waiting; what it raises ends the wait and the work.
Check: TypeAlias = Callable[[], None]

Stage = TypeVar("Stage")
Result = TypeVar("Result")


def go_on() -> None:
    """The check of somebody who never leaves."""


class Left(Exception):
    """Who asked for the work is gone, or has pressed Stop."""


class Stop:
    """A check that lets the work go on until it is pressed."""

    def __init__(self) -> None:
        self._pressed = threading.Event()

    def press(self) -> None:
        self._pressed.set()

    def __call__(self) -> None:
        """Raises Left once it is pressed."""
        if self._pressed.is_set():
            raise Left


def staged(
    work: Callable[[Callable[[Stage], None], Check], Result], first: Stage
) -> Iterator[Stage | Result]:
    """The stages that a thread reports of its work, last the result. Closing the iterator ends the work.

    A stage is given again every `ASK_EVERY_S` while it lasts, so that who reads can see whether the visitor
    is still there. Raises what the work raises.

    Args:
        work: takes what it is to call with each stage, and a check that raises Left after the end.
        first: the stage until one is reported.
    """
    stages: queue.SimpleQueue[Stage | None] = queue.SimpleQueue()  # None: the work is over
    outcome: Future[Result] = Future()
    stop = Stop()

    def run() -> None:
        try:
            outcome.set_result(work(stages.put, stop))
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            outcome.set_exception(error)
        stages.put(None)

    threading.Thread(target=run, daemon=True).start()
    stage = first
    try:
        while True:
            with suppress(queue.Empty):  # else the newest one still holds
                newest = stages.get(timeout=ASK_EVERY_S)
                if newest is None:
                    break
                stage = newest
            yield stage
        yield outcome.result()
    finally:
        stop.press()


class Places:
    """So many at a time; who comes later waits in a line.

    Args:
        what: that is waited for, as the message names it.
        most_waiting: a longer line is not joined.
        patience_s: nobody waits longer.
    """

    def __init__(self, places: int, what: str, *, most_waiting: int, patience_s: float) -> None:
        self.what, self.most_waiting, self.patience_s = what, most_waiting, patience_s
        self._free = places
        self._line: list[object] = []
        self._changed = threading.Condition()

    @contextmanager
    def place(self, check: Check = go_on) -> Iterator[None]:
        """Hold a place. Raises Busy if the line is long, or after `patience_s` in it; what `check` raises."""
        self._wait(check)
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    def refuse_if_full(self) -> None:
        """Raises Busy if there is no place in the line either."""
        with self._changed:
            if self._free <= 0 and len(self._line) >= self.most_waiting:
                raise Busy(f"{self.what} is taken, and {len(self._line)} wait for it; try again later")

    def _wait(self, check: Check) -> None:
        me = object()
        deadline = time.monotonic() + self.patience_s
        with self._changed:
            self.refuse_if_full()
            self._line.append(me)
            try:
                while self._free <= 0 or self._line[0] is not me:
                    check()
                    if time.monotonic() > deadline:
                        raise Busy(f"{self.what} was taken for {self.patience_s:.0f} s; try again later")
                    self._changed.wait(ASK_EVERY_S)
                self._free -= 1
            finally:
                self._line.remove(me)
                self._changed.notify_all()
