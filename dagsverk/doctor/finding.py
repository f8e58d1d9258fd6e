"""What a check finds, and the installation that it looks at."""

from __future__ import annotations

import datetime as dt
import enum
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]

from dagsverk.file_locks import is_locked

ANSWER_S = 2.0  # for one question over the network
MIB, GIB = 2**20, 2**30


class Level(enum.Enum):
    """How bad it is. Only WRONG makes the command fail."""

    FINE = "fine"
    WARN = "warn"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One line: what is so, and what to do about it where that is needed."""

    level: Level
    what: str
    remedy: str = ""


def fine(what: str, remedy: str = "") -> Finding:
    return Finding(Level.FINE, what, remedy)


def warn(what: str, remedy: str) -> Finding:
    return Finding(Level.WARN, what, remedy)


def wrong(what: str, remedy: str) -> Finding:
    return Finding(Level.WRONG, what, remedy)


@dataclass(frozen=True)
class Installation:
    """Code, state folder and settings of one installation. Checks only read it, but for one probe file."""

    root: Path  # the checkout, or where the package lies
    state: Path
    environ: Mapping[str, str] = field(repr=False)
    clock: Callable[[], float] = time.time

    @property
    def store(self) -> str:
        """As the launcher chooses it."""
        return self.environ.get("DAGSVERK_STORE") or str(self.state / "store")

    def folder(self, variable: str, name: str) -> Path:
        """A folder that a variable names, else the one below the state folder."""
        return Path(self.environ.get(variable) or self.state / name).expanduser()

    @property
    def logs(self) -> Path:
        return self.folder("DAGSVERK_LOGS", "logs")

    @property
    def launcher_file(self) -> Path:
        return self.state / "launcher.json"

    def launcher(self) -> Mapping[str, Any]:
        """What the last launcher said of itself: `pid` and `api_url`; empty after an orderly end."""
        try:
            content = json.loads(self.launcher_file.read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    @property
    def in_use(self) -> bool:
        """Whether a launcher, or something that it has started, holds the state folder."""
        # an empty file is not looked at: a start that takes the lock in that instant would give up
        return bool(self.launcher()) and is_locked(self.launcher_file)

    @property
    def serves(self) -> bool:
        """Whether the Prefect server that we ask is the one that the launcher here has started."""
        return self.in_use and self.api_url == self.launcher().get("api_url")

    @property
    def api_url(self) -> str:
        """Prefect's: as set, else that of the launcher that runs; empty when there is none."""
        served = self.launcher().get("api_url") if self.in_use else None
        return self.environ.get("PREFECT_API_URL") or str(served or "")

    def now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.clock(), dt.UTC)


def is_alive(pid: object) -> bool:
    """Whether a process of this number runs, whoever it belongs to; one that was killed and not yet buried
    does not."""
    try:
        return bool(psutil.Process(int(str(pid))).status() != psutil.STATUS_ZOMBIE)
    except (ValueError, OverflowError, psutil.NoSuchProcess):
        return False
    except psutil.Error:  # it is there, and not ours to look at
        return True


def shown(address: str) -> str:
    """An address without what may be secret in it: user, password, query."""
    if "://" not in address:
        return address
    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that cannot be read (not shown)"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def size(count: float) -> str:
    """Bytes for people."""
    return f"{count / GIB:.1f} GB" if count >= GIB else f"{count / MIB:.0f} MB"


def some(names: list[str], most: int = 4) -> str:
    """A few of many, in words."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
