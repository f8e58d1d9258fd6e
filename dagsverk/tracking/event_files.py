"""Trainings -> TensorBoard's event files. Made from the store, after the fact: it cannot hurt a training.

A folder for each training; in it event files, each with a range of its points, named by that range and a
digest of it. So what is there is seen from names alone: the same export again writes nothing, one that was
killed goes on, a run that went on gets a file with the points that are new.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from dagsverk.store import Store, StoreError
from dagsverk.tracking.exporting import ID, Exported, digest, exported
from dagsverk.tracking.gathering import Point, Tracked

FILE = re.compile(r"events\.out\.tfevents\.(\d{7})-(\d{7})\.([0-9a-f]{12})\.dagsverk")
UNFINISHED, OLD_S = ".dagsverk-", 3600.0


def export(store: Store, folder: Path) -> Exported:
    """Write what the folder lacks of every training. Raises StoreError without TensorBoard; OSError."""
    if find_spec("tensorboard") is None:
        raise StoreError("TensorBoard is not installed: pip install -c constraints.txt -e '.[tensorboard]'")
    _sweep(folder)
    return exported(store, lambda training: write(training, folder))


def _sweep(folder: Path) -> None:
    """Remove what killed exports left unfinished; what is young may be another's at work."""
    for left in folder.glob(f"{UNFINISHED}*"):
        if time.time() - left.stat().st_mtime > OLD_S:
            shutil.rmtree(left, ignore_errors=True)


def write(training: Tracked, folder: Path) -> int | None:
    """The number of points written; None where all was there."""
    if not ID.fullmatch(training.id):
        raise StoreError(f"a training of the name {training.id!r} cannot be a folder")
    target = folder / training.id
    start = _written(target, training)
    if start is None:  # other points than those of now: a run of that name was made anew
        shutil.rmtree(target)
        start = 0
    new = training.points[start:]
    if not new and target.exists():
        return None
    target.mkdir(parents=True, exist_ok=True)
    name = f"events.out.tfevents.{start:07d}-{start + len(new):07d}.{digest(training, new)}.dagsverk"
    if not new and (target / name).exists():
        return None
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder) as room:
        made = _events(Path(room), training, new, first=start == 0)
        made.replace(target / name)
    return len(new)


def _written(target: Path, training: Tracked) -> int | None:
    """How many points are there already, from the first on; None if they are others."""
    names = sorted(path.name for path in target.glob("*")) if target.is_dir() else []
    upto = 0
    for match in filter(None, map(FILE.fullmatch, names)):
        start, end = int(match[1]), int(match[2])
        if start != upto or end > len(training.points):
            return None
        if digest(training, training.points[start:end]) != match[3]:
            return None
        upto = end
    return upto


def _events(room: Path, training: Tracked, points: Sequence[Point], *, first: bool) -> Path:
    """A whole event file. A point has no time of its own: its step stands for it, in seconds since 1970."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(room))
    if first and training.settings:
        summary = hparams_pb(dict(training.settings), trial_id=training.id)
        writer.add_event(Event(summary=summary, wall_time=0.0, step=0))
    for point in points:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in point.values.items()]
        event = Event(summary=Summary(value=values), wall_time=float(point.step), step=point.step)
        writer.add_event(event)
    writer.close()
    (made,) = room.iterdir()
    return made
