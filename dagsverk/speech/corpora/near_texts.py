"""Texts that are the same but for spelling, numbers or one word: told without comparing each with each.

    Near(texts)     many of them
    .of(texts)      for each of others, one that is nearly it, or is it
    .before()       for each of its own, an earlier one

Two texts are nearly the same if
  - they have five words and more, and one word is another, or is left out, or is added; numbers in digits
    count as one word, whichever they are; or
  - their letters are, but for marks, spaces, doubled letters and vowels, of which at most a tenth differs.
Where words are not divided (Chinese, Japanese, Thai), signs stand for them, from ten on.

Each text has one key for each word that may be left out (after Garbe's symmetric deletes, by words), so what
is looked up is linear in the words. Light: numpy, pandas and rapidfuzz.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from dagsverk.speech.corpora.text import MARKS

LEAST_WORDS = 5  # of fewer, another word makes another text
LEAST_SIGNS = 10  # of a text whose words are not divided
LEAST_LETTERS = 8  # of fewer, another vowel makes another word
MOST_DIFFERENT = 0.1  # of letters, where the consonants are the same
MOST_COMPARED = 8  # texts of the same consonants that one is compared with

_ACCENT = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u0652\u0640]")  # Latin and kin, Hebrew, Arabic
_NUMBER = re.compile(r"\b\d+(?: \d+)*\b")
_JOINED = re.compile(r"(?<=[^\W_])['’‐‑-](?=[^\W_])")  # l'audio and non-zero are one word each
_WORD = re.compile(r"[^\W_]+(?:[\u0900-\u0dff]+[^\W_]*)*")  # Indic vowels are marks, and part of the word
_UNDIVIDED = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")
_VOWELS = str.maketrans("", "", "aeiouyæøœıαεηιουωаеиоуыэюяіє ")
_DOUBLED = re.compile(r"(.)\1+")
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: it has an inverse among numbers of 64 bits
_INVERSE = np.uint64(pow(int(_BASE), -1, 1 << 64))
_LESS, _OTHER = np.uint64(0xD1B54A32D192ED03), np.uint64(0x8CB92BA72F3D8DD7)  # which kind of number it is


def folded(text: str) -> str:
    """Words in one case, without accents, each apart by a space."""
    plain = _JOINED.sub("", MARKS.sub(" ", text).casefold())
    if not plain.isascii():
        apart = unicodedata.normalize("NFKD", plain).casefold()
        plain = unicodedata.normalize("NFC", _ACCENT.sub("", apart))
        plain = _UNDIVIDED.sub(r" \1 ", plain)
    return " ".join(_WORD.findall(plain))


class Near:
    """Texts, asked which of them another one nearly is. Memory: about 100 bytes a word."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = [folded(text) for text in texts]
        words = _words(self._texts)
        one_less = words.less ^ _LESS
        keys = np.concatenate([words.whole, one_less, words.other])
        owners = np.concatenate([words.of_whole, words.of_less, words.of_less])
        order = np.lexsort((owners, keys))
        self._keys, self._owners = keys[order], owners[order]
        self._spelt: dict[str, list[int]] = {}
        for number, text in enumerate(self._texts):
            if text:
                same = self._spelt.setdefault(_consonants(text), [])
                if len(same) < MOST_COMPARED and all(self._texts[one] != text for one in same):
                    same.append(number)

    def of(self, texts: Sequence[str]) -> list[int | None]:
        """For each, the number of the first text here that it nearly is, or is."""
        return self._first([folded(text) for text in texts])

    def before(self) -> list[int | None]:
        """For each of its own texts, the number of an earlier one that it nearly is, or is."""
        return self._first(self._texts, earlier=True)

    def _first(self, plain: Sequence[str], *, earlier: bool = False) -> list[int | None]:
        words, none = _words(plain), len(self._texts)
        keys = np.concatenate([words.whole, words.whole ^ _LESS, words.less, words.other])
        owners = np.concatenate([words.of_whole, words.of_whole, words.of_less, words.of_less])
        first = np.searchsorted(self._keys, keys)
        hit = first < len(self._keys)
        hit[hit] = self._keys[first[hit]] == keys[hit]
        answers = np.full(len(plain), none, np.int64)
        np.minimum.at(answers, owners[hit], self._owners[first[hit]])
        if earlier:
            answers[answers >= np.arange(len(plain))] = none
        for number in np.flatnonzero(answers == none).tolist():
            like = self._spelt_like(plain[number])
            answers[number] = next((one for one in like if not earlier or one < number), none)
        return [None if one == none else one for one in answers.tolist()]

    def _spelt_like(self, text: str) -> Iterator[int]:
        """Those of the same consonants whose letters hardly differ."""
        letters = text.replace(" ", "")
        for number in self._spelt.get(_consonants(text), ()):
            other = self._texts[number].replace(" ", "")
            most = MOST_DIFFERENT if min(len(letters), len(other)) >= LEAST_LETTERS else 0.0
            if Levenshtein.normalized_distance(letters, other) <= most:
                yield number


def _consonants(text: str) -> str:
    return _DOUBLED.sub(r"\1", text.translate(_VOWELS)) or text


@dataclass(frozen=True)
class _Words:
    """Numbers that stand for texts, and whose they are."""

    whole: NDArray[np.uint64]  # of each text that has words
    of_whole: NDArray[np.int64]
    less: NDArray[np.uint64]  # of each long one, for each of its words: without it
    other: NDArray[np.uint64]  # the same and where it was: with another word in its place
    of_less: NDArray[np.int64]


def _words(texts: Sequence[str]) -> _Words:
    """A text is the sum of its words' digests, each times the base to the power of its place, modulo 2 ** 64.

    Without a word it is what is before, and what is behind moved by one place.
    """
    words = [_split(text) for text in texts]
    counts = np.array([len(one) for one in words], np.int64)
    ends = np.cumsum(counts)
    starts = ends - counts
    of = np.repeat(np.arange(len(words), dtype=np.int64), counts)
    place = np.arange(len(of), dtype=np.int64) - starts[of]
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_values(words, place), dtype=np.uint64)])
    whole = total[ends] - total[starts]
    least = np.array([LEAST_SIGNS if _UNDIVIDED.search(text) else LEAST_WORDS for text in texts], np.int64)
    at = np.flatnonzero((counts >= least)[of])
    text = of[at]
    less = total[at] - total[starts[text]] + (total[ends[text]] - total[at + 1]) * _INVERSE
    other = (less ^ _OTHER) + place[at].astype(np.uint64) * _OTHER
    some = np.flatnonzero(counts)
    return _Words(whole[some], some, less, other, text)


def _split(text: str) -> list[str]:
    """Its words; of a long text, a run of numbers in digits is one, whichever they are."""
    words = text.split()
    if len(words) < LEAST_WORDS or not any(word.isdigit() for word in words):
        return words
    return _NUMBER.sub("0", text).split()


def _values(words: Sequence[Sequence[str]], place: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The digest of each word, times a number of its place."""
    flat = np.array([word for one in words for word in one], dtype=object)
    if not len(flat):
        return np.zeros(0, np.uint64)
    codes, unique = pd.factorize(flat)
    digests = pd.util.hash_array(unique, categorize=False).astype(np.uint64)
    powers = np.cumprod(np.r_[np.uint64(1), np.full(place.max(), _BASE, np.uint64)], dtype=np.uint64)
    return np.asarray(digests[codes] * powers[place])
