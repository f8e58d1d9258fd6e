"""In front of Gradio: only the routes that our pages use, and only files that the same visitor sent in.

Gradio is made to be explored: it lists its functions, copies files by name, fetches addresses, keeps links to
what was on a page. Our pages need none of that, so it is not there. See docs/decisions/0018-doors.md.
"""

from __future__ import annotations

import json
import logging
import mimetypes
import re
import shutil
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import FileResponse, JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.calls import SESSION, BadCall, NoFile, NoRoom, cancel_call, join_call
from ui.limits import MAX_MEDIA_BYTES, replay, whole_body
from ui.visitors import Visitors, new_visitor, visitor_of

LOG = logging.getLogger(__name__)

_BELOW = r"(?:/\w[\w.-]*)+"  # no segment that begins with a dot
# Our own routes, and files that came with a package. Found by recording what real browsers ask for.
OPEN = re.compile(
    rf"/(?:healthz|robots\.txt|favicon\.ico|theme\.css|(?:look|assets|static){_BELOW}|(?:api|v1)/.*|report{_BELOW})"
)
HEARTBEAT = re.compile(rf"/gradio_api/heartbeat/{SESSION.pattern}")
FILE = "/gradio_api/file="
ONE_RANGE = re.compile(rb"bytes=\d{1,18}-\d{0,18}")
LEAST_FREE_BYTES = 5 * MAX_MEDIA_BYTES  # of the disk; the store and the runs need it more
MULTIPART = re.compile(r"multipart/form-data\s*;.*boundary=.+", re.IGNORECASE)

Answer = Callable[[Scope, Receive, Send], Awaitable[None]]


