"""Speech from text with eSpeak NG: the same utterance gives the same bytes, always. Loads no other library.

eSpeak NG comes in the optional wheel `espeakng-loader`, is under the GPL, and carries hidden state from one
utterance to the next, so that the same words sound a little different each time. So it is never loaded into
this process: a process of its own loads it afresh for each utterance (3 ms), which is always its first.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import wave
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, cast

from dagsverk.speech.errors import AudioError, CorpusError, Killed, SpeechError

RATE_HZ = 22050  # of all eSpeak NG voices that need no other synthesiser, at a tract of 100 %

# From espeak_ng/speak_lib.h, interface 12.
_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: the callback gets the samples before espeak_Synth returns
_DO_NOT_EXIT = 0x8000  # report absent data instead of ending the process
_RATE, _PITCH, _RANGE = 1, 3, 4
_UTF8 = 1
_NOT_SPOKEN, _SPOKEN = 0, 1
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_HEAD = struct.Struct("<BI")  # of an answer: whether spoken, bytes that follow


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """What to say and how."""

    text: str
    voice: str  # language and variant, "sv+f3"
    rate_wpm: int = 175
    pitch: int = 50  # 0 to 100; 50 is the variant's own
    pitch_range: int = 50  # 0 to 100: from a drone to a song
    tract_percent: int = 100  # length of the vocal tract: a longer one lowers and slows all, as a tape does


def speak(utterances: Sequence[Utterance]) -> Iterator[bytes | AudioError]:
    """Each utterance as a WAV file (mono, 16 bit, about 22 050 Hz), in order, or why it could not be spoken.

    Raises: CorpusError if eSpeak NG is not installed, does not start, or ends early; Killed.
    """
    # Files, not pipes, to and for complaints from the worker: so neither side ever waits for the other.
    with tempfile.TemporaryFile() as wanted, tempfile.TemporaryFile() as complaints:
        wanted.write(json.dumps([asdict(utterance) for utterance in utterances]).encode())
        wanted.seek(0)
        with _started("speak", wanted, complaints) as worker:
            answers = cast(IO[bytes], worker.stdout)
            try:
                for _ in utterances:
                    yield _answer(worker, answers, complaints)
            finally:
                worker.kill()  # it is done, or whoever asked wants no more


def version() -> str:
    """The version of eSpeak NG, say "1.52.0". Raises CorpusError if it is not installed or does not start."""
    with tempfile.TemporaryFile() as nothing, tempfile.TemporaryFile() as complaints:
        with _started("version", nothing, complaints) as worker:
            output, _ = worker.communicate()
        if worker.returncode or not output:
            raise _ended_early(worker, complaints)
        return output.decode()


def _started(command: str, wanted: IO[bytes], complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    library, data = _installed()
    if sys.platform == "win32":
        raise CorpusError("the spoken corpus needs Linux or macOS; name recordings as the corpus's source")
    root = str(Path(__file__).parents[3])  # the worker finds this package also where it is not installed
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return subprocess.Popen(
        [sys.executable, "-m", "dagsverk.speech.corpora.espeak", command, library, data],
        stdin=wanted,
        stdout=subprocess.PIPE,
        stderr=complaints,
        env=os.environ | {"PYTHONPATH": path},
    )


def _installed() -> tuple[str, str]:
    """The paths of the library and its data."""
    try:
        loader = importlib.import_module("espeakng_loader")
        library, data = loader.get_library_path(), loader.get_data_path()
    except ImportError:
        raise CorpusError(
            "the spoken corpus needs eSpeak NG, and the package espeakng-loader is not installed; "
            "pip install espeakng-loader (GPL-3.0), or name recordings as the corpus's source"
        ) from None
    except RuntimeError as error:
        raise CorpusError(
            f"espeakng-loader is installed without its voices: {error}; reinstall it"
        ) from error
    return str(library), str(data)


def _answer(worker: subprocess.Popen[bytes], answers: IO[bytes], complaints: IO[bytes]) -> bytes | AudioError:
    head = answers.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise _ended_early(worker, complaints)
    spoken, size = _HEAD.unpack(head)
    body = answers.read(size)
    if len(body) < size:
        raise _ended_early(worker, complaints)
    return body if spoken else AudioError("not spoken", body.decode())


def _ended_early(worker: subprocess.Popen[bytes], complaints: IO[bytes]) -> SpeechError:
    if -worker.wait() in (signal.SIGKILL, signal.SIGTERM):
        return Killed("the process of eSpeak NG was killed: for want of memory, or by somebody; try again")
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").strip().splitlines()
    return CorpusError(
        f"eSpeak NG ended before it had answered: {lines[-1] if lines else 'no word of why'}; "
        "reinstall it: pip install --force-reinstall espeakng-loader"
    )


# From here on: the process that eSpeak NG has to itself.


class _Espeak:
    """The library, freshly loaded: good for one utterance, and not safe for threads."""

    def __init__(self, library: str, data: str) -> None:
        self._path = library
        self._library = ctypes.CDLL(library)
        rate_hz = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _DO_NOT_EXIT)
        if rate_hz != RATE_HZ:
            raise CorpusError(f"wanted voices of {RATE_HZ} Hz in {data}, eSpeak NG answered {rate_hz}")
        # Breath is noise, from a generator that starts with the time of day; in some voices libc's.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        ctypes.CDLL(None).srand(1)

    def __enter__(self) -> _Espeak:
        return self

    def __exit__(self, *_: object) -> None:
        """Unloads it: only so does it forget where in its flutter and echo it was."""
        self._library.espeak_Terminate()
        handle = ctypes.c_void_p(self._library._handle)
        if ctypes.CDLL(None).dlclose(handle):
            raise CorpusError(f"this system does not unload {self._path}; speech would not be reproducible")

    def version(self) -> str:
        self._library.espeak_Info.restype = ctypes.c_char_p
        info: bytes = self._library.espeak_Info(None)
        return info.decode().split()[0]

    def say(self, utterance: Utterance) -> bytes:
        """Samples, 16 bit. Raises AudioError."""
        samples = bytearray()

        def collect(sound: int | None, count: int, _events: int | None) -> int:
            if sound and count > 0:
                samples.extend(ctypes.string_at(sound, 2 * count))
            return 0  # go on

        callback = _CALLBACK(collect)  # named: it must outlive the call below
        self._library.espeak_SetSynthCallback(callback)
        if self._library.espeak_SetVoiceByName(utterance.voice.encode()):
            raise AudioError("not spoken", f"eSpeak NG has no voice {utterance.voice!r}")
        for parameter, value in (
            (_RATE, utterance.rate_wpm),
            (_PITCH, utterance.pitch),
            (_RANGE, utterance.pitch_range),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)
        text = utterance.text.encode()
        failed = self._library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 0, 0, _UTF8, None, None)
        if failed or not samples:
            raise AudioError("not spoken", f"eSpeak NG answered {failed} to {utterance.text!r}")
        return bytes(samples)


def _wav(samples: bytes, rate_hz: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(samples)
    return file.getvalue()


def _work(command: str, library: str, data: str) -> None:
    if command == "version":
        with _Espeak(library, data) as espeak:
            sys.stdout.write(espeak.version())
        return
    for wanted in json.loads(sys.stdin.buffer.read()):
        with _Espeak(library, data) as espeak:
            try:
                utterance = Utterance(**wanted)
                spoken, body = _SPOKEN, _wav(espeak.say(utterance), RATE_HZ * 100 // utterance.tract_percent)
            except AudioError as error:
                spoken, body = _NOT_SPOKEN, error.detail.encode()
        sys.stdout.buffer.write(_HEAD.pack(spoken, len(body)) + body)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    _work(*sys.argv[1:])
