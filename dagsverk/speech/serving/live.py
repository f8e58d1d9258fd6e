"""Speech -> words while it goes on. What is settled is never changed and never said twice. Light: numpy.

A model that hears whole recordings is asked again and again for the words of what has come and is not
settled. Words on which two successive answers agree, from the first on, are settled: LocalAgreement-2 (Liu et
al. 2020, Macháček et al. 2023). Behind them the audio is cut, so that what is asked about stays short.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from dagsverk.speech.audio.samples import RATE_HZ, Audio
from dagsverk.speech.subtitles.cues import Word

MOST_S = 30.0  # of audio that is held; Whisper hears no more at a time
LEAST_S = 0.4  # of audio that a model is asked about: less holds no word
PAUSE_S = 0.3  # between two words: here the audio can be cut, and neither is
LAST_PAUSE_S = 1.0  # behind the last word: a word that begins there is not heard at once
SHORT_S = 6.0  # audio that is no longer is not cut at pauses: what was said before helps to hear what follows
SENTENCE_S = 12.0  # audio that is longer is cut after a sentence, too, and above CROWDED_S after any word
CROWDED_S = 20.0
TAIL_S = 5.0  # that is kept of audio that is full and in which nothing is agreed upon
QUIET_S = 2.0  # that is kept of audio in which nothing is said: a word may begin in it
DOUBT_S = 1.0  # how far the times of a word may be off before it counts as one difference of words
ENDS = (".", "?", "!", "…", "。", "？", "！")

# Words with their times, in seconds of the audio, in order.
Listen: TypeAlias = Callable[[Audio], Sequence[Word]]


@dataclass(frozen=True)
class Heard:
    """What there is to show. Times are seconds from the beginning."""

    settled: tuple[Word, ...]  # since the last time
    unsettled: tuple[Word, ...]  # all that follow the settled ones; the next answer may change them


class Live:
    """The words of a voice that goes on. For one thread.

    Args:
        listen: asked for the words of at most `MOST_S` of audio.
        every_s: of new audio, after which it is asked again.
    """

    def __init__(self, listen: Listen, *, every_s: float = 0.5) -> None:
        if not 0 < every_s <= 10:
            raise ValueError(f"every_s must be in (0, 10], got {every_s}")
        self.every_s = every_s
        self._listen = listen
        self._audio: Audio = np.zeros(0, np.float32)
        self._dropped = 0  # samples before it
        self._new = 0  # samples at its end that have not been listened to
        self._settled: list[Word] = []
        self._held: list[Word] = []  # the settled words in the audio, with their newest times
        self._unsettled: list[Word] = []
        self._was_empty = False  # the last answer about this audio
        self._over = False

    @property
    def settled(self) -> tuple[Word, ...]:
        """All settled words."""
        return tuple(self._settled)

    @property
    def unsettled(self) -> tuple[Word, ...]:
        """The words after the settled ones, as they were heard last."""
        return tuple(self._unsettled)

    @property
    def held_s(self) -> float:
        """Of audio that is held."""
        return len(self._audio) / RATE_HZ

    @property
    def given_s(self) -> float:
        """Of audio that has come, in all."""
        return (self._dropped + len(self._audio)) / RATE_HZ

    def add(self, block: Audio) -> Heard:
        """Take a block of mono samples at 16 kHz, of any length, and listen if there is enough that is new.

        Raises: ValueError for what is no audio, RuntimeError after the end; what `listen` raises: then the
            audio is held, and the next block has it listened to again.
        """
        if self._over:
            raise RuntimeError("the voice has ended; a new one needs a new Live")
        samples = _checked(block)
        before = len(self._settled)
        most = round(MOST_S * RATE_HZ)
        for start in range(0, len(samples), RATE_HZ):  # the audio is never longer than it may be
            piece = samples[start : start + RATE_HZ]
            if len(self._audio) + len(piece) > most:
                self._ask()
                self._make_room(most - len(piece))
            self._audio = np.concatenate([self._audio, piece])
            self._new += len(piece)
        if self._new >= self.every_s * RATE_HZ and self.held_s >= LEAST_S:
            self._ask()
        return Heard(tuple(self._settled[before:]), self.unsettled)

    def finish(self) -> Heard:
        """Listen for the last time and settle all."""
        before = len(self._settled)
        if not self._over:
            if self._new and len(self._audio):
                self._ask()
            self._settle(len(self._unsettled))
            self._over = True
            self._new = 0
            self._drop_to(self.given_s)
        return Heard(tuple(self._settled[before:]), ())

    def _ask(self) -> None:
        """Settle what this answer and the last one agree on, and cut the audio behind it."""
        answer = self._placed(self._listen(self._audio))
        self._new = 0
        covered = _covered(self._held, answer)
        rest = answer[covered:]
        if covered and self._held:  # a word that was not over when it was settled ends later
            newest = answer[covered - 1]
            self._held[-1] = Word(self._held[-1].text, newest.start_s, newest.end_s)
        agreed = _agreed(self._unsettled, rest)
        self._unsettled = rest
        self._settle(agreed)
        self._cut(silent=not answer)

    def _settle(self, count: int) -> None:
        after_s = self._settled[-1].end_s if self._settled else 0.0
        for word in self._unsettled[:count]:
            start_s = max(word.start_s, after_s)
            after_s = max(word.end_s, start_s)
            self._settled.append(Word(word.text, start_s, after_s))
            self._held.append(word)
        self._unsettled = self._unsettled[count:]

    @property
    def _begin_s(self) -> float:
        return self._dropped / RATE_HZ

    def _placed(self, words: Iterable[Word]) -> list[Word]:
        """Words with times from the beginning, each within the audio and after the one before."""
        placed: list[Word] = []
        at_s, end_s = self._begin_s, self.given_s
        for word in words:
            text = " ".join(word.text.split())
            if text:
                start_s = _within(word.start_s + self._begin_s, at_s, end_s)
                at_s = _within(word.end_s + self._begin_s, start_s, end_s)
                placed.append(Word(text, start_s, at_s))
        return placed

    def _cut(self, *, silent: bool) -> None:
        """Where it is safe: in silence, in a pause, after a sentence."""
        twice, self._was_empty = silent and self._was_empty, silent
        if silent and twice:
            self._drop_to(self.given_s - QUIET_S)
            return
        if not self._held:
            return
        last = self._held[-1]
        next_s = self._unsettled[0].start_s if self._unsettled else self.given_s
        pause_s = PAUSE_S if self._unsettled else LAST_PAUSE_S
        if next_s - last.end_s >= pause_s and self.held_s > SHORT_S:
            self._drop_to(max((last.end_s + next_s) / 2, next_s - LAST_PAUSE_S / 2))
        elif self.held_s > (SENTENCE_S if last.text.endswith(ENDS) else CROWDED_S):
            self._drop_to(last.start_s)  # the last word stays, so that none is cut in two

    def _make_room(self, most: int) -> None:
        """At most `most` samples are held after this: what is not agreed upon by then is settled as it is."""
        if len(self._audio) <= most:
            return
        tail_s = self.given_s - TAIL_S
        self._settle(sum(word.end_s <= tail_s for word in self._unsettled))
        next_s = self._unsettled[0].start_s if self._unsettled else tail_s
        self._drop_to(min(tail_s, next_s) if next_s > tail_s - TAIL_S else tail_s)

    def _drop_to(self, at_s: float) -> None:
        dropped = min(max(round(at_s * RATE_HZ) - self._dropped, 0), len(self._audio))
        self._audio = self._audio[dropped:]
        self._dropped += dropped
        self._held = [word for word in self._held if (word.start_s + word.end_s) / 2 >= at_s]
        self._was_empty = self._was_empty and not dropped


def _checked(block: Audio) -> Audio:
    samples = np.asarray(block)
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise ValueError(f"want float32 samples of shape (n,), got {samples.dtype} {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError("want finite samples, got NaN or infinity")
    return samples


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high) if math.isfinite(value) else low


def _key(word: Word) -> str:
    """A word as it is compared: without case and punctuation, unless it is nothing else."""
    folded = word.text.casefold()
    return "".join(c for c in folded if c.isalnum()) or folded


def _agreed(one: Sequence[Word], other: Sequence[Word]) -> int:
    """How many words both begin with."""
    count = 0
    for mine, yours in zip(one, other, strict=False):
        if _key(mine) != _key(yours):
            break
        count += 1
    return count


def _covered(settled: Sequence[Word], answer: Sequence[Word]) -> int:
    """How many words of an answer say what is settled already, perhaps in other words.

    The beginning of the answer that is the nearest to it: by words (edit distance), and by when it ends.
    """
    if not settled or not answer:
        return 0
    distances = list(range(len(answer) + 1))
    for row, word in enumerate(settled, 1):
        diagonal, distances[0] = distances[0], row
        for column, other in enumerate(answer, 1):
            same = diagonal + (_key(word) != _key(other))
            diagonal = distances[column]
            distances[column] = min(same, diagonal + 1, distances[column - 1] + 1)
    end_s = settled[-1].end_s
    ends_s = [answer[0].start_s, *(word.end_s for word in answer)]

    def cost(count: int) -> tuple[float, int]:
        return distances[count] + abs(ends_s[count] - end_s) / DOUBT_S, count

    return min(range(len(answer) + 1), key=cost)
