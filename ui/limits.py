"""What the site refuses and forbids on every request: large bodies, foreign sources, framing."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 64 * 1024  # a row of inputs needs a few hundred
MAX_BATCH_BYTES = 8 * 1024 * 1024  # of many rows, as JSON, CSV or Parquet
MAX_MEDIA_BYTES = 200 * 1024 * 1024  # two hours of MP3, or a video of a quarter of an hour
LINGER_S = 5.0  # a proxy beside us has then sent what it holds
# Recordings come in here, and only here: they are passed on as they come, never held in memory.
MEDIA_ROUTES = ("/gradio_api/upload", "/api/transcribe/", "/api/jobs/", "/v1/audio/")
BATCH_ROUTE = re.compile(r"/api/predict/[a-z][a-z0-9_]{0,99}/batch")

# 'unsafe-inline' and 'unsafe-eval' are Gradio's own start-up; everything must come from this server.
# blob: is what the browser itself has just recorded, and plays back.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self' blob:; font-src 'self' data:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class BodyLimit:
    """ASGI middleware: a body above the limit is answered with 413, whatever length it claims.

    Args:
        max_bytes: of a body, except on the routes that take recordings or many rows; it is read before it is
            passed on.
        max_media_bytes: of a recording; it is passed on block by block.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES, max_media_bytes: int = MAX_MEDIA_BYTES
    ) -> None:
        self.app, self.max_bytes, self.max_media_bytes = app, max_bytes, max_media_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        media = scope["path"].startswith(MEDIA_ROUTES)
        batch = BATCH_ROUTE.fullmatch(scope["path"])
        limit = self.max_media_bytes if media else MAX_BATCH_BYTES if batch else self.max_bytes
        claimed = Headers(scope=scope).get("content-length", "0")
        if not claimed.isdigit() or int(claimed) > limit:
            await _refuse(scope, receive, send, media, limit)
        elif media:
            await self._stream(scope, receive, send)
        else:
            await self._whole(scope, receive, send, limit)

    async def _whole(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > limit:
                await _refuse(scope, receive, send, False, limit)
                return
        await self.app(scope, replay(body, receive), send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the body on; when it grows too long, answer, and tell the app that the caller went away."""
        seen, refused = 0, False

        async def counted() -> Message:
            nonlocal seen, refused
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.max_media_bytes and not refused:
                refused = True
                await _refuse(scope, receive, send, True, self.max_media_bytes)
            return {"type": "http.disconnect"} if refused else message

        async def unless_refused(message: Message) -> None:
            if not refused:
                await send(message)

        try:
            await self.app(scope, counted, unless_refused)
        except Exception:
            if not refused:  # else the app stumbled over the end of the body, and the answer is given
                raise


async def _refuse(scope: Scope, receive: Receive, send: Send, media: bool, limit: int) -> None:
    message = f"want a body of at most {limit} bytes; send one row of inputs, or many in parts to /batch"
    if media:
        message = (
            f"want a recording of at most {limit // 1024**2} MB; cut it, or send its sound without the video"
        )
    await JSONResponse({"error": message}, status_code=413)(scope, receive, send)


class Lingering:
    """ASGI middleware, outermost: who is answered while still sending gets the answer.

    A connection that is closed before all was read is reset, and what was answered is lost: behind a proxy
    the visitor sees 502 where he was to be told what is wrong. So an answer goes out at once, and its end
    only when the rest of the body has come and was thrown away.

    Args: patience_s: with who sends.
    """

    def __init__(self, app: ASGIApp, patience_s: float = LINGER_S) -> None:
        self.app, self.patience_s = app, patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        whole = False

        async def noted() -> Message:
            nonlocal whole
            message = await receive()
            whole = whole or not message.get("more_body", False)
            return message

        async def lingering(message: Message) -> None:
            ends = message["type"] == "http.response.body" and not message.get("more_body", False)
            if ends and not whole:
                await send({**message, "more_body": True})
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.patience_s):
                        while not whole:
                            await noted()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await self.app(scope, noted, lingering)


async def whole_body(receive: Receive) -> bytes:
    """A body that `BodyLimit` has let in: it is short, and here already."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def replay(body: bytes, receive: Receive) -> Receive:
    """A receive channel that gives the body that was read already, then what comes after."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


class SafeHeaders:
    """ASGI middleware: the browser itself is told to load nothing from elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, marked if scope["type"] == "http" else send)
