"""What people decide about labels that look wrong: kept in the store, the newest counts. Light.

A label is what a clip or a row is said to be: its text, its outcome. A decision is about content, not about
a place: its key is a digest of the clip's sound and text, or of the row's values, so it never applies to what
came in their place.

Layout, below `labels/<family>/<name>/` (speech, italian; tabular, titanic):
    decisions/<key>-<number>.json   a decision; the number says which of this key's, from 1
    states/<digest>.json            all that counted at one moment, as a training used it
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from dagsverk import records
from dagsverk.store import Conflict, Store

Family: TypeAlias = Literal["speech", "tabular"]
Action: TypeAlias = Literal["keep", "mend", "drop", "undo"]

MOST_DECISIONS = 20_000  # of a language or system, those that were replaced included
MOST_CHARACTERS = 2000  # of a label
KEY = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"([0-9a-f]{32})-(\d{5})\.json")


@dataclass(frozen=True, kw_only=True)
class LabelDecision:
    """What is to be done with a label."""

    key: str  # of the clip or row, see `content_key`
    action: Action  # undo: as if nothing had been decided
    was: str  # the label as the source has it
    value: str = ""  # the label that is put in its place; "": none is
    name: str = ""  # of the clip or row, for people
    split: str = ""  # of the clip
    by: str = ""  # who: some digits of a digest of the visitor's name, which nobody can turn back
    at: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))
    number: int = 0  # which of this key's decisions; 0: not kept yet


class Overtaken(ValueError):
    """Somebody else has decided about the same label meanwhile; `latest` says what."""

    def __init__(self, latest: LabelDecision) -> None:
        super().__init__(f"somebody else decided meanwhile: {in_words(latest)}; look again, and decide anew")
        self.latest = latest


class TooMany(ValueError):
    """No more decisions are taken."""


@dataclass(frozen=True, kw_only=True)
class State:
    """The decisions that counted at one moment, by key."""

    decisions: tuple[LabelDecision, ...] = ()

    @property
    def digest(self) -> str:
        """Names what is done to labels; "" where nothing is. What is kept as it is changes nothing."""
        done = sorted((one.key, one.action, one.value) for one in self.decisions if one.action != "keep")
        return hashlib.sha256(json.dumps(done).encode()).hexdigest()[:16] if done else ""

    @property
    def by_key(self) -> dict[str, LabelDecision]:
        return {one.key: one for one in self.decisions}


def content_key(*parts: bytes | str) -> str:
    """32 hexadecimal digits that change when any part does."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(data)} ".encode())
        digest.update(data)
    return digest.hexdigest()[:32]


def decide(
    store: Store, family: Family, name: str, decision: LabelDecision, *, seen: int | None = None
) -> LabelDecision:
    """Keep a decision; the same again changes nothing. Two at once: one is kept, the other is told.

    Args: seen: the number of the latest decision that who decides knows of; None: whatever it is.
    Returns: the decision as it is kept. Raises: Overtaken, TooMany, ValueError for what is no decision.
    """
    _check(decision)
    paths = store.list(_folder(family, name))
    numbers = [number for path in paths if (number := _number(path, decision.key))]
    latest = _read(store, f"{_folder(family, name)}/{_file(decision.key, max(numbers))}") if numbers else None
    if latest and (latest.action, latest.value) == (decision.action, decision.value):
        return latest
    if seen is not None and seen != (latest.number if latest else 0):
        raise Overtaken(latest or decision)
    if latest is None and decision.action == "undo":
        return decision
    if len(paths) >= MOST_DECISIONS:
        raise TooMany(f"{MOST_DECISIONS:,} decisions are kept of {name}, and no more are taken")
    kept = replace(decision, number=(latest.number if latest else 0) + 1)
    path = f"{_folder(family, name)}/{_file(kept.key, kept.number)}"
    try:
        store.put(path, records.to_bytes(kept))
    except Conflict as error:
        raise Overtaken(_read(store, path)) from error
    _decision_at.cache_clear()  # somebody may have removed what was at that path
    return kept


