"""A run shared by several processes of this machine: they are started, told to stop, and heard, from one."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dagsverk.speech import errors
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import Interrupted, Killed, SpeechError
from dagsverk.speech.runs import CheckpointRef
from dagsverk.speech.training.progress import EventReader, EventWriter, Progress, Throttled
from dagsverk.store import StoreError, Unavailable, open_store, protocol

RELAY_S = 0.5  # between two looks at what the processes wrote
LOG_LINES = 15  # of a failed process that are shown

logger = logging.getLogger(__name__)


def launch(
    store_url: str,
    set_id: str,
    language: str,
    config: FinetuneConfig,
    processes: int,
    progress: Progress,
) -> CheckpointRef:
    """Let `processes` new processes train together, through torch's own launcher, until they are done.

    SIGTERM is passed on to them. Raises what they raise.
    """
    with TemporaryDirectory(prefix="dagsverk-run-") as temporary:
        folder = Path(temporary)
        request = folder / "request.json"
        what = {"store": store_url, "set": set_id, "language": language, "config": config.to_dict()}
        request.write_text(json.dumps(what))
        events = EventReader(folder / "events.jsonl", progress)
        with (folder / "log").open("wb") as log, _started(processes, request, log) as child:
            while child.poll() is None:
                try:
                    child.wait(RELAY_S)
                except subprocess.TimeoutExpired:
                    events.relay()
        events.relay()
        return outcome(folder, child.returncode)


def take_part(request: Path, fit: Callable[..., CheckpointRef]) -> None:
    """Be one of the processes of a run. The main one leaves what came of it beside the request."""
    what = json.loads(request.read_text())
    events = Throttled(EventWriter(request.with_name("events.jsonl")), RELAY_S)
    left = request.with_name("outcome.json")
    try:
        ref = fit(
            open_store(what["store"]), what["set"], what["language"], FinetuneConfig(**what["config"]), events
        )
    except (SpeechError, StoreError) as error:
        passing = isinstance(error, Unavailable)  # a backend may have kinds of its own
        _leave(left, {"error": "Unavailable" if passing else type(error).__name__, "message": str(error)})
        raise SystemExit(1) from error
    _leave(left, {"run": ref.run, "step": ref.step})


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


def _leave(path: Path, content: Mapping[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


def outcome(folder: Path, code: int) -> CheckpointRef:
    """What came of the processes, by what they left and their exit code. Raises what the main one raised."""
    try:
        found = json.loads((folder / "outcome.json").read_text())
    except FileNotFoundError:
        last = (folder / "log").read_text(errors="replace").splitlines()[-LOG_LINES:]
        if code in (-signal.SIGTERM, 128 + signal.SIGTERM):
            raise Interrupted("training was told to stop before it began; start it again") from None
        kind = Killed if -code == signal.SIGKILL or any("(SIGKILL)" in line for line in last) else SpeechError
        raise kind(
            f"the processes of the training ended with code {code}; their last words: " + " | ".join(last)
        ) from None
    if "error" in found:
        known = {**vars(protocol), **vars(errors)}
        raise known.get(found["error"], SpeechError)(found["message"])
    return CheckpointRef(found["run"], int(found["step"]))
