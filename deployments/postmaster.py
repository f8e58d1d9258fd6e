"""`python -m deployments.guard deployments.postmaster HOME`: keep our PostgreSQL running in the foreground.

Ends the server with itself: in order on SIGTERM, which the guard sends when the launcher is gone, and on
Linux when it is killed outright too. What an earlier start left behind is ended first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from deployments import postgres
from deployments.postgres import Cluster, DatabaseError, Unfit

if TYPE_CHECKING:
    import psutil  # type: ignore[import-untyped]

# In order: no new work and a last checkpoint; end at once and recover at the next start; the same, unasked.
STOPS = ((signal.SIGINT, 6.0), (signal.SIGQUIT, 2.0), (signal.SIGKILL, 5.0))
ENDING_S = 2.0  # a server whose first process was killed needs a moment for the others to notice
LEFT_S = 10.0  # what still runs then is asked to stop, and killed after this

# For one machine and one client. Given on the command line, so that they hold for older data folders too.
SETTINGS = {
    "listen_addresses": "",  # the socket alone
    "port": "5432",  # only a part of the socket's name
    "unix_socket_permissions": "0700",
    "max_connections": "60",  # Prefect opens up to 15 for each event loop that it has
    "shared_buffers": "32MB",
    "huge_pages": "off",
    "jit": "off",
    "max_parallel_workers": "0",
    "io_method": "sync",  # no three processes to read files of 50 MB
    "dynamic_shared_memory_type": "mmap",  # in the data folder: a kill leaves nothing in /dev/shm
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "min_wal_size": "16MB",
    "max_wal_size": "64MB",
    **({"recovery_init_sync_method": "syncfs"} if postgres.SYNCFS else {}),  # before it recovers from a kill
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_error_verbosity": "terse",  # no values of rows in the log
    "log_min_error_statement": "panic",
}


class Stopped(Exception):
    """We are asked to end."""


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        sys.exit(run(postgres.find(Path(sys.argv[1]))))
    except (DatabaseError, Unfit) as error:
        sys.exit(f"the database: {error}")
    except Stopped:
        sys.exit(0)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Stopped


def run(cluster: Cluster) -> int:
    """Run the server until it ends or we are asked to. Returns its exit code."""
    with sole_server(cluster) as lock:
        private(cluster.socket_folder, cluster.uid)
        if os.geteuid() == 0:
            postgres.own(cluster.data, cluster.uid)
        cluster.data.chmod(0o700)  # a copy may have come with other rights, which the server refuses
        server = subprocess.Popen(
            command(cluster), env=postgres.environment(), stdin=subprocess.DEVNULL, pass_fds=[lock]
        )
    try:
        code = server.wait()
    except Stopped:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        code = end(server)
    _tidy(cluster)
    return code


def _tidy(cluster: Cluster) -> None:
    """Remove the socket's folder, unless a server that was killed left something or the next is starting."""
    with contextlib.suppress(OSError), cluster.lock.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        cluster.socket_folder.rmdir()


def command(cluster: Cluster) -> list[str]:
    """The server in the foreground, as the right user; on Linux it stops when this process is killed."""
    settings = SETTINGS | {"unix_socket_directories": str(cluster.socket_folder)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    server = cluster.command("postgres", "-D", str(cluster.data), *options)
    return [*postgres.as_user(cluster.uid, "INT", cluster, cluster.data, cluster.socket_folder), *server]


def end(server: subprocess.Popen[bytes]) -> int:
    """Stop in order, harder each time. What is not written is recovered from the log at the next start."""
    for number, patience_s in STOPS:
        server.send_signal(number)
        server.send_signal(signal.SIGCONT)  # a frozen one would not hear the others
        with contextlib.suppress(subprocess.TimeoutExpired):
            return server.wait(patience_s)
    raise DatabaseError(f"process {server.pid} could not be killed")


@contextlib.contextmanager
def sole_server(cluster: Cluster) -> Iterator[int]:
    """Hold the lock while the server starts; it inherits it, with all its processes. Raises DatabaseError."""
    lock = os.open(cluster.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _locked(lock, ENDING_S):
            _end_left(cluster, lock)
        _forget_stale(cluster)
        yield lock
    finally:
        os.close(lock)


def _locked(lock: int, patience_s: float) -> bool:
    """Whether the lock could be had within the time."""
    deadline = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)


def _end_left(cluster: Cluster, lock: int) -> None:
    """End what an earlier start left: it was asked to stop in most cases, and is helped in the rest."""
    print(f"a server of {cluster.data} still runs; stopping it", flush=True)
    _tell(_postmaster(cluster.data), signal.SIGINT)
    _tell(processes(cluster.data), signal.SIGCONT)  # a frozen one could not end
    if _locked(lock, LEFT_S):
        return
    _tell(processes(cluster.data), signal.SIGKILL)
    if not _locked(lock, LEFT_S):
        raise DatabaseError(
            f"another process holds {cluster.lock} and does not end: stop it, then start again"
        )


def _tell(those: list[psutil.Process], number: signal.Signals) -> None:
    import psutil

    for process in those:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def processes(data: Path) -> list[psutil.Process]:
    """The server processes whose working folder is the data folder; each of a server's is."""
    import psutil

    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name().startswith("postgres") and Path(process.cwd()) == data:
                processes.append(process)
    return processes


def _postmaster(data: Path) -> list[psutil.Process]:
    """The server process that the data folder's lock file names; none if it is gone."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        return [process for process in processes(data) if process.pid == pid]
    return []


def _forget_stale(cluster: Cluster) -> None:
    """Remove lock files of a server that was killed: should their number belong to another process now, the
    server would refuse to start.

    We hold our own lock, so that no server of ours runs; one that was started by hand is looked for.
    """
    lock_files = (cluster.data / "postmaster.pid", cluster.socket_folder / f"{postgres.SOCKET_NAME}.lock")
    if not any(path.exists() for path in lock_files):
        return
    if running := processes(cluster.data):
        raise DatabaseError(
            f"process {running[0].pid} already serves {cluster.data}: stop it, then start again"
        )
    for path in lock_files:
        path.unlink(missing_ok=True)


def private(folder: Path, uid: int) -> None:
    """Make the socket's folder, open to its user alone. Raises DatabaseError when it is somebody else's."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        os.chown(folder, uid, -1)
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and os.geteuid() == 0 and status.st_uid == 0:
        os.chown(folder, uid, -1)  # we were killed between making it and giving it away
        status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid or status.st_mode & 0o077:
        raise DatabaseError(
            f"{folder} is not a private folder of user {uid}: remove it, or let TMPDIR name a folder of yours"
        )


if __name__ == "__main__":
    main()
