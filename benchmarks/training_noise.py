"""What the benchmarks of training train on: noise with the lengths of Common Voice, prepared by ourselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.corpora.corpus import Clip, Listing, RejectedClip
from dagsverk.speech.features import preparation
from dagsverk.speech.model.models import random_model, save_model_folder
from dagsverk.store import open_store

RATE_HZ = 16_000
SIGMA = 0.35  # of the lengths' logarithm: nine in ten clips between 2.1 and 6.6 s, where the mean is 3.96 s
TOKENS_PER_S = 3.5


@dataclass
class Noise:
    """A corpus of noise with lengths as in Common Voice; the last two clips are dev and test."""

    count: int
    mean_s: float
    name: str = "bench"
    sequential: bool = False

    def listing(self) -> Listing:
        chance = np.random.default_rng(0)
        drawn = chance.lognormal(np.log(self.mean_s) - SIGMA**2 / 2, SIGMA, self.count)
        lengths = np.clip(drawn, 1, 15)
        splits = ["train"] * (self.count - 2) + ["dev", "test"]
        clips = [
            Clip(
                id=f"clip-{i}",
                audio=str(round(length * RATE_HZ)),
                text="".join(chance.choice(list("abcdefgh"), round(length * TOKENS_PER_S))),
                language="sv",
                split=split,  # type: ignore[arg-type]
                speaker=split,
            )
            for i, (length, split) in enumerate(zip(lengths, splits, strict=True))
        ]
        digest = hashlib.sha256(f"{self.count} {self.mean_s}".encode()).hexdigest()
        return Listing(clips=clips, rejected=[], fingerprint=digest)

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        for clip in clips:
            chance = np.random.default_rng(int(clip.audio))
            yield clip, encode_wav(chance.normal(0, 0.1, int(clip.audio)).astype(np.float32))


def lay_out(folder: Path, size: str, clips: int, mean_s: float) -> None:
    """In the folder: a model of random weights, a store with the prepared set, and the set's name."""
    model = random_model(size)
    save_model_folder(model, folder / "model", language="sv")
    corpus, store = Noise(clips, mean_s), open_store(str(folder / "store"))
    settings = PrepareConfig(n_mels=model.n_mels)  # type: ignore[arg-type]
    set_id = preparation.plan(store, corpus, "sv", settings, "bench")
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    preparation.complete(store, set_id)
    (folder / "set").write_text(set_id)
