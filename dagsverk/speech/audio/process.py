"""The process in which recordings are decoded that nobody vouches for. Started and read by `sandbox`.

    python -m dagsverk.speech.audio.process SOCKET NICENESS

It says that it is ready, then answers requests, one at a time, until the other side of the socket is closed.
A request is a line of JSON with two open files: the recording, and one that takes its samples. While it works
it can open nothing, neither a file nor a connection, and has so much memory, time and room for its result.
Several short recordings may come in one file, one behind the other; together they have the time of one.
"""

from __future__ import annotations

import errno
import gc
import io
import json
import os
import resource
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dagsverk.speech.audio import waveform
from dagsverk.speech.audio.containers import NO_MEMORY
from dagsverk.speech.errors import AudioError

MEMORY_BYTES = 256 << 20  # beside what Python and FFmpeg take anyway
REQUEST_BYTES = 4096
DETAIL_LETTERS = 300


def main(number: int, niceness: int) -> None:
    """Answer until nobody asks."""
    os.nice(niceness)
    with suppress(OSError):  # Linux: if memory is short, this process is what can be spared
        Path("/proc/self/oom_score_adj").write_text("1000")
    waveform.read_samples(waveform.encode_wav(np.zeros(100, np.float32)))  # loads what is loaded on first use
    gc.freeze()  # what is there stays: looking it through again and again takes a thirtieth of the time
    _limit(resource.RLIMIT_CORE, 0)
    if total := _memory_bytes():
        _limit(resource.RLIMIT_AS, total + MEMORY_BYTES)
    with Path(os.devnull).open("wb") as nowhere:  # PyAV prints each odd seek: strangers must not fill the log
        os.dup2(nowhere.fileno(), sys.stderr.fileno())
    with suppress(BrokenPipeError, ConnectionResetError), socket.socket(fileno=number) as asker:
        asker.sendall(b'{"ready": true}\n')
        while request := _next(asker):
            asker.sendall(json.dumps(_answer(asker, *request)).encode() + b"\n")


def _next(asker: socket.socket) -> tuple[dict[str, Any], BinaryIO, BinaryIO] | None:
    """The next request with its files, which are then the last that this process could open."""
    _limit(resource.RLIMIT_NOFILE, 64)
    line, files, _, _ = socket.recv_fds(asker, REQUEST_BYTES, 2)
    if not line:
        return None
    _limit(resource.RLIMIT_NOFILE, 0)
    recording, samples = files
    return json.loads(line), os.fdopen(recording, "rb"), os.fdopen(samples, "r+b")


def _answer(
    asker: socket.socket, request: dict[str, Any], recording: BinaryIO, samples: BinaryIO
) -> dict[str, Any]:
    """How many samples were written, or why there are none; of several, the samples of each."""
    parts = request.get("parts", [])
    _limit(resource.RLIMIT_FSIZE, request["max_bytes"] * max(1, len(parts)))
    used_s = sum(os.times()[:2])
    _limit(resource.RLIMIT_CPU, int(used_s + request["cpu_s"]) + 1)
    signal.alarm(request["wall_s"])  # should the other side be gone
    faults: list[str] = []
    try:
        with recording, samples:
            if parts:
                return {"counts": _decode_each(asker, request, recording, samples)}
            written, notes = waveform.decode_into(
                samples,
                recording,
                max_s=request["max_s"],
                tags=request["tags"],
                check=lambda: _end_if_closed(asker),
                faults=faults if request.get("partly") else None,
            )
    except AudioError as error:
        return {"reason": error.reason, "detail": error.detail[:DETAIL_LETTERS]}
    except MemoryError:
        return {"reason": "undecodable", "detail": NO_MEMORY}
    except OSError as error:
        if error.errno == errno.EFBIG:
            return {"reason": "undecodable", "detail": "it holds more sound than was asked for"}
        return {"trouble": f"its sound cannot be kept: {error.strerror}"}
    finally:
        signal.alarm(0)
    words = {"notes": notes, "faults": faults}
    return {"samples": written, **{of: [one[:DETAIL_LETTERS] for one in some] for of, some in words.items()}}


def _decode_each(
    asker: socket.socket, request: dict[str, Any], recordings: BinaryIO, samples: BinaryIO
) -> list[int]:
    """Samples that were written of each, one behind the other; 0 where there is a reason why not."""
    recordings.seek(0)
    counts = []
    for size, tags in request["parts"]:
        start = samples.tell()
        try:
            written, _ = waveform.decode_into(
                samples,
                io.BytesIO(recordings.read(size)),
                max_s=request["max_s"],
                tags=tags,
                check=lambda: _end_if_closed(asker),
            )
        except AudioError:
            samples.seek(start)
            samples.truncate()
            written = 0
        counts.append(written)
    return counts


def _end_if_closed(asker: socket.socket) -> None:
    if select.select([asker], [], [], 0)[0]:  # nothing is sent meanwhile: it is closed
        sys.exit()


def _limit(what: int, most: int) -> None:
    """The soft limit; more than the hard one is not asked for."""
    hard = resource.getrlimit(what)[1]
    with suppress(OSError, ValueError):  # macOS knows some limits by name only
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _memory_bytes() -> int:
    """Of address space that is taken now; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
