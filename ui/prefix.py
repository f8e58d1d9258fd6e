"""Pages below a path of a proxy: https://example.org/dagsverk/titanic is our /titanic."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

# What may stand in a page's links: segments of plain characters, none of them "." or ".."
PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+){1,8}")
HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def check_prefix(prefix: str) -> str:
    """The path without a slash at its end; "" for none. Raises ValueError."""
    stripped = prefix.strip().rstrip("/")
    if stripped and not PREFIX.fullmatch(stripped):
        raise ValueError(
            f"want a path such as /dagsverk (letters, digits and . _ ~ - between slashes), got {prefix!r}"
        )
    return stripped


class Unprefixed:
    """ASGI middleware, outermost: paths as if there were no prefix, for proxies that leave it in place."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app, self.prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.prefix and f"{scope.get('path', '')}/".startswith(f"{self.prefix}/"):
            path = scope["path"].removeprefix(self.prefix) or "/"
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self.app(scope, receive, send)


class Prefixed:
    """ASGI middleware, innermost: Gradio and FastAPI learn the address that the browser sees.

    Args: prefix: what all requests have; without it, what the proxy says in X-Forwarded-Prefix. Only the
        answer to the same request depends on what a request says, and no page of another origin can say it.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app, self.prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(self._seen(scope) if scope["type"] == "http" else scope, receive, send)

    def _seen(self, scope: Scope) -> Scope:
        headers = Headers(scope=scope)
        prefix = self.prefix or _forwarded(headers, "prefix").rstrip("/")
        if not PREFIX.fullmatch(prefix):
            return scope
        scheme, host = _forwarded(headers, "proto"), _forwarded(headers, "host")
        listed = [
            pair for pair in scope["headers"] if pair[0] not in (b"x-forwarded-host", b"x-gradio-server")
        ]
        if HOST.fullmatch(host):
            listed = [pair for pair in listed if pair[0] != b"host"] + [(b"host", host.encode())]
        path = prefix + scope["path"]
        return {
            **scope,
            "scheme": scheme if scheme in ("http", "https") else scope["scheme"],
            "headers": listed,
            "root_path": prefix,
            "path": path,
            "raw_path": path.encode(),
        }


def _forwarded(headers: Headers, what: str) -> str:
    """What the outermost proxy says."""
    return headers.get(f"x-forwarded-{what}", "").partition(",")[0].strip()
