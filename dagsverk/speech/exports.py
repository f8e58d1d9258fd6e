"""Versions in other forms, for other engines, as the store keeps them. Light: loads no learning library.

Layout, below the artefact folder speech/<language name>/exports/<key>/:
    <form>.zip     the files of one form, without compression; only of forms that passed
    export.json    what passed and what did not, and why; written last

The key names the version and its files' content, so what a model is served from is always its own.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from dagsverk.records import read, write
from dagsverk.speech.config import Windows
from dagsverk.speech.languages import Language
from dagsverk.store import Model, Store, StoreError, Unavailable

FORMAT = 1  # of the files; another one makes every export anew
FORMS = ("int8", "float16")


@dataclass(frozen=True, kw_only=True)
class Parity:
    """A form beside the version's own weights, on the same clips in one mode."""

    windows: Windows
    clips: int
    tokens: int  # that the version's own weights write, ends included
    differing: int  # of them, those that are written otherwise: least edits
    near_ties: int  # clips whose texts part where the weights themselves hardly prefer one token
    differing_beyond_ties: int  # tokens that differ in all other clips
    words: int
    word_errors: int
    word_errors_of_weights: int

    @property
    def agreement(self) -> float:
        """Share of tokens that are the same, clips that part at a near tie aside."""
        return 1 - self.differing_beyond_ties / max(1, self.tokens)


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What came of one form."""

    form: str
    refused: str  # why it was not published; "" if it was
    parity: tuple[Parity, ...] = ()
    path: str = ""  # of its archive
    sha256: str = ""
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Export:
    """A version in all its forms."""

    model: str
    version: int
    key: str
    forms: tuple[Exported, ...]
    checked_on: str  # the set whose clips were decoded
    code: str
    at: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))

    @property
    def published(self) -> tuple[Exported, ...]:
        return tuple(one for one in self.forms if not one.refused)


def export_key(model: Model) -> str:
    """Of a version's export: changes with the version's files and with how exports are made."""
    content = json.dumps([FORMAT, model.version, sorted(_weights(model).items())])
    return f"{model.version:06d}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def export_folder(language: Language, model: Model) -> str:
    """The artefact folder of a version's export."""
    return f"speech/{language.name}/exports/{export_key(model)}"


def kept(store: Store, language: Language, model: Model) -> Export | None:
    """The version's export; None if there is none, or it was made by another version of this code."""
    try:
        return read(store, f"{export_folder(language, model)}/export.json", Export)
    except Unavailable:
        raise
    except StoreError:  # not there, or not readable: made anew by the next export
        return None


def keep(store: Store, language: Language, model: Model, export: Export) -> None:
    """Write the record: from now on its archives count."""
    write(store, f"{export_folder(language, model)}/export.json", export)


def _weights(model: Model) -> Mapping[str, str]:
    return {name: sha256 for name, sha256 in model.files.items() if not name.endswith(".md")}