class Gate:
    """ASGI middleware around the app that carries the pages.

    Args:
        pages: paths of the pages, each with its leading slash.
        inputs: how many values each function of the pages takes, by its number.
        uploads: the folder where Gradio puts what is sent in.
        visitors: who sent in what.
    """

    def __init__(
        self,
        app: ASGIApp,
        pages: Collection[str],
        inputs: Mapping[int, int],
        uploads: Path,
        visitors: Visitors | None = None,
    ) -> None:
        self.app, self.pages, self.inputs, self.uploads = app, frozenset(pages), inputs, uploads
        self.visitors = visitors or Visitors()
        self.routes: dict[tuple[str, str], Answer] = {
            ("POST", "/gradio_api/queue/join"): self._join,
            ("POST", "/gradio_api/cancel"): self._cancel,
            ("POST", "/gradio_api/upload"): self._upload,
            ("GET", "/gradio_api/queue/data"): self._events,
            ("GET", "/gradio_api/upload_progress"): self.app,
            ("GET", "/gradio_api/app_id"): self.app,  # asked after the server was away
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # the pages have none
        else:
            answer = self._route(scope)
            try:
                await answer(scope, receive, send)
            except BadCall as error:
                await _refused(error.status, str(error))(scope, receive, send)

    def _route(self, scope: Scope) -> Answer:
        path, method = scope["path"], scope["method"].replace("HEAD", "GET")
        if method == "GET" and path in self.pages and "deep_link" not in _query(scope):
            return self._beside if path.endswith("/") and path != "/" else self._page
        if OPEN.fullmatch(path) or HEARTBEAT.fullmatch(path):
            return self.app
        if method == "GET" and path.startswith(FILE) and self._owns(scope, path.removeprefix(FILE)):
            return self._file
        return self.routes.get((method, path), _refused(404, "there is nothing here; see /api/docs"))

    def _owns(self, scope: Scope, path: object) -> bool:
        return self.visitors.owns(_visitor(scope), path)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send if _visitor(scope) else _with_cookie(send, new_visitor()[1]))

    async def _file(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A visitor's own file, or the part of it that a player asks for.

        Gradio's own answer repeats what the browser sent, cookies included, and stumbles over odd ranges.
        """
        path = Path(scope["path"].removeprefix(FILE))
        if not path.is_file():  # it is kept for an hour
            raise NoFile("this file is no longer kept here: give it again")
        kind = mimetypes.guess_type(path.name)[0] or ""
        plays = kind.startswith(("audio/", "video/"))
        answer = FileResponse(
            path,
            media_type=kind if plays else "application/octet-stream",
            filename=path.name,
            content_disposition_type="inline" if plays else "attachment",
            headers={"cache-control": "private, no-cache"},
        )
        headers = [pair for pair in scope["headers"] if pair[0] != b"range" or ONE_RANGE.fullmatch(pair[1])]
        await answer({**scope, "headers": headers}, receive, send)

    async def _beside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """To the page's own address: links are relative, so that they hold below any path of a proxy."""
        query = scope["query_string"].decode("latin-1")
        place = f"../{scope['path'].strip('/')}" + (f"?{query}" if query else "")
        await RedirectResponse(place, status_code=307)(scope, receive, send)

    async def _join(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = join_call(await whole_body(receive), self.inputs, lambda path: self._owns(scope, path))
        await self.app(_as_json(scope, body), replay(body, receive), send)

    async def _cancel(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = cancel_call(await whole_body(receive))
        await self.app(_as_json(scope, body), replay(body, receive), send)

    async def _events(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = _query(scope).get("session_hash", [])
        if len(session) != 1 or not SESSION.fullmatch(session[0]):
            raise BadCall("want session_hash, letters and digits")
        await self.app(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a file on to Gradio, and remember whose it is before anybody hears where it lies."""
        if not MULTIPART.fullmatch(Headers(scope=scope).get("content-type", "")):
            raise BadCall("want multipart/form-data; programs send recordings to /api/transcribe/LANGUAGE")
        if shutil.disk_usage(self.uploads).free < LEAST_FREE_BYTES:
            raise NoRoom("this machine's disk is nearly full: nothing more can be sent in")
        visitor, cookie = _visitor(scope), ""
        if visitor is None:
            visitor, cookie = new_visitor()
        answer = _Kept()
        try:
            await self.app(_uncompressed(scope), receive, answer.keep)
        except OSError as error:
            LOG.warning("a file that was sent in could not be kept: %s", error)
            raise NoRoom("the file could not be kept on this machine; see the log of the pages") from error
        except Exception as error:
            LOG.info("no file in a form: %r", error)
            raise BadCall("want a file with a name in each part of the form") from error
        if not answer.start:
            return  # the visitor went away
        if answer.start["status"] == 200:
            self.visitors.sent(visitor, json.loads(answer.body))
        await (_with_cookie(send, cookie) if cookie else send)(answer.start)
        await send({"type": "http.response.body", "body": answer.body})


class _Kept:
    """An answer that is held back until it is whole."""

    def __init__(self) -> None:
        self.start: Message = {}
        self.body = b""

    async def keep(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self.body += message.get("body", b"")


def _query(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _visitor(scope: Scope) -> str | None:
    return visitor_of("; ".join(Headers(scope=scope).getlist("cookie")))


def _with_cookie(send: Send, cookie: str) -> Send:
    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).append("set-cookie", cookie)
        await send(message)

    return marked


def _as_json(scope: Scope, body: bytes) -> Scope:
    """The request with the headers of the body that is passed on."""
    own = {b"content-length": str(len(body)).encode(), b"content-type": b"application/json"}
    kept = [
        (name, value) for name, value in scope["headers"] if name not in own | {b"transfer-encoding": b""}
    ]
    return {**scope, "headers": [*kept, *own.items()]}


def _uncompressed(scope: Scope) -> Scope:
    """The request as of a browser that wants its answer plain, since the answer is read here."""
    return {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]}


def _refused(status: int, words: str) -> JSONResponse:
    # "detail" is where Gradio's own client looks for words
    return JSONResponse({"error": words, "detail": words}, status_code=status)