def latest(store: Store, family: Family, name: str) -> dict[str, LabelDecision]:
    """The newest decision of each key, undone ones included."""
    newest: dict[str, int] = {}
    for path in store.list(_folder(family, name)):
        if match := _NAME.fullmatch(path.rpartition("/")[2]):
            newest[match[1]] = max(newest.get(match[1], 0), int(match[2]))
    root = _folder(family, name)
    return {key: _read(store, f"{root}/{_file(key, number)}") for key, number in newest.items()}


def state(store: Store, family: Family, name: str) -> State:
    """What counts now."""
    standing = [one for one in latest(store, family, name).values() if one.action != "undo"]
    return State(decisions=tuple(sorted(standing, key=lambda one: one.key)))


def keep_state(store: Store, family: Family, name: str) -> str:
    """What counts now, kept under its digest, so that what was made with it can be made again."""
    now = state(store, family, name)
    if not now.digest:
        return ""
    records.remembered(store, _state_path(family, name, now.digest), State, lambda: now)
    return now.digest


def kept_state(store: Store, family: Family, name: str, digest: str) -> State:
    """The state of that digest; of "" the one without any decision. Raises NotFound."""
    return records.read(store, _state_path(family, name, digest), State) if digest else State()


def version(store: Store, family: Family, name: str) -> int:
    """How many decisions there are: another number when there is a new one."""
    return len(store.list(_folder(family, name)))


def counts(decisions: Iterable[LabelDecision]) -> Mapping[str, int]:
    """How many labels are kept, mended and dropped."""
    actions = [one.action for one in decisions]
    return {name: actions.count(name) for name in ("keep", "mend", "drop")}


def visitor_digits(visitor: str | None) -> str:
    """What is kept of who decides: enough to tell two visitors apart, nothing that opens a door."""
    return hashlib.sha256(f"labels {visitor}".encode()).hexdigest()[:8] if visitor else ""


def in_words(decision: LabelDecision) -> str:
    """ "mended to “...”", "dropped", "kept", "undone"."""
    if decision.action == "mend":
        return f"mended to “{decision.value[:80]}”"
    return {"keep": "kept as it is", "drop": "dropped", "undo": "undone"}[decision.action]


def _check(decision: LabelDecision) -> None:
    if not KEY.fullmatch(decision.key):
        raise ValueError(f"want a key of 32 hexadecimal digits, got {decision.key[:40]!r}")
    if decision.action not in ("keep", "mend", "drop", "undo"):
        raise ValueError(f"want keep, mend, drop or undo, got {decision.action[:20]!r}")
    if (decision.action == "mend") != bool(decision.value):
        raise ValueError("a label that is mended needs a new one, and only that needs one")
    if len(decision.value) > MOST_CHARACTERS or len(decision.was) > 10 * MOST_CHARACTERS:
        raise ValueError(f"want a label of at most {MOST_CHARACTERS} characters, got {len(decision.value)}")


def _folder(family: Family, name: str) -> str:
    return f"labels/{family}/{name}/decisions"


def _state_path(family: Family, name: str, digest: str) -> str:
    return f"labels/{family}/{name}/states/{digest}.json"


def _file(key: str, number: int) -> str:
    return f"{key}-{number:05d}.json"


def _number(path: str, key: str) -> int:
    match = _NAME.fullmatch(path.rpartition("/")[2])
    return int(match[2]) if match and match[1] == key else 0


@dataclass(frozen=True)
class _Place:
    """An artefact; two are the same by store and path."""

    url: str
    path: str
    store: Store = field(compare=False, repr=False)


def _read(store: Store, path: str) -> LabelDecision:
    return _decision_at(_Place(store.url, path, store))


@functools.lru_cache(maxsize=MOST_DECISIONS)  # written once, so read once
def _decision_at(place: _Place) -> LabelDecision:
    return records.read(place.store, place.path, LabelDecision)
