"""Who may come in: known hosts, own origins and, where one is set, a login. For pages and Prefect alike.

A web page that is open in somebody's browser can send requests to servers of this machine, and, under a name
of its own that it points at them (DNS rebinding), read the answers. What browsers say of where a request
comes from is checked here; programs say nothing like it. Plain ASGI: no library is imported.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from dagsverk.login import DoorsError, Guesses, Login, login_from

HOSTS, PROXIES = "DAGSVERK_HOSTS", "DAGSVERK_PROXIES"
OWN_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
EVERYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  compared with, never listened on
CORS = b"access-control-"
HARDENED = ((b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"SAMEORIGIN"))

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Rules:
    """Who may come in."""

    hosts: frozenset[str] = OWN_NAMES
    login: Login | None = None


def rules_from(environ: Mapping[str, str], listen: str) -> Rules:
    """The rules of a server that listens on an address. Raises DoorsError when it must not.

    DAGSVERK_HOSTS holds names by which others reach it, with commas; the login is in `dagsverk.login`.
    """
    login = login_from(environ)
    if login is None and not _loopback(listen):
        raise DoorsError(
            f"--host {listen} lets other machines in: set DAGSVERK_LOGIN=user:password first, "
            "or listen on 127.0.0.1 only"
        )
    named = {_name(one) for one in environ.get(HOSTS, "").split(",") if one.strip()}
    return Rules(frozenset(OWN_NAMES | named | {_name(listen)} - EVERYWHERE), login)


def proxy_options(environ: Mapping[str, str]) -> dict[str, Any]:
    """What uvicorn is told of proxies: which are believed when they say for whom they ask (X-Forwarded-For).

    None but those that DAGSVERK_PROXIES names, with commas: else a visitor could give himself any address,
    and with each a new count of guessed passwords and of jobs. Raises DoorsError.
    """
    named = [one.strip() for one in environ.get(PROXIES, "").split(",") if one.strip()]
    for one in named:
        try:
            network = ipaddress.ip_network(one)
        except ValueError as error:
            raise DoorsError(
                f"{PROXIES} wants addresses such as 127.0.0.1 or networks such as 10.1.0.0/24 with commas, "
                f"found {one[:100]!r} ({error})"
            ) from error
        if not network.prefixlen:
            raise DoorsError(f"{PROXIES} holds {one}, which is everybody: name the proxies alone")
    return {"proxy_headers": bool(named), "forwarded_allow_ips": named}


def _loopback(listen: str) -> bool:
    try:
        return ipaddress.ip_address(listen).is_loopback
    except ValueError:
        return listen == "localhost"


class Doors:
    """ASGI middleware, outermost of an app.

    Args:
        open_paths: answered without a login, but for those who have none with nothing except the status.
        guarded: paths below it ask for the login.
        asks: whether browsers are told to ask for a login, or the app has a form of its own for it.
    """

    def __init__(
        self, app: App, rules: Rules, *, open_paths: Iterable[str], guarded: str = "/", asks: bool = True
    ) -> None:
        self.app, self.rules = app, rules
        self.open_paths, self.guarded, self.asks = frozenset(open_paths), guarded, asks
        self.guesses = Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = _headers(scope)
        refusal = self._foreign(scope, headers) or self._unknown(scope, headers)
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send, refusal)
        elif refusal is None:
            await self.app(scope, receive, _hardened(send))
        elif refusal.status in (401, 429) and scope["path"] in self.open_paths and scope["method"] == "GET":
            await self.app(scope, receive, _status_only(send))
        else:
            await refusal.send(send)

    def _foreign(self, scope: Scope, headers: Mapping[str, list[str]]) -> Refusal | None:
        """Why a request comes from elsewhere; None if it does not."""
        hosts = headers.get("host", [])
        address = (scope.get("server") or ("",))[0]  # where the connection came in, which no name can forge
        if len(hosts) != 1 or _name(hosts[0]) not in self.rules.hosts | {address}:
            host = hosts[0][:100] if hosts else "none"
            return Refusal(421, f"this server is not known as {host!r}; names for it are given in {HOSTS}")
        if not _own(scope, headers, hosts[0]):
            return Refusal(403, "a page of another address sent this; only this server's own pages may")
        return None

    def _unknown(self, scope: Scope, headers: Mapping[str, list[str]]) -> Refusal | None:
        """Why somebody is not let in; None if they are."""
        login, given = self.rules.login, headers.get("authorization", [])
        if login is None or not f"{scope['path']}/".startswith(self.guarded):
            return None
        address = (scope.get("client") or ("unknown",))[0]
        if self.guesses.too_many(address):
            return Refusal(
                429, "too many wrong passwords from this address; wait a minute", {"retry-after": "60"}
            )
        if scope["type"] == "websocket" and not given:
            return None  # browsers cannot send one: the first message holds it, see `_socket`
        if len(given) == 1 and login.opens(given[0]):
            return None
        if given:
            self.guesses.wrong(address, given[0])
        asked = {"www-authenticate": 'Basic realm="Dagsverk", charset="UTF-8"'} if self.asks else {}
        return Refusal(401, "a login is needed: the user and password that DAGSVERK_LOGIN sets", asked)

    async def _socket(self, scope: Scope, receive: Receive, send: Send, refusal: Refusal | None) -> None:
        """A web socket whose first message holds the login, which the app compares; wrong ones count."""
        if refusal is not None:
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.words[:120]})
            return
        first = ""

        async def noted() -> Message:
            nonlocal first
            message = await receive()
            first = first or str(message.get("text") or "")
            return message

        async def counted(message: Message) -> None:
            if (
                message["type"] == "websocket.close"
                and message.get("code") == 1008
                and first
                and self.rules.login
            ):
                self.guesses.wrong((scope.get("client") or ("unknown",))[0], first)
            await send(message)

        await self.app(scope, noted, counted)


@dataclass(frozen=True)
class Refusal:
    """An answer that no app gave."""

    status: int
    words: str
    headers: Mapping[str, str] | None = None

    async def send(self, send: Send) -> None:
        # Prefect's client and UI look for "exception_message", Gradio's for "detail"
        content = {"error": self.words, "detail": self.words, "exception_message": self.words}
        body = json.dumps(content).encode()
        headers = {
            "content-type": "application/json", "content-length": str(len(body)),
            "x-content-type-options": "nosniff", "cache-control": "no-store", **(self.headers or {}),
        }  # fmt: skip
        listed = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": listed})
        await send({"type": "http.response.body", "body": body})


def _headers(scope: Scope) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return headers


def _name(host: str) -> str:
    """The name in a Host header or setting: without port, brackets and the dot that may end it."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return (host if host.count(":") > 1 else host.partition(":")[0]).removesuffix(".")


