"""A corpus with faults put in on purpose; what `bench_labels.py` measures with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import real_runs as runs

from dagsverk.speech.audio.waveform import encode_wav, read_samples
from dagsverk.speech.corpora.corpus import Clip, Listing, RejectedClip
from dagsverk.speech.labels import planting

TRUNCATED, LANGUAGE, SWAPPED = "truncated audio", "another language's text", "swapped neighbours"
CUT_TO, SHORTEST = 0.6, 8000  # of a recording; samples
KINDS = (*planting.KINDS, TRUNCATED, LANGUAGE, SWAPPED)


@dataclass
class Noisy:
    """Prompts of which a share is wrong; `planted` says which, and how, once it was listed."""

    prompts: runs.Prompts
    share: float
    foreign: Sequence[str]
    seed: int = 0
    splits: Sequence[str] = ("train", "dev", "test")
    name: str = "prompts with faults"
    sequential: bool = False
    planted: dict[str, str] = field(default_factory=dict)
    truth: dict[str, str] = field(default_factory=dict)  # clip -> its text as it was

    def listing(self) -> Listing:
        whole = self.prompts.listing()
        clips = {clip.id: clip for clip in whole.clips}
        able = [clip for clip in whole.clips if clip.split in self.splits and len(clip.text) > 3]
        order = sorted(able, key=lambda clip: planting.chance(self.seed, clip.id).random())
        texts = [clip.text for clip in able]
        wanted, kind = round(self.share * len(able)), 0
        for at, clip in enumerate(order):
            if len(self.planted) >= wanted:
                break
            if clip.id in self.planted:
                continue
            name = KINDS[kind % len(KINDS)]
            if self._plant(name, clips, clip.id, order[at + 1 :], texts):
                kind += 1
        fingerprint = f"{whole.fingerprint}-{self.share}-{self.seed}-{','.join(self.splits)}"
        return replace(whole, clips=list(clips.values()), fingerprint=fingerprint)

    def _plant(
        self, name: str, clips: dict[str, Clip], clip_id: str, later: Sequence[Clip], texts: Sequence[str]
    ) -> bool:
        clip, draw = clips[clip_id], planting.chance(self.seed + 1, clip_id)
        if name == TRUNCATED:
            self._note(name, clip)
            return True
        if name == SWAPPED:
            other = next(
                (
                    o
                    for o in later
                    if o.id not in self.planted and o.split == clip.split and o.text != clip.text
                ),
                None,
            )
            if other is None:
                return False
            clips[clip.id] = replace(clip, text=other.text)
            clips[other.id] = replace(other, text=clip.text)
            self._note(name, clip)
            self._note(name, other)
            return True
        if name == LANGUAGE:
            new: str | None = str(draw.choice(self.foreign))
        else:
            new = planting.KINDS[name](clip.text, texts, draw)
        if not new or new.casefold() == clip.text.casefold():
            return False
        clips[clip.id] = replace(clip, text=new)
        self._note(name, clip)
        return True

    def _note(self, name: str, clip: Clip) -> None:
        self.planted[clip.id], self.truth[clip.id] = name, clip.text

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        for clip, given in self.prompts.read(clips):
            if self.planted.get(clip.id) == TRUNCATED and isinstance(given, bytes):
                samples = read_samples(given)
                yield clip, encode_wav(samples[: max(SHORTEST, int(CUT_TO * len(samples)))])
            else:
                yield clip, given


def texts_of(folder: Path) -> list[str]:
    """The texts of a language's prompts."""
    lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    return [text for line in lines if len(text := json.loads(line)["text"]) > 10]
