"""An installation for `dagsverk doctor` to look at, and what it says of it at each level."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from dagsverk.doctor.finding import Finding, Installation, Level
from deployments import launch
from deployments.launch import Folders

ROOT = Path(__file__).resolve().parents[2]
SECRET = "hunter2hunter2"


def installation(state: Path, root: Path = ROOT, clock=time.time, **environ: str) -> Installation:
    return Installation(root, state, environ, clock)


def reported(check, here: Installation, level: Level) -> str:
    """What the check says at this level, with the remedies."""
    findings: list[Finding] = [finding for finding in check(here) if finding.level is level]
    assert all(finding.remedy for finding in findings if finding.level is not Level.FINE)
    return "\n".join(f"{finding.what} -> {finding.remedy}" for finding in findings)


def wrong(check, here: Installation) -> str:
    return reported(check, here, Level.WRONG)


def warned(check, here: Installation) -> str:
    return reported(check, here, Level.WARN)


def silent(check, here: Installation) -> bool:
    return all(finding.level is Level.FINE for finding in check(here))


@contextlib.contextmanager
def started(state: Path) -> Iterator[Folders]:
    """A state folder that a launcher of this process holds."""
    folders = Folders(state)
    folders.make()
    with launch.sole_owner(folders) as owner:
        owner.tell("http://127.0.0.1:4200/api")
        yield folders


def package(folder: Path, name: str, version: str, *requires: str) -> None:
    """What a wheel leaves in an environment, as `importlib.metadata` reads it."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {one}" for one in requires)]
    (info / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
