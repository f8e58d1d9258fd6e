"""A small HTTPS server for the emulator: routes, answers, and connections that break on demand.

Written on http.server because one thread per connection makes a stall, a barrier and a connection
closed without an answer each a few plain lines.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

IDLE_S = 300.0  # a client that says nothing for this long is disconnected


class Refusal(Exception):
    """What the server answers instead: an HTTP status and the error code of Hopsworks."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"{status} {code} {message}")
        self.status, self.code, self.message = status, code, message


class Dropped(Exception):
    pass


@dataclass(frozen=True)
class Request:
    """One request; the path is decoded, the query's last value wins unless `every` is asked."""

    method: str
    path: str
    raw_path: str
    query: list[tuple[str, str]]
    headers: Any
    body: bytes

    @property
    def line(self) -> str:
        """Method and path?query, decoded: what faults match and `requests` lists."""
        asked = "&".join(f"{name}={value}" for name, value in self.query)
        return f"{self.method} {self.path}" + (f"?{asked}" if asked else "")

    def get(self, name: str, default: str | None = None) -> str | None:
        return dict(self.query).get(name, default)

    def number(self, name: str, default: int) -> int:
        value = self.get(name)
        return default if value in (None, "", "None") else int(value)

    def json(self) -> Any:
        return json.loads(self.body) if self.body else {}

    def form(self) -> dict[str, bytes]:
        """The parts of a multipart body by their name."""
        boundary = re.search(r'boundary="?([^";]+)', self.headers.get("Content-Type", ""))
        if boundary is None:
            raise Refusal(400, 120003, "a multipart form was expected")
        parts = {}
        for part in (b"\r\n" + self.body).split(b"\r\n--" + boundary[1].encode())[1:-1]:
            head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            name = re.search(rb'name="([^"]*)"', head)
            parts[name[1].decode() if name else ""] = content
        return parts


@dataclass(frozen=True)
class Answer:
    """JSON, or the bytes of a file, or nothing."""

    document: Any = None
    status: int = 200
    file: Path | None = None


Handler = Callable[..., Any]


@dataclass
class Routes:
    """Which function answers which path. `{name}` is one segment, `{name*}` the rest, slashes included."""

    table: list[tuple[str, re.Pattern[str], Handler]] = field(default_factory=list)

    def add(self, methods: str, template: str, handler: Handler) -> None:
        pattern = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.*)", template)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
        for method in methods.split():
            self.table.append((method, re.compile(pattern), handler))

    def find(self, request: Request) -> Callable[[], Any] | None:
        """The first route in order of `add` that fits, with its path parameters bound."""
        for method, pattern, handler in self.table:
            match = pattern.fullmatch(request.raw_path)
            if method == request.method and match:
                values = {name: unquote(value) for name, value in match.groupdict().items()}
                return lambda handler=handler, values=values: handler(request, **values)
        return None


class Connection(BaseHTTPRequestHandler):
    """One client connection, kept alive, in a thread of its own."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer leaves in one piece
    timeout = IDLE_S
    server: Server

    def setup(self) -> None:
        self.request.settimeout(self.timeout)
        self.request.do_handshake()  # here and not in accept: a slow client must not hold up the others
        super().setup()

    def respond(self) -> None:
        try:
            answer = self.server.application(self._read())
        except Dropped:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)  # no TLS farewell: as when a server dies
            return
        self._write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = respond

    def _read(self) -> Request:
        parts = urlsplit(self.path)
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b"".join(iter(self._chunk, b""))
        else:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            if len(body) < size:
                raise Dropped  # its client was killed half way
        query = parse_qsl(parts.query, keep_blank_values=True)
        return Request(self.command, unquote(parts.path), parts.path, query, self.headers, body)

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline().split(b";")[0], 16)
        content = self.rfile.read(size)
        self.rfile.readline()
        return content

    def _write(self, answer: Answer) -> None:
        body = b"" if answer.document is None else json.dumps(answer.document).encode()
        if answer.file is not None:
            body = answer.file.read_bytes()
        self.send_response(answer.status)
        kind = "application/octet-stream" if answer.file is not None else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing: the journal has every request, and a header could hold a key."""


class Server(ThreadingHTTPServer):
    """Serves `application` over TLS until `shutdown`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], context: ssl.SSLContext, application: Callable[[Request], Answer]
    ) -> None:
        self.application = application
        self._context = context
        super().__init__(address, Connection)

    def get_request(self) -> tuple[socket.socket, Any]:
        plain, peer = super().get_request()
        wrapped = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        return wrapped, peer

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A client that leaves or distrusts the certificate is no news; all else is."""
        if not isinstance(sys.exception(), OSError | ValueError):
            traceback.print_exc()


@dataclass
class Journal:
    """What was asked, in order; and what nobody answers."""

    requests: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, line: str) -> None:
        with self.lock:
            self.requests.append(line)

    def add_unknown(self, line: str) -> None:
        with self.lock:
            self.unknown.append(line)
        print("UNKNOWN", line, file=sys.stderr, flush=True)

    def forget(self) -> None:
        with self.lock:
            self.requests.clear()
