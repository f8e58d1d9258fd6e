"""A proxy in a process of its own that spoils some of the HTTP/1.1 requests on their way to a server.

    with faulty_proxy("http://127.0.0.1:9000", seed=1, probability=0.2) as proxy:
        ...                  # a client of proxy.address, for a while
        proxy.switch_off()   # now everything passes
        proxy.counts()       # {"pass": 31, "503": 2, ...}

It speaks plain HTTP, one connection to the server per request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

KINDS = {
    "503": "answered with 503, not passed on",
    "late 503": "passed on and done, then answered with 503",
    "drop": "the connection is dropped, not passed on",
    "late drop": "passed on and done, then the connection is dropped without an answer",
    "cut": "passed on and done, then the answer breaks off half way",
    "stall": "nothing happens for stall_s, then it is passed on",
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class FaultyProxy:
    """A running proxy, as its user sees it."""

    address: str
    _process: subprocess.Popen[str]

    def switch_off(self) -> None:
        self._ask("off")

    def switch_on(self) -> None:
        self._ask("on")

    def go_away(self) -> None:
        """Every connection is closed at once, as of a dead server, until `come_back`."""
        self._ask("away")

    def come_back(self) -> None:
        self._ask("back")

    def counts(self) -> dict[str, int]:
        """How many requests were passed ("pass") or met a fault, by kind."""
        return self._ask("counts")

    def _ask(self, word: str) -> dict[str, int]:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(word, file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


@contextmanager
def faulty_proxy(
    target: str,
    *,
    seed: int,
    probability: float,
    kinds: Sequence[str] = tuple(KINDS),
    stall_s: float = 2.0,
    only: str = "",
    without: str = "",
) -> Iterator[FaultyProxy]:
    """A proxy in front of `target`, http://host:port; a request meets a fault with the probability.

    `only`: a regular expression, found in "METHOD path?query" of the requests that may meet one.
    `without`: a header that the server does not know: every request loses it.
    """
    options = {
        "seed": seed,
        "probability": probability,
        "kinds": list(kinds),
        "stall_s": stall_s,
        "only": only,
        "without": without,
    }
    process = subprocess.Popen(
        [sys.executable, __file__, target, json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield FaultyProxy(process.stdout.readline().strip(), process)
    finally:
        process.kill()
        process.communicate()


class Proxy:
    """The process's side."""

    def __init__(
        self,
        target: str,
        *,
        seed: int,
        probability: float,
        kinds: Sequence[str],
        stall_s: float,
        only: str,
        without: str,
    ) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._chance = random.Random(seed)
        self._probability, self._kinds, self._stall_s = probability, list(kinds), stall_s
        self._only, self._without = re.compile(only.encode()), without.lower().encode()
        self.on, self.away = True, False
        self.counts = Counter[str]()
        self._serving: set[asyncio.Task[None] | None] = set()  # asyncio itself holds them weakly

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The requests of one connection, one after the other."""
        self._serving.add(task := asyncio.current_task())
        try:
            while (
                not self.away
                and (request := await _request(reader, writer, self._without))
                and await self._answer(request, writer)
            ):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client is gone
        finally:
            writer.transport.abort()
            self._serving.discard(task)

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection stays open; the server's answers end it, so it does not."""
        kind = self._draw(request.split(b" HTTP/", 1)[0])
        self.counts[kind] += 1
        if kind == "stall":
            await asyncio.sleep(self._stall_s)
        answer = b"" if kind in ("503", "drop") else await self._passed_on(request)
        if kind not in ("drop", "late drop"):
            half = len(answer) // 2 if kind == "cut" else None
            writer.write(BUSY if kind in ("503", "late 503") else answer[:half])
            await writer.drain()
            writer.close()  # after what was written; abort() would throw that away
            await writer.wait_closed()
        return False

    def _draw(self, asked: bytes) -> str:
        if not (self.on and self._only.search(asked)) or self._chance.random() >= self._probability:
            return "pass"
        return self._chance.choice(self._kinds)

    async def _passed_on(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._target)
        try:
            writer.write(request)
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, without: bytes) -> bytes:
    """A whole request, changed so that the server closes after its answer; b"" when none comes."""
    head = await _head(reader)
    if not head:
        return b""
    first, *lines = head.rstrip(b"\r\n").split(b"\r\n")
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)
    }
    if fields.get(b"expect", b"").lower() == b"100-continue":
        writer.write(CONTINUE)
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        body = await _chunks(reader)
    else:
        body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
    ours = (b"connection:", b"expect:", b"keep-alive:", *([without + b":"] if without else []))
    kept = [line for line in lines if not line.lower().startswith(ours)]
    return b"\r\n".join([first, *kept, b"Connection: close", b"", body])


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body as it came."""
    body = b""
    while True:
        line = await reader.readline()
        body += line + await reader.readexactly(int(line.split(b";")[0], 16) + 2)
        if int(line.split(b";")[0], 16) == 0:
            return body


async def main(target: str, options: str) -> None:
    proxy = Proxy(target, **json.loads(options))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=1 << 20)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    threading.Thread(target=_obey, args=(proxy,), daemon=True).start()
    await server.serve_forever()


def _obey(proxy: Proxy) -> None:
    """Words from standard input: off, on, away, back, counts. Each is answered with the counts."""
    for word in sys.stdin:
        proxy.on = {"on\n": True, "off\n": False}.get(word, proxy.on)
        proxy.away = {"away\n": True, "back\n": False}.get(word, proxy.away)
        print(json.dumps(proxy.counts), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("options", help="JSON")
    given = parser.parse_args()
    asyncio.run(main(given.target, given.options))
