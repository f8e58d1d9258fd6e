"""A corpus of the sounds that `speech_models.taught_model` knows by heart, said by several voices,
prepared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from speech_models import sounds

from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.corpora.corpus import SPLITS, Clip, Listing, RejectedClip
from dagsverk.speech.features import preparation
from dagsverk.speech.features.prepared import PreparedClips, open_prepared
from dagsverk.store import Store


class SoundCorpus:
    """Every voice makes every sound; three voices in each split. Every second voice is a woman's.

    Args: wrong: voices of the test split whose texts are not what they say: every model errs on them.
    """

    name = "sounds"
    sequential = False

    def __init__(self, *, wrong: Sequence[int] = (), cut: bool = False, voices: int = 3) -> None:
        self.cut = {"test": (3 * voices, 300)} if cut else {}
        self._audio: dict[str, bytes] = {}
        self._clips: list[Clip] = []
        for split in SPLITS:
            for voice in range(voices):
                self._speak(split, voice, wrong=split == "test" and voice in wrong)

    def listing(self) -> Listing:
        digest = hashlib.sha256(repr(self._clips).encode()).hexdigest()
        return Listing(clips=self._clips, rejected=[], fingerprint=digest)

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        for clip in clips:
            yield clip, self._audio[clip.audio]

    def _speak(self, split: str, voice: int, *, wrong: bool) -> None:
        for sound in sounds():
            name = f"{split}-{voice}-{sound.text.split()[0]}"
            clip = Clip(
                id=name,
                audio=f"{name}.wav",
                text="något helt annat" if wrong else sound.text,
                language="sv",
                split=split,
                speaker=f"{split} voice {voice}",
                gender="female" if voice % 2 else "male",
            )
            self._clips.append(replace(clip))
            self._audio[clip.audio] = encode_wav(sound.audio)


def prepared_sounds(
    store: Store, cache: Path, corpus: SoundCorpus | None = None, language: str = "sv"
) -> PreparedClips:
    """The test split of the corpus, prepared."""
    spoken = corpus or SoundCorpus()
    set_id = preparation.plan(store, spoken, language, PrepareConfig(), "sounds")
    preparation.prepare_all(store, set_id, spoken, preparation.pending(store, set_id))
    preparation.complete(store, set_id)
    return open_prepared(store, set_id, ["test"], cache)
