"""Timed words -> subtitles that can be read: short lines, broken where the sentence breathes. Light.

What is shown when follows the rules that broadcasters publish (Netflix, BBC: two lines of 42 characters,
5/6 s to 7 s, 17 characters a second, two frames of pause). No word is left out, whatever its time.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

_UNITS = "% ‰ ° °c °f € $ £ kr :- km m cm mm kg g l dl h min s gb mb kwh km/h"
_CONJUNCTIONS = """
and or but because that which who when if than so
och men eller att som för när om än så
e o ma che perché quando se  y pero que porque cuando si
et mais ou car quand  und aber oder dass weil wenn
"""
UNITS = frozenset(_UNITS.split())
CONJUNCTIONS = frozenset(_CONJUNCTIONS.split())

_OPENING = "\"'“”«»‘’([{¿¡—–-"
_SENTENCE_END = re.compile(r"[.?!…。！？]+[\"'”’»)\]]*$")
_CLAUSE_END = re.compile(r"[,;:、，；：–—][\"'”’»)\]]*$")
_ABBREVIATION = re.compile(r"^\W*(?:[^\W\d_]\.)+$|^\W*[A-ZÀ-Þ][a-zß-ÿ]{0,2}\.$")

# What an end after a word costs, in the same unit as a cue too many. A pause makes it half.
_AFTER_SENTENCE, _AFTER_CLAUSE, _BEFORE_CONJUNCTION, _ELSEWHERE = 0.0, 1.5, 3.0, 6.0
_PAUSE_S = 0.3
_A_CUE = 2.0
_UNEVEN_LINES = 1.0  # when one of the two is empty in comparison
_HURRY = 40.0  # when there is no time at all to read


@dataclass(frozen=True)
class Word:
    """A word as it is written, punctuation included, and when it is spoken, in seconds."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Cue:
    """What is shown from one moment to another: one or two lines."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]


class Piece(Protocol):
    """A stretch of speech with its text, such as a window's."""

    @property
    def text(self) -> str: ...
    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...


