"""Recordings with a text of the same name: beside each, or in a folder beside theirs.

anything/1.wav, anything/1.txt
wav/a/1.wav, txt/a/1.txt
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dagsverk.speech.corpora.corpus import Tally
from dagsverk.speech.corpora.places import REGULAR, Entry, Place
from dagsverk.speech.corpora.resolving import is_sound
from dagsverk.speech.corpora.tables import decode_utf8

MAX_TEXT_BYTES = 1 << 20  # beside a recording of 30 s
TEXT_ENDINGS = (".txt", ".original.txt", ".normalized.txt", ".lab")  # LibriTTS has two; .lab is of aligners
TIMES = re.compile(r"\s*\d+\s+\d+\s+\S+\s*$", re.MULTILINE)  # HTK's labels: from, to, a sound


def find_pairs(files: Mapping[str, Entry]) -> dict[str, str]:
    """recording -> its text. Those in folders of their own count where none has its text beside it."""
    sound = [path for path in files if is_sound(path)]
    by_bare = _texts(files)
    beside = {path: by_bare[bare] for path in sound if (bare := path.rpartition(".")[0]) in by_bare}
    return beside or _in_folders_beside(sound, by_bare)


def _texts(files: Mapping[str, Entry]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for ending in reversed(TEXT_ENDINGS):
        texts |= {path[: -len(ending)]: path for path in files if path.lower().endswith(ending)}
    return texts


def _in_folders_beside(sound: list[str], texts: Mapping[str, str]) -> dict[str, str]:
    """Paths that differ in one folder; none where two such texts fit a recording, or the reverse."""
    meant: dict[tuple[int, str], list[str]] = {}
    for bare, text in texts.items():
        for key in _without_one_folder(bare):
            meant.setdefault(key, []).append(text)
    pairs = {}
    for path in sound:
        fitting = {
            text for key in _without_one_folder(path.rpartition(".")[0]) for text in meant.get(key, [])
        }
        if len(fitting) == 1:
            pairs[path] = fitting.pop()
    taken: dict[str, int] = {}
    for text in pairs.values():
        taken[text] = taken.get(text, 0) + 1
    return {path: text for path, text in pairs.items() if taken[text] == 1}


def _without_one_folder(bare: str) -> Iterator[tuple[int, str]]:
    parts = bare.split("/")
    for place in range(len(parts) - 1):
        yield place, "/".join([*parts[:place], *parts[place + 1 :]])


def read_pairs(
    place: Place, files: Mapping[str, Entry], pairs: Mapping[str, str], tally: Tally
) -> Iterator[tuple[str, str]]:
    """(recording, text), each counted. Raises CorpusError."""
    taken: dict[str, str] = {}
    for path, text in pairs.items():
        tally.rows += 1
        if (first := taken.setdefault(text, path)) != path:
            tally.reject(path, "duplicate id", f"{text!r} is the text of {first!r} already")
        elif files[text].fault:
            tally.reject(path, "not a regular file", f"{text!r} is {files[text].fault}; {REGULAR}")
        elif files[text].size > MAX_TEXT_BYTES:
            detail = f"{text!r} has {files[text].size:,} bytes, want at most {MAX_TEXT_BYTES:,}"
            tally.reject(path, "too long", detail)
        else:
            content = decode_utf8(place.table(text), f"{place.url}/{text}")
            if text.lower().endswith(".lab") and TIMES.match(content):
                tally.reject(
                    path, "malformed row", f"{text!r} has times and sounds; want what is said, in words"
                )
            else:
                yield path, content
