"""A page of a site -> the recording on it, by yt-dlp: no plugins, settings, cookies or other programs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dagsverk.speech.errors import FetchError

MAX_S = 2 * 3600.0  # of a recording, as the page that writes it down takes it
# One file with sound, for nothing here puts picture and sound together; a small picture is enough to look at.
FORMAT = "best[height<=?480]/bestaudio/best"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
ADVICE = re.compile(r"; (please report this issue|see +https).*|\(caused by .*", re.DOTALL)


def load() -> None:
    """What is imported later at the latest; before files and processes are fenced off."""
    import yt_dlp.extractor  # 0.5 s
    import yt_dlp.networking

    yt_dlp.YoutubeDL({"quiet": True, **_options(Path(), 1, lambda _: None)}).close()


def fetched(
    address: str, folder: Path, most_bytes: int, tell: Callable[[int, int | None], None]
) -> dict[str, Any]:
    """Fetch what one page holds into the folder. Raises FetchError."""
    import yt_dlp

    def progress(state: dict[str, Any]) -> None:
        done = int(state.get("downloaded_bytes") or 0)
        if done > most_bytes:
            raise FetchError(f"it is larger than {most_bytes >> 20} MB; give a part of it")
        tell(done, int(state.get("total_bytes") or state.get("total_bytes_estimate") or 0) or None)

    try:
        with yt_dlp.YoutubeDL(_options(folder, most_bytes, progress)) as site:
            info = _one(site, site.extract_info(address, download=False, process=False))
            _check(info)
            site.process_info(info)
    except yt_dlp.utils.YoutubeDLError as error:
        raise FetchError(f"the site gives no recording: {_words(error)}") from error
    return {"title": str(info.get("title") or "")[:200]}


def _one(site: Any, info: dict[str, Any] | None) -> dict[str, Any]:
    """The one recording that a page holds."""
    for _ in range(3):
        if info is None:
            break
        if info.get("_type", "video") in ("playlist", "multi_video"):
            entries = [entry for entry, _ in zip(info.get("entries") or (), range(2), strict=False)]
            if len(entries) != 1:
                raise FetchError(
                    "the page holds several recordings, or none: give the address of one of them"
                )
            info = entries[0]
        info = site.process_ie_result(info, download=False)
        if info and info.get("_type", "video") == "video":
            return dict(info)
    raise FetchError("there is no recording at this address")


def _check(info: dict[str, Any]) -> None:
    if info.get("is_live"):
        raise FetchError("it is sent live and has no end: give its address when it is over")
    if float(info.get("duration") or 0) > MAX_S:
        raise FetchError(f"it is longer than {MAX_S / 3600:g} hours: give a part of it")
    protocol = str(info.get("protocol"))
    if not set(protocol.split("+")) <= {"http", "https", "m3u8_native", "m3u8", "http_dash_segments"}:
        raise FetchError(
            f"the site sends it by {protocol[:40]}, which is not fetched here: give the file itself"
        )


def _options(folder: Path, most_bytes: int, progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    return {
        "format": FORMAT, "noplaylist": True, "max_filesize": most_bytes,
        "outtmpl": "recording.%(ext)s", "paths": {"home": str(folder), "temp": str(folder)},
        "nopart": True, "updatetime": False, "cachedir": False, "fixup": "never", "postprocessors": [],
        "quiet": True, "no_warnings": True, "noprogress": True, "logger": _Silent(), "color": "no_color",
        "progress_hooks": [progress], "retries": 1, "fragment_retries": 1, "extractor_retries": 1,
        "skip_unavailable_fragments": False, "socket_timeout": 20, "proxy": "", "usenetrc": False,
        "enable_file_urls": False, "hls_prefer_native": True, "ffmpeg_location": "/nonexistent",
        "js_runtimes": {}, "remote_components": set(), "check_formats": False,
    }  # fmt: skip


def _words(error: Exception) -> str:
    """What yt-dlp says, without its advice to its own users."""
    words = ADVICE.sub("", COLOURS.sub("", str(error))).removeprefix("ERROR: ")
    return " ".join(words.split())[:300]


class _Silent:
    """A logger: what strange sites send does not go into the log."""

    def debug(self, _: str) -> None:
        return

    info = warning = error = debug
