"""Recordings that nobody vouches for, decoded where they can do no harm: in a process of its own with limits.

A file may be made to take all memory, all time, or to use a fault of FFmpeg. Then that process ends, and the
file is "undecodable". See `process` for what it may do.
"""

from __future__ import annotations

import json
import logging
import math
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dagsverk import threads
from dagsverk.speech.audio.local_files import open_file
from dagsverk.speech.audio.samples import RATE_HZ, SAMPLE_BYTES, Audio, SamplesFile
from dagsverk.speech.audio.tracks import tags_of
from dagsverk.speech.errors import AudioError, SpeechError
from dagsverk.turns import ASK_EVERY_S, Check, Places, go_on

START_S = 60.0  # on a machine that has much to do; 0.3 else
ROOT = Path(__file__).resolve().parents[3]

COMMAND = (sys.executable, "-m", "dagsverk.speech.audio.process")
# glibc gives each buffer of a clip back to the system and takes it anew: 1,700 page faults, half of the time.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(8 << 20), "MALLOC_TRIM_THRESHOLD_": str(32 << 20)}
NICENESS = 5  # pages and models come first

LOG = logging.getLogger(__name__)


class Sandbox:
    """Processes that decode; started when they are first needed.

    Args:
        most: at a time; who comes later waits.
        reuse: let a process decode many recordings, as a preparation wants it; else each has its own, and the
            next one is started ahead.
        most_waiting, patience_s: of those who come later.
        least_work_s: of a processor, that any recording may take; a hundredth of its longest length is added.
        least_wait_s: that is waited for beside twice that work, on a machine that has much to do.
    """

    def __init__(
        self,
        most: int,
        *,
        reuse: bool = False,
        most_waiting: int = 8,
        patience_s: float = 20.0,
        least_work_s: int = 10,
        least_wait_s: int = 30,
    ) -> None:
        self.reuse, self.least_work_s, self.least_wait_s = reuse, least_work_s, least_wait_s
        self._places = Places(most, "the decoder", most_waiting=most_waiting, patience_s=patience_s)
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()

    def read_samples(
        self, source: bytes | Path, *, max_s: float, language: str = "", check: Check = go_on
    ) -> Audio:
        """A short recording, as `waveform.read_samples`. Raises as `open`."""
        with _nameless() as target:
            samples, _ = self._decode_into(target, source, max_s, language, check, None)
            return np.frombuffer(os.pread(target.fileno(), samples * SAMPLE_BYTES, 0), np.float32)

    def read_many(
        self, recordings: Sequence[tuple[bytes, str]], *, max_s: float
    ) -> Iterator[Audio | AudioError]:
        """Short recordings, each with its language, in one request: what `read_samples` gives, or raises.

        Together they have the time and the memory that one of them may take alone. If they want more, or end
        their process, or one cannot be decoded, it is done again for each of them alone: what becomes of a
        recording does not depend on those beside it. Raises as `open`, but for AudioError.
        """
        with _nameless() as target:
            at = 0
            counts = self._decode_together(target, recordings, max_s)
            for (source, language), count in zip(recordings, counts, strict=True):
                if count:
                    sound = os.pread(target.fileno(), count * SAMPLE_BYTES, at)
                    at += len(sound)
                    yield np.frombuffer(sound, np.float32)
                    continue
                try:
                    yield self.read_samples(source, max_s=max_s, language=language)
                except AudioError as error:
                    yield error

    def open(
        self,
        source: bytes | Path,
        *,
        max_s: float,
        language: str = "",
        check: Check = go_on,
        faults: list[str] | None = None,
    ) -> SamplesFile:
        """A long recording, to be closed.

        Args:
            max_s: longest recording wanted. Time and room are given in proportion to it.
            language: of several tracks, the one wanted; Whisper's code.
            check: asked while it is decoded.
            faults: takes why it cannot be decoded further; what came before is then kept.
        Raises: AudioError; Busy; SpeechError if no such process can be started; what `check` raises.
        """
        target = tempfile.TemporaryFile()  # noqa: SIM115  closed by its user
        try:
            return SamplesFile(target, *self._decode_into(target, source, max_s, language, check, faults))
        except BaseException:
            target.close()
            raise

    def close(self) -> None:
        """End the processes that wait for work."""
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().end()

    def _decode_into(
        self,
        target: BinaryIO,
        source: bytes | Path,
        max_s: float,
        language: str,
        check: Check,
        faults: list[str] | None,
    ) -> tuple[int, list[str]]:
        """Samples that were written, and what is to be said of them."""
        request = self._request(max_s, language) | {"partly": faults is not None}
        try:
            answer = self._asked(target, source, request, check)
        except DecoderKilled:  # by somebody, or for want of memory: not to be held against a good clip
            if not self.reuse:
                raise  # what a visitor sends gets one try
            os.ftruncate(target.fileno(), 0)
            os.lseek(target.fileno(), 0, os.SEEK_SET)
            answer = self._asked(target, source, request, check)
        samples = int(answer["samples"])
        size = os.fstat(target.fileno()).st_size
        if samples * SAMPLE_BYTES != size:
            raise AudioError("undecodable", f"{samples} samples were told of, and {size} bytes written")
        if faults is not None:
            faults += map(str, answer["faults"])
        return samples, [str(note) for note in answer["notes"]]

    def _decode_together(
        self, target: BinaryIO, recordings: Sequence[tuple[bytes, str]], max_s: float
    ) -> list[int]:
        """Samples that were written of each; 0: it is to be decoded alone."""
        alone = [0] * len(recordings)
        if len(recordings) < 2:
            return alone
        parts = [(len(source), tags_of(language)) for source, language in recordings]
        request = self._request(max_s, "") | {"parts": parts}
        try:
            answer = self._asked(target, [source for source, _ in recordings], request, go_on)
        except AudioError:  # of one of them, and nobody knows of which
            return alone
        counts = [int(count) for count in answer["counts"]]
        is_so = len(counts) == len(alone) and min(counts) >= 0
        is_so &= sum(counts) * SAMPLE_BYTES == os.fstat(target.fileno()).st_size
        return counts if is_so and max(counts) * SAMPLE_BYTES <= request["max_bytes"] else alone

    def _asked(
        self, target: BinaryIO, source: bytes | Path | Sequence[bytes], request: dict[str, Any], check: Check
    ) -> dict[str, Any]:
        with _opened(source) as recording, self._places.place(check), self._process() as process:
            return process.ask(recording, target, request, check)

    @contextmanager
    def _process(self) -> Iterator[_Process]:
        process = self._waiting() or self._started()
        try:
            yield process
        finally:  # what was asked to stop, or did worse, is ended with all that it holds
            if self.reuse and process.is_idle:
                self._idle.put(process)
            else:
                process.end()
                if self._idle.empty():
                    self._idle.put(self._started())

    def _request(self, max_s: float, language: str) -> dict[str, Any]:
        work_s = self.least_work_s + round(max_s / 100)
        return {
            "max_s": max_s,
            "tags": tags_of(language),
            "max_bytes": (round(max_s) + 1) * RATE_HZ * SAMPLE_BYTES,
            "cpu_s": work_s,
            "wall_s": self.least_wait_s + 2 * work_s,
        }

    def _started(self) -> _Process:
        return _Process(0 if self.reuse else NICENESS)

    def _waiting(self) -> _Process | None:
        with suppress(queue.Empty):
            while not (process := self._idle.get_nowait()).is_alive:
                process.end()
            return process
        return None


