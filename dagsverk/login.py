"""One login for pages, REST API and Prefect: how it is set, compared, and how guessing it is slowed down."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import shlex
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LOGIN, LOGIN_FILE = "DAGSVERK_LOGIN", "DAGSVERK_LOGIN_FILE"
LEAST_LETTERS = 8  # of a password: ten guesses a minute take ages then
WRONG_GUESSES, WINDOW_S = 10, 60.0  # different ones from one address, before it has to wait
MOST_ADDRESSES = 1000  # remembered, the oldest are forgotten


class DoorsError(ValueError):
    """A setting of who may come in cannot be used; the message never holds a password."""


@dataclass(frozen=True)
class Login:
    """A user's name and password, as HTTP Basic sends them, or as the key of a program for OpenAI's API."""

    user: str
    password: str = field(repr=False)

    @property
    def pair(self) -> str:
        return f"{self.user}:{self.password}"

    def opens(self, authorization: str) -> bool:
        """Whether an Authorization header holds this login; it takes as long for every wrong one."""
        kind, _, given = authorization.partition(" ")
        if kind.lower() == "bearer":
            return hmac.compare_digest(given.strip().encode(), self.pair.encode())
        try:
            pair = base64.b64decode(given.strip(), validate=True)
        except (binascii.Error, ValueError):
            pair = b""
        return hmac.compare_digest(pair, self.pair.encode()) and kind.lower() == "basic"


def login_from(environ: Mapping[str, str]) -> Login | None:
    """The login that is set; None when none is. Raises DoorsError."""
    given, file = environ.get(LOGIN), environ.get(LOGIN_FILE)
    if given and file:
        raise DoorsError(f"{LOGIN} and {LOGIN_FILE} are both set; keep one of them")
    where = LOGIN
    if file:
        where = f"the file {file} that {LOGIN_FILE} names"
        try:
            given = Path(file).read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DoorsError(f"{where} cannot be read: {error}") from error
    elif not given:
        return None
    return _login(given or "", where)


def _login(text: str, where: str) -> Login:
    user, colon, password = text.partition(":")
    if not (user and colon):
        raise DoorsError(f"want user:password in {where}, found no name before a colon")
    if not (text.isascii() and text.isprintable()):
        raise DoorsError(
            f"want printable ASCII letters in {where}: browsers and Prefect encode others differently"
        )
    if len(password) < LEAST_LETTERS:
        raise DoorsError(
            f"want a password of at least {LEAST_LETTERS} letters in {where}, found {len(password)}"
        )
    return Login(user, password)


def prefect_settings(login: Login | None) -> dict[str, str]:
    """What makes a Prefect server ask for the login, and workers, flows and the command line give it."""
    if login is None:
        return {}
    return {"PREFECT_SERVER_API_AUTH_STRING": login.pair, "PREFECT_API_AUTH_STRING": login.pair}


def shell_words(environ: Mapping[str, str]) -> str:
    """What a shell must set besides, so that `prefect` gives the login; the login itself is not in it."""
    if file := environ.get(LOGIN_FILE):
        return f' PREFECT_API_AUTH_STRING="$(cat {shlex.quote(str(Path(file).resolve()))})"'
    return f' PREFECT_API_AUTH_STRING="${LOGIN}"' if environ.get(LOGIN) else ""


class Guesses:
    """Wrong passwords by the address they came from. The same one again is a mistake, not a guess."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._wrong: OrderedDict[str, dict[bytes, float]] = OrderedDict()

    def wrong(self, address: str, given: str) -> None:
        """Remember a wrong guess, as a hash."""
        guesses = self._wrong.setdefault(network_of(address), {})
        self._wrong.move_to_end(network_of(address))
        guesses[hashlib.sha256(given.encode()).digest()] = self._now()
        while len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)

    def too_many(self, address: str) -> bool:
        """Whether this address has to wait before anything it says is looked at."""
        guesses = self._wrong.get(network_of(address), {})
        for guess in [guess for guess, at in guesses.items() if self._now() - at > WINDOW_S]:
            del guesses[guess]
        return len(guesses) >= WRONG_GUESSES


def network_of(address: str) -> str:
    """The address; of IPv6 the network, for every machine has more addresses than can be counted."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
