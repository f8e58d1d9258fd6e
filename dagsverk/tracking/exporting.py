"""Every training of a store to another tool, one after another. Made from the store, after the fact."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dagsverk.store import Store
from dagsverk.tracking.gathering import Point, Tracked, trainings

ID = re.compile(r"[a-z0-9_]+/[a-z0-9_-]+")


@dataclass
class Exported:
    """What an export came to."""

    trainings: int = 0
    new: int = 0  # of these, trainings of which something was written
    points: int = 0  # written
    unreadable: list[str] = field(default_factory=list)  # sentences


def exported(store: Store, write: Callable[[Tracked], int | None]) -> Exported:
    """Have every training written. `write`: how many points it wrote; None where all was there."""
    done = Exported()
    for training in trainings(store, done.unreadable):
        done.trainings += 1
        if not ID.fullmatch(training.id):  # it becomes a folder, and a part of a query
            done.unreadable.append(f"{training.id!r}: want a name of small letters, digits, - and _")
            continue
        written = write(training)
        done.new += written is not None
        done.points += written or 0
    return done


def digest(training: Tracked, points: Sequence[Point]) -> str:
    """Of a training's settings and these of its points: another one when any of them is another one."""
    settings = sorted((name, str(value)) for name, value in training.settings.items())
    content = repr([settings, [(one.step, sorted(one.values.items())) for one in points]])
    return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:12]
