"""What is written of a clip once the model has been doubted: for who is served and for scores alike. Light.

What repeats itself in a loop is decoded once more, with beams, as Whisper's authors do but for their dice;
what still loops then is said once. Where the model takes the clip for no speech and is unsure of its words,
nothing is written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher, get_close_matches

from dagsverk.speech.model.decoded import Decoded
from dagsverk.speech.serving.repetition import (
    MAX_COMPRESSION_RATIO,
    compression_ratio,
    loops,
    without_loops,
)

NO_SPEECH = 0.6  # Whisper's own limits: nothing is said if <|nospeech|> is likelier than this ...
UNSURE = -1.0  # ... and the mean log-probability of the text is below this
BEAMS_AGAINST_LOOPS = 5

NOT_SPEECH = "not speech"  # why something that the model wrote is left out
LOOP = "loop"
ECHO = "prompt"

ECHOED_WORDS = 4  # of the prompt, one after another: a longer run may be an echo, in a longer text too
ALIKE = 0.6  # of two words' letters, as `difflib` counts: the same word, spelt otherwise
CONFIRMED_SHARE = 0.5  # of such a run's words that are also written without the prompt: then they were said

_NO_LETTERS = re.compile(r"[\W_]+")

Again = Callable[[list[int], int], Sequence[Decoded]]


@dataclass(frozen=True)
class Kept:
    """What is left of hypotheses, and of how many something was left out, by reason."""

    decoded: list[Decoded]
    left_out: Mapping[str, int] = field(default_factory=dict)


def guarded(first: Sequence[Decoded], again: Again, *, beams: int = 1) -> list[Decoded]:
    """The hypotheses that count, in the same order. Args: as of `doubted`."""
    return doubted(first, again, beams=beams).decoded


def doubted(first: Sequence[Decoded], again: Again, *, beams: int = 1) -> Kept:
    """The hypotheses that count, in the same order, and what was left out of them.

    Args:
        again: (places in `first`, beams) -> their hypotheses, decoded anew.
        beams: that `first` was decoded with; with as many as against loops, nothing is decoded anew.
    """
    decoded = list(first)
    repeating = [place for place, one in enumerate(decoded) if _repeats(one.text)]
    if repeating and beams < BEAMS_AGAINST_LOOPS:
        for place, one in zip(repeating, again(repeating, BEAMS_AGAINST_LOOPS), strict=True):
            decoded[place] = one
    left_out = Counter[str]()
    for place, one in enumerate(decoded):
        text = without_loops(one.text) if is_speech(one) else ""
        if text != one.text:
            left_out[LOOP if text else NOT_SPEECH] += 1
            decoded[place] = replace(one, text=text)
    return Kept(decoded, dict(left_out))


def without_echoes(kept: Kept, prompt: str, again: Again) -> Kept:
    """The same, where the model does not repeat its prompt instead of what is said.

    Text of which nothing but the prompt's own words is left, or that has `ECHOED_WORDS` of them in a row, is
    doubted: it counts if the model writes the like of it without the prompt, else that text does.

    Args: again: as of `doubted`, without the prompt.
    """
    runs = {place: echo for place, one in enumerate(kept.decoded) if (echo := echoed(one.text, prompt))}
    if not runs:
        return kept
    decoded, places = list(kept.decoded), list(runs)
    bare = doubted(again(places, 1), lambda among, beams: again([places[i] for i in among], beams))
    left_out = Counter(kept.left_out)
    for place, one in zip(places, bare.decoded, strict=True):
        if not _confirmed(runs[place], _words(one.text)):
            decoded[place] = one
            left_out[ECHO] += 1
    return Kept(decoded, dict(left_out))


def echoed(text: str, prompt: str) -> list[str]:
    """The words of the text that may be repeated from the prompt; none if it says something of its own."""
    own, given = _words(text), _words(prompt)
    if not own or not given:
        return []
    match = SequenceMatcher(None, own, given, autojunk=False).find_longest_match()
    return own[match.a : match.a + match.size] if match.size >= min(len(own), ECHOED_WORDS) else []


def _confirmed(words: Sequence[str], without_prompt: Sequence[str]) -> bool:
    alike = sum(bool(get_close_matches(word, without_prompt, 1, ALIKE)) for word in words)
    return alike >= CONFIRMED_SHARE * len(words)


def _words(text: str) -> list[str]:
    """Without case and punctuation."""
    return _NO_LETTERS.sub(" ", text.casefold()).split()


def is_speech(decoded: Decoded) -> bool:
    """Whether the model takes the clip for speech, or is sure of its words."""
    return decoded.no_speech_probability <= NO_SPEECH or decoded.mean_log_probability >= UNSURE


def _repeats(text: str) -> bool:
    return loops(text) or compression_ratio(text) > MAX_COMPRESSION_RATIO
