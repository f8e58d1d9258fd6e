"""Flows that the tests of workers deploy."""

import os
from pathlib import Path

from prefect import flow

from tasks.speech import run_part


@flow
def gated(folder: str) -> None:
    """Note the attempt, then wait at a named pipe until a test opens it."""
    place = Path(folder)
    with (place / "attempts").open("a") as notes:
        notes.write(f"{os.getpid()}\n")
    (place / "gate").read_bytes()
    (place / "done").write_text("done")


@flow
def parent(folder: str) -> None:
    """Note the attempt, then wait for a run of the gated flow."""
    with (Path(folder) / "parents").open("a") as notes:
        notes.write(f"{os.getpid()}\n")
    run_part("gated/child", {"folder": folder})
