"""Where the trials of a search are kept, for tables and speech: Optuna's studies, each held by one process.

By default a study is a journal, a file of lines below DAGSVERK_CACHE, and its lock is the system's: for the
processes of one machine. DAGSVERK_SEARCH_STORAGE names a PostgreSQL instead, for several machines; there the
lock is the database's (an advisory one), held by a connection. Either lets go of what the dead held.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sqlalchemy
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from dagsverk.cache import cache_folder
from dagsverk.store import Unavailable

VARIABLE = "DAGSVERK_SEARCH_STORAGE"
SCHEMES = ("postgresql", "postgres", "postgresql+pg8000", "postgresql+asyncpg")
SCHEMA = "dagsverk_search"  # of its own: Prefect, say, may have the same database
IN_SCHEMA: Mapping[str, Any] = {"startup_params": {"options": f"-c search_path={SCHEMA}"}}
SOCKET_NAME = ".s.PGSQL.5432"
# A trial whose process dies as often as this is the likely cause (memory, a crash of a library): it is set
# aside with that reason, so that the search does not end with it.
MOST_DEATHS = 5
REASON, DEAD = "reason", "died_at"
# A machine that is gone with its connections is noticed after a minute, and its lock let go.
KEEPALIVE = "set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 3"

optuna.logging.set_verbosity(optuna.logging.ERROR)


class StorageError(ValueError):
    """DAGSVERK_SEARCH_STORAGE is not what is wanted. Says nothing of its value: it may hold a password."""


class _HeldAlready(JournalFileOpenLock):
    """The journal is written by who holds the lock of its study: it needs none of its own."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


@contextmanager
def opened(name: str) -> Iterator[optuna.Study]:
    """The study of this name, made if there is none, alone: who comes meanwhile waits. Less is better.

    Raises: Unavailable if the database does not answer; StorageError.
    """
    with alone(name):
        try:
            study = optuna.create_study(
                study_name=name, storage=_storage(name), direction="minimize", load_if_exists=True
            )
            yield study
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError) as error:
            raise _away(error) from None
        except optuna.exceptions.UpdateFinishedTrialError as error:
            raise Unavailable(f"another process went on with {name} meanwhile: {error}") from error


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Hold the lock of this name; who is killed lets go of it. Raises Unavailable, StorageError."""
    url = address()
    if url is None:
        with _file_alone(name):
            yield
    else:
        with _database_alone(url, name):
            yield


def address() -> sqlalchemy.URL | None:
    """The PostgreSQL of DAGSVERK_SEARCH_STORAGE; None: journals. Raises StorageError."""
    setting = os.environ.get(VARIABLE, "")
    if not setting:
        return None
    scheme, mark, _ = setting.partition("://")
    try:
        url = sqlalchemy.make_url(setting)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        mark = ""
    if scheme not in SCHEMES or not mark or not url.database:
        raise StorageError(
            f"{VARIABLE} must be postgresql://USER:PASSWORD@HOST/DATABASE, or be unset for a journal below "
            "DAGSVERK_CACHE; its value is neither (and not shown, since it may hold a password)"
        )
    folder = url.query.get("host")  # of a Unix socket, as libpq and asyncpg have it
    query = {"unix_sock": f"{folder}/{SOCKET_NAME}"} if folder else dict(url.query)
    return url.set(drivername="postgresql+pg8000", query=query)


def journal(name: str) -> Path:
    """The file that the trials of a study are in, where they are in a file."""
    return cache_folder() / "search" / f"{name}.journal"


def bury(study: optuna.Study) -> None:
    """Where a trial is made under its study's lock, one that is under way has nobody at it: it failed, and is
    drawn again."""
    for dead in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        number = len(finished(study))
        before = sum(t.user_attrs.get(DEAD) == number for t in study.get_trials(deepcopy=False))
        note(study, dead, DEAD, number)
        if before + 1 >= MOST_DEATHS:
            note(study, dead, REASON, f"its process died {MOST_DEATHS} times")
        study._storage.set_trial_state_values(dead._trial_id, TrialState.FAIL)


def note(study: optuna.Study, of: FrozenTrial, name: str, value: Any) -> None:
    """Keep a value with a trial."""
    study._storage.set_trial_user_attr(of._trial_id, name, value)


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Oldest first; those that were cut off and done again are none."""
    return [
        t
        for t in study.get_trials(deepcopy=False)
        if t.state in (TrialState.COMPLETE, TrialState.PRUNED)
        or (t.state is TrialState.FAIL and REASON in t.user_attrs)
    ]


def importances(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """Parameter -> its share in what makes the best of these trials better than others; the greatest first.

    PED-ANOVA, which knows parameters that only some trials have. Empty where there are too few trials.
    """
    kept = optuna.create_study()
    kept.add_trials([t for t in trials if t.params])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            shares = optuna.importance.get_param_importances(kept, evaluator=evaluator)
    except (ValueError, RuntimeError):
        return {}
    return {name: float(share) for name, share in shares.items() if np.isfinite(share)}


def _storage(name: str) -> BaseStorage:
    url = address()
    if url is not None:
        return _database(url)
    path = journal(name)
    _cut_torn_line(path)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=_HeldAlready(str(path))))


@functools.cache
def _database(url: sqlalchemy.URL) -> RDBStorage:
    """One per process. Tables are made by one process at a time: two at once would be in each other's way."""
    with _database_alone(url, "dagsverk-search-tables") as connection:
        connection.exec_driver_sql(f"create schema if not exists {SCHEMA}")
        engine = {"pool_pre_ping": True, "connect_args": IN_SCHEMA}
        return RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=engine)


@contextmanager
def _file_alone(name: str) -> Iterator[None]:
    path = journal(name).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def _database_alone(url: sqlalchemy.URL, name: str) -> Iterator[sqlalchemy.Connection]:
    """A connection of its own holds the lock; the database lets go of it when that ends, however it ends."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    try:
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql(KEEPALIVE)
        connection.execute(sqlalchemy.text("select pg_advisory_lock(:key)"), {"key": key})
    except sqlalchemy.exc.DBAPIError as error:
        raise _away(error) from None
    try:
        yield connection
    finally:
        connection.close()


def _away(error: sqlalchemy.exc.DBAPIError) -> Unavailable:
    """In words that hold no address: it may hold a password."""
    reason = str(error.orig).split("\n", 1)[0]
    return Unavailable(f"the database of searches ({VARIABLE}) does not answer: {reason}")


def _cut_torn_line(path: Path) -> None:
    """A line whose writer was killed in the middle: what it said is not known, and was not acted on."""
    if not path.exists():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)
