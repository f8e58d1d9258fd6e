"""What was fetched for a visitor: kept where what he sends in is kept, his alone, and as long."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr

from dagsverk.speech.errors import FetchError
from dagsverk.speech.fetching.fetch import fetch
from dagsverk.turns import Check, staged
from ui.limits import MAX_MEDIA_BYTES
from ui.visitors import Visitors, visitor_of

LEAST_FREE_BYTES = 5 * MAX_MEDIA_BYTES  # of the disk, as for what is sent in

Progress = tuple[int, int | None]  # bytes that have come, and in all where the site says so
NOTHING: Progress = (0, None)
Keep = Callable[[Path], None]  # told of a file that now belongs to a visitor


class Shelf:
    """Args: visitors: who owns which file. files: those that Gradio removes after an hour."""

    def __init__(self, visitors: Visitors, files: set[str]) -> None:
        self._visitors, self._files = visitors, files

    def of(self, request: gr.Request) -> Keep:
        """What gives a file to who asks; to nobody, if he has no cookie: then it cannot be played."""
        visitor = visitor_of(request.headers.get("cookie", ""))

        def keep(path: Path) -> None:
            self._files.add(str(path))
            if visitor:
                self._visitors.sent(visitor, [str(path)])

        return keep


def shelf_steps(address: str, keep: Keep) -> Iterator[Progress | str]:
    """How much has come, and at last where it lies. Closing the iterator ends the work.

    Raises: FetchError, Busy.
    """
    uploads = Path(gr.utils.get_upload_folder()).resolve()
    if shutil.disk_usage(uploads).free < LEAST_FREE_BYTES:
        raise FetchError("this machine's disk is nearly full: nothing more can be fetched")
    folder = uploads / secrets.token_hex(20)
    folder.mkdir(mode=0o700)

    def work(report: Callable[[Progress], None], check: Check) -> str:
        fetched = fetch(
            address, folder, most_bytes=MAX_MEDIA_BYTES,
            on_progress=lambda done, total: report((done, total)), check=check,
        )  # fmt: skip
        keep(fetched.path)
        return os.fspath(fetched.path)

    arrived = False
    try:
        for step in staged(work, NOTHING):
            arrived = isinstance(step, str)
            yield step
    finally:
        if not arrived:
            shutil.rmtree(folder, ignore_errors=True)
