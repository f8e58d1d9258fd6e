"""What the emulator has acknowledged, in one SQLite file: it outlives a SIGKILL."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

SCHEMA = """
create table if not exists entity (
    place integer primary key autoincrement, kind text, key text, document text, unique (kind, key)
);
create table if not exists counter (name text primary key, value integer);
"""


class State:
    """JSON documents by kind and key, in order of their first `put`.

    Every call is durable when it returns (write-ahead log: a killed process loses nothing; a
    machine without power may lose the last calls, which no test needs). Hold `lock` around calls
    that belong together.
    """

    def __init__(self, path: Path) -> None:
        self.lock = threading.RLock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = normal")
        self._database.executescript(SCHEMA)

    def next_id(self) -> int:
        """1001, 1002, ...; the same number is never given twice."""
        with self.lock:
            self._database.execute("insert or ignore into counter values ('id', 1000)")
            row = self._database.execute("update counter set value = value + 1 returning value").fetchone()
            return int(row[0])

    def put(self, kind: str, key: object, document: dict[str, Any]) -> None:
        with self.lock:
            self._database.execute(
                "insert into entity (kind, key, document) values (?, ?, ?)"
                " on conflict (kind, key) do update set document = excluded.document",
                (kind, str(key), json.dumps(document)),
            )

    def get(self, kind: str, key: object) -> dict[str, Any] | None:
        with self.lock:
            row = self._database.execute(
                "select document from entity where kind = ? and key = ?", (kind, str(key))
            ).fetchone()
        return None if row is None else json.loads(row[0])

    def all(self, kind: str) -> list[dict[str, Any]]:
        with self.lock:
            rows = self._database.execute(
                "select document from entity where kind = ? order by place", (kind,)
            )
            return [json.loads(row[0]) for row in rows.fetchall()]

    def delete(self, kind: str, key: object) -> None:
        with self.lock:
            self._database.execute("delete from entity where kind = ? and key = ?", (kind, str(key)))
