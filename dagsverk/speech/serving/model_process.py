"""Models run in a process of their own: started when first needed, ended when nobody has asked for a while.

So memory is given back, and a model that hangs or is killed (by the system, for want of memory) takes no
server along: what it was at is done once more by a new process, and then the recording fails with its reason.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from dagsverk import threads
from dagsverk.records import parse, plain
from dagsverk.speech import errors
from dagsverk.speech.audio.samples import SamplesFile
from dagsverk.speech.languages import Language
from dagsverk.speech.serving import answering, champions
from dagsverk.speech.serving.answering import Listener, Order, Written
from dagsverk.speech.serving.transcriber import Segment
from dagsverk.speech.serving.watched_process import Patience, WatchedProcess
from dagsverk.store import Conflict, Model, NotFound, SchemaError, Store, StoreError, Unavailable
from dagsverk.turns import ASK_EVERY_S, Check, Places

ROOT = Path(__file__).resolve().parents[3]
COMMAND = (sys.executable, "-m", "dagsverk.speech.serving.worker")
IDLE_S = 300.0  # after the last recording
TRIES = 2

LOG = logging.getLogger(__name__)

# What the other process may raise, by name; the nearest ancestor that is listed is raised here.
KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        answering.CannotTranslate, champions.NoSpeechModel, Conflict, NotFound, SchemaError, Unavailable,
        StoreError, errors.Busy, errors.ModelUnavailable, errors.ModelError, errors.SpeechError, OSError,
    )
}  # fmt: skip


class _Died(Exception):
    """The process ended in the middle."""


class ModelProcess:
    """One process for all models, of which any number of threads may ask.

    Args: idle_s: after which it is ended. command: that starts it. patience: with one that may hang.
    """

    def __init__(
        self,
        idle_s: float = IDLE_S,
        command: Sequence[str] = COMMAND,
        patience: Patience = Patience(),  # noqa: B008  it is frozen
    ) -> None:
        self.idle_s, self.command, self.patience = idle_s, command, patience
        self._lock = threading.Lock()
        self._process: WatchedProcess | None = None
        self._at_work = 0
        self._idle: threading.Timer | None = None
        # One at a time: a recording that kills the process twice does not take others' second try along.
        self._second_tries = Places(1, "a second try", most_waiting=100, patience_s=float("inf"))

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        process = self._process
        return process.pid if process and process.is_usable else None

    def write_down(
        self,
        store: Store,
        cache: Path,
        language: Language | None,
        order: Order,
        samples: SamplesFile,
        listener: Listener,
        check: Check,
    ) -> Written:
        """As `answering.write_down`. Raises SpeechError, too, if the process ends twice in the middle."""
        request = {
            "store": store.url,
            "cache": str(cache),
            "language": language.code if language else "",
            "order": plain(order),
            "samples": samples.samples,
        }
        for attempt in range(1, TRIES + 1):
            with self._second_tries.place(check) if attempt > 1 else nullcontext():
                try:
                    return self._asked(request, samples, listener, check)
                except _Died as died:
                    how = str(died)
                    LOG.warning(
                        "the process that runs the models ended (%s), try %d of %d", how, attempt, TRIES
                    )
        raise errors.Killed(
            f"the process that runs the {language.title + ' ' if language else ''}model ended {TRIES} times "
            f"({how}); if the machine is short of memory or too busy, end other programs or use a smaller "
            "model; the log says more"
        )

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _asked(
        self, request: dict[str, Any], samples: SamplesFile, listener: Listener, check: Check
    ) -> Written:
        with self._asking(samples) as (asker, process):
            try:
                asker.sendall(json.dumps(request).encode() + b"\n")
                for kind, content in _events(asker, process, check):
                    if kind == "written":
                        return parse(content, Written, "what the model wrote")
                    process.turns_to(kind)
                    _tell(listener, kind, content)
            except (BrokenPipeError, ConnectionResetError):
                pass
            raise _Died(process.how_it_ended())

    @contextmanager
    def _asking(self, samples: SamplesFile) -> Iterator[tuple[socket.socket, WatchedProcess]]:
        """A socket of this request's own; while it is open, the process is not idle."""
        ours, theirs = socket.socketpair()
        with closing(ours):
            with self._lock, theirs:
                process = self._running()
                try:
                    process.send(theirs.fileno(), samples.fileno())
                except OSError as error:  # it ended a moment ago
                    raise _Died(process.how_it_ended()) from error
                self._at_work += 1
            try:
                yield ours, process
            finally:
                self._done()

    def _running(self) -> WatchedProcess:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._process is None or not self._process.is_usable:
            self._end()
            self._process = WatchedProcess(self.command, _environment(), self.patience)
        return self._process

    def _done(self) -> None:
        with self._lock:
            self._at_work -= 1
            if not self._at_work:
                self._idle = threading.Timer(self.idle_s, self._end_if_idle)
                self._idle.daemon = True
                self._idle.start()

    def _end_if_idle(self) -> None:
        with self._lock:
            if not self._at_work:
                self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
        self._process = None


def _events(asker: socket.socket, process: WatchedProcess, check: Check) -> Iterator[tuple[str, Any]]:
    """Lines of the other side until it closes, or is given up: one that waits for a driver cannot close."""
    asker.settimeout(ASK_EVERY_S)
    rest = b""
    while True:
        check()
        try:
            piece = asker.recv(1 << 20)
        except TimeoutError:
            if process.hangs:
                return
            continue
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            kind, content = json.loads(line)
            yield kind, content


def _tell(listener: Listener, kind: str, content: Any) -> None:
    if kind == "loading":
        listener.loading(parse(content, Model, "a model"))
    elif kind == "begins":
        listener.begins(content)
    elif kind == "progress":
        listener.progress(*content)
    elif kind == "segments":
        listener.segments(content[0], [parse(one, Segment, "a segment") for one in content[1]])
    else:
        raise _raised(content)


def _raised(content: dict[str, Any]) -> Exception:
    if content["reason"]:
        return errors.AudioError(*content["reason"])
    kind = next((KINDS[name] for name in content["kinds"] if name in KINDS), None)
    if kind is not None:
        return kind(content["message"])
    return errors.SpeechError(f"the model failed: {content['kinds'][0]}: {content['message'][:500]}")


def _environment() -> dict[str, str]:
    """Ours: it reads the store. Its threads sleep while they wait, and it finds this package."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**threads.ASLEEP, **threads.KEEP_MEMORY, **os.environ, "PYTHONPATH": path}
