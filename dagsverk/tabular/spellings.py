"""What a cell says, however it is spelt: missing words, numbers, categories, identities.

All is decided on the different texts of a column, so that a million rows cost little, and so that what one
of them means may be read from the others.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from dagsverk.tabular.numerals import EITHER, Marks, marks_of, number, unclear
from dagsverk.tabular.system import Column

# In any case; not where it is a category of the column.
MISSING = frozenset((
    "", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "nat", "null", "(null)", "#null!", "none", "nil",
    "missing", "#value!", "#ref!", "#div/0!", "?", "-", "--", "---", "–", "—", ".", "..", "\\n",
))  # fmt: skip
QUOTED = re.compile(r"^(['\"])(.*)\1$")
TRUE = ("1", "true", "yes", "t", "y")
FALSE = ("0", "false", "no", "f", "n")
INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))
MAX_EXAMPLES = 5
EXACT = 2**53  # above it, numbers of 64 bits lack some whole ones


@dataclass
class Cells:
    """The different texts of a column, and where each of them stands."""

    codes: NDArray[np.intp]  # of each row; -1: missing
    texts: list[str]
    lines: pd.Index
    missing: Counter[str] = field(default_factory=Counter)  # word -> rows

    def take(self, values: list[Any], dtype: Any) -> NDArray[Any]:
        """The values of the texts, in every row's place; missing ones last among them."""
        table = np.empty(len(values) + 1, dtype=dtype)
        table[:-1] = values
        table[-1] = np.nan if dtype is np.float64 else None
        return table[self.codes]

    def drop(self, words: Callable[[str], bool]) -> None:
        """Take these texts as missing."""
        counts = np.bincount(self.codes[self.codes >= 0], minlength=len(self.texts))
        gone = np.array([words(text) for text in self.texts], dtype=bool)
        if gone.any():
            self.missing.update({self.texts[at]: int(counts[at]) for at in np.flatnonzero(gone)})
            self.codes = np.where((self.codes >= 0) & ~gone[self.codes], self.codes, -1)

    def used(self) -> Iterator[str]:
        """The texts that are not missing words."""
        return (text for text in self.texts if text not in self.missing)

    def first_line(self, text: str) -> int:
        """Where the text stands first."""
        return int(self.lines[int(np.argmax(self.codes == self.texts.index(text)))])


def cells_of(column: pd.Series[Any]) -> Cells:
    """Cells of any type -> their texts: 7, 7.0 and " 7" are the same."""
    if column.dtype == object or not isinstance(column.dtype, pd.StringDtype):
        column = column.map(_text, na_action="ignore")
    codes, uniques = pd.factorize(column)
    texts = [clean(text) for text in uniques]
    cells = Cells(codes, texts, column.index)
    cells.drop(lambda text: not text)
    cells.missing.clear()  # nothing to be said of them
    return cells


def clean(text: str) -> str:
    """In one Unicode form, without spaces around it and without what cannot be seen."""
    if text.isascii():
        return text.strip()
    return unicodedata.normalize("NFC", text).translate(INVISIBLE).strip()


def _text(cell: object) -> str:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) <= EXACT:
        return str(int(cell))
    return str(cell)


def is_missing(text: str) -> bool:
    """Whether people write this for nothing."""
    return text.casefold() in MISSING


# ------------------------------------------------------------------ categories


def categories(column: Column, cells: Cells) -> tuple[NDArray[Any], str]:
    """Every row's category, or the text where it is none; and what was guessed, in words."""
    spelt = _Spelling(column)
    cells.drop(lambda text: spelt.category(text) is None and is_missing(text))
    values = [spelt.category(text) or text for text in cells.texts]
    guessed = {text: value for text, value in zip(cells.texts, values, strict=True) if spelt.is_guess(text)}
    shown = ", ".join(f"{text!r} as {value}" for text, value in list(guessed.items())[:MAX_EXAMPLES])
    return cells.take(values, object), f"{column.name}: read {shown}" if shown else ""


class _Spelling:
    """Texts -> categories: as stated, then by case and spaces, then 1.0 for 1 and true for yes."""

    def __init__(self, column: Column) -> None:
        wording = {word: key for key, word in column.wording.items() if key in column.categories}
        self._stated = {**wording, **column.aliases, **{name: name for name in column.categories}}
        self._folded = _unambiguous(self._stated)
        self._booleans = _booleans(self._folded)

    def category(self, text: str) -> str | None:
        if (value := self._stated.get(text)) is not None:
            return value
        folded = fold_value(text)
        return self._folded.get(folded) or self._booleans.get(folded)

    def is_guess(self, text: str) -> bool:
        return text not in self._stated and self.category(text) is not None


