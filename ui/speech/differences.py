"""Two texts word by word, as the error rate counts it: what was said and heard, or what two models wrote."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, TypeAlias

from rapidfuzz.distance import Levenshtein

from dagsverk.speech.evaluation.normaliser import UNSPACED, normalise
from ui import parts
from ui.parts import Html

# (kind, word of the reference, word of the hypothesis)
Step: TypeAlias = tuple[Literal["same", "instead", "missing", "added"], str, str]


def aligned(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Step]:
    """The fewest edits from what was said to what was heard (Levenshtein), in order."""
    return [
        step
        for one in Levenshtein.opcodes(reference, hypothesis)
        for step in _steps(
            one.tag, reference[one.src_start : one.src_end], hypothesis[one.dest_start : one.dest_end]
        )
    ]


def _steps(tag: str, reference: Sequence[str], hypothesis: Sequence[str]) -> Iterator[Step]:
    if tag == "delete":
        yield from (("missing", word, "") for word in reference)
    elif tag == "insert":
        yield from (("added", "", word) for word in hypothesis)
    else:
        kind: Literal["same", "instead"] = "same" if tag == "equal" else "instead"
        yield from ((kind, one, other) for one, other in zip(reference, hypothesis, strict=True))


def marked(reference: str, hypothesis: str, language: str) -> Html:
    """The normalised words of both: struck out what was not heard, underlined what was not said."""
    steps = aligned(normalise(reference, language).split(), normalise(hypothesis, language).split())
    words = " ".join(_mark(*step) for step in steps)
    return Html(f'<p class="dv-diff" lang="{parts.text(language)}">{words or "–"}</p>')


def _mark(kind: str, reference: str, hypothesis: str) -> str:
    if kind == "same":
        return parts.text(reference)
    gone = f'<del><span class="sr-only" lang="en">not heard: </span>{parts.text(reference)}</del>'
    new = f'<ins><span class="sr-only" lang="en">heard: </span>{parts.text(hypothesis)}</ins>'
    return " ".join(mark for mark, word in ((gone, reference), (new, hypothesis)) if word)


@dataclass(frozen=True)
class Compared:
    """Two texts, neither of which is the truth."""

    first: Html  # as it is written, with what is not in the second marked
    second: Html
    edits: int  # of words: the fewest that make one of the other
    words: int  # of the longer one

    @property
    def same(self) -> bool:
        """But for case, punctuation and the like."""
        return not self.edits


def compared(first: str, second: str, language: str, names: tuple[str, str]) -> Compared:
    """Two texts with the words marked in which they differ.

    Args: language: of both. names: what a mark says, to who cannot see it, of where its words alone stand.
    """
    whole = [normalise(text, language).split() for text in (first, second)]
    edits, words = Levenshtein.distance(*whole), max(map(len, whole))
    if not edits:  # "10 000" and "10000" are alike, though their words one by one are not
        return Compared(Html(parts.text(first)), Html(parts.text(second)), 0, words)
    units = [_units(text, language) for text in (first, second)]
    differing = _differing(*([unit.words for unit in some] for some in units))
    one, other = (
        Html("".join(_marks(some, own, f"only {name}: ")))
        for some, own, name in zip(units, differing, names, strict=True)
    )
    return Compared(one, other, edits, words)


@dataclass(frozen=True)
class _Unit:
    """What is marked as one: a word as it is written, with the space before it."""

    written: str
    words: tuple[str, ...]  # that are compared; none of a dash


def _units(text: str, language: str) -> list[_Unit]:
    """Words; where none are written apart, letters with the marks on them."""
    pieces: list[str] = []
    for character in text:
        if not pieces or _begins(pieces[-1], character, language in UNSPACED):
            pieces.append(character)
        else:
            pieces[-1] += character
    return [_Unit(piece, tuple(normalise(piece, language).split())) for piece in pieces]


def _begins(piece: str, character: str, each: bool) -> bool:
    """Whether a character is not of the piece before it, which holds its spaces first."""
    if piece.isspace():
        return False
    if character.isspace():
        return True
    return each and unicodedata.category(character)[0] != "M"


def _differing(first: Sequence[Sequence[str]], second: Sequence[Sequence[str]]) -> tuple[set[int], set[int]]:
    """The places of units with a word that has no equal on the other side."""
    owners = [[place for place, words in enumerate(side) for _ in words] for side in (first, second)]
    words = [[word for some in side for word in some] for side in (first, second)]
    own: tuple[set[int], set[int]] = (set(), set())
    for step in Levenshtein.opcodes(*words):
        if step.tag != "equal":
            own[0].update(owners[0][step.src_start : step.src_end])
            own[1].update(owners[1][step.dest_start : step.dest_end])
    return own


def _marks(units: Sequence[_Unit], differing: set[int], hidden: str) -> Iterator[str]:
    """HTML, each run of differing words in one mark."""
    for marked, run in groupby(enumerate(units), lambda pair: pair[0] in differing):
        written = "".join(unit.written for _, unit in run)
        if not marked:
            yield parts.text(written)
            continue
        words = written.lstrip()
        label = f'<span class="sr-only" lang="en">{parts.text(hidden)}</span>'
        yield f"{parts.text(written[: len(written) - len(words)])}<mark>{label}{parts.text(words)}</mark>"
