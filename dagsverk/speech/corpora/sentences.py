"""Sentences of the spoken corpus: patterns with slots, each side by side with its English. Loads no library.

A grammar is written by hand as patterns ("{who} köper {amount} {place}.") and, for each slot, the phrases
that fit it. Agreement is settled where a phrase is written or made (`swedish.py`, `italian.py`), so that any
choice of phrases gives a sentence that a native speaker would say.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dagsverk.speech.corpora.corpus import Split

_SLOT = re.compile(r"{(\w+)}")
# Of 100 sentences, by their digest: 0-5 are for dev, 6-11 for test, the rest for train.
_DEV_BELOW, _TEST_BELOW, _ALL = 6, 12, 100


@dataclass(frozen=True)
class Phrase:
    """The same thing said in the grammar's language and in English."""

    text: str
    english: str


@dataclass(frozen=True)
class Grammar:
    """Patterns, and the phrases of each slot. The slots of a pattern are filled independently."""

    language: str
    patterns: Sequence[Phrase]
    slots: Mapping[str, Sequence[Phrase]]

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            here, there = (sorted(_SLOT.findall(side)) for side in (pattern.text, pattern.english))
            unknown = set(here) - set(self.slots)
            if here != there or unknown or len(here) != len(set(here)):
                raise ValueError(
                    f"pattern {pattern.text!r} and its English {pattern.english!r} must name the same slots "
                    f"once each, all among {', '.join(self.slots)}"
                )

    def size(self) -> int:
        """How many ways there are to fill the patterns."""
        return sum(
            math.prod(len(self.slots[slot]) for slot in _SLOT.findall(pattern.text))
            for pattern in self.patterns
        )

    def words(self) -> set[str]:
        """All words, in lower case, that a sentence may hold."""
        sides = [pattern.text for pattern in self.patterns]
        sides += [phrase.text for phrases in self.slots.values() for phrase in phrases]
        return {word for side in sides for word in re.findall(r"[\w']+", _SLOT.sub(" ", side).lower())}

    def sentence(self, chance: random.Random) -> Phrase:
        """One sentence; every pattern is as likely as any other."""
        pattern = chance.choice(self.patterns)
        chosen = {slot: chance.choice(self.slots[slot]) for slot in _SLOT.findall(pattern.text)}
        return Phrase(
            _capital(pattern.text.format_map({slot: phrase.text for slot, phrase in chosen.items()})),
            _capital(pattern.english.format_map({slot: phrase.english for slot, phrase in chosen.items()})),
        )

    def sentences(self, split: Split, chance: random.Random) -> Iterator[Phrase]:
        """Endless sentences of one split, none of them twice; no sentence belongs to two splits."""
        seen: set[str] = set()
        misses = 0
        while misses < 1000:  # in a row: the split has hardly any sentence left
            made = self.sentence(chance)
            if made.text in seen or split_of(made.text) != split:
                misses += 1
                continue
            misses = 0
            seen.add(made.text)
            yield made


def phrases(table: str) -> tuple[Phrase, ...]:
    """Phrases of a table: `sol = sun`, divided by semicolons or line ends; `Lund` is its own English."""
    entries = [entry.strip() for entry in re.split(r"[;\n]", table)]
    pairs = [entry.partition(" = ") for entry in entries if entry]
    return tuple(Phrase(text.strip(), english.strip() or text.strip()) for text, _, english in pairs)


def with_article(english: str) -> str:
    """`a` or `an` before English words, by their first letter ("an apple")."""
    return f"{'an' if english[0] in 'aeiou' else 'a'} {english}"


def split_of(sentence: str) -> Split:
    """The one split in which a sentence may be spoken: its own digest decides, no list is kept."""
    place = int.from_bytes(hashlib.sha256(sentence.encode()).digest()[:4], "big") % _ALL
    return "dev" if place < _DEV_BELOW else "test" if place < _TEST_BELOW else "train"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
