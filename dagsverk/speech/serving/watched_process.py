"""A process of models that is watched: one that hangs is ended, and says why.

The process tells every few seconds that it lives, and for how long no step was made of what it is at. Both
sides count their waits and do not look at a clock: a machine that slept, or all of whose processes were
stopped for a while, is not taken for a process that hangs.
"""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

BATCH_S = 60.0  # of audio, the most that is decoded for each core between two steps
SLOWEST = 15.0  # times slower than speech: a model that still works, on a machine that is too small for it
BURIED_S = 5.0  # for a process that was ended to be gone; one that waits for a driver may never be

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """After how long without a sign a process is taken to hang, in seconds."""

    silent_s: float = 60.0  # without a pulse
    work_s: float = SLOWEST * BATCH_S  # without a step of a recording
    load_silent_s: float = (
        300.0  # without a pulse, while it starts and loads: libraries come from a slow disk
    )
    load_s: float = 3600.0  # to fetch and load a model
    pulse_s: float = 2.0  # between two pulses


@dataclass(frozen=True)
class Pulse:
    """What the process says: seconds since the last step of what waits longest; None: nothing does."""

    loading_s: float | None = None
    working_s: float | None = None


class WatchedProcess:
    """One process and the socket by which it is asked; from its start on a thread watches it.

    Args: command: that starts it; the number of its socket and the seconds between pulses are added.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], patience: Patience) -> None:
        self._patience = patience
        self._why = ""
        self._pulse = Pulse(loading_s=0.0)  # the newest
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(patience.pulse_s)
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(patience.pulse_s)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=dict(environment),
                start_new_session=True,  # Ctrl-C is for us: it ends when its socket is closed
            )
        self.watcher = threading.Thread(target=self._watch, name="models-watch", daemon=True)
        self.watcher.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        return not self._why and self._process.poll() is None

    @property
    def hangs(self) -> str:
        """In which way, so that it was ended; empty for one that does not."""
        return self._why

    def send(self, *numbers: int) -> None:
        """Give it open files. Raises OSError if it ended, or takes nothing."""
        socket.send_fds(self._socket, [b"r"], list(numbers))

    def turns_to(self, kind: str) -> None:
        """It told, before its next pulse, that it loads a model now, or begins to work with it."""
        if kind == "loading":
            self._pulse = Pulse(loading_s=0.0)
        elif kind == "begins":
            self._pulse = Pulse(working_s=0.0)

    def end(self) -> None:
        """Now, whatever it is at."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # who watches it closes it
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(BURIED_S)

    def how_it_ended(self) -> str:
        if self._why:
            return self._why
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(BURIED_S)
            return signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return "it answers no more"

    def _watch(self) -> None:
        with self._socket:
            silent_s, rest = 0.0, b""
            while not (why := self._hanging(silent_s)):
                try:
                    piece = self._socket.recv(4096)
                except TimeoutError:
                    silent_s += self._patience.pulse_s
                    continue
                except OSError:
                    return
                if not piece:
                    return
                *lines, rest = (rest + piece).split(b"\n")
                if lines:
                    silent_s, self._pulse = 0.0, Pulse(*json.loads(lines[-1]))
            LOG.warning("the process that runs the models hangs (%s): it is ended", why)
            self._why = why
            self.end()

    def _hanging(self, silent_s: float) -> str:
        """How it hangs; empty if it does not."""
        patience, pulse = self._patience, self._pulse
        if silent_s > (patience.silent_s if pulse.loading_s is None else patience.load_silent_s):
            return f"it gave no sign of life for {silent_s:.0f} s"
        if (pulse.loading_s or 0.0) > patience.load_s:
            return f"it was loading for {pulse.loading_s:.0f} s without an end"
        # Who works may wait for the model that another loads.
        if pulse.loading_s is None and (pulse.working_s or 0.0) > patience.work_s:
            return f"it made no step for {pulse.working_s:.0f} s"
        return ""
