"""`python -m deployments.guard MODULE ARGUMENTS...`: run a module, and end with its parent.

A launcher that is killed outright cannot stop what it started. It holds the other end of its children's
standard input; when that closes, they stop themselves: as if they had been sent SIGTERM, soon once more
(which means: now), and at last SIGKILL.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

HURRY_S, KILL_S = 2.0, 25.0  # after the first SIGTERM


def end_with_parent() -> None:
    """Wait for the end of standard input, then ask this process to stop, with growing emphasis."""
    # os.read, not sys.stdin: a buffered reader holds a lock that the interpreter wants when it ends
    while os.read(0, 1024):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(HURRY_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(KILL_S)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    threading.Thread(target=end_with_parent, name="parent-watch", daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
