"""A small Hugging Face Hub in a thread: data sets that are folders, as far as `datasets` asks for them."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

SHA = "0123456789" * 4  # the commit that every data set is at


class Hub:
    """Serves the folder `root`: `owner/name/...` is a data set."""

    def __init__(self, root: Path) -> None:
        self.root = root
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_POST = do_GET

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(handler.path).path).strip("/")
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if path.startswith("api/datasets/"):
            self._answer_api(handler, path.removeprefix("api/datasets/"), body)
        elif path.startswith("datasets/") and "/resolve/" in path:
            name, _, rest = path.removeprefix("datasets/").partition("/resolve/")
            self._send_file(handler, self.root / name / rest.partition("/")[2])
        else:
            _send(handler, 404, b"{}")

    def _answer_api(self, handler: http.server.BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        name, rest = "/".join(path.split("/")[:2]), path.split("/")[2:]
        folder = self.root / name
        if not folder.is_dir():
            _send(handler, 404, b"{}", {"X-Error-Code": "RepoNotFound"})
            return
        files = sorted(one for one in folder.rglob("*") if one.is_file())
        if not rest or rest[0] == "revision":
            siblings = [{"rfilename": one.relative_to(folder).as_posix()} for one in files]
            _send_json(handler, {"id": name, "sha": SHA, "siblings": siblings, "tags": []})
        elif rest[0] == "tree":
            below = folder / "/".join(rest[2:])
            recursive = "recursive=true" in handler.path.lower()
            listed = below.rglob("*") if recursive else below.iterdir() if below.is_dir() else ()
            _send_json(handler, [_entry(one, folder) for one in sorted(listed)])
        elif rest[0] == "paths-info":
            asked = (
                json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode()).get("paths", [])
            )
            there = [folder / one for one in asked if (folder / one).exists()]
            _send_json(handler, [_entry(one, folder) for one in there])
        else:
            _send(handler, 404, b"{}", {"X-Error-Code": "EntryNotFound"})

    def _send_file(self, handler: http.server.BaseHTTPRequestHandler, path: Path) -> None:
        if not path.is_file():
            _send(handler, 404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content, status = path.read_bytes(), 200
        headers = {"ETag": f'"{len(content)}"', "X-Repo-Commit": SHA, "Accept-Ranges": "bytes"}
        if (span := handler.headers.get("Range", "")).startswith("bytes="):
            start, _, end = span.removeprefix("bytes=").partition("-")
            last = min(int(end or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{last}/{len(content)}"
            content, status = content[int(start) : last + 1], 206
        _send(handler, status, content, headers)


def _paths(body: bytes) -> list[str]:
    return json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode()).get("paths", [])


def _entry(path: Path, folder: Path) -> dict[str, object]:
    kind = "file" if path.is_file() else "directory"
    where = path.relative_to(folder).as_posix()
    return {"type": kind, "oid": SHA, "size": path.stat().st_size, "path": where}


def _send_json(handler: http.server.BaseHTTPRequestHandler, content: object) -> None:
    _send(handler, 200, json.dumps(content).encode(), {"Content-Type": "application/json"})


def _send(
    handler: http.server.BaseHTTPRequestHandler,
    status: int,
    content: bytes,
    headers: dict[str, str] | None = None,
) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(content)


@contextmanager
def hub_server(root: Path) -> Iterator[Hub]:
    """A Hub of the data sets below `root`; give its address as HF_ENDPOINT."""
    hub = Hub(root)
    try:
        yield hub
    finally:
        hub.close()
