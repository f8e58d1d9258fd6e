"""Any program that answers OpenAI's `/v1/audio/transcriptions`: asked clip by clip, and trusted with nothing.

What it sends is cut to size, read by a deadline and taken as text alone; redirects are not followed. A clip
that it refuses is set aside; a program that refuses everything, or answers something else, ends the work.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from dagsverk.addresses import LOCAL
from dagsverk.speech.compared.config import Contender, check_program
from dagsverk.speech.errors import ModelError, ModelUnavailable

KEYS = "DAGSVERK_PROGRAM_KEYS"  # of the worker: ORIGIN=KEY, several apart by spaces
MAX_BYTES = 1_000_000  # of an answer: an hour of speech is a tenth of it
MAX_LETTERS = 20_000  # of a text: a clip has 30 s; what is longer is no transcript of it
TRIES = 4  # of one clip, where trouble may pass
PAUSES_S = (1.0, 4.0, 15.0)
MAX_PAUSE_S = 120.0  # that a program may ask for; a longer one is left to the next try of the task
IN_A_ROW = 5  # clips without an answer, one after another: then it is the program, not the clips
PLAIN = {"accept": "application/json", "accept-encoding": "identity"}
OF_PROGRAM = {  # answers that no clip is to blame for
    401: "it wants a key, or another one",
    402: "it wants to be paid",
    403: "it does not let us",
    404: "there is no such route or model",
    405: "the route takes no POST",
    407: "a proxy wants a login",
}
PASSING = (408, 425, 429, 500, 502, 503, 504, 529)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u2028\u2029\ufeff\ud800-\udfff]+")


class Refusal(Exception):
    """One clip has no answer. `passing`: another try may have one."""

    def __init__(self, reason: str, detail: str, *, passing: bool = False, wait_s: float | None = None):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.passing, self.wait_s = reason, detail, passing, wait_s


def key_of(address: str, environ: Mapping[str, str] = os.environ) -> str:
    """The key for this address, from the worker's environment; "" if there is none for its origin.

    Each key is kept with the origin that it is for, so nobody who starts a run can have it sent elsewhere.
    Raises: ModelError if it would go unencrypted over a network, or the variable cannot be read.
    """
    wanted = _origin(address)
    for entry in environ.get(KEYS, "").split():
        origin, mark, key = entry.partition("=")
        if not mark or not key or "://" not in origin:
            raise ModelError(
                f"{KEYS} cannot be read (not shown): want ORIGIN=KEY, such as https://api.example.com=KEY, "
                "several apart by spaces"
            )
        if _origin(origin) == wanted:
            parts = urlsplit(address)
            if parts.scheme.lower() == "http" and parts.hostname not in LOCAL:
                raise ModelError(
                    f"the key for {wanted} is not sent over http, where anybody may read it; give an "
                    "https:// address"
                )
            return key
    return ""


def _origin(address: str) -> str:
    parts = urlsplit(address)
    scheme = parts.scheme.lower()
    return (
        f"{scheme}://{(parts.hostname or '').lower()}:{parts.port or {'http': 80, 'https': 443}.get(scheme)}"
    )


@dataclass
class Program:
    """A program that is asked. Threads may share it."""

    contender: Contender
    language: str  # Whisper's code, that it is told
    pause: Callable[[float], None] = time.sleep
    _failed: int = 0  # clips in a row
    _answers: bool = False  # it has answered a clip
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._route = f"{check_program(self.contender.address)}/audio/transcriptions"
        key = key_of(self.contender.address)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        most = httpx.Limits(max_connections=self.contender.at_once)
        self._client = httpx.Client(headers={**headers, **PLAIN}, follow_redirects=False, limits=most)

    @property
    def host(self) -> str:
        """For people: "127.0.0.1:8000"."""
        return urlsplit(self.contender.address).netloc

    def close(self) -> None:
        self._client.close()

    def write(self, wav: bytes) -> str:
        """The text of a clip. Raises: Refusal of the clip; ModelError, ModelUnavailable of the program."""
        for tried in range(TRIES):
            try:
                text = self._ask(wav)
            except Refusal as error:
                last = tried == TRIES - 1
                wait_s = error.wait_s if error.wait_s is not None else PAUSES_S[min(tried, len(PAUSES_S) - 1)]
                if wait_s > MAX_PAUSE_S:
                    raise ModelUnavailable(
                        f"{self.host} wants to be left alone for {wait_s:.0f} s; what it wrote is kept: "
                        "start the run again then"
                    ) from error
                if error.passing and not last:
                    self.pause(wait_s)
                    continue
                self._count(error)
                raise
            with self._lock:
                self._failed, self._answers = 0, True
            return text
        raise AssertionError("unreachable")

    def _count(self, error: Refusal) -> None:
        """A row of failures is the program's. Raises ModelUnavailable or ModelError then."""
        with self._lock:
            if self._answers and error.reason.startswith("refused"):
                return  # it works, and has something against these clips
            self._failed += 1
            if self._failed < IN_A_ROW:
                return
        words = f"{self.host} had no answer for {IN_A_ROW} clips in a row, the last: {error}"
        if error.passing:
            raise ModelUnavailable(f"{words}; see that it runs, what it wrote is kept") from error
        raise ModelError(
            f"{words}; see that {self._route} is OpenAI's route for transcriptions, and that it knows the "
            f"model {self.contender.model!r}"
        ) from error

    def _ask(self, wav: bytes) -> str:
        whole_s = self.contender.timeout_s
        ends_s = time.monotonic() + whole_s
        form = {"model": self.contender.model, "language": self.language, "response_format": "json"}
        try:
            with self._client.stream(
                "POST",
                self._route,
                data=form,
                files={"file": ("clip.wav", wav, "audio/wav")},
                timeout=httpx.Timeout(whole_s, connect=min(10.0, whole_s)),
            ) as answer:
                body = self._body(answer, ends_s)
                return self._text(answer, body)
        except httpx.TimeoutException as error:
            raise Refusal(
                "no answer in time", f"after {self.contender.timeout_s:g} s", passing=True
            ) from error
        except httpx.TransportError as error:
            raise Refusal("no connection", type(error).__name__, passing=True) from error
        except (httpx.InvalidURL, httpx.DecodingError) as error:
            raise Refusal("not an answer", type(error).__name__) from error

    def _body(self, answer: httpx.Response, ends_s: float) -> bytes:
        """At most MAX_BYTES, by the deadline: who sends a letter a second does not hold us for ever."""
        packed = answer.headers.get("content-encoding", "identity")
        if packed.lower() not in ("", "identity"):  # a small answer may unpack to a very large one
            raise Refusal("not an answer", f"packed by {plain(packed)[:40]}, which was not asked for")
        body = bytearray()
        for piece in answer.iter_raw():  # of no size: who waits for more would not look at the clock
            body += piece
            if len(body) > MAX_BYTES:
                raise Refusal("not an answer", f"more than {MAX_BYTES:,} bytes")
            if time.monotonic() > ends_s:
                raise Refusal("no answer in time", f"after {self.contender.timeout_s:g} s", passing=True)
        return bytes(body)

    def _text(self, answer: httpx.Response, body: bytes) -> str:
        status = answer.status_code
        if status in OF_PROGRAM:
            raise ModelError(
                f"{self.host} answers {status}: {OF_PROGRAM[status]}; see the address ({self._route}), the "
                f"model {self.contender.model!r}, and {KEYS} of the worker"
            )
        if 300 <= status < 400:
            raise ModelError(
                f"{self.host} sends elsewhere ({status}), and is not followed; give the address itself"
            )
        if status != 200:
            passing = status in PASSING
            wait_s = _wait_s(answer.headers.get("retry-after", "")) if passing else None
            reason = "too many requests" if status == 429 else f"refused, HTTP {status}"
            if passing and status != 429:
                reason = f"no answer, HTTP {status}"
            raise Refusal(reason, _message(body), passing=passing, wait_s=wait_s)
        try:
            content = json.loads(body)
            text = content["text"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            kind = answer.headers.get("content-type", "")[:60] or "no type"
            raise Refusal("not an answer", f"no JSON with a text, but {_CONTROL.sub(' ', kind)}") from error
        if not isinstance(text, str):
            raise Refusal("not an answer", f"its text is no text, but {type(text).__name__}")
        if len(text) > MAX_LETTERS:
            raise Refusal("text too long", f"{len(text):,} letters for one clip")
        return plain(text)


def plain(text: str) -> str:
    """In one line, without control characters and halves of pairs."""
    return " ".join(_CONTROL.sub(" ", text).split())


def _message(body: bytes) -> str:
    """What it says of itself, cut short, as one line; it may be anything."""
    try:
        content = json.loads(body)
        error = content.get("error", content) if isinstance(content, dict) else content
        words = error.get("message", error) if isinstance(error, dict) else error
        return plain(str(words))[:200]
    except (ValueError, RecursionError):
        return plain(body[:400].decode("utf-8", "replace"))[:200]


def _wait_s(header: str) -> float | None:
    """Of Retry-After: seconds, or a date."""
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        at = email.utils.parsedate_to_datetime(header)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=dt.UTC)
    return max(0.0, (at - dt.datetime.now(dt.UTC)).total_seconds())


@contextmanager
def asked(contender: Contender, language: str) -> Iterator[Program]:
    """The program while it is needed."""
    program = Program(contender, language)
    try:
        yield program
    finally:
        program.close()
