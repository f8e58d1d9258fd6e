"""The machine: room on disks, memory, the clock."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from dagsverk.doctor.finding import GIB, MIB, Finding, Installation, fine, size, some, warn, wrong

FULL_BYTES = 64 * MIB  # below it the database under Prefect does not start
LOW_BYTES = 2 * GIB  # a day of speech writes shards, checkpoints and a model
FEW_FILES = 10_000
LOGS_BYTES = 2 * GIB
LITTLE_MEMORY_BYTES = 1 * GIB  # a learning flow takes that much
MOST_LISTED = 20_000  # files of logs that are looked at
AHEAD_S = 60.0
CGROUP = Path("/sys/fs/cgroup")


def disks(here: Installation) -> Iterator[Finding]:
    """Free room wherever we write, once per disk."""
    places = {"state": here.state, "cache": here.folder("DAGSVERK_CACHE", "cache"), "logs": here.logs}
    places |= {"recordings": here.folder("DAGSVERK_RECORDINGS", "recordings")}
    places |= {"temporary files": Path(tempfile.gettempdir())}
    if "://" not in here.store:
        places["store"] = Path(here.store).expanduser()
    by_disk: dict[int, list[str]] = {}
    place_of: dict[int, Path] = {}
    for name, place in places.items():
        existing = nearest(place)
        disk = existing.stat().st_dev
        place_of.setdefault(disk, existing)
        by_disk.setdefault(disk, []).append(name)
    for disk, names in by_disk.items():
        yield _room(place_of[disk], some(names, 6))


def _room(place: Path, names: str) -> Finding:
    free = shutil.disk_usage(place).free
    what = f"{size(free)} free at {place} ({names})"
    if free < FULL_BYTES:
        return wrong(
            f"the disk is full: {what}", "make room: runs and the database stop, and go on afterwards"
        )
    if free < LOW_BYTES:
        return warn(f"little room: {what}", f"make room, or move: a day of speech wants {size(LOW_BYTES)}")
    count = os.statvfs(place)
    if count.f_files and count.f_favail < FEW_FILES:
        return warn(
            f"{count.f_favail} more files fit at {place} ({names})", "remove small files, or move the folder"
        )
    return fine(what)


def nearest(place: Path) -> Path:
    """The place, or what is there of the folders above it."""
    return next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())


def logs(here: Installation) -> Iterator[Finding]:
    """How much the logs hold."""
    total = 0
    for count, entry in enumerate(here.logs.rglob("*")):
        if count > MOST_LISTED:
            break
        if entry.is_file() and not entry.is_symlink():
            total += entry.stat().st_size
    if total > LOGS_BYTES:
        yield warn(
            f"{size(total)} of logs in {here.logs}",
            "logs of runs go after two weeks; the others may be emptied while everything is stopped",
        )
    elif here.logs.exists():
        yield fine(f"{size(total)} of logs in {here.logs}")


def memory(_: Installation) -> Iterator[Finding]:
    """What is left of memory, of this machine and of the container that we are in."""
    left = min(psutil.virtual_memory().available, _of_container())
    if left < LITTLE_MEMORY_BYTES:
        yield warn(
            f"{size(left)} of memory left; a learning flow takes about {size(LITTLE_MEMORY_BYTES)}",
            "stop something, or give the worker --limit 1",
        )
    else:
        yield fine(f"{size(left)} of memory left")


def _of_container() -> float:
    try:
        most = float((CGROUP / "memory.max").read_text())  # "max" where there is no limit
        return most - float((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return float("inf")


def clock(here: Installation) -> Iterator[Finding]:
    """Whether this machine's clock can be right: it must not lie before what was written already."""
    now = here.clock()
    written = {path: path.stat().st_mtime for path in _witnesses(here) if path.exists()}
    latest = max(written, key=lambda path: written[path], default=None)
    if latest is not None and written[latest] > now + AHEAD_S:
        yield wrong(
            f"the clock says {here.now():%Y-%m-%d %H:%M} UTC, but {latest} was written later",
            "set the clock (timedatectl set-ntp true): days, schedules and keys of S3 go by it",
        )
    else:
        yield fine(f"the clock says {here.now():%Y-%m-%d %H:%M} UTC")


def _witnesses(here: Installation) -> list[Path]:
    state = [here.launcher_file, here.logs / ".writable", here.logs / "worker.log", here.logs / "server.log"]
    return [here.root / "pyproject.toml", Path(__file__), *state]
