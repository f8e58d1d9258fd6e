"""Errors below /v1 in the form of OpenAI's API, whoever makes them: doors, limits, gate, routes."""

from __future__ import annotations

import json
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BELOW = "/v1/"
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
CODES = {401: "invalid_api_key", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}
FIELDS = {"recording": "file", "task": None}  # how parts of a request are called here and there


class OpenAIErrors:
    """ASGI middleware: an error below /v1 that is not in that form yet is put into it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(BELOW):
            await self.app(scope, receive, send)
            return
        start: Message | None = None  # of an error, held back until its body is whole
        body = b""

        async def reworded(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and message["status"] >= 400:
                start = message
            elif start is None:
                await send(message)
            elif message["type"] == "http.response.body":
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await _answer(start, body, send)

        await self.app(scope, receive, reworded)


async def _answer(start: Message, body: bytes, send: Send) -> None:
    status = 400 if start["status"] == 422 else start["status"]  # whose clients know no 422
    content = json.dumps({"error": _error(status, body)}, ensure_ascii=False).encode()
    headers = MutableHeaders(raw=list(start.get("headers", [])))
    headers["content-type"], headers["content-length"] = "application/json", str(len(content))
    if "retry-after" not in headers and status >= 500:
        headers["x-should-retry"] = "false"  # what a person has to mend is not asked for again
    await send({**start, "status": status, "headers": headers.raw})
    await send({"type": "http.response.body", "body": content})


def _error(status: int, body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except ValueError:
        content = body.decode("utf-8", "replace")[:300]
    content = content if isinstance(content, dict) else {"error": str(content)}
    if isinstance(content.get("error"), dict):
        return dict(content["error"])
    problems = content.get("problems") or {}
    param = next((FIELDS.get(name, name) for name in problems), None)
    return {
        "message": str(content.get("error") or content.get("detail") or "this cannot be answered"),
        "type": TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
        "param": param,
        "code": next(iter(problems.values()), None) if "recording" in problems else CODES.get(status),
    }
