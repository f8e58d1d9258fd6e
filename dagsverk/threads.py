"""How many threads a computation is given, and how they wait for each other. Light.

The threads of one computation meet after every layer. If those that wait spin, they take from the one that
is late what it needs: where others keep the cores busy, the work takes 20 times as long. If they sleep, all
cores are worth having, busy or not: each thread gets its share (decision 36 has the numbers).
"""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import suppress
from pathlib import Path

# Threads that wait sleep instead of spinning. Read when torch or xgboost is loaded, by libgomp and Intel's.
ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
# glibc gives large buffers back to the system at once and takes them anew, page by page: up to a third of the
# time of numpy and torch. Read when a process begins. The first is as large as it may be.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
GROUPS, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def prepare_environment() -> None:
    """Of this process, before torch is loaded, and of those that it starts. What is set stays."""
    for name, value in {**ASLEEP, **KEEP_MEMORY}.items():
        os.environ.setdefault(name, value)


def give_back_memory() -> None:
    """To the system, after something large was let go: what KEEP_MEMORY keeps. Where the C library can."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def allowed() -> int:
    """Cores that this process may use: its affinity and the quota of its container, whichever is less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(cores, quota(GROUPS, CGROUPS))))


def asked_for() -> int | None:
    """What OMP_NUM_THREADS says, if it is a number (or a list of them for nested threads: the first)."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def given() -> int:
    """Threads for a computation: what people asked for, else one for each core."""
    return asked_for() or allowed()


def quota(groups: Path, mounted: Path) -> float:
    """Cores that the control groups of this process may use together; inf: no group says.

    Args: groups: the file that names them. mounted: where the system shows them.
    """
    try:
        lines = [line.split(":", 2) for line in groups.read_text().splitlines()]
    except OSError:
        return float("inf")
    least = float("inf")
    for _, controllers, path in lines:
        if not controllers:  # version 2
            least = min(least, _least(mounted, path), _least(mounted / "unified", path))
        elif "cpu" in controllers.split(","):
            least = min(least, _least(mounted / controllers, path), _least(mounted / "cpu", path))
    return least


def _least(root: Path, path: str) -> float:
    """The smallest quota of a group and of those that it lies in. In a container its path may be cut off."""
    group = root / path.strip("/")
    least = float("inf")
    for folder in (group, *group.parents):
        least = min(least, _of_group(folder))
        if folder == root:
            break
    return least


def _of_group(folder: Path) -> float:
    try:
        if (folder / "cpu.max").is_file():
            most, period, *_ = (folder / "cpu.max").read_text().split()
        else:
            most = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        cores = float(most) / float(period)  # "max" is no number: no quota; nor is -1 us
    except (OSError, ValueError, ZeroDivisionError):
        return float("inf")
    return cores if cores > 0 else float("inf")
