"""A file of a web site: only from addresses that everybody reaches, in bounded time, and not too much.

The host is looked up once, all that is found is looked at, and one of these addresses is connected to: a
second look-up could lead elsewhere. So it is with each redirect. The certificate must be of the host's name.
"""

from __future__ import annotations

import asyncio
import netrc
import os
import socket
import ssl
from pathlib import Path

import httpx

from dagsverk.addresses import is_public
from dagsverk.reading import TooLarge
from dagsverk.tabular.errors import SourceError, SourceUnavailable

BUSY = (408, 425, 429)  # answers of the 400s that a later try may not get
TIMEOUT_S = 30.0  # of silence
TOTAL_S = 600.0  # of all, redirects included: a site may also send a byte now and then
MAX_REDIRECTS = 3
MAX_TRIES = 4  # of a host's addresses
VARIABLE = "DAGSVERK_ALLOW_PRIVATE_URLS"


def download(url: str, name: str, most: int) -> bytes:
    """What lies there. `name` stands for the address in errors.

    Raises: SourceError, SourceUnavailable where another try may help, TooLarge.
    """
    from fsspec.asyn import get_loop, sync  # a thread with a loop: whoever calls may be in a loop already

    content: bytes = sync(get_loop(), _download, url, name, most)
    return content


async def _download(url: str, name: str, most: int) -> bytes:
    try:
        async with asyncio.timeout(TOTAL_S):
            address = httpx.URL(url)
            for _ in range(MAX_REDIRECTS + 1):
                answer = await _visit(address, name, most)
                if isinstance(answer, bytes):
                    return answer
                address = answer
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, ValueError) as error:
        raise SourceError(f"{name} is no address that can be read ({type(error).__name__})") from error
    except httpx.HTTPError as error:
        if (fault := _certificate_fault(error)) is not None:
            raise SourceError(
                f"cannot read {name}: its certificate is not trusted ({fault.verify_message}); check the "
                "address, or set SSL_CERT_FILE"
            ) from error
        raise SourceUnavailable(
            f"cannot read {name}: {type(error).__name__}; try again, or download it first"
        ) from error
    except TimeoutError as error:
        raise SourceUnavailable(f"{name} took longer than {TOTAL_S:.0f} s; download it first") from error
    raise SourceError(f"{name} redirects more than {MAX_REDIRECTS} times")


def _certificate_fault(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


async def _visit(url: httpx.URL, name: str, most: int) -> bytes | httpx.URL:
    """The content, or where it is said to be."""
    if url.scheme not in ("http", "https") or url.userinfo:
        raise SourceError(f"{name} redirects away from http(s), or to an address with a password")
    addresses = await _look_up(url, name)
    for number, address in enumerate(addresses[:MAX_TRIES], start=1):
        try:
            return await _ask(url, address, name, most)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if number == min(len(addresses), MAX_TRIES):
                raise
    raise SourceError(f"the host of {name} has no address")


async def _look_up(url: httpx.URL, name: str) -> list[str]:
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(
            url.raw_host.decode("ascii"), None, type=socket.SOCK_STREAM
        )
    except OSError as error:  # a host that is starting is unknown for a while, as one that is misspelt
        raise SourceUnavailable(
            f"cannot find the host of {name}: {error.strerror}; check its name and the network"
        ) from error
    addresses = list(dict.fromkeys(str(one[4][0]) for one in infos))
    if os.environ.get(VARIABLE) != "1" and not all(map(is_public, addresses)):
        raise SourceError(f"{name} is a private address; set {VARIABLE}=1 where that is meant")
    return addresses


async def _ask(url: httpx.URL, address: str, name: str, most: int) -> bytes | httpx.URL:
    """A client for one question: a connection that is kept would be taken for another name's."""
    headers = {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"}
    names = {"sni_hostname": url.raw_host.decode("ascii")}
    async with (
        httpx.AsyncClient(timeout=TIMEOUT_S, auth=_login(url, name)) as client,
        client.stream("GET", url.copy_with(host=address), headers=headers, extensions=names) as response,
    ):
        if response.has_redirect_location:
            return url.join(response.headers["location"])
        if response.status_code != httpx.codes.OK:
            passing = response.is_server_error or response.status_code in BUSY
            trouble = SourceUnavailable if passing else SourceError
            raise trouble(f"{name} answered {response.status_code} {response.reason_phrase}")
        packed = response.headers.get("content-encoding", "identity")
        if packed.lower() != "identity":  # not asked for: a few bytes of it may become gigabytes
            raise SourceError(f"{name} is sent packed ({packed[:20]!r}); download and unpack it first")
        data = bytearray()
        async for chunk in response.aiter_raw():
            data += chunk
            if len(data) > most:
                raise TooLarge(most)
        return bytes(data)


def _login(url: httpx.URL, name: str) -> tuple[str, str] | None:
    """User and password for this very host from ~/.netrc, or the file that NETRC names; only over https."""
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    if url.scheme != "https" or not path.is_file():
        return None
    try:
        login = netrc.netrc(str(path)).hosts.get(url.host)
    except (OSError, UnicodeDecodeError, netrc.NetrcParseError):
        raise SourceError(f"cannot read {path}, where a password for {name} may be; mend it") from None
    return (login[0], login[2] or "") if login else None
