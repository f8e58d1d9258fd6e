"""The process in which models run. Started and asked by `model_process`.

    python -m dagsverk.speech.serving.worker SOCKET SECONDS

Each byte on the socket brings two open files: a socket of the request's own, and the recording's samples. The
request is a line of JSON; events come back as lines, last the transcripts or an error. Who closes a request's
socket ends its work; when the first socket is closed, the process ends. On that one it says every SECONDS
that it lives, and for how long no step was made: see `watched_process`.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dagsverk.records import parse, plain
from dagsverk.speech.audio.samples import SamplesFile
from dagsverk.speech.errors import AudioError
from dagsverk.speech.languages import language
from dagsverk.speech.model.decoded import Task
from dagsverk.speech.serving.answering import Order, write_down
from dagsverk.speech.serving.transcriber import Segment
from dagsverk.store import Model, Store, open_store
from dagsverk.turns import Left

LOG = logging.getLogger(__name__)
OOM_SCORE = "500"  # Linux: if memory is short, this process goes before the server


def main(number: int, pulse_s: float) -> None:
    """Take requests until nobody can ask any more; each has a thread."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    with socket.socket(fileno=number) as asker:
        threading.Thread(target=_tell_pulses, args=(asker, pulse_s), daemon=True).start()
        while True:
            byte, files, _, _ = socket.recv_fds(asker, 1, 2)
            if not byte:
                break
            threading.Thread(target=_answer, args=files, daemon=True).start()
    os._exit(0)  # threads may be in the middle of a layer: nothing of theirs is to be kept


def _tell_pulses(asker: socket.socket, pulse_s: float) -> None:
    with suppress(OSError):  # nobody listens any more
        while True:
            time.sleep(pulse_s)
            still_s: dict[bool, list[float]] = {False: [], True: []}  # by whether the work has begun
            for teller in list(AT_WORK):
                still_s[teller.begun].append(teller.still_s(pulse_s))
            slowest = [max(some, default=None) for some in still_s.values()]
            asker.sendall(json.dumps(slowest).encode() + b"\n")


def _answer(number: int, samples_number: int) -> None:
    with socket.socket(fileno=number) as asker, os.fdopen(samples_number, "rb") as file:
        teller = _Teller(asker)
        AT_WORK.add(teller)
        try:
            request = json.loads(_line(asker))
            samples = SamplesFile(file, request["samples"])
            written = write_down(
                _store(request["store"]),
                Path(request["cache"]),
                language(request["language"]) if request["language"] else None,
                parse(request["order"], Order),
                samples,
                teller,
                teller.check,
            )
            teller.tell("written", plain(written))
        except (Left, BrokenPipeError, ConnectionResetError):
            return  # nobody waits for it
        except Exception as error:
            LOG.debug("a recording could not be written down", exc_info=True)
            with suppress(OSError):
                teller.tell("error", _described(error))
        finally:
            AT_WORK.discard(teller)


def _line(asker: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = asker.recv(65_536)
        if not piece:
            raise Left
        line += piece
    return line


@functools.cache
def _store(url: str) -> Store:
    return open_store(url)


def _described(error: Exception) -> dict[str, Any]:
    kinds = [kind.__name__ for kind in type(error).__mro__]
    reason = [error.reason, error.detail] if isinstance(error, AudioError) else []
    return {"kinds": kinds, "message": str(error) or type(error).__name__, "reason": reason}


class _Teller:
    """Sends events to who asked, and knows when the last step was made."""

    def __init__(self, asker: socket.socket) -> None:
        self._asker = asker
        self.begun = False  # else a model is fetched and loaded, which has no steps
        self._moved, self._still_s = True, 0.0

    def still_s(self, pulse_s: float) -> float:
        """Seconds without a step, counted in pulses; to be asked once a pulse."""
        self._still_s = 0.0 if self._moved else self._still_s + pulse_s
        self._moved = False
        return self._still_s

    def check(self) -> None:
        """A step, or a wait for the model. Raises Left once the other side is closed: it says nothing after
        its request."""
        self._moved = self.begun = True
        if select.select([self._asker], [], [], 0)[0]:
            raise Left

    def tell(self, kind: str, content: Any) -> None:
        self._asker.sendall(json.dumps([kind, content]).encode() + b"\n")

    def loading(self, model: Model) -> None:
        self._moved, self.begun = True, False
        self.tell("loading", plain(model))

    def begins(self, tasks: Sequence[Task]) -> None:
        self._moved = self.begun = True
        self.tell("begins", list(tasks))

    def progress(self, done_s: float, total_s: float) -> None:
        self.tell("progress", [done_s, total_s])

    def segments(self, task: Task, segments: Sequence[Segment]) -> None:
        self.tell("segments", [task, [plain(segment) for segment in segments]])


AT_WORK: set[_Teller] = set()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
