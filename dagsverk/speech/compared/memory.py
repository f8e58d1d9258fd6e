"""What a contender takes of memory: measured in a process of its own, which holds nothing else.

    python -m dagsverk.speech.compared.memory < request

The request is JSON: store, language, contender, and a file of samples; the answer is bytes.
"""

from __future__ import annotations

import json
import logging
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from dagsverk.records import from_bytes, to_bytes
from dagsverk.speech.audio.samples import Audio
from dagsverk.speech.compared.config import Contender
from dagsverk.speech.compared.writing import MemoryRequest
from dagsverk.store import Store

PATIENCE_S = 600.0
LOG = logging.getLogger(__name__)


def peak_bytes(store: Store, language: str, contender: Contender, clip: Audio) -> int | None:
    """The most that a process takes which loads a contender of ours and writes down a clip, all in all.

    None where it could not be measured: no comparison fails for it.
    """
    with tempfile.NamedTemporaryFile(prefix="dagsverk-clip-", suffix=".f32") as file:
        file.write(clip.tobytes())
        file.flush()
        asked = MemoryRequest(store=store.url, language=language, contender=contender, samples=file.name)
        command = [sys.executable, "-m", __name__]
        try:
            done = subprocess.run(
                command, input=to_bytes(asked), capture_output=True, timeout=PATIENCE_S, check=True
            )
            return int(json.loads(done.stdout.splitlines()[-1]))
        except (OSError, subprocess.SubprocessError, ValueError, IndexError, TypeError) as error:
            LOG.warning("the memory of %s was not measured: %s", contender.kind, type(error).__name__)
            return None


def main() -> None:
    """Answer the request on standard input."""
    from dagsverk.speech.compared.contenders import opened
    from dagsverk.speech.languages import language as language_of
    from dagsverk.store import open_store

    asked = from_bytes(sys.stdin.buffer.read(), MemoryRequest, "the request")
    clip = np.fromfile(Path(asked.samples), np.float32)
    with opened(open_store(asked.store), language_of(asked.language), asked.contender) as contender:
        contender.write(clip, b"")
        most = own_peak_bytes()
    sys.stdout.write(f"{most}\n")


def own_peak_bytes() -> int:
    """The most memory that this process has held.

    Linux counts in `ru_maxrss` what the parent held when it started us; VmHWM is ours alone (proc(5)).
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
