"""A corpus of generated tones: real WAV files, no speech; for tests of what does not listen to words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.corpora.corpus import SPLITS, Clip, Listing, RejectedClip, Split

SAMPLE_RATE_HZ = 16_000


def tone(seed: int, seconds: float = 0.4) -> np.ndarray:
    """A few partials and some noise, float32."""
    chance = np.random.default_rng(seed)
    at = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    partials = sum(np.sin(2 * np.pi * hz * at) for hz in chance.uniform(80, 4000, 3))
    return (0.1 * partials + 0.01 * chance.standard_normal(len(at))).astype(np.float32)


def clips(train: int = 6, dev: int = 2, test: int = 2, speakers: int = 2) -> list[Clip]:
    """Clips of the three splits, interleaved as archives are; each split has speakers of its own."""
    counts: dict[Split, int] = {"train": train, "dev": dev, "test": test}
    return [
        Clip(
            id=f"{split}-{i}",
            audio=f"{split}/{i}.wav",
            text=f"Klipp nummer {i}.",
            language="sv",
            split=split,
            speaker=f"{split}-speaker-{i % speakers}",
            gender="female",
            licence="CC0-1.0",
        )
        for i in range(max(counts.values()))
        for split in SPLITS
        if i < counts[split]
    ]


@dataclass
class ToneCorpus:
    """`bad` maps a clip's id to the bytes (or the RejectedClip) that are given instead of its tone."""

    rows: Sequence[Clip] = field(default_factory=clips)
    bad: dict[str, bytes | RejectedClip] = field(default_factory=dict)
    rejected: Sequence[RejectedClip] = ()
    sequential: bool = False
    seconds: float = 0.4  # of each clip
    cut: dict[str, tuple[int, int]] = field(default_factory=dict)
    name: str = "tones"
    before: Callable[[Clip], None] = lambda _: None  # called before each clip is given
    given: list[str] = field(default_factory=list)  # ids of the clips that were read

    def listing(self) -> Listing:
        told = repr([(clip.id, clip.audio) for clip in self.rows])
        return Listing(
            clips=self.rows,
            rejected=self.rejected,
            fingerprint=hashlib.sha256(told.encode()).hexdigest(),
        )

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        wanted = {clip.id: clip for clip in clips}
        for row in self.rows:
            if clip := wanted.get(row.id):
                self.before(clip)
                self.given.append(clip.id)
                yield clip, self.bad.get(clip.id, encode_wav(tone(seed(clip), self.seconds)))


def seed(clip: Clip) -> int:
    return int(hashlib.sha256(clip.audio.encode()).hexdigest()[:8], 16)
