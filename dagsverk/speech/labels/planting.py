"""Wrong texts put in on purpose: what a search for wrong texts is calibrated and measured with. Light.

Chance comes from the seed and the clip alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

OTHER_TEXT, LEFT_OUT, ADDED, REPLACED = (
    "another clip's text",
    "words left out",
    "words added",
    "a word replaced",
)
FEWEST_WORDS = 2  # of a text that words are left out of


def chance(seed: int, clip: str) -> np.random.Generator:
    """A generator of this clip's own."""
    digest = hashlib.sha256(f"{seed} {clip}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8]))


def another_text(text: str, others: Sequence[str], draw: np.random.Generator) -> str | None:
    """A text of about the same length, as where rows of a table have slipped."""
    alike = sorted(
        (other for other in set(others) if other.casefold() != text.casefold()),
        key=lambda other: (abs(len(other) - len(text)), other),
    )[:20]
    return str(draw.choice(alike)) if alike else None


def words_left_out(text: str, _: Sequence[str], draw: np.random.Generator) -> str | None:
    """Without a quarter of its words, one at least, at one place."""
    words = text.split()
    if len(words) < FEWEST_WORDS:
        return None
    count = max(1, len(words) // 4)
    start = int(draw.integers(0, len(words) - count + 1))
    return " ".join([*words[:start], *words[start + count :]])


def words_added(text: str, others: Sequence[str], draw: np.random.Generator) -> str | None:
    """With a few words of another text at one place."""
    pool = [word for other in others for word in other.split()]
    words = text.split()
    if not pool or not words:
        return None
    count = max(1, len(words) // 4)
    start = int(draw.integers(0, max(1, len(pool) - count)))
    at = int(draw.integers(0, len(words) + 1))
    return " ".join([*words[:at], *pool[start : start + count], *words[at:]])


def word_replaced(text: str, others: Sequence[str], draw: np.random.Generator) -> str | None:
    """One word, of three letters or more if there is one, is another text's."""
    words = text.split()
    pool = sorted({word for other in others for word in other.split() if len(word) > 2})
    if not words or not pool:
        return None
    long = [i for i, word in enumerate(words) if len(word) > 2] or list(range(len(words)))
    at, new = int(draw.choice(long)), str(draw.choice(pool))
    if new.casefold() == words[at].casefold():
        return None
    return " ".join([*words[:at], new, *words[at + 1 :]])


Planter = Callable[[str, Sequence[str], np.random.Generator], str | None]
KINDS: Mapping[str, Planter] = {
    OTHER_TEXT: another_text,
    LEFT_OUT: words_left_out,
    ADDED: words_added,
    REPLACED: word_replaced,
}
