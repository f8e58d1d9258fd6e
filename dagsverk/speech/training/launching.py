"""A run shared by several processes of this machine, which one process starts, follows and stops."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dagsverk.records import from_bytes, to_bytes
from dagsverk.speech import errors
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import Interrupted, Killed, SpeechError
from dagsverk.speech.runs import CheckpointRef
from dagsverk.speech.training.progress import EventReader, EventWriter, Progress, Throttled
from dagsverk.store import StoreError, Unavailable, open_store, protocol

RELAY_S = 0.5  # how often new progress of the processes is passed on
OUTCOME = "outcome.json"
LOG_LINES = 15  # of a failed process that are shown

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the processes are to train."""

    store: str  # its URL
    set_id: str
    language: str  # Whisper's code
    config: FinetuneConfig
    until: int | None = None  # the step after which it pauses
    search: str = ""  # that it is a trial of


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the main process leaves: the best checkpoint, or the name and the words of what it raised."""

    run: str = ""
    step: int = 0
    error: str = ""
    message: str = ""


def launch(request: Request, processes: int, progress: Progress) -> CheckpointRef:
    """Let `processes` new processes train together, through torch's own launcher, until they are done.

    SIGTERM is passed on to them. Raises what they raise.
    """
    with TemporaryDirectory(prefix="dagsverk-run-") as temporary:
        folder = Path(temporary)
        file = folder / "request.json"
        file.write_bytes(to_bytes(request))
        events = EventReader(folder / "events.jsonl", progress)
        with (folder / "log").open("wb") as log, _started(processes, file, log) as child:
            while child.poll() is None:
                try:
                    child.wait(RELAY_S)
                except subprocess.TimeoutExpired:
                    events.relay()
        events.relay()
        return outcome(folder, child.returncode)


def take_part(file: Path, fit: Callable[..., CheckpointRef]) -> None:
    """Be one of the processes of a run. The main one leaves its outcome beside the request."""
    request = from_bytes(file.read_bytes(), Request, str(file))
    events = Throttled(EventWriter(file.with_name("events.jsonl")), RELAY_S)
    left = file.with_name(OUTCOME)
    try:
        store, asked = open_store(request.store), (request.set_id, request.language, request.config)
        ref = fit(store, *asked, events, until=request.until, search=request.search)
    except (SpeechError, StoreError) as error:
        passing = isinstance(error, Unavailable)  # a backend may have kinds of its own
        kind = "Unavailable" if passing else type(error).__name__
        _leave(left, Outcome(error=kind, message=str(error)))
        raise SystemExit(1) from error
    _leave(left, Outcome(run=ref.run, step=ref.step))


@contextmanager
def _started(processes: int, request: Path, log: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The launcher, running; stopped at the end whatever happens."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "dagsverk.speech.training.fit", str(request)]
    child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda *_: child.terminate()) if in_main else None
    try:
        yield child
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)
        if child.poll() is None:
            child.terminate()
            child.wait()


def _leave(path: Path, left: Outcome) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(to_bytes(left))
    temporary.replace(path)


def outcome(folder: Path, code: int) -> CheckpointRef:
    """The best checkpoint, by what the processes left and their exit code.

    Raises what the main one raised.
    """
    try:
        left = from_bytes((folder / OUTCOME).read_bytes(), Outcome, str(folder / OUTCOME))
    except FileNotFoundError:
        last = (folder / "log").read_text(errors="replace").splitlines()[-LOG_LINES:]
        if code in (-signal.SIGTERM, 128 + signal.SIGTERM):
            raise Interrupted("training was told to stop before it began; start it again") from None
        kind = Killed if -code == signal.SIGKILL or any("(SIGKILL)" in line for line in last) else SpeechError
        raise kind(
            f"the processes of the training ended with code {code}; their last words: " + " | ".join(last)
        ) from None
    if left.error:
        kinds = {**vars(protocol), **vars(errors)}
        raise kinds.get(left.error, SpeechError)(left.message)
    return CheckpointRef(left.run, left.step)
