"""The same recording under another name, told by its sound: encoded again, louder, trimmed.

    fingerprint     a spectrum -> signs of how the energy of neighbouring bands changes, one row per 10 ms
    are_same        whether two of them are one recording
    Index           many of them, asked which of its recordings another one is

Source: Haitsma and Kalker 2002, "A Highly Robust Audio Fingerprinting System"; here on log-mel, with
differences over 80 ms, and compared piece by piece: another take of the words agrees in parts alone.
Light: numpy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

BANDS = 17  # give 16 signs
LOWEST, HIGHEST = 0.025, 0.75  # of the mel bins: about 50 to 3,800 Hz, what a telephone lets through
SPAN_FRAMES = 8  # 80 ms, over which energy is averaged and its change is taken
LEAST_FRAMES = 170  # 1.7 s: shorter ones are too alike to be told apart
STRONG_LEVELS = 4.0  # of 255, 1.25 dB: a change below this may be the codec's
LEAST_STRONG = 0.2  # of signs: where fewer are strong there is no sound to go by
MOST_DIFFERENT = 0.17  # of strong signs, in all
MOST_DIFFERENT_PIECE = 0.32  # in any piece
PIECE_FRAMES = 40
LEAST_COVERED = 0.8  # of the longer of two recordings
SHIFT_FRAMES = 2  # beside the offset that their words tell
LEAST_HITS = 2  # words in common at one offset
MOST_CANDIDATES = 5
MOST_CLIPS_PER_WORD = 64  # a word of more clips tells nothing


@dataclass(frozen=True)
class Print:
    """What a recording is told by: 4 bytes for each 10 ms."""

    signs: NDArray[np.uint16] = field(repr=False)  # (frames,), a bit for each pair of bands
    strong: NDArray[np.uint16] = field(repr=False)  # where the sign is more than chance

    def words(self) -> NDArray[np.uint32]:
        """Signs 80 ms apart, as one number; where most of them are strong, else NO_WORD."""
        rows = self.signs.astype(np.uint32)
        sure = np.bitwise_count(self.strong) >= 8
        joined = rows[:-SPAN_FRAMES] | (rows[SPAN_FRAMES:] << np.uint32(16))
        return np.where(sure[:-SPAN_FRAMES] & sure[SPAN_FRAMES:], joined, NO_WORD)

    def to_bytes(self) -> bytes:
        return np.stack([self.signs, self.strong]).astype("<u2").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> Print:
        signs, strong = np.frombuffer(content, "<u2").reshape(2, -1)
        return cls(signs, strong)


NO_WORD = np.uint32(0)


def fingerprint(levels: NDArray[np.uint8]) -> Print | None:
    """Of a spectrum in 8 bits, (frames, n_mels); None: too short, or too little happens in it."""
    frames, n_mels = levels.shape
    if frames < LEAST_FRAMES:
        return None
    edges = np.linspace(LOWEST * n_mels, HIGHEST * n_mels, BANDS + 1).round().astype(int)
    sums = np.add.reduceat(levels[:, : edges[-1]].astype(np.float32), edges[:-1], axis=1)
    bands = sums / np.diff(edges)
    total = np.cumsum(np.vstack([np.zeros((1, BANDS), np.float32), bands]), axis=0)
    smooth = (total[SPAN_FRAMES:] - total[:-SPAN_FRAMES]) / SPAN_FRAMES
    slope = np.diff(smooth, axis=1)
    change = slope[SPAN_FRAMES:] - slope[:-SPAN_FRAMES]
    strong = np.abs(change) >= STRONG_LEVELS
    if strong.mean() < LEAST_STRONG:
        return None
    return Print(_packed(change > 0), _packed(strong))


def are_same(one: Print, other: Print, offset: int) -> bool:
    """Whether they are one recording, whose row i + offset in the first is row i in the second, nearly."""
    longest = max(len(one.signs), len(other.signs))
    for shift in range(offset - SHIFT_FRAMES, offset + SHIFT_FRAMES + 1):
        first, second = max(0, shift), max(0, -shift)
        length = min(len(one.signs) - first, len(other.signs) - second)
        if length < LEAST_COVERED * longest:
            continue
        a, b = slice(first, first + length), slice(second, second + length)
        sure = one.strong[a] | other.strong[b]
        wrong = np.bitwise_count((one.signs[a] ^ other.signs[b]) & sure).astype(int)
        of = np.bitwise_count(sure).astype(int)
        if wrong.sum() > MOST_DIFFERENT * of.sum():
            continue
        starts = np.arange(0, max(1, length - PIECE_FRAMES // 2), PIECE_FRAMES)
        pieces = np.add.reduceat(wrong, starts), np.add.reduceat(of, starts)
        if np.all(pieces[0] <= MOST_DIFFERENT_PIECE * np.maximum(pieces[1], 2 * PIECE_FRAMES)):
            return True
    return False


def _packed(bits: NDArray[np.bool_]) -> NDArray[np.uint16]:
    return np.packbits(bits, axis=1).view(np.uint16)[:, 0]


class Index:
    """Recordings by the words of their fingerprints."""

    def __init__(self, prints: Sequence[Print | None]) -> None:
        self._prints = prints
        words, clips, at = [], [], []
        for number, one in enumerate(prints):
            if one is not None:
                own = one.words()
                places = np.flatnonzero(own != NO_WORD)
                words.append(own[places])
                clips.append(np.full(len(places), number, np.int32))
                at.append(places.astype(np.int32))
        joined = np.concatenate(words) if words else np.zeros(0, np.uint32)
        order = np.argsort(joined, kind="stable")
        self._words = joined[order]
        self._clips = np.concatenate(clips)[order] if words else np.zeros(0, np.int32)
        self._at = np.concatenate(at)[order] if words else np.zeros(0, np.int32)

    def same_as(self, one: Print, before: int | None = None) -> list[int]:
        """The numbers of its recordings that this is, too. Args: before: only those numbered below."""
        own = one.words()
        places = np.flatnonzero(own != NO_WORD)
        first = np.searchsorted(self._words, own[places], "left")
        last = np.searchsorted(self._words, own[places], "right")
        hits: Counter[tuple[int, int]] = Counter()
        for place, start, stop in zip(places, first, last, strict=True):
            if stop - start > MOST_CLIPS_PER_WORD:
                continue
            for clip, at in zip(self._clips[start:stop], self._at[start:stop], strict=True):
                hits[int(clip), int(place) - int(at)] += 1
        best: dict[int, tuple[int, int]] = {}
        for (clip, offset), count in hits.items():
            if count >= LEAST_HITS and (before is None or clip < before):
                best[clip] = max(best.get(clip, (0, 0)), (count, offset))
        likely = sorted(best.items(), key=lambda item: -item[1][0])[:MOST_CANDIDATES]
        return [clip for clip, (_, offset) in likely if self._is(clip, one, offset)]

    def _is(self, clip: int, one: Print, offset: int) -> bool:
        own = self._prints[clip]
        return own is not None and are_same(one, own, offset)
