"""What a data set of `datasets` may name: its own files. The library itself follows any path and address."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard

from dagsverk.reading import Below, NotRegular, TooLarge
from dagsverk.speech.corpora.places import REGULAR, LocalPlace, local_path, local_trouble
from dagsverk.speech.errors import CorpusError

NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")  # of a data set of the Hub
DESCRIPTIONS = ("README.md", ".huggingface.yaml")  # may name files; the second is hardly used, so not read
MAX_DESCRIPTION_BYTES = 4 << 20


def local_folder(source: str) -> Path | None:
    """The folder, checked; None for the name of a data set of the Hub. Raises CorpusError."""
    folder = local_path(source)
    if folder.is_dir():
        check_folder(folder)
        return folder
    if folder.exists() or not NAME.fullmatch(source):
        raise CorpusError(f"{source!r} is no data set; want hub:owner/name, or the folder of one")
    return None


def check_folder(folder: Path) -> None:
    """Raises CorpusError if it names, or links to, anything but regular files below it."""
    for path, entry in LocalPlace(folder).files().items():
        if entry.fault:
            raise CorpusError(
                f"{folder}/{path} is {entry.fault}; {REGULAR}: remove it, or copy what it means"
            )
        if path.rpartition("/")[2] in ("state.json", "dataset_dict.json"):
            check_names(_load(folder, path), f"{folder}/{path}")
    if (folder / DESCRIPTIONS[1]).exists():
        raise CorpusError(f"{folder}/{DESCRIPTIONS[1]} is not read here; put what it says into README.md")
    if (folder / DESCRIPTIONS[0]).exists():
        check_card(DatasetCard(_text(folder, DESCRIPTIONS[0])).data, str(folder))


def check_card(card: Any, where: str) -> None:
    """Raises CorpusError if the front matter of a README names files that are not the data set's own."""
    for path in _named(card.get("configs") if card else None, ("data_files", "data_dir", "path")):
        _check(path, f"the README.md of {where}")


def check_names(described: Any, where: str) -> None:
    """Raises CorpusError if what save_to_disk wrote names files or splits that lie elsewhere."""
    for path in _named(described, ("filename", "splits")):
        _check(path, where)


def leads_out(path: str) -> bool:
    """Whether a path or pattern of a data set is an address, or leads out of its folder."""
    parts = path.replace("\\", "/").split("/")
    return path[:1] in ("/", "\\", "~") or ":" in parts[0] or "::" in path or ".." in parts


def _check(path: str, where: str) -> None:
    if leads_out(path):
        raise CorpusError(f"{where} names files that are not its own ({path[:80]!r}); they are not read")


def _named(described: Any, names: tuple[str, ...]) -> Iterator[str]:
    """The texts under these names, however deep; each part of the description is looked at once."""
    waiting, seen = [(described, False)], set[tuple[int, bool]]()
    while waiting:
        one, named = waiting.pop()
        if isinstance(one, str) and named:
            yield one
        if not isinstance(one, (dict, list)) or (id(one), named) in seen:
            continue
        seen.add((id(one), named))
        if isinstance(one, dict):
            waiting += [(value, named or key in names) for key, value in one.items()]
        else:
            waiting += [(value, named) for value in one]


def _text(folder: Path, path: str) -> str:
    try:
        return Below(folder).read(path, MAX_DESCRIPTION_BYTES).decode()
    except OSError as error:
        raise local_trouble(f"{folder}/{path} cannot be read", error) from error
    except (ValueError, NotRegular, TooLarge) as error:
        raise CorpusError(f"{folder}/{path} cannot be read ({error}); mend it") from error


def _load(folder: Path, path: str) -> Any:
    try:
        return json.loads(_text(folder, path))
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{folder}/{path} is no JSON ({error}); save the data set anew") from error
