"""What a cell says, however it is spelt: missing words, numbers, categories, identities.

All is decided on the different texts of a column, so that a million rows cost little, and so that what one
of them means may be read from the others.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from dagsverk.spelling import says_nothing, without_unseen
from dagsverk.tabular.numerals import EITHER, EITHER_POINT, Marks, marks_of, number, unclear
from dagsverk.tabular.raw import TEXT
from dagsverk.tabular.system import Column

QUOTED = re.compile(r"^(['\"])(.*)\1$")
TRUE = ("1", "true", "yes", "t", "y")
FALSE = ("0", "false", "no", "f", "n")
MAX_EXAMPLES = 5
EXACT = 2**53  # above it, numbers of 64 bits lack some whole ones


class Cells:
    """A column's different texts, and where each of them stands; listed only where they must be looked at."""

    def __init__(self, column: pd.Series[Any]) -> None:
        """Args: column: cells of any type; 7, 7.0 and " 7" become the same text."""
        self.lines = column.index
        self.missing: Counter[str] = Counter()  # word -> rows
        text = column if column.dtype == TEXT else column.map(_text, na_action="ignore").astype(TEXT)
        self.arrow = _arrow(text)

    @cached_property
    def _spread(self) -> tuple[NDArray[np.intp], list[str]]:
        encoded = self.arrow.combine_chunks().dictionary_encode()
        texts = [clean(text) for text in encoded.dictionary.to_pylist()]
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.intp)
        empty = np.array([not text for text in texts], dtype=bool)
        return _without(codes, empty), texts

    @property
    def codes(self) -> NDArray[np.intp]:
        """Of each row its text's place among `texts`; -1: missing."""
        return self._spread[0]

    @property
    def texts(self) -> list[str]:
        return self._spread[1]

    @cached_property
    def plain(self) -> NDArray[np.float64] | None:
        """Every row's number where all are written as programs write them; missing: NaN."""
        try:
            values: NDArray[np.float64] = self.arrow.cast(pa.float64()).to_numpy()
        except pa.ArrowInvalid:
            return None
        return values

    def marks(self) -> Marks:
        """How its clear numbers are written."""
        if self.plain is None:
            return marks_of(self.used())
        clear = pc.and_not(
            pc.match_substring(self.arrow, "."), pc.match_substring_regex(self.arrow, EITHER_POINT)
        )
        return Marks(point=bool(pc.any(clear).as_py()))

    def take(self, values: list[Any], dtype: Any) -> NDArray[Any]:
        """The values of the texts, in every row's place; missing ones last among them."""
        table = np.empty(len(values) + 1, dtype=dtype)
        table[:-1] = values
        table[-1] = np.nan if dtype is np.float64 else None
        return table[self.codes]

    def drop(self, words: Callable[[str], bool]) -> None:
        """Take these texts as missing."""
        codes, texts = self._spread
        gone = np.array([words(text) for text in texts], dtype=bool)
        if gone.any():
            counts = np.bincount(codes[codes >= 0], minlength=len(texts))
            self.missing.update({texts[at]: int(counts[at]) for at in np.flatnonzero(gone) if counts[at]})
            self._spread = _without(codes, gone), texts

    def used(self) -> Iterator[str]:
        """The texts that are not missing words."""
        return (text for text in self.texts if text not in self.missing)


def _without(codes: NDArray[np.intp], gone: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.where((codes >= 0) & ~gone[codes], codes, -1) if gone.any() else codes


def clean(text: str) -> str:
    """In one Unicode form, without spaces around it and without what cannot be seen."""
    return without_unseen(text).strip()


def _text(cell: object) -> str:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) <= EXACT:
        return str(int(cell))
    text = str(cell)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()  # half a pair is no letter


def is_missing(text: str) -> bool:
    """Whether people write this for nothing; asked only of what is no category of the column."""
    return says_nothing(text) or text.casefold() == "nat"  # pandas' time that is none; elsewhere a name


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
    own = cells.marks().or_those_of(marks)
    if cells.plain is not None and (own.point or not own.comma):
        return Numbers(cells.plain, {}, "")
    stated = _stated_numbers(column)
    cells.drop(lambda text: fold_value(text) not in stated and is_missing(text))
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

LETTER = r"^[A-Za-z]*[0-9][A-Za-z0-9]*$"  # taken to the letter at once: no missing word has a digit
WHOLE = re.compile(r"(-?\d+)([.,]0+)?")


def identities(name: str, cells: Cells) -> tuple[ExtensionArray, dict[int, str], str]:
    """Every row's identity as text; what was wanted of texts that may be two; and what was guessed.

    Where all are whole numbers, `9000.0` is 9000: it is what programs write once a cell of the column was
    empty. Everything else stays as it is to the letter: 007 is not 7, and no digit of a long one is lost.
    """
    if pc.all(pc.match_substring_regex(cells.arrow, LETTER)).as_py() and not cells.arrow.null_count:
        return _as_text(cells.arrow), {}, ""
    cells.drop(is_missing)
    whole = all(WHOLE.fullmatch(text) for text in cells.used())
    values = [(WHOLE.sub(r"\1", text) if whole else text) for text in cells.texts]
    wanted = {
        code: f"an identity of one meaning: {unclear(text)}"
        for code, text in enumerate(cells.texts)
        if whole and text not in cells.missing and EITHER.fullmatch(text)
    }
    changed = next(((a, b) for a, b in zip(cells.texts, values, strict=True) if a != b), None)
    guess = f"{name}: read {changed[0]!r} as {changed[1]}" if changed else ""
    return _as_text(cells.take(values, object)), wanted, guess


def with_prefix(prefix: str, texts: pd.Series[Any]) -> ExtensionArray:
    """Each text after the same words; pandas' own sum makes an object of each."""
    return _as_text(pc.binary_join_element_wise(prefix, _arrow(texts), ""))


def _arrow(texts: pd.Series[Any]) -> pa.ChunkedArray:
    values = pa.array(texts.array)
    return (values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])).cast(pa.string())


def _as_text(values: Any) -> ExtensionArray:
    array: ExtensionArray = pd.array(values, dtype=TEXT)
    return array
