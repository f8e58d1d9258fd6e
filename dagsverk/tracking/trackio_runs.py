"""Trainings -> runs of the project `dagsverk` in a folder of Trackio's, where Trackio is installed.

By the table that its own importers write to. What is there is read from it, so the same export again writes
nothing, one that was killed goes on, and a run that was made anew replaces the one of its name.
"""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dagsverk.store import Store, StoreError
from dagsverk.tracking.exporting import Exported, digest, exported
from dagsverk.tracking.gathering import Point, Tracked

PROJECT = "dagsverk"
FOLDER = "TRACKIO_DIR"  # that Trackio reads when it is imported
DIGEST = "dagsverk_settings"


def export(store: Store, folder: Path) -> Exported:
    """Write what the folder lacks of every training. Raises StoreError without Trackio; OSError."""
    if find_spec("trackio") is None:
        raise StoreError("Trackio is not installed: pip install -c constraints.txt -e '.[trackio]'")
    os.environ[FOLDER] = str(folder.absolute())
    from trackio import utils
    from trackio.sqlite_storage import SQLiteStorage

    if Path(utils.TRACKIO_DIR) != folder.absolute():
        raise StoreError(f"this process has Trackio write to {utils.TRACKIO_DIR} already; start another one")
    try:
        return exported(store, lambda training: _write(SQLiteStorage, training))
    except sqlite3.Error as error:
        raise StoreError(
            f"Trackio's table in {folder} cannot be written: {error}; close what holds it, or take "
            "another folder"
        ) from error


def _write(storage: Any, training: Tracked) -> int | None:
    """The number of points written; None where all was there."""
    start = _written(storage, training)
    if start is None:  # other points than those of now: a run of that name was made anew
        storage.delete_run(PROJECT, training.id, run_id=training.id)
        start = 0
    new = training.points[start:]
    if not new:
        return None
    storage.bulk_log(
        project=PROJECT,
        run=training.id,
        run_id=training.id,
        metrics_list=[dict(point.values) for point in new],
        steps=[point.step for point in new],
        timestamps=[_time_of(point) for point in new],
        config={**training.settings, DIGEST: digest(training, [])},
        log_ids=[f"{training.id} {start + place}" for place in range(len(new))],  # each is taken once
    )
    return len(new)


def _written(storage: Any, training: Tracked) -> int | None:
    """How many points are there already, from the first on; None if they are others."""
    kept = storage.get_logs(PROJECT, training.id, run_id=training.id)
    if not kept:
        return 0
    config = storage.get_run_config(PROJECT, training.id, run_id=training.id) or {}
    if config.get(DIGEST) != digest(training, []) or len(kept) > len(training.points):
        return None
    for row, point in zip(kept, training.points, strict=False):
        values = {name: value for name, value in row.items() if name not in ("step", "timestamp")}
        if row["step"] != point.step or values != dict(point.values):
            return None
    return len(kept)


def _time_of(point: Point) -> str:
    """A point has no time of its own: its step stands for it, in seconds since 1970."""
    return dt.datetime.fromtimestamp(point.step, dt.UTC).isoformat()