def _own(scope: Scope, headers: Mapping[str, list[str]], host: str) -> bool:
    """Whether a request comes from a page of this very server, or from no page at all.

    Browsers add Sec-Fetch-Site where they trust an address (https, this machine), and Origin to all but plain
    GETs; another port is another origin. A link from elsewhere may be followed: that shows a page, no more.
    """
    origins, sites = headers.get("origin", []), headers.get("sec-fetch-site", [])
    if sites in (["same-origin"], ["none"]):
        return True
    if sites:
        dest, mode = headers.get("sec-fetch-dest"), headers.get("sec-fetch-mode")
        return mode == ["navigate"] and dest == ["document"] and scope.get("method") in ("GET", "HEAD")
    if not origins:
        return True
    return len(origins) == 1 and origins[0].lower().partition("://")[2] == host.strip().lower()


def _hardened(send: Send) -> Send:
    """No page of another origin reads or frames an answer, whatever the app says."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            listed = [pair for pair in message.get("headers", []) if not pair[0].lower().startswith(CORS)]
            present = {name.lower() for name, _ in listed}
            message["headers"] = [*listed, *(pair for pair in HARDENED if pair[0] not in present)]
        await send(message)

    return marked


def _status_only(send: Send) -> Send:
    """An answer without its content: a probe needs to know whether all is well, and no more."""

    async def bare(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [(b"content-length", b"0")]
        elif message["type"] == "http.response.body":
            message = {"type": "http.response.body", "more_body": message.get("more_body", False)}
        await send(message)

    return bare
