"""What the proxy of the fault tests does to requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from faulty_proxy import faulty_proxy


class Echo(BaseHTTPRequestHandler):
    """Answers with the body it was sent, and keeps it."""

    protocol_version = "HTTP/1.1"
    seen: list[bytes]

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def echo() -> Iterator[tuple[str, list[bytes]]]:
    """A server's address, and the bodies that reached it."""
    handler = type("Seeing", (Echo,), {"seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.seen
    finally:
        server.shutdown()
        server.server_close()


def test_a_request_passes_as_it_is_when_nothing_is_drawn() -> None:
    with echo() as (address, seen), faulty_proxy(address, seed=1, probability=0) as proxy:
        body = bytes(range(256)) * 5000
        for headers in ({}, {"Expect": "100-continue"}):
            assert httpx.put(proxy.address, content=body, headers=headers).content == body
        assert seen == [body, body] and proxy.counts() == {"pass": 2}


@pytest.mark.parametrize(
    ("kind", "answer", "reached"),
    [
        ("503", 503, []),
        ("late 503", 503, [b"1"]),
        ("drop", None, []),
        ("late drop", None, [b"1"]),
        ("cut", None, [b"1"]),
        ("stall", 200, [b"1"]),
    ],
)
def test_a_fault_is_what_its_name_says(kind: str, answer: int | None, reached: list[bytes]) -> None:
    with (
        echo() as (address, seen),
        faulty_proxy(address, seed=1, probability=1, kinds=[kind], stall_s=0.5) as proxy,
    ):
        if answer is None:
            with pytest.raises(httpx.TransportError):
                httpx.put(proxy.address, content=b"1")
        else:
            found = httpx.put(proxy.address, content=b"1")
            assert found.status_code == answer
            assert (found.elapsed.total_seconds() >= 0.5) == (kind == "stall")
        assert seen == reached and proxy.counts() == {kind: 1}


def test_it_can_be_switched_off_and_on_again() -> None:
    with echo() as (address, _), faulty_proxy(address, seed=1, probability=1, kinds=["503"]) as proxy:
        statuses = []
        for switch in (proxy.switch_off, proxy.switch_on):
            switch()
            statuses.append(httpx.put(proxy.address, content=b"1").status_code)
        assert statuses == [200, 503]


def test_only_requests_that_match_meet_faults() -> None:
    with (
        echo() as (address, _),
        faulty_proxy(address, seed=1, probability=1, kinds=["503"], only="PUT /b") as proxy,
    ):
        assert [httpx.put(f"{proxy.address}/{name}", content=b"1").status_code for name in "ab"] == [200, 503]


def test_the_same_seed_draws_the_same_faults() -> None:
    def drawn(seed: int) -> list[bool]:
        with (
            echo() as (address, _),
            faulty_proxy(address, seed=seed, probability=0.5, kinds=["503"]) as proxy,
        ):
            return [httpx.put(proxy.address, content=b"1").is_success for _ in range(12)]

    assert drawn(1) == drawn(1) != drawn(2)