# For the clips of corpora: one damaged so that it ends its decoder must not end a preparation.
CLIPS = Sandbox(max(2, threads.allowed()), reuse=True, most_waiting=1000, patience_s=math.inf)


class DecoderKilled(AudioError):
    """By somebody, or for want of memory, and not by a limit that the recording met."""


class _Process:
    """One `process`."""

    def __init__(self, niceness: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*COMMAND, str(theirs.fileno()), str(niceness)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=_environment(),
                cwd="/",
                start_new_session=True,  # Ctrl-C is for us: it ends when its socket is closed
            )
        self._socket = ours
        self._ready = False
        self.is_idle = True

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, recording: BinaryIO, target: BinaryIO, request: dict[str, Any], check: Check
    ) -> dict[str, Any]:
        """Samples written, and what is to be said of them. Raises AudioError, SpeechError, as `check`."""
        self.is_idle = False
        if not self._ready and self._answer(START_S, check) is None:
            code = self._ended()
            raise SpeechError(
                f"the process that decodes recordings does not start ({code}); the log says why"
            )
        self._ready = True
        files = [recording.fileno(), target.fileno()]
        with suppress(BrokenPipeError, ConnectionResetError):  # it has died: told below
            socket.send_fds(self._socket, [json.dumps(request).encode() + b"\n"], files)
        answer = self._answer(request["wall_s"], check)
        if answer is None:
            why = self._why(request["cpu_s"])
            killed = self._ended() in (-signal.SIGKILL, -signal.SIGTERM)
            raise (DecoderKilled if killed else AudioError)("undecodable", why)
        self.is_idle = True
        if "trouble" in answer:
            raise SpeechError(answer["trouble"])
        if "reason" in answer:
            raise AudioError(answer["reason"], answer["detail"])
        return answer

    def _answer(self, patience_s: float, check: Check) -> dict[str, Any] | None:
        """The next line; None when it ends without one, or says nothing for too long."""
        deadline = time.monotonic() + patience_s
        line = b""
        self._socket.settimeout(ASK_EVERY_S)
        while time.monotonic() < deadline:
            check()
            try:
                piece = self._socket.recv(4096)
            except TimeoutError:
                continue
            except ConnectionResetError:
                return None
            line += piece
            if line.endswith(b"\n"):
                return dict(json.loads(line))
            if not piece:
                return None
        return None

    def _why(self, cpu_s: int) -> str:
        """Why there is no answer."""
        code = self._ended()
        if code in (-signal.SIGXCPU, -signal.SIGALRM, None):
            return f"decoding it took more than {cpu_s} s of work; convert it to WAV, FLAC or MP3"
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        LOG.warning("a recording ended the process that decoded it: %s", name)
        return f"it ended the process that decoded it ({name}); convert it to WAV, FLAC or MP3"

    def _ended(self) -> int | None:
        """Its exit code; None: it goes on."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout=1)
        return None

    def end(self) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()


def _environment() -> dict[str, str]:
    """No keys, no addresses; and one thread for each library, whose stacks would count as memory."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return {**kept, **one_thread, **KEEP_MEMORY, "PYTHONPATH": str(ROOT)}


@contextmanager
def _opened(source: bytes | Path | Sequence[bytes]) -> Iterator[BinaryIO]:
    if isinstance(source, Path):
        with open_file(source) as file:
            yield file
        return
    with _nameless() as file:
        for content in (source,) if isinstance(source, bytes) else source:
            file.write(content)
        yield file


def _nameless() -> BinaryIO:
    """A file in memory where the system has that."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("recording", os.MFD_CLOEXEC), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)
