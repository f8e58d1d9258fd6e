"""The state folder: who uses it, which ports and database the launcher would find, what a crash has left."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from dagsverk.doctor.finding import (
    Finding,
    Installation,
    fine,
    is_alive,
    shown,
    some,
    warn,
    wrong,
)
from dagsverk.doctor.machine import nearest
from dagsverk.doctor.versions import SQLITE_COST
from dagsverk.file_locks import is_locked

HOST = "127.0.0.1"
PORTS = {4200: ("Prefect", "--port"), 7860: ("the pages", "--pages-port")}
SOCKET = ".s.PGSQL.5432"  # as deployments.postgres names it


def folder(here: Installation) -> Iterator[Finding]:
    """Whether we may write where state, logs and recordings go."""
    places = (here.state, here.logs, here.folder("DAGSVERK_RECORDINGS", "recordings"))
    refused = []
    for place in dict.fromkeys(places):
        existing = nearest(place)
        if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
            refused.append(str(existing))
    if refused:
        names = some(sorted(set(refused)))
        yield wrong(
            f"this user ({os.geteuid()}) may not write in {names}", "chown it, or name another: --state DIR"
        )
    elif not here.state.exists():
        yield fine(f"{here.state} is not there yet: the first start makes it")
    else:
        yield fine(f"{here.state} can be written")


def owner(here: Installation) -> Iterator[Finding]:
    """Who holds the state folder."""
    launcher = here.launcher()
    pid = launcher.get("pid")
    if not launcher:
        return
    if not here.in_use:
        yield warn(
            f"the last launcher of {here.state} (process {pid}) did not end in order",
            "make up: it puts lost runs back, and clears the rest",
        )
    elif is_alive(pid):
        yield fine(
            f"in use by process {pid}, Prefect at {shown(str(launcher.get('api_url'))).removesuffix('/api')}"
        )
    else:
        yield warn(
            f"the launcher (process {pid}) is gone, and what it started still runs: {some(_holders(here))}",
            "it ends within a minute; otherwise stop those processes, then make up",
        )


def _holders(here: Installation) -> list[str]:
    """Processes that have the launcher's lock open; those of other users are not seen."""
    holders = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if any(Path(file.path) == here.launcher_file for file in process.open_files()):
                holders.append(f"{process.name()} {process.pid}")
    return holders or ["processes that are not seen from here"]


def ports(here: Installation) -> Iterator[Finding]:
    """Whether others listen where we would."""
    for port, (what, option) in PORTS.items():
        if _is_free(port):
            yield fine(f"port {port} is free for {what}")
        elif here.in_use and _is_ours(port, here.launcher().get("pid")):
            yield fine(f"port {port} is ours")
        else:
            yield warn(
                f"port {port} is taken by {_listener(port)}: {what} would answer on another",
                f"stop that, or choose one: make up UP='{option} {port + 1}'",
            )


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return True
    return False


def _listening(port: int) -> psutil.Process | None:
    """The process; None where we may not see it."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return psutil.Process(connection.pid)
    return None


def _is_ours(port: int, launcher: object) -> bool:
    """Whether a child of the launcher listens; one that cannot be seen gets the benefit of the doubt."""
    listening = _listening(port)
    if listening is None:
        return True
    with contextlib.suppress(psutil.Error):
        return str(launcher) in [str(parent.pid) for parent in (listening, *listening.parents())]
    return False


def _listener(port: int) -> str:
    listening = _listening(port)
    with contextlib.suppress(psutil.Error):
        if listening:
            return f"process {listening.pid} ({listening.name()})"
    return "a process that is not seen from here"


def database(here: Installation) -> Iterator[Finding]:
    """What stands under our Prefect server."""
    folders = sorted(path.parent.name for path in here.state.glob("postgres/*/PG_VERSION"))
    chosen = here.environ.get("DAGSVERK_DATABASE", "")
    sqlite = (here.state / "prefect" / "prefect.db").exists()
    if chosen and chosen != "sqlite":
        yield fine(f"Prefect uses the database {shown(chosen)}")
    elif chosen or (sqlite and not folders):
        yield warn(f"Prefect uses SQLite: {SQLITE_COST}", "unset DAGSVERK_DATABASE, make setup, make up")
    elif folders:
        yield fine(f"Prefect's history is in PostgreSQL {folders[-1]}, in {here.state / 'postgres'}")
    if len(folders) > 1:
        yield fine(f"older databases in {here.state / 'postgres'}: {some(folders[:-1])}")


def postgres(here: Installation) -> Iterator[Finding]:
    """A database server without a launcher, or a launcher without one."""
    running = is_locked(here.state / "postgres" / "lock")
    if running and not here.in_use:
        pids = [path.read_text().split("\n", 1)[0] for path in here.state.glob("postgres/*/postmaster.pid")]
        yield warn(
            f"PostgreSQL of {here.state} runs without a launcher (process {some(pids) or 'unknown'})",
            "make up ends it and starts anew; without that: kill -INT the process",
        )
    elif running:
        yield fine("PostgreSQL runs")


def sockets(_: Installation) -> Iterator[Finding]:
    """Folders of sockets whose server is gone."""
    dead = [str(path) for path in _socket_folders() if not _connects(path / SOCKET)]
    if dead:
        yield fine(
            f"left by database servers that were killed: {some(dead)}",
            "harmless; a start with the same state folder uses its own again, and any may be removed",
        )


def _socket_folders() -> Iterator[Path]:
    for path in Path(tempfile.gettempdir()).glob("dagsverk-*-????????????"):
        uid = path.name.split("-")[1]
        with contextlib.suppress(OSError):
            if uid.isdigit() and any(path.iterdir()):
                yield path


def _connects(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        connection.connect(str(path))
        return True
    return False


def claims(here: Installation) -> Iterator[Finding]:
    """Marks of runs that workers of this machine have taken."""
    claims = list((here.logs / "runs").glob("*.claim"))
    working = sum(is_locked(path) for path in claims)
    if working:
        yield fine(f"runs with a process on this machine: {working}")
    if ended := len(claims) - working:
        yield fine(
            f"claims of runs whose process has ended: {ended}, in {here.logs / 'runs'}",
            "harmless: a worker reads them when it settles such a run; old ones may be removed",
        )
