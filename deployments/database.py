"""Which database stands under Prefect: a PostgreSQL of our own in the state folder, another one, or SQLite.

Ours is reached by a Unix socket in a private folder and by nothing else: no port, no password. Its process is
`deployments.postmaster`. Reasons and figures: docs/decisions/0020-postgresql-under-prefect.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from deployments import postgres
from deployments.postgres import WHEEL, Cluster, DatabaseError, Unfit

__all__ = ["VARIABLE", "Database", "DatabaseError", "prepare"]

VARIABLE = "DAGSVERK_DATABASE"
URL_VARIABLE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
LOST = "Prefect starts with an empty history (runs, paused schedules); tables and models are untouched."


@dataclass(frozen=True)
class Database:
    """What the Prefect server is to use, and the process to keep running for it, if any."""

    url: str = field(repr=False)  # may hold a password
    shown: str  # what may be printed
    arguments: tuple[str, ...] = ()  # of `python -m deployments.guard`; empty: no process of ours
    socket_folder: Path | None = None
    notes: tuple[str, ...] = ()  # sentences for a person, at this start

    def ready(self) -> bool:
        """Whether it lets a connection in, asked for a second at most; True for one that is not ours."""
        return self.socket_folder is None or postgres.answers(self.socket_folder)

    def server_environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """The environment of the Prefect server, the only process that needs the address."""
        kept = {name: value for name, value in given.items() if name != VARIABLE}
        if self.socket_folder:  # asyncpg would take a port, a password or encryption from PGPORT and others
            kept = {name: value for name, value in kept.items() if not name.startswith("PG")}
        return kept | {URL_VARIABLE: self.url}


def prepare(state: Path, setting: str = "") -> Database:
    """The database for this state folder; `setting` is the value of DAGSVERK_DATABASE. Raises DatabaseError.

    Makes an empty one the first time (2 s); starts nothing.
    """
    state = state.resolve()
    if setting:
        return _chosen(state, setting)
    try:
        return _own(state)
    except Unfit as reason:
        return _sqlite(
            state,
            f"PostgreSQL cannot run here: {reason}. Prefect uses SQLite, where writers wait for each other: "
            f"with several runs at a time some may crash and be repeated. {VARIABLE}=postgresql+asyncpg://"
            "USER@HOST/DATABASE names a server of your own.",
        )


def _chosen(state: Path, setting: str) -> Database:
    """The database that a person named."""
    if setting == "sqlite":
        return _sqlite(state)
    scheme, _, rest = setting.partition("://")
    if scheme not in ("postgresql", "postgres", "postgresql+asyncpg") or not rest:
        raise DatabaseError(
            f"{VARIABLE} must be postgresql+asyncpg://USER@HOST/DATABASE or sqlite, or be unset for a "
            "PostgreSQL of our own; its value is neither (and not shown, since it may hold a password)"
        )
    url = f"postgresql+asyncpg://{rest}"
    return Database(url, _without_secret(url))


def _without_secret(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        # from None: the cause may quote the address
        raise DatabaseError(f"{VARIABLE} is not an address that can be read (it is not shown)") from None
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _sqlite(state: Path, *notes: str) -> Database:
    url = f"sqlite+aiosqlite:///{state / 'prefect' / 'prefect.db'}"
    return Database(url, url, notes=notes)


def _own(state: Path) -> Database:
    """Our own PostgreSQL. Raises Unfit where it cannot run, and never has for this state folder."""
    home = state / "postgres"
    try:
        cluster = postgres.find(home)
        notes = () if cluster.data.exists() else _begin(state, cluster)
    except Unfit as reason:
        if not postgres.majors(home):
            raise
        raise DatabaseError(
            f"Prefect's history is in {home}, and PostgreSQL cannot run here: {reason}. Install {WHEEL} "
            f"again (make setup), or begin an empty history with {VARIABLE}=sqlite"
        ) from reason
    _check(cluster)
    where = quote(str(cluster.socket_folder))
    url = f"postgresql+asyncpg://postgres@/postgres?host={where}&port=5432"
    arguments = ("deployments.postmaster", str(home))
    return Database(
        url, f"PostgreSQL {cluster.major} in {cluster.data}", arguments, cluster.socket_folder, notes
    )


def _begin(state: Path, cluster: Cluster) -> tuple[str, ...]:
    """Make the empty database. Returns what a person should know about the history that it does not have."""
    older = postgres.majors(cluster.home)
    postgres.make(cluster)
    if older:
        major = older[-1].name
        return (
            f"The history in {older[-1]} was written by PostgreSQL {major}, which {cluster.major} cannot "
            f"read. {LOST} To go on with it: pip install '{WHEEL}=={major}.*'",
        )
    sqlite = state / "prefect" / "prefect.db"
    if sqlite.exists():
        return (f"The history in {sqlite} is not carried over. {LOST} To go on with it: {VARIABLE}=sqlite",)
    return ()


def _check(cluster: Cluster) -> None:
    """Raises DatabaseError when the data folder is not ours to use, or the disk full."""
    try:
        version = (cluster.data / "PG_VERSION").read_text().strip()
    except OSError as error:
        raise DatabaseError(
            f"{cluster.data} is no database that user {os.geteuid()} can use ({error.strerror}; it belongs "
            f"to user {cluster.data.stat().st_uid}): start as that user, or rename it to begin an empty one"
        ) from error
    if version != cluster.major:
        raise DatabaseError(
            f"{cluster.data} was written by PostgreSQL {version}, not {cluster.major}: rename it to "
            f"{cluster.home / version} and start again (with an empty history)"
        )
    postgres.check_space(cluster.data)
