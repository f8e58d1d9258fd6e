"""`python -m deployments.engine`: one flow run in a session of its own, its output kept in a file.

The pool templates name it as their command. Prefect's own `prefect.engine` shares the worker's process group,
so Ctrl-C in a terminal would reach the flow before its worker could let it finish; and what a flow prints
is lost when the worker does not relay it (it must not: a broken pipe crashes the flow when its worker dies).
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
from pathlib import Path


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


def main() -> None:
    with contextlib.suppress(PermissionError):  # already the leader of its session
        os.setsid()
    if folder := os.environ.get("DAGSVERK_LOGS"):
        with contextlib.suppress(OSError):  # a full disk shall not keep a flow from running
            keep_output(log_path(folder, os.environ.get("PREFECT__FLOW_RUN_ID", "unknown")))
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
