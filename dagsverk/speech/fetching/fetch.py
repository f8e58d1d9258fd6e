"""An address that a visitor gives -> a file here, fetched where it can do no harm. Light.

A process of its own does it: see `process` and `fence` for what it may do. What it brings is as trusted as
any file that a visitor sends in, and is decoded as these are.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagsverk.speech.errors import FetchError
from dagsverk.speech.fetching.sites import allowed_sites, checked
from dagsverk.turns import ASK_EVERY_S, Check, Places, go_on

COMMAND = (sys.executable, "-m", "dagsverk.speech.fetching.process")
ROOT = Path(__file__).resolve().parents[3]
WALL_S, CPU_S = 300, 120
LINE_BYTES = 1 << 16  # more than an answer has
KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
FETCHING = Places(2, "every place for an address", most_waiting=4, patience_s=60.0)

OnProgress = Callable[[int, int | None], None]  # bytes so far, and in all where that is known


@dataclass(frozen=True)
class Fetched:
    """A recording that lies here now."""

    path: Path
    title: str  # as the site names it; "" where it does not


def fetch(
    address: str, folder: Path, *, most_bytes: int, on_progress: OnProgress, check: Check = go_on,
    wall_s: int = WALL_S,
) -> Fetched:  # fmt: skip
    """Fetch the recording at an address.

    Args:
        folder: empty and for this alone; what is there after an error is of no use.
        check: asked several times a second; what it raises ends the work.
    Raises: FetchError for who gave the address; Busy; what `check` raises.
    """
    sites = allowed_sites()
    checked(address, sites)
    request = {"address": address, "sites": sites.entries, "most_bytes": most_bytes}
    request |= {"cpu_s": CPU_S, "wall_s": wall_s}
    with FETCHING.place(check), _process(folder) as process:
        answer = _answer(process, request, on_progress, check, wall_s)
    if "error" in answer:
        raise FetchError(str(answer["error"])[:600])
    files = [path for path in folder.iterdir() if path.name.startswith("recording")]
    if len(files) != 1 or not files[0].is_file() or files[0].is_symlink() or not files[0].stat().st_size:
        raise FetchError("the site sent no recording")
    return Fetched(files[0], str(answer.get("title", ""))[:200])


@contextmanager
def _process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    process = subprocess.Popen(
        [*COMMAND, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**kept, "PYTHONPATH": str(ROOT), "YTDLP_NO_PLUGINS": "1", "HOME": str(folder)},
        cwd="/",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()


def _answer(
    process: subprocess.Popen[bytes],
    request: dict[str, Any],
    on_progress: OnProgress,
    check: Check,
    wall_s: int,
) -> dict[str, Any]:
    """The last line that the process says."""
    assert process.stdin and process.stdout  # noqa: S101 - both are pipes
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
    deadline = time.monotonic() + wall_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        rest = b""
        while time.monotonic() < deadline:
            check()
            if not selector.select(ASK_EVERY_S):
                continue
            block = os.read(process.stdout.fileno(), LINE_BYTES)
            *lines, rest = (rest + block).split(b"\n")
            for line in map(json.loads, lines):
                if "bytes" not in line:
                    return dict(line)
                on_progress(line["bytes"], line["total"])
            if not block or len(rest) > LINE_BYTES:
                return {"error": _ended(process)}
    return {"error": f"it took longer than {wall_s} s: give the file itself"}


def _ended(process: subprocess.Popen[bytes]) -> str:
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=2)
    return f"the process that fetches it was ended ({process.returncode}): it took too much time or memory"
