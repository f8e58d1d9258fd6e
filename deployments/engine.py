"""`python -m deployments.engine`: one flow run in a session of its own, its output kept in a file.

The pool templates name it as their command. Prefect's own `prefect.engine` shares the worker's process group,
so Ctrl-C in a terminal would reach the flow before its worker could let it finish; and what a flow prints
is lost when the worker does not relay it (it must not: a broken pipe crashes the flow when its worker dies).

The process holds its run's claim (`deployments.claims`), so that a run never has two processes on a machine,
and it ends with its worker: nobody else could cancel it, count it or report its end.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

from deployments import claims

WATCH_S = 0.5  # between two looks at who our parent is
WORKER = "DAGSVERK_WORKER_PID"  # told by our worker: it may be killed before we have begun to look who it is
GRACE_S = 10.0  # from SIGTERM, which saves a training's state, to SIGKILL


def log_path(folder: str | Path, flow_run_id: str) -> Path:
    """Where the output of a flow run is kept."""
    return Path(folder) / "runs" / f"{flow_run_id}.log"


def keep_output(path: Path) -> None:
    """Append everything this process and its children print to the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(handle, stream)
    os.close(handle)


def end_with_worker(worker_pid: int) -> None:
    """When the worker has died: SIGTERM to ourselves, SIGKILL to our whole session after a grace period."""
    while os.getppid() == worker_pid:
        time.sleep(WATCH_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main() -> None:
    worker_pid = int(os.environ.get(WORKER) or os.getppid())
    run_id, folder = os.environ.get("PREFECT__FLOW_RUN_ID", "unknown"), os.environ.get("DAGSVERK_LOGS")
    with contextlib.suppress(PermissionError):  # already the leader of its session
        os.setsid()
    if folder:
        with contextlib.suppress(OSError):  # a full disk shall not keep a flow from running
            keep_output(log_path(folder, run_id))
        try:
            claims.hold(folder, run_id)
        except claims.AlreadyHeld as error:
            print(f"{error}; this one ends", file=sys.stderr)
            sys.exit(0)  # otherwise its worker would report the other's run as crashed
    threading.Thread(target=end_with_worker, args=(worker_pid,), name="worker-watch", daemon=True).start()
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
