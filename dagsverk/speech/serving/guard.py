"""What is written of a clip once the model has been doubted: for who is served and for scores alike. Light.

What repeats itself in a loop is decoded once more, with beams, as Whisper's authors do but for their dice;
what still loops then is said once. Where the model takes the clip for no speech and is unsure of its words,
nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

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


def is_speech(decoded: Decoded) -> bool:
    """Whether the model takes the clip for speech, or is sure of its words."""
    return decoded.no_speech_probability <= NO_SPEECH or decoded.mean_log_probability >= UNSURE


def _repeats(text: str) -> bool:
    return loops(text) or compression_ratio(text) > MAX_COMPRESSION_RATIO
