"""Which split a name tells: of a folder, or of a table. Published splits are kept, wherever they are said."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dagsverk.speech.corpora.corpus import Split
from dagsverk.speech.corpora.rows import SPLIT_NAMES

PARTS = re.compile(r"[-_. ]+")
HELD_OUT: dict[str, Split] = {"eval": "test", "evaluation": "test"}  # as long as there is no other test


def split_named(name: str) -> Split | None:
    """By all of a name (train, validation), or its first or last word: train-clean-100, metadata_test.

    Where both say one, the last counts (train_dev), but for train_no_dev.
    """
    words = [word.rstrip("0123456789") or word for word in PARTS.split(name.lower()) if word]
    if not words:
        return None
    first, last = _of(words[0]), _of(words[-1])
    if first and last and first != last:
        return first if "no" in words else last
    return first or last


def shared_folder(paths: Iterable[str]) -> str:
    """The folder that all these files are below; "" or with `/` at its end. What it is called tells none of
    them from another: a corpus kept in `tests/` is no test."""
    above = [path.split("/")[:-1] for path in paths]
    shared = ""
    for first, last in zip(min(above, default=[]), max(above, default=[]), strict=False):
        if first != last:
            break
        shared += f"{first}/"
    return shared


def top_folder(files: Iterable[str]) -> str:
    """The folder that holds all files, as `tar czf own.tgz own/` packs them; "" or with `/` at its end. The
    folder of a split is none: its name tells something."""
    above = [path.split("/")[:-1] for path in files]
    first, last = min(above, default=[]), max(above, default=[])
    root = ""
    for one, other in zip(first, last, strict=False):
        if one != other or split_named(one):
            break
        root += f"{one}/"
    return root


def split_of_path(path: str) -> Split | None:
    """By the folders of a file, the nearest first."""
    for folder in reversed(path.split("/")[:-1]):
        if split := split_named(folder):
            return split
    return None


def _of(word: str) -> Split | None:
    return SPLIT_NAMES.get(word) or HELD_OUT.get(word)
