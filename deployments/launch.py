"""What `up` and `demo` share: folders, settings, ports, the lock and child processes. Imports no Prefect,
so that the server can boot while Prefect is still being imported here (1.5 s each)."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dagsverk.login import DoorsError, login_from, prefect_settings

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
SERVER_PORT, PAGES_PORT = 4200, 7860
DEMO_QUEUE = "demo"  # the demo serves this queue only, so that it never starts what a cron left waiting
SERVER_START_S = 180.0  # an empty database is migrated first: 11 s on a quiet machine
LEFTOVERS_S = 60.0  # what a killed launcher has started needs so long to end
RUN_LOGS_KEPT_S = 14 * 24 * 3600.0

# Prefect's defaults suit a hosted service; these suit one machine. Reasons and figures: docs/architecture.md.
SETTINGS: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",  # no second, hidden server when the address is missing
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # 3.7 times less server time per task. An event is dropped after six failed writes: three seconds apart
    # they outlast a restart of the database; a full batch would be tried again with each further event.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "1000",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "3",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_MAX_FLUSH_RETRIES": "1000",  # not 5; its queue is bounded too
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "3d",
    # Slots of limits are leased. Leases kept in memory would be forgotten by a restart, the slots would not.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "deployments.lease_storage",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "7",  # days ahead, not 100: less to write at each start
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # s; after four missed ones a run elsewhere is lost
    "PREFECT_CLIENT_MAX_RETRIES": "8",  # waits out a server that is away for eight minutes
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",  # what the server answers while its database is away
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
}
# A person's own Prefect settings that would lead our processes to another server, account or database.
FOREIGN = ("PREFECT_API_", "PREFECT_CLOUD_", "PREFECT_SERVER_", "PREFECT_PROFILE", "PREFECT_HOME")


class LaunchError(Exception):
    """The start cannot go on; the message says why, where the logs are and what to do."""


@dataclass(frozen=True)
class Folders:
    """Where one installation keeps its state."""

    state: Path

    @property
    def prefect(self) -> Path:
        return self.state / "prefect"

    @property
    def store(self) -> Path:
        return self.state / "store"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    def make(self) -> None:
        """Raises LaunchError when a folder cannot be made or written."""
        try:
            for folder in (self.prefect, self.logs / "runs"):
                folder.mkdir(parents=True, exist_ok=True)
            (self.logs / ".writable").touch()
        except OSError as error:
            raise LaunchError(
                f"cannot write below {self.state}: {error}; name another folder with --state"
            ) from error


def environment(folders: Folders, api_url: str, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of the launcher and its children. Other variables keep the value a person gave them."""
    kept = {name: value for name, value in given.items() if not name.startswith(FOREIGN)}
    store = kept.get("DAGSVERK_STORE") or str(folders.store)
    if "://" not in store:
        store = str(Path(store).resolve())
    ours = {
        "PREFECT_HOME": str(folders.prefect),
        "PREFECT_API_URL": api_url,
        "DAGSVERK_STORE": store,
        "DAGSVERK_LOGS": str(folders.logs),
    }
    # shards and models fetched from a store, which any start may reuse
    kept.setdefault("DAGSVERK_CACHE", str(folders.state / "cache"))
    kept.setdefault("DAGSVERK_RECORDINGS", str(folders.state / "recordings"))
    try:
        return {**SETTINGS, **kept, **ours, **prefect_settings(login_from(given))}
    except DoorsError as error:
        raise LaunchError(str(error)) from error


def adopt(environ: MutableMapping[str, str], wanted: Mapping[str, str]) -> str | None:
    """Make `environ` the wanted environment; what a person should know about it, if anything."""
    theirs = environ.get("PREFECT_API_URL")
    for name in set(environ) - set(wanted):
        del environ[name]
    environ.update(wanted)
    if theirs and theirs != wanted["PREFECT_API_URL"]:
        return f"PREFECT_API_URL={theirs} is not used: this starts a Prefect server of its own"
    return None


