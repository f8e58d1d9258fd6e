"""Places that are given first come, first served, to a bounded number of people."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from dagsverk.speech.errors import Busy

LOOK_S = 0.25  # how often who waits is asked whether he still wants to

# Asked several times a second while there is nothing but waiting; what it raises ends the wait and the work.
Check: TypeAlias = Callable[[], None]


def go_on() -> None:
    """The check of somebody who never leaves."""


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
                    self._changed.wait(LOOK_S)
                self._free -= 1
            finally:
                self._line.remove(me)
                self._changed.notify_all()
