"""The process that fetches a recording for somebody whom nobody knows. Started and read by `fetch`.

    python -m dagsverk.speech.fetching.process FOLDER

It reads one request, a line of JSON, and answers with lines of JSON: bytes so far, then the title of what
lies in FOLDER as `recording…`, or why there is nothing. It has so much memory, time and room, and a fence.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import resource
import signal
import ssl
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, urljoin

from dagsverk.speech.errors import FetchError
from dagsverk.speech.fetching import pages
from dagsverk.speech.fetching.fence import Fence
from dagsverk.speech.fetching.sites import Sites, checked

MEMORY_BYTES = 768 << 20  # of address space, beside what Python and yt-dlp take anyway
SILENCE_S = 20.0
MOST_REDIRECTS = 5
BLOCK_BYTES = 64 << 10
TELL_EVERY_S = 0.5
PLAYLISTS = re.compile(r"mpegurl|dash\+xml|scpls|xspf", re.IGNORECASE)
MEDIA = re.compile(r"(audio|video)/|application/(ogg|octet-stream|mp4|x-matroska)", re.IGNORECASE)
PAGES = re.compile(r"text/|application/(xhtml|xml)", re.IGNORECASE)
ENDING = re.compile(r"\.[a-z0-9]{1,5}")
AGENT = "Mozilla/5.0 (compatible; Dagsverk)"


def main(folder: Path) -> None:
    """One request."""
    request = json.loads(sys.stdin.readline())
    sys.dont_write_bytecode = True
    sites = Sites(tuple(request["sites"]))
    context = ssl.create_default_context()  # reads the certificates, as long as files may be looked for
    try:
        pages.load()
    except ImportError:
        return _say({"error": "yt-dlp is not installed here: pip install yt-dlp, or give the file itself"})
    os.chdir(folder)
    _limit(request)
    fence = Fence(sites, folder)
    fence.close()
    try:
        _say(_fetched(request["address"], sites, folder, request["most_bytes"], context))
    except FetchError as error:
        _say({"error": str(error)})
    except MemoryError:
        _say({"error": "what the site sends takes too much memory"})
    except Exception as error:  # noqa: BLE001 - whatever a strange site brings about is told in words
        words = fence.refusal or _words(error, request["most_bytes"])
        _say({"error": words})


def _fetched(
    address: str, sites: Sites, folder: Path, most_bytes: int, context: ssl.SSLContext
) -> dict[str, Any]:
    for _ in range(MOST_REDIRECTS + 1):
        parts = checked(address, sites)
        connection = _connection(parts, context)
        try:
            answer = _asked(connection, parts)
            target = answer.getheader("location")
            if answer.status in (301, 302, 303, 307, 308) and target:
                address = urljoin(address, target)
                continue
            kind = answer.getheader("content-type", "application/octet-stream")
            if answer.status == 200 and MEDIA.match(kind) and not PLAYLISTS.search(kind):
                return _kept(answer, parts, folder, most_bytes)
            if answer.status == 200 and not (PAGES.match(kind) or PLAYLISTS.search(kind)):
                raise FetchError(f"there is no recording at this address, but {kind[:60]}")
        finally:
            connection.close()
        return pages.fetched(
            address, folder, most_bytes, _tell
        )  # also where it refuses: yt-dlp knows how to ask
    raise FetchError(f"the address leads on more than {MOST_REDIRECTS} times")


def _connection(parts: SplitResult, context: ssl.SSLContext) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, parts.port, timeout=SILENCE_S, context=context)
    return http.client.HTTPConnection(host, parts.port, timeout=SILENCE_S)


def _asked(connection: http.client.HTTPConnection, parts: SplitResult) -> http.client.HTTPResponse:
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (f"?{parts.query}" if parts.query else "")
    headers = {"User-Agent": AGENT, "Accept-Encoding": "identity", "Connection": "close"}
    connection.request("GET", path.encode("ascii", "replace").decode(), headers=headers)
    return connection.getresponse()


def _kept(
    answer: http.client.HTTPResponse, parts: SplitResult, folder: Path, most_bytes: int
) -> dict[str, Any]:
    """The file itself, as it is sent."""
    if answer.getheader("content-encoding", "identity").lower() != "identity":
        raise FetchError("the site sends the file packed, though it was asked not to; give the file itself")
    length = answer.getheader("content-length", "")
    total = int(length) if length.isdigit() else None
    if total is not None and total > most_bytes:
        raise FetchError(_too_large(most_bytes))
    name = parts.path.rsplit("/", 1)[-1]
    ending = Path(name).suffix.lower()
    done, at = 0, time.monotonic()
    with (folder / f"recording{ending if ENDING.fullmatch(ending) else ''}").open("wb") as file:
        while block := answer.read1(BLOCK_BYTES):
            done += len(block)
            if done > most_bytes:
                raise FetchError(_too_large(most_bytes))
            file.write(block)
            if time.monotonic() - at > TELL_EVERY_S:
                at = time.monotonic()
                _tell(done, total)
    if total is not None and done < total:
        raise FetchError(f"the site broke off after {done:,} of {total:,} bytes; try again")
    return {"title": name}


def _words(error: Exception, most_bytes: int) -> str:
    if isinstance(error, TimeoutError):
        return f"the site did not answer for {SILENCE_S:.0f} s; try again later"
    if isinstance(error, OSError) and "too large" in str(error):  # EFBIG
        return _too_large(most_bytes)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the site's certificate is not trusted ({error.verify_message})"
    return f"the site does not answer as sites do ({type(error).__name__}); give the file itself"


def _too_large(most_bytes: int) -> str:
    return f"it is larger than {most_bytes >> 20} MB; give its sound without the picture, or a part of it"


def _tell(done: int, total: int | None) -> None:
    _say({"bytes": done, "total": total})


def _say(words: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(words)}\n")
    sys.stdout.flush()


def _limit(request: dict[str, Any]) -> None:
    taken = 0
    statm = Path("/proc/self/statm")
    if statm.exists():
        taken = int(statm.read_text().split()[0]) * resource.getpagesize()
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, request["most_bytes"]),
        (resource.RLIMIT_CPU, request["cpu_s"]),
        (resource.RLIMIT_NOFILE, 64),
        *([(resource.RLIMIT_AS, taken + MEMORY_BYTES)] if taken else []),
    ):
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    signal.alarm(request["wall_s"])  # should the other side be gone


if __name__ == "__main__":
    main(Path(sys.argv[1]))
