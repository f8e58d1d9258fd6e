"""Loops: a model that says the same words over and over. Light: loads no learning library."""

from __future__ import annotations

import re
import zlib

LONGEST_LOOP = 8  # words that are said again and again
MOST_TIMES = 4  # in a row, of the same words, that people may say
MAX_COMPRESSION_RATIO = 2.4  # Whisper's own limit; text that compresses better repeats itself

_WITHIN_A_WORD = re.compile(r"(\S{1,8}?)\1{11,}")  # twelve times; numbers have long runs of zeros


def compression_ratio(text: str) -> float:
    """How many times smaller the text gets with zlib; below 1 for short texts. As in openai/whisper."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def times_repeated(text: str) -> int:
    """How often in a row the same one to eight words are said, at most; 1 if nothing is, 0 for no words."""
    words = text.lower().split()
    if not words:
        return 0
    return max(
        _times(words, start, size)
        for size in range(1, min(LONGEST_LOOP, len(words)) + 1)
        for start in range(len(words) - size + 1)
    )


def loops(text: str) -> bool:
    """Whether the text says the same more often in a row than people do, within a word or in words."""
    return times_repeated(text) > MOST_TIMES or bool(_WITHIN_A_WORD.search(text))


def without_loops(text: str) -> str:
    """The text with every loop said once. Text without loops is left as it is."""
    if not loops(text):
        return text
    words = _WITHIN_A_WORD.sub(r"\1", text).split()
    for size in range(1, LONGEST_LOOP + 1):
        kept: list[str] = []
        while words:
            times = _times([word.lower() for word in words], 0, size)
            kept += words[:size] if times > MOST_TIMES else words[:1]
            words = words[size * times if times > MOST_TIMES else 1 :]
        words = kept
    return " ".join(words)


def _times(words: list[str], start: int, size: int) -> int:
    """How often the `size` words at `start` follow one another."""
    pattern = words[start : start + size]
    if len(pattern) < size:
        return 0
    end = start + size
    while words[end : end + size] == pattern:
        end += size
    return (end - start) // size
