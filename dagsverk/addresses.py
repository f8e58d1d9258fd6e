"""Addresses that people give: those of settings hold no keys, for a run's parameters are kept and shown."""

from __future__ import annotations

import ipaddress
import re

MAX_LETTERS = 2000
LOCAL = ("localhost", "127.0.0.1", "::1")  # where a key may be sent without encryption
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
UNIVERSAL = ipaddress.ip_network("2000::/3")  # what of IPv6 is given to everybody
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # IPv4 as a network without it shows it; no other is public
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


def is_public(address: str) -> bool:
    """Whether an address is one that everybody reaches; also that of IPv4 which one of IPv6 may stand for."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved
    if parsed.ipv4_mapped:
        return is_public(str(parsed.ipv4_mapped))
    if parsed in TRANSLATED:
        return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
    inner = [parsed.sixtofour, *(parsed.teredo or ())]
    return parsed in UNIVERSAL and parsed.is_global and all(is_public(str(one)) for one in inner if one)


def _parted(source: str) -> tuple[str | None, str]:
    """Scheme, in small letters, and the rest; None for a path."""
    if scheme := SCHEME.match(source):
        return scheme[1].lower(), source[scheme.end() :]
    if "://" in source:  # a scheme that is none
        return "", source.split("://", 1)[1]
    return ("", source) if re.match(r"\s*(//|\\\\)", source) else (None, source)
