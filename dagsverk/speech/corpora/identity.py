"""Who, which file and which language a row means, however it is spelt: cleaned here, for every format.

Names are compared in NFC, without characters that nobody sees, with single spaces. "unknown", "NA", "-" and
the like are nobody.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import TypeVar
from urllib.parse import unquote

from dagsverk.speech.corpora.corpus import Tally
from dagsverk.speech.language_names import same_language, spoken_language, title_of
from dagsverk.spelling import letters, says_nothing, without_unseen

WHOLE_NUMBER = re.compile(r"(\d+)\.0+")  # as a library writes whole numbers where some are missing
ALIKE = str.maketrans("’‘ʼ`´‐‑–—", "'''''----")
NOBODY = {  # letters of what tells that there is no name; in a table it may be a category
    "unknown", "unk", "unspecified", "undefined", "empty", "blank", "anonymous", "anon", "anonym",
    "anonyme", "anonimo", "anónimo", "notavailable", "notapplicable", "notspecified", "notgiven",
    "unknownspeaker", "speakerunknown", "nospeaker", "donotwishtosay", "prefernottosay", "okänd",
    "okänt", "ukjent", "ukendt", "sconosciuto", "sconosciuta", "ignoto", "unbekannt", "inconnu",
    "inconnue", "desconocido", "desconocida", "onbekend", "tuntematon",
}  # fmt: skip
MISSING_TEXTS = {"NaN", "nan", "<NA>", "#N/A", "N/A", "NULL"}  # as libraries and spreadsheets write no text

T = TypeVar("T")


def clean_name(name: str) -> str:
    """The name in NFC, with single spaces, without control, zero-width and bidi characters."""
    return " ".join(without_unseen(name).split())  # among them no-break spaces and odd line ends


def is_missing(name: str) -> bool:
    """Whether a clean name tells that there is none: signs alone, or a word for it in some spelling."""
    return says_nothing(name) or not letters(name) or letters(name) in NOBODY or name == "-1"


def clean_value(value: str) -> str:
    """The clean name; "" for those that tell that there is none."""
    name = clean_name(value)
    return "" if is_missing(name) else name


def clean_translation(text: str) -> str:
    return "" if text.strip() in MISSING_TEXTS else text


def voice_key(speaker: str) -> str:
    """The same for one person spelt in two ways: by case, forms of letters, apostrophes, or 7.0 for 7."""
    key = unicodedata.normalize("NFKC", clean_name(speaker).translate(ALIKE)).casefold()
    number = WHOLE_NUMBER.fullmatch(key)
    return number[1] if number else key


class Voices:
    """One spelling for each person: that which came first."""

    def __init__(self) -> None:
        self._spelt: dict[str, str] = {}
        self._of: dict[str, str] = {"": ""}

    def __getitem__(self, speaker: str) -> str:
        if speaker not in self._of:
            name = clean_value(speaker)
            self._of[speaker] = self._spelt.setdefault(voice_key(name), name) if name else ""
        return self._of[speaker]


def is_asked_for(stated: str, code: str, tally: Tally, row: str) -> bool:
    """Whether a row that states a language is one of those in `code`; so is one that states none.

    Else it is counted: a row of another language is left out, one of a language that nobody knows rejected.
    Args: row: what a rejected row is called.
    """
    spoken = code if stated.strip().casefold() == code else _spoken(stated)  # it may be a word of one's own
    if spoken is None:
        detail = (
            f"{stated[:40]!r} is no language by code (ISO 639) or name; write it as a code, such as {code}"
        )
        tally.reject(row, "unknown language", detail)
        return False
    if spoken and not same_language(spoken, code):
        tally.left_out[f"other language: {title_of(spoken)}"] += 1
        return False
    return True


@lru_cache(maxsize=4096)
def _spoken(stated: str) -> str | None:
    name = clean_value(stated)
    return spoken_language(name) if name else ""


def tidy_path(path: str) -> str:
    """A path as rows and folders may spell it alike: NFC, with /, without ./ and what nobody sees."""
    parts = [clean_name(part) for part in path.replace("\\", "/").split("/")]
    return "/".join(part for i, part in enumerate(parts) if part not in ("", ".") or (i == 0 and not part))


class FileNames:
    """Files found by the name that a row gives.

    First as it is; then as `tidy_path` spells both; then with %20 and the like decoded; then whatever its
    case. The first of these that fits one file decides.
    """

    def __init__(self, files: Mapping[str, T]) -> None:
        self._files = files

    def find(self, path: str) -> tuple[str, ...]:
        """The file; () if there is none, several if that many fit equally well."""
        if path in self._files:
            return (path,)
        tidy = tidy_path(path)
        for names, wanted in (
            (self._tidy, tidy),
            (self._tidy, tidy_path(unquote(path))),
            (self._folded, tidy.casefold()),
            (self._folded, tidy_path(unquote(path)).casefold()),
        ):
            if wanted in names:
                return tuple(names[wanted])
        return ()

    @cached_property
    def _tidy(self) -> dict[str, list[str]]:
        return self._by(tidy_path)

    @cached_property
    def _folded(self) -> dict[str, list[str]]:
        return self._by(lambda path: tidy_path(path).casefold())

    def _by(self, spelling: Callable[[str], str]) -> dict[str, list[str]]:
        names: dict[str, list[str]] = defaultdict(list)
        for path in self._files:
            names[spelling(path)].append(path)
        return dict(names)
