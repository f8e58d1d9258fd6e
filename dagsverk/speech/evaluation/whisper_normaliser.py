"""Whisper's own rules to make texts alike, so that scores compare with figures that others publish.

They are those of the Whisper paper (appendix C), as transformers ships them: for English the English
normaliser, with Whisper's table of spellings; for all others the basic one, which takes away what stands in
brackets, and combining marks; in languages that are written without spaces it makes each character a word.
transformers is loaded when a text is first normalised.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import resources

BY_CHARACTER = frozenset({"zh", "yue", "ja", "th", "lo", "my"})  # Cantonese came after the paper


def whisper_normalise(text: str, language: str) -> str:
    """The text as Whisper's own scores compare it. Args: language: Whisper's code."""
    return " ".join(_normaliser(language)(text).split())


@functools.cache
def _normaliser(language: str) -> Callable[[str], str]:
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

    made: Callable[[str], str]
    if language == "en":
        made = EnglishTextNormalizer(english_spellings())  # type: ignore[no-untyped-call]
    else:
        made = BasicTextNormalizer(split_letters=language in BY_CHARACTER)
    return made


@functools.cache
def english_spellings() -> dict[str, str]:
    """British spelling -> American one: the table of openai/whisper (MIT), `normalizers/english.json`."""
    listed = resources.files(__package__).joinpath("english_spellings.txt").read_text(encoding="utf-8")
    pairs = (line.partition("\t") for line in listed.splitlines())
    return {british: american for british, _, american in pairs}
