"""Who sent what in: a visitor is a random cookie, and a file that was sent in is that visitor's alone."""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any

COOKIE = "dagsverk_visitor"
KEPT_S = 30 * 24 * 3600
TOKEN = re.compile(r"[\w-]{43}", re.ASCII)  # 32 random bytes
MOST_VISITORS, MOST_FILES = 10_000, 100  # remembered, the oldest are forgotten; files, of each visitor


class Visitors:
    """The files that each visitor sent in since these pages were started."""

    def __init__(self, most_visitors: int = MOST_VISITORS, most_files: int = MOST_FILES) -> None:
        self.most_visitors, self.most_files = most_visitors, most_files
        self._files: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    def sent(self, visitor: str, paths: Iterable[str]) -> None:
        """Remember where the server put what a visitor sent in."""
        files = self._files.setdefault(visitor, OrderedDict())
        self._files.move_to_end(visitor)
        for path in paths:
            files[path] = None
            files.move_to_end(path)
        _forget_oldest(files, self.most_files)
        _forget_oldest(self._files, self.most_visitors)

    def owns(self, visitor: str | None, path: object) -> bool:
        """Whether this visitor sent in the file that lies at this very path."""
        return isinstance(path, str) and path in self._files.get(visitor or "", ())


def _forget_oldest(remembered: OrderedDict[str, Any], most: int) -> None:
    while len(remembered) > most:
        remembered.popitem(last=False)


def visitor_of(cookies: str) -> str | None:
    """The visitor that a Cookie header names. A name that we did not give is as good: it opens nothing."""
    try:
        cookie = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return None
    return cookie.value if cookie and TOKEN.fullmatch(cookie.value) else None


def new_visitor() -> tuple[str, str]:
    """(a visitor whom nobody can guess, the Set-Cookie header that names it to the browser)"""
    name = secrets.token_urlsafe(32)
    return name, f"{COOKIE}={name}; Max-Age={KEPT_S}; Path=/; HttpOnly; SameSite=Lax"
