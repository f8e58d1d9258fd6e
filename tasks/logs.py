"""What a task says in its log, which the Prefect UI shows: one line of what it read, did and wrote."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable

from prefect.context import TaskRunContext
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from dagsverk.store import Commit, Table

EVERY_S = 10.0  # least time between two lines on how far a task is

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def run_logger() -> Log:
    """The log of the run that this is called in; outside one, an ordinary logger."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger(__name__)


def say(*sentences: str) -> None:
    """A task's one line: its sentences, and the seconds since it began."""
    context = TaskRunContext.get()
    line = "; ".join(sentence for sentence in sentences if sentence)
    if context is None:
        run_logger().info("%s", line)
        return
    seconds = (dt.datetime.now(dt.UTC) - context.start_time).total_seconds()
    run_logger().info("%s; in %.1f s", line, max(seconds, 0.0))  # a clock may be set back meanwhile


def now_and_then(every_s: float = EVERY_S) -> Callable[[str], None]:
    """Says how far a long task is: each time it is called, but at most once in `every_s` seconds from now."""
    last_s = time.monotonic()

    def tell(words: str) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= every_s:
            last_s = time.monotonic()
            run_logger().info("%s", words)

    return tell


def wrote(table: Table, commit: Commit) -> str:
    """What became of a write: "wrote 10 new and 2 changed rows to iris_features_1 (commit 17...)"."""
    name = f"{table.name}_{table.version}"
    if not commit.inserted + commit.updated:
        return f"nothing to write to {name} (commit {commit.id})"
    return f"wrote {commit.inserted} new and {commit.updated} changed rows to {name} (commit {commit.id})"