def free_port(preferred: int) -> int:
    """`preferred` when nothing listens there, else a free port that the system chooses."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise LaunchError(f"no free port on {HOST}")


@dataclass(frozen=True)
class Owner:
    """The lock of a state folder. Children inherit it, so that it is free only when the last has ended."""

    handle: IO[str]

    @property
    def descriptor(self) -> int:
        return self.handle.fileno()

    def tell(self, api_url: str) -> None:
        """Say to a second start where we answer."""
        self.handle.truncate(0)
        self.handle.write(json.dumps({"pid": os.getpid(), "api_url": api_url}))
        self.handle.flush()


@contextlib.contextmanager
def sole_owner(folders: Folders, wait_s: float = LEFTOVERS_S) -> Iterator[Owner]:
    """Hold the state folder. LaunchError when another holds it.

    What a launcher that was killed had started ends by itself, and is waited for.
    """
    path = folders.state / "launcher.json"
    with path.open("a+") as handle:
        deadline, announced = time.monotonic() + wait_s, False
        while not _locked(handle):
            text = _content(handle)
            if _alive(text) or time.monotonic() > deadline:
                raise LaunchError(_held(folders, text))
            if not announced:
                say("waiting for what a start that was killed has left to end")
                announced = True
            time.sleep(0.2)
        owner = Owner(handle)
        yield owner
        handle.truncate(0)


def _locked(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _content(handle: IO[str]) -> str:
    handle.seek(0)
    return handle.read()


def _alive(text: str) -> bool:
    """Whether the launcher that wrote this still runs; True where that cannot be told."""
    try:
        os.kill(int(json.loads(text)["pid"]), 0)
    except ProcessLookupError:
        return False
    except (ValueError, KeyError, TypeError, OSError):
        return True
    return True


def _held(folders: Folders, text: str) -> str:
    try:
        owner = json.loads(text)
        who = f"process {owner['pid']}, Prefect at {owner['api_url'].removesuffix('/api')}"
    except (ValueError, KeyError):
        who = "another process"
    return f"{folders.state} is in use by {who}: use that one, stop it, or name another folder with --state"


class Child:
    """A process of ours in its own session, which ends when we do, with its output in a file."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        environ: Mapping[str, str] | None = None,
        keep_open: int | None = None,
    ) -> None:
        self.name, self.log = name, log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deployments.guard", *arguments],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we stop our children in order
                pass_fds=() if keep_open is None else (keep_open,),
            )

    def ended(self) -> str | None:
        """Why this child is no longer running; None while it is."""
        if (code := self.process.poll()) is None:
            return None
        return f"{self.name} ended with code {code}; the end of {self.log}:\n{tail(self.log)}"

    def kill(self) -> None:
        """SIGKILL, and what is left of it."""
        self.process.kill()
        self.process.wait()
        _close(self.process.stdin)

    def stop(
        self, grace_s: float = 10.0, number: int = signal.SIGTERM, hurry: threading.Event | None = None
    ) -> None:
        """The signal, once more when `hurry` is set, and SIGKILL after the grace period."""
        self.process.send_signal(number)
        deadline, hurried = time.monotonic() + grace_s, hurry is None or hurry.is_set()
        while self.process.poll() is None and time.monotonic() < deadline:
            if hurry is not None and not hurried and hurry.is_set():
                self.process.send_signal(number)
                hurried = True
            time.sleep(0.05)
        self.kill()


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        stream.close()


def server_arguments(host: str, port: int) -> list[str]:
    """The Prefect server, without the command line's own import (2 s)."""
    return ["deployments.server", "--host", host, "--port", str(port)]


def answers(url: str) -> bool:
    """Whether a GET is answered with 200 within two seconds."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  our own address
            return bool(response.status == 200)
    except (OSError, http.client.HTTPException):  # the second: a probe that reached itself, not the server
        return False


def responds(url: str) -> bool:
    """Whether a GET is answered within two seconds, in whatever way."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310  our own address
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, http.client.HTTPException):
        return False


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log file, indented."""
    try:
        text = path.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        return "  (nothing was written)"
    return "\n".join(f"  {line}" for line in text)


def prune_logs(folder: Path, now: float) -> None:
    """Remove the logs of flow runs that nobody has written to for two weeks."""
    for path in (folder / "runs").glob("*.log"):
        if now - path.stat().st_mtime > RUN_LOGS_KEPT_S:
            path.unlink(missing_ok=True)


class Stages:
    """Prints each stage of a start with the seconds it took."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.durations_s: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.durations_s[name] = time.monotonic() - begun
        say(f"{name:<44}{self.durations_s[name]:6.1f} s")

    @property
    def total_s(self) -> float:
        return time.monotonic() - self.started


def say(line: str = "") -> None:
    print(line, flush=True)
