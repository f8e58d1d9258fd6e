"""What the target of a copy remembers of it, among its artefacts: whose copy it is, and what came over whole.

It stays there, so that the same copy can go on: after a kill, or when there is more to copy. It is written
before anything else is, and before artefacts are replaced: so what the target holds is known to be a copy.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dagsverk.store.encoding import decode, encode
from dagsverk.store.protocol import Conflict, NotFound, Store, StoreError

RESERVED = "dagsverk-copy"  # no artefact below it is copied
PATH = f"{RESERVED}/journal.json"
EVERY_S = 5.0  # artefacts of the last seconds before a kill are sent again


@dataclass
class Journal:
    """The journal of one copy.

    `artefacts`: SHA-256 ("" while it is being sent) and stamp in the source, by path. `checked`: the commit
    as of which a table was seen to be equal, by name and version.
    """

    target: Store
    source: str
    artefacts: dict[str, tuple[str, str]] = field(default_factory=dict)
    checked: dict[str, int] = field(default_factory=dict)
    _saved: float = 0.0

    def save(self) -> None:
        content = {"source": self.source, "artefacts": self.artefacts, "checked": self.checked}
        self.target.put(PATH, encode(content, indent=None), overwrite=True)
        self._saved = time.monotonic()

    def save_now_and_then(self) -> None:
        if time.monotonic() - self._saved > EVERY_S:
            self.save()

    def begin(self, paths: Iterable[str]) -> None:
        """These artefacts may differ from what was sent before, until `done`."""
        self.artefacts |= dict.fromkeys(paths, ("", ""))
        self.save()

    def done(self, path: str, digest: str, stamp: str) -> None:
        self.artefacts[path] = (digest, stamp)
        self.save_now_and_then()


def open_journal(source: Store, target: Store) -> Journal:
    """The journal of this copy; a new one in an empty target.

    Raises: Conflict if the target holds something that is no copy of the source; StoreError if the journal is
    damaged."""
    try:
        text = target.get(PATH)
    except NotFound:
        held = something_in(target)
        if held:
            raise Conflict(
                f"{target.url} holds {held}, and is no copy of {source.url}; copy into an empty place"
            ) from None
        journal = Journal(target, source.url)
        journal.save()
        return journal
    content = _parsed(text, target)
    if content["source"] != source.url:
        raise Conflict(
            f"{target.url} is a copy of {content['source']}, not of {source.url}; copy into an empty place"
        )
    artefacts = {path: (digest, stamp) for path, (digest, stamp) in content["artefacts"].items()}
    return Journal(target, source.url, artefacts, content["checked"])


def own_artefacts(store: Store) -> list[str]:
    """Paths of a store's artefacts without those of a copy's journal, sorted."""
    return [path for path in store.list("") if not path.startswith(f"{RESERVED}/")]


def something_in(store: Store) -> str:
    """Something that the store holds, in words; "" if it is empty."""
    for table in store.tables():
        return f"the table {table.name}"
    for name in store.model_names():
        return f"the model {name}"
    for path in own_artefacts(store):
        return f"the artefact {path}"
    return ""


def _parsed(text: bytes, target: Store) -> dict[str, Any]:
    where, remedy = f"the artefact {PATH} in {target.url}", "copy into an empty place"
    content = decode(text, where, remedy)
    try:
        return {key: content[key] for key in ("source", "artefacts", "checked")}
    except (KeyError, TypeError) as error:
        raise StoreError(f"{where} is damaged ({error}); {remedy}") from error
