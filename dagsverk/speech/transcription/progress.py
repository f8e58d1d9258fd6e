"""How far a recording is: a bar on a terminal, plain lines elsewhere. Light."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

EVERY_S = 30.0  # least time between two plain lines on one recording


class Progress(Protocol):
    """What is told of one recording."""

    def stage(self, name: str) -> None:
        """What is being done, before anything can be counted."""

    def done(self, done_s: float, total_s: float) -> None:
        """Seconds of the recording, so far and in all."""

    def end(self, total_s: float, took_s: float) -> None:
        """It is written down."""


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """On standard error, so that what is written down can be sent on."""
    if not sys.stderr.isatty():
        yield Lines(label)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[minutes]}", markup=False),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        yield Bar(bars, label)


class Bar:
    """A bar that goes when its recording is done."""

    def __init__(self, bars: object, label: str) -> None:
        self._bars, self._label = bars, label
        self._task = bars.add_task(label, total=None, minutes="")  # type: ignore[attr-defined]

    def stage(self, name: str) -> None:
        self._update(minutes=name)

    def done(self, done_s: float, total_s: float) -> None:
        minutes = f"{done_s / 60:.1f} of {total_s / 60:.1f} min"
        self._update(completed=done_s, total=total_s, minutes=minutes)

    def end(self, total_s: float, took_s: float) -> None:
        """The bar goes."""

    def _update(self, **news: object) -> None:
        self._bars.update(self._task, **news)  # type: ignore[attr-defined]


class Lines:
    """A line now and then."""

    def __init__(self, label: str) -> None:
        self._label, self._last_s = label, time.monotonic()

    def stage(self, name: str) -> None:
        """Lines tell of what is done."""

    def done(self, done_s: float, total_s: float) -> None:
        if time.monotonic() - self._last_s >= EVERY_S:
            self._last_s = time.monotonic()
            self._tell(f"{done_s / 60:.1f} of {total_s / 60:.1f} min")

    def end(self, total_s: float, took_s: float) -> None:
        speed = f", {total_s / took_s:.1f} times as fast as spoken" if took_s > 0 else ""
        self._tell(f"{total_s:.1f} s in {took_s:.1f} s{speed}")

    def _tell(self, words: str) -> None:
        sys.stderr.write(f"{self._label}: {words}\n")
        sys.stderr.flush()
