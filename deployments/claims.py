"""Which runs this machine has taken, and which of them have a living process: a file per run, with a lock.

A worker writes the file (a claim) before it takes a run; the flow's process locks it for as long as it lives.
The kernel frees the lock at any kind of end, so that a lock never outlives its process and no process id that
another program has by now can be taken for it. Workers that share the folder of logs share the claims.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

LOOKED_AT_S = 2.0  # a look at a lock takes it for an instant; after this it is another process that has it


class Life(enum.Enum):
    """What this machine knows of a run's process."""

    LIVES = "lives here"
    ENDED = "has ended here"
    ELSEWHERE = "was never here"


class AlreadyHeld(Exception):
    """Another process works for this run."""


def claims_folder(logs: str | Path) -> Path:
    return Path(logs) / "runs"


def claim_path(logs: str | Path, run_id: str) -> Path:
    return claims_folder(logs) / f"{run_id}.claim"


def claim(logs: str | Path, run_id: str, worker: str) -> None:
    """Say that the worker takes the run. A process that works for it already keeps its lock."""
    path = claim_path(logs, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    if life(logs, run_id) is Life.LIVES:
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".claim-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(worker)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def claimant(logs: str | Path, run_id: str) -> str | None:
    """The name of the worker that took the run here last; None when none did."""
    try:
        return claim_path(logs, run_id).read_text()
    except FileNotFoundError:
        return None


def release(logs: str | Path, run_id: str) -> None:
    """Forget the run, unless its process lives."""
    if life(logs, run_id) is not Life.LIVES:
        claim_path(logs, run_id).unlink(missing_ok=True)


def hold(logs: str | Path, run_id: str) -> int:
    """Lock the claim until this process ends. Returns the descriptor. Raises AlreadyHeld."""
    path = claim_path(logs, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + LOOKED_AT_S
    while not _locked(handle, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            os.close(handle)
            raise AlreadyHeld(f"another process works for run {run_id}")
        time.sleep(0.05)
    os.register_at_fork(after_in_child=lambda: _close(handle))  # a forked child does not hold it as well
    return handle


def _close(handle: int) -> None:
    with contextlib.suppress(OSError):
        os.close(handle)


def life(logs: str | Path, run_id: str) -> Life:
    """Whether a process of this machine works for the run."""
    try:
        handle = os.open(claim_path(logs, run_id), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return Life.ELSEWHERE
    try:
        return Life.ENDED if _locked(handle, fcntl.LOCK_SH) else Life.LIVES
    finally:
        os.close(handle)


def _locked(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def end_leftovers(run_id: str) -> int:
    """Kill what a dead flow process left running (loaders of data, learning processes). Returns how many.

    They bear the run's id in their environment, which is read on Linux only.
    """
    ended = 0
    for pid in leftovers(run_id):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
            ended += 1
    return ended


def leftovers(run_id: str) -> Iterator[int]:
    wanted = f"PREFECT__FLOW_RUN_ID={run_id}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it has just ended, or is not ours
            if wanted in path.read_bytes().split(b"\0") and int(path.parent.name) != os.getpid():
                yield int(path.parent.name)
