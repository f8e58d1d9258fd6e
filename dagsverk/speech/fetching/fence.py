"""What the process that fetches may do: ask allowed hosts, write into its folder, start nothing.

An audit hook sees each look-up, connection, file and process, whichever library asks for it, and cannot be
taken off again. Addresses are judged where they are connected to, so a name that changes leads nowhere else.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dagsverk.speech.fetching.sites import Sites, not_allowed

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NEVER = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty",
    "socket.bind", "socket.sendto", "socket.sendmsg", "socket.gethostbyname", "socket.gethostbyaddr",
    "ftplib.connect", "os.link", "os.symlink",
)  # fmt: skip


class Fenced(PermissionError):
    """Something was tried that is not allowed. An OSError: libraries take it for a network that fails."""


class Fence:
    """Args: sites: that may be asked. folder: below which files may be written, and nowhere else."""

    def __init__(self, sites: Sites, folder: Path) -> None:
        self.sites, self.folder = sites, f"{folder.resolve()}{os.sep}"
        self.refusal = ""  # the first one, in words: whoever met it may say something else
        self._checks: dict[str, Callable[..., None]] = {
            "socket.getaddrinfo": self._look_up,
            "socket.connect": self._connect,
            "open": self._open,
        }

    def close(self) -> None:
        """From now on, for as long as the process lives."""
        sys.addaudithook(self._event)

    def _event(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name in NEVER:
            self._refuse(f"{name} is not allowed while a recording is fetched")
        if check := self._checks.get(name):
            check(*arguments)

    def _look_up(self, host: Any, port: Any, *_: object) -> None:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
        if not self.sites.allow(name, int(port or 0)):
            self._refuse(not_allowed(name))

    def _connect(self, asking: socket.socket, address: Any) -> None:
        if asking.family not in (socket.AF_INET, socket.AF_INET6):
            self._refuse("only hosts are connected to")
        try:
            public = self.sites.connect(str(address[0]), int(address[1]))
        except ValueError:  # a name: it would be looked up unseen
            public = False
        if not public:
            self._refuse("the address leads into a private network")

    def _open(self, path: Any, _: object, flags: Any) -> None:
        if not isinstance(path, str | bytes) or not int(flags or 0) & WRITES or path == os.devnull:
            return
        if not os.path.realpath(os.fsdecode(path)).startswith(self.folder):
            self._refuse("nothing is written but the recording")

    def _refuse(self, words: str) -> None:
        self.refusal = self.refusal or words
        raise Fenced(words)
