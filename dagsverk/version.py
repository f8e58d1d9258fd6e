"""Which code this is: what lineage and model cards state."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@cache
def package_version() -> str:
    """ "0.1.0"; "unknown" when run from a checkout that was never installed."""
    try:
        return version("dagsverk")
    except PackageNotFoundError:
        return "unknown"


def code_version() -> str:
    """The Git commit of the checkout that runs, with "-dirty" if files differ; else the package's version."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    released = f"dagsverk {package_version()}"
    if not (ROOT / ".git").exists():
        return released
    try:
        git = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):  # no git here, or no commit yet
        return released
    return git.stdout.strip()


def kind_of_machine() -> str:
    """What kind of machine this is, without its name: "x86_64, 2 cores"."""
    return f"{platform.machine() or 'unknown'}, {os.cpu_count() or 1} cores"
