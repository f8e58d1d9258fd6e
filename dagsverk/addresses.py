"""Addresses that people give as settings: they hold no keys, for a run's parameters are kept and shown."""

from __future__ import annotations

import re

MAX_LETTERS = 2000
REMEDY = (
    "give keys where they are not kept: of a bucket as AWS_* variables of the worker, of a web site in the "
    "worker's ~/.netrc, of the Hub as HF_TOKEN; what only a signed address reaches: download it first"
)
HOLDS_KEYS = f"the address holds a user, password or query (not shown); {REMEDY}"
# Two letters at least: C: is a drive. A slash after it or not, for what is misspelt is kept as well.
SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+):")
HOST = re.compile(r"[\w.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?|")  # the last: left to whoever opens it
SIGNED_IN = re.compile(r"[^/\s]:[^/\s]*@")  # user:password@, wherever it stands
# The same for a form and for Prefect's server, which refuses before it keeps anything.
PATTERN = (
    r"^(?![^/]*:/*[^/]*@)(?!.*[^/\s]:[^/\s]*@)"  # a user
    r"(?!.*:/+[^/\[]*:(?!\d{1,5}(/|$)))"  # a colon in front of what is no port
    r"(?!\s*[A-Za-z][A-Za-z0-9+.-]+:/.*[?#;])(?!.*://.*[?#;])"  # a query
)
SCHEMA = {"pattern": PATTERN, "maxLength": MAX_LETTERS}


def refuse_keys(source: str) -> str:
    """The source as it is, if it can hold no user, password or signature: no user and no query at all.

    Names that look like a key's are not looked for: there is always one more. A path may hold any sign.

    Raises: ValueError with the remedy; the text never repeats the source.
    """
    if len(source) > MAX_LETTERS or any(ord(sign) < 32 or ord(sign) == 127 for sign in source):
        raise ValueError(
            f"an address has at most {MAX_LETTERS:,} characters, none of them a control character"
        )
    if SIGNED_IN.search(source):
        raise ValueError(HOLDS_KEYS)
    scheme, rest = _parted(source)
    if scheme is None:
        return source
    if scheme == "hub":
        refuse_keys(rest)
        return source
    host = re.split(r"[/\\?#;]", rest.lstrip("/\\"), maxsplit=1)[0]
    if "@" in host or re.search(r"[?#;]", rest):
        raise ValueError(HOLDS_KEYS)
    if "://" in source and not HOST.fullmatch(host):
        raise ValueError("the address names no host or bucket (not shown); check it for typing errors")
    return source


def refuse_address(name: str, meant: str) -> None:
    """Raises ValueError if what should be a name or a folder is an address: it may hold a key."""
    if "://" in name or SIGNED_IN.search(name):
        raise ValueError(f"want {meant}, found an address (not shown, for it may hold a key); {REMEDY}")


def _parted(source: str) -> tuple[str | None, str]:
    """Scheme, in small letters, and the rest; None for a path."""
    if scheme := SCHEME.match(source):
        return scheme[1].lower(), source[scheme.end() :]
    if "://" in source:  # a scheme that is none
        return "", source.split("://", 1)[1]
    return ("", source) if re.match(r"\s*(//|\\\\)", source) else (None, source)
