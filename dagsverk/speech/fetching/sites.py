"""From which sites recordings may be fetched: a list that whoever runs the pages decides. Light."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from dagsverk.addresses import MAX_LETTERS, is_public
from dagsverk.speech.errors import FetchError

VARIABLE = "DAGSVERK_MEDIA_SITES"
ANY = "any"  # every site that everybody reaches
# Sites, and the hosts from which they send their recordings.
DEFAULT = "youtube.com youtu.be googlevideo.com vimeo.com vimeocdn.com archive.org wikimedia.org"
PORTS = (80, 443)


@dataclass(frozen=True)
class Sites:
    """Args: entries: names, each for itself and all below it at the usual ports; or `host:port`, that alone.

    An address of a private network is reached only if it is an entry itself, with its port.
    """

    entries: tuple[str, ...]

    def allow(self, host: str, port: int) -> bool:
        """Whether a host may be looked up and asked."""
        name = host.lower().rstrip(".")
        if _numeric(name):  # an address is judged as such: by `connect`, and here before anything is done
            return self.connect(name, port) and (ANY in self.entries or self._named(name, port))
        if self._named(name, port):
            return True
        sites = [entry for entry in self.entries if ":" not in entry]
        listed = any(name == site or name.endswith(f".{site}") for site in sites)
        return port in PORTS and bool(name) and (listed or ANY in sites)

    def connect(self, address: str, port: int) -> bool:
        """Whether this very address may be connected to, whatever name led to it."""
        return self._named(address, port) or (port in PORTS and is_public(address))

    def _named(self, host: str, port: int) -> bool:
        return f"{host}:{port}" in self.entries


def allowed_sites() -> Sites:
    """As the setting says: names between spaces or commas."""
    given = os.environ.get(VARIABLE, DEFAULT)
    return Sites(tuple(given.lower().replace(",", " ").split()))


def checked(address: str, sites: Sites) -> SplitResult:
    """The parts of an address that may be asked. Raises FetchError; the words are for who gave it."""
    if len(address) > MAX_LETTERS or any(ord(sign) <= 32 or ord(sign) == 127 for sign in address):
        raise FetchError(f"an address has at most {MAX_LETTERS:,} characters and no space; copy it anew")
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise FetchError("this is no address; copy it from the line at the top of your browser") from error
    if parts.scheme not in ("http", "https") or not host:
        raise FetchError("want an address that begins with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise FetchError("the address holds a user or password: leave these out, or give the file itself")
    if not sites.allow(host, port or (443 if parts.scheme == "https" else 80)):
        raise FetchError(not_allowed(host))
    return parts


def not_allowed(host: str) -> str:
    """What to say of a site that is none of the allowed ones."""
    return (
        f"nothing is fetched from {host[:80]} here: give the file itself, or have whoever runs these pages "
        f"add it to {VARIABLE}"
    )


def _numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