class TimedPiece(Piece, Protocol):
    """A piece that may have its words."""

    @property
    def words(self) -> tuple[Word, ...]: ...


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Of what can be read.

    A cue stays until it can be read as far as the next one leaves time: who speaks faster than
    `characters_per_s` is not shortened, see `hurried`.
    """

    line_width: int = 42  # characters; a wide one, as in Chinese, counts as two
    lines: int = 2
    least_s: float = 5 / 6
    most_s: float = 7.0
    characters_per_s: float = 17.0
    gap_s: float = 2 / 24  # two frames of a film; more at other rates
    silence_s: float = 1.5  # no cue reaches over a longer one

    def __post_init__(self) -> None:
        if self.lines not in (1, 2) or self.line_width < 10:
            raise ValueError(
                f"want 1 or 2 lines of at least 10 characters, got {self.lines}, {self.line_width}"
            )
        if not 0 < self.least_s <= self.most_s or self.gap_s < 0 or not self.characters_per_s > 0:
            raise ValueError(f"want 0 < least_s <= most_s, gap_s >= 0, characters_per_s > 0, got {self}")


def cues(words: Sequence[Word], rules: Rules = Rules()) -> list[Cue]:
    """Subtitles of these words, in order, without overlap: the cheapest way to break them, not the first.

    Names and numbers of several words stay on one line wherever they fit on one. Times that cannot be (none,
    backwards) are pushed on as little as it takes.
    """
    atoms = _atoms(_in_order(words), rules)
    return _timed([_laid_out(atoms[first:last], rules) for first, last in _breaks(atoms, rules)], rules)


def spread(pieces: Iterable[Piece]) -> list[Word]:
    """The words of longer stretches, each with a share of the stretch's time by its length.

    An estimate: right where a stretch begins and ends, and off by what the pauses in it take.
    """
    words: list[Word] = []
    for piece in pieces:
        parts = piece.text.split()
        lengths = [width(part) + 1 for part in parts]
        length_s, total, passed = max(0.0, piece.end_s - piece.start_s), sum(lengths), 0
        for part, length in zip(parts, lengths, strict=True):
            at_s = piece.start_s + length_s * passed / total
            passed += length
            words.append(Word(part, at_s, at_s + length_s * (length - 1) / total))
    return words


def words_in(pieces: Iterable[TimedPiece]) -> list[Word]:
    """The words of stretches of speech: as they were aligned, where they were, else `spread`."""
    return [word for piece in pieces for word in (piece.words or spread([piece]))]


def hurried(shown: Sequence[Cue], rules: Rules = Rules()) -> int:
    """How many cues leave less time than it takes to read them: people spoke faster."""
    return sum(_reading_s(cue.lines, rules) > cue.end_s - cue.start_s + 1e-6 for cue in shown)


def width(text: str) -> int:
    """Columns that a text takes; a wide character takes two, a combining one none."""
    return sum(
        0
        if unicodedata.combining(c) or unicodedata.category(c) in ("Cf", "Cc")
        else 2
        if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )


@dataclass(frozen=True)
class _Atom:
    """Words that stay together, and what it costs to break after them."""

    text: str
    width: int
    start_s: float
    end_s: float
    cost: float
    silence_s: float  # until the next
    space: str  # before the next; none in scripts that write without


@dataclass(frozen=True)
class _Block:
    """The words of a cue in lines, as they are spoken."""

    lines: tuple[str, ...]
    start_s: float
    end_s: float


def _in_order(words: Sequence[Word]) -> list[Word]:
    """One word each, with times that do not go back."""
    ordered: list[Word] = []
    now = 0.0
    for word in words:
        start_s = max(now, word.start_s) if math.isfinite(word.start_s) else now
        end_s = max(start_s, word.end_s) if math.isfinite(word.end_s) else start_s
        parts = [part for part in word.text.split() if width(part)]
        for place, part in enumerate(parts):
            share = (end_s - start_s) / len(parts)
            ordered.append(Word(part, start_s + place * share, start_s + (place + 1) * share))
        now = max(now, start_s)
    return ordered


def _atoms(words: Sequence[Word], rules: Rules) -> list[_Atom]:
    runs: list[list[Word]] = []
    for word in words:
        for piece in _pieces(word, rules.line_width):
            if runs and _belong(runs[-1][-1], piece, rules) and piece is word:
                runs[-1].append(piece)
            else:
                runs.append([piece])
    parts: list[list[Word]] = []
    for run in runs:
        fits = width(" ".join(word.text for word in run)) <= rules.line_width
        parts += (
            [run] if fits and run[-1].end_s - run[0].start_s <= rules.most_s else [[word] for word in run]
        )
    following = [part[0] for part in parts[1:]]
    return [
        _Atom(
            text := " ".join(word.text for word in part),
            width(text),
            part[0].start_s,
            part[-1].end_s,
            _cost(part[-1], after) if after else _AFTER_SENTENCE,
            max(0.0, after.start_s - part[-1].end_s) if after else math.inf,
            _space(text, after.text) if after else "",
        )
        for part, after in itertools.zip_longest(parts, following)
    ]


def _pieces(word: Word, most: int) -> Iterator[Word]:
    """The word, or what fits on a line of it at a time."""
    if width(word.text) <= most:
        yield word
        return
    parts, part = [], ""
    for character in word.text:
        if part and width(part + character) > most:
            parts.append(part)
            part = ""
        part += character
    parts.append(part)
    share = (word.end_s - word.start_s) / len(parts)
    for place, part in enumerate(parts):
        yield Word(part, word.start_s + place * share, word.start_s + (place + 1) * share)


def _belong(word: Word, after: Word, rules: Rules) -> bool:
    """Whether two words are parts of one name or number."""
    if after.start_s - word.end_s > rules.silence_s:
        return False
    first, second = word.text, after.text.lstrip(_OPENING)
    if first[-1].isdigit() and (second[:1].isdigit() or second.rstrip(".,;:?!").casefold() in UNITS):
        return True
    if _ABBREVIATION.match(first):
        return second[:1].isupper()
    ended = _SENTENCE_END.search(first) or _CLAUSE_END.search(first)
    return not ended and first.lstrip(_OPENING)[:1].isupper() and second[:1].isupper()


def _cost(word: Word, after: Word) -> float:
    if _SENTENCE_END.search(word.text) and not _ABBREVIATION.match(word.text):
        return _AFTER_SENTENCE
    if _CLAUSE_END.search(word.text):
        cost = _AFTER_CLAUSE
    elif after.text.lstrip(_OPENING).casefold() in CONJUNCTIONS:
        cost = _BEFORE_CONJUNCTION
    else:
        cost = _ELSEWHERE
    return cost / 2 if after.start_s - word.end_s >= _PAUSE_S else cost


def _breaks(atoms: Sequence[_Atom], rules: Rules) -> list[tuple[int, int]]:
    """Where cues begin and end: the least cost over all of them, by dynamic programming."""
    best = [0.0] + [math.inf] * len(atoms)
    origin = [0] * (len(atoms) + 1)
    for first in range(len(atoms)):
        for last, cost in _costs(atoms, first, rules):
            if best[first] + cost < best[last]:
                best[last], origin[last] = best[first] + cost, first
    ends = [len(atoms)]
    while ends[-1]:
        ends.append(origin[ends[-1]])
    ends.reverse()
    return list(itertools.pairwise(ends))


def _costs(atoms: Sequence[_Atom], first: int, rules: Rules) -> Iterator[tuple[int, float]]:
    """Every end that a cue which begins at `first` may have, and what it costs."""
    total = 0
    for last in range(first + 1, len(atoms) + 1):
        atom = atoms[last - 1]
        total += atom.width + (len(atoms[last - 2].space) if last - 1 > first else 0)
        alone = last == first + 1
        if total > rules.lines * (rules.line_width + 1):
            return
        if not alone and atom.end_s - atoms[first].start_s > rules.most_s:
            return
        split = _split(atoms, first, last, total, rules)
        if split is not None:
            yield last, _A_CUE + atom.cost + split[1] + _hurry(atoms, first, last, total, rules)
        if atom.silence_s > rules.silence_s:
            return


def _hurry(atoms: Sequence[_Atom], first: int, last: int, total: int, rules: Rules) -> float:
    """The cost of too little time to read, as a share of what it takes; nothing where there is enough."""
    start_s = atoms[first].start_s
    until_s = atoms[last].start_s - rules.gap_s if last < len(atoms) else math.inf
    has_s = min(until_s, start_s + rules.most_s) - start_s
    needs_s = min(max(rules.least_s, total / rules.characters_per_s), rules.most_s)
    return _HURRY * max(0.0, needs_s - max(0.0, has_s)) / needs_s


def _split(
    atoms: Sequence[_Atom], first: int, last: int, total: int, rules: Rules
) -> tuple[int, float] | None:
    """Where the second line begins (`last`: there is none), and what that costs; None if it does not fit."""
    if total <= rules.line_width:
        return last, 0.0
    if rules.lines == 1:
        return None
    best: tuple[int, float] | None = None
    upper = 0
    for place in range(first + 1, last):
        upper += atoms[place - 1].width + (len(atoms[place - 2].space) if place - 1 > first else 0)
        lower = total - upper - len(atoms[place - 1].space)
        if upper > rules.line_width:
            break
        if lower > rules.line_width:
            continue
        cost = atoms[place - 1].cost / 2 + _UNEVEN_LINES * abs(upper - lower) / total
        if best is None or cost < best[1]:
            best = place, cost
    return best


def _laid_out(atoms: Sequence[_Atom], rules: Rules) -> _Block:
    total = width(_joined(atoms))
    split = _split(atoms, 0, len(atoms), total, rules)
    at = split[0] if split else len(atoms)
    lines = (_joined(part) for part in (atoms[:at], atoms[at:]) if part)
    return _Block(tuple(lines), atoms[0].start_s, max(atom.end_s for atom in atoms))


def _joined(atoms: Sequence[_Atom]) -> str:
    return "".join(atom.text + atom.space for atom in atoms[:-1]) + atoms[-1].text


def _space(text: str, after: str) -> str:
    """Between two words; Chinese and Japanese write none."""
    wide = all(unicodedata.east_asian_width(c) in "WF" for c in (text[-1], after[0]))
    return "" if wide and not any("가" <= c <= "힣" for c in (text[-1], after[0])) else " "


def _timed(blocks: Sequence[_Block], rules: Rules) -> list[Cue]:
    """Each from its first word on, until it is read, or spoken, or the next one comes."""
    shown: list[Cue] = []
    free_s = 0.0
    for block, after in itertools.zip_longest(blocks, blocks[1:]):
        start_s = max(block.start_s, free_s)
        wanted_s = max(block.end_s, start_s + _reading_s(block.lines, rules))
        until_s = after.start_s - rules.gap_s if after else math.inf
        end_s = max(min(wanted_s, until_s), start_s + rules.least_s)
        shown.append(Cue(start_s, min(end_s, start_s + rules.most_s), block.lines))
        free_s = shown[-1].end_s + rules.gap_s
    return shown


def _reading_s(lines: Sequence[str], rules: Rules) -> float:
    characters = sum(map(width, lines)) + len(lines) - 1
    return min(rules.most_s, max(rules.least_s, characters / rules.characters_per_s))
