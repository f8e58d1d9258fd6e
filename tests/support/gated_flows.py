"""Flows that the tests of workers deploy."""

import os
import subprocess
import sys
from pathlib import Path

from prefect import flow, task

from tasks.children import cancel_children
from tasks.speech import run_part


@flow
def gated(folder: str) -> None:
    """Note the attempt, then wait at a named pipe until a test opens it."""
    place = Path(folder)
    with (place / "attempts").open("a") as notes:
        notes.write(f"{os.getpid()}\n")
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # ends with its flow
    (place / "gate").read_bytes()
    (place / "done").write_text("done")


@task
def step(number: int) -> int:
    return number


@flow
def stepping(folder: str, steps: int) -> None:
    """Some tasks, then as the gated flow."""
    for number in range(steps):
        step(number)
    gated.fn(folder)


@flow
def parent(folder: str) -> None:
    """Note the attempt, then wait for a run of the gated flow."""
    with (Path(folder) / "parents").open("a") as notes:
        notes.write(f"{os.getpid()}\n")
    run_part("gated/child", {"folder": folder})


@flow(on_cancellation=[cancel_children])
def parent_of_one(folder: str) -> None:
    """Wait for a run of the gated flow, which ends with this one."""
    run_part("gated/resumable", {"folder": folder})