def fold_value(text: str) -> str:
    """What of a value counts: not its case, spaces, hyphens, nor the quotation marks around it; 1.0 is 1."""
    folded = re.sub(r"[\s_-]+", " ", re.sub(QUOTED, r"\2", clean(text)).casefold()).strip()
    return re.sub(r"^([-+]?\d+)[.,]0+$", r"\1", folded)


def _unambiguous(stated: Mapping[str, str]) -> dict[str, str]:
    folded: dict[str, str] = {}
    twice = set()
    for text, value in stated.items():
        if folded.setdefault(fold_value(text), value) != value:
            twice.add(fold_value(text))
    return {text: value for text, value in folded.items() if text not in twice}


def _booleans(folded: Mapping[str, str]) -> dict[str, str]:
    """All spellings of yes and no, where the column has one category for each and no third."""
    yes = {folded[text] for text in TRUE if text in folded}
    no = {folded[text] for text in FALSE if text in folded}
    if len(yes) != 1 or len(no) != 1 or yes | no != set(folded.values()) or yes == no:
        return {}
    return {**dict.fromkeys(TRUE, *yes), **dict.fromkeys(FALSE, *no)}


# ------------------------------------------------------------------ numbers


@dataclass(frozen=True)
class Numbers:
    """A column of numbers as read."""

    values: NDArray[np.float64]  # NaN: missing or unreadable
    unreadable: dict[int, str]  # code of a text -> what was wanted instead
    guess: str


def numbers(column: Column, cells: Cells, marks: Marks) -> Numbers:
    """Every row's number. Args: marks: how the clear ones of the whole source are written."""
    if not marks.comma and (plain := _plain(cells.texts)) is not None:
        return Numbers(cells.take(plain, np.float64), {}, "")
    stated = _stated_numbers(column)
    cells.drop(lambda text: fold_value(text) not in stated and is_missing(text))
    own = marks_of(cells.used()).or_those_of(marks)
    values, unreadable, guessed = [], {}, {}
    for code, text in enumerate(cells.texts):
        value = None if text in cells.missing else _number(column, text, stated, own)
        values.append(math.nan if value is None else value)
        if text in cells.missing:
            continue
        if value is None:
            both = unclear(text)
            unreadable[code] = f"a number of one meaning: {both}" if both else "a number"
        elif "," in text or (fold_value(text) not in stated and number(text, Marks(point=True)) != value):
            guessed[text] = value
    shown = ", ".join(f"{text!r} as {value:.15g}" for text, value in list(guessed.items())[:MAX_EXAMPLES])
    return Numbers(
        cells.take(values, np.float64), unreadable, f"{column.name}: read {shown}" if shown else ""
    )


def _plain(texts: list[str]) -> list[float] | None:
    """All of them at once, where all are numbers as programs write them."""
    try:
        values: list[float] = pa.array(texts, pa.string()).cast(pa.float64()).to_pylist()
    except pa.ArrowInvalid:
        return None
    return values


def _stated_numbers(column: Column) -> dict[str, float]:
    """Words for numbers: those of the system, and yes and no where the column is 0 or 1."""
    words = {word: key for key, word in column.wording.items()}
    stated = {fold_value(word): float(key) for word, key in {**words, **column.aliases}.items()}
    if column.kind == "integer" and (column.minimum, column.maximum) == (0, 1):
        stated = {**dict.fromkeys(TRUE, 1.0), **dict.fromkeys(FALSE, 0.0), **stated}
    return stated


def _number(column: Column, text: str, stated: Mapping[str, float], marks: Marks) -> float | None:
    if (value := stated.get(fold_value(text))) is not None:
        return value
    bare = re.sub(QUOTED, r"\2", text)
    if column.unit and bare.endswith(column.unit):
        bare = bare.removesuffix(column.unit).rstrip()
    return number(bare, marks)


# ------------------------------------------------------------------ identities

WHOLE = re.compile(r"(-?\d+)([.,]0+)?")


def identities(name: str, cells: Cells) -> tuple[NDArray[Any], dict[int, str], str]:
    """Every row's identity as text; what was wanted of texts that may be two; and what was guessed.

    Where all are whole numbers, `9000.0` is 9000: it is what programs write once a cell of the column was
    empty. Everything else stays as it is to the letter: 007 is not 7, and no digit of a long one is lost.
    """
    cells.drop(is_missing)
    texts = list(cells.used())
    whole = all(WHOLE.fullmatch(text) for text in texts)
    values = [(WHOLE.sub(r"\1", text) if whole else text) for text in cells.texts]
    wanted = {
        code: f"an identity of one meaning: {unclear(text)}"
        for code, text in enumerate(cells.texts)
        if whole and text not in cells.missing and EITHER.fullmatch(text)
    }
    changed = next(((a, b) for a, b in zip(cells.texts, values, strict=True) if a != b), None)
    return (
        cells.take(values, object),
        wanted,
        f"{name}: read {changed[0]!r} as {changed[1]}" if changed else "",
    )
