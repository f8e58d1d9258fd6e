"""Changed copies of train's clips: as spoken faster, in a room, in noise, over the telephone.

Which change a copy gets follows from the seed, the clip's id and the copy's number, so a shard that is made
again is the same. What lies in a folder of noises or rooms is read once per process, and names the set.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dagsverk.speech.audio import distortions, sandbox
from dagsverk.speech.audio.samples import RATE_HZ, Audio
from dagsverk.speech.audio.waveform import loudness_dbfs
from dagsverk.speech.augmented import AugmentConfig
from dagsverk.speech.errors import AudioError, CorpusError

MOST_FILES = 100  # of a folder that are used; of more, a draw by name
LONGEST_SOUND_S = 600.0  # of a file; a longer one is set aside
KEPT_S = 600.0  # of all noises together that are held: 38 MB
LEAST_DBFS = -70.0  # a quieter file holds no noise
SLOPES = (0.0, 1.0, 2.0)  # white, pink, brown
ROOMS = 32  # that are made up


@dataclass(frozen=True)
class Sounds:
    """What a folder holds, and why some of it is not used."""

    sounds: tuple[Audio, ...] = field(repr=False)
    digest: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Copies:
    """What is done to each clip of train. `sounds`: by the field that named their folder."""

    config: AugmentConfig
    sounds: Mapping[str, Sounds]

    def digests(self) -> dict[str, str]:
        return {name: one.digest for name, one in sorted(self.sounds.items())}

    def notes(self) -> list[str]:
        return [note for one in self.sounds.values() for note in one.notes]

    def of(self, clip: str, audio: Audio) -> Iterator[tuple[int, Audio]]:
        """Each copy of a clip by its number, from 1."""
        for number in range(1, self.config.copies + 1):
            yield number, self._copy(clip, number, audio)

    def _copy(self, clip: str, number: int, audio: Audio) -> Audio:
        config, chance = self.config, _chance(self.config.seed, clip, number)
        wants_room, wants_noise, wants_line = chance.random(3)
        if speeds := config.speeds:
            first = int(_chance(config.seed, clip, 0).integers(len(speeds)))
            audio = distortions.at_speed(audio, speeds[(first + number) % len(speeds)])
        if wants_room < config.room_share:
            audio = distortions.in_room(audio, self._room(chance))
        if wants_noise < config.noise_share:
            noise = self._noise(len(audio), chance)
            audio = distortions.with_noise(audio, noise, chance.uniform(*config.snr_db))
        audio = distortions.gained(audio, chance.uniform(-config.gain_db, config.gain_db))
        return distortions.over_telephone(audio) if wants_line < config.telephone_share else audio

    def _room(self, chance: np.random.Generator) -> Audio:
        if "rooms" in self.sounds:
            rooms = self.sounds["rooms"].sounds
            return rooms[int(chance.integers(len(rooms)))]
        return distortions.made_room(int(chance.integers(ROOMS)))

    def _noise(self, samples: int, chance: np.random.Generator) -> Audio:
        if "noises" not in self.sounds:
            return distortions.coloured_noise(samples, float(chance.choice(SLOPES)), chance)
        noises = self.sounds["noises"].sounds
        noise = noises[int(chance.integers(len(noises)))]
        start = int(chance.integers(len(noise)))
        return np.resize(np.roll(noise, -start), samples)


def copies(config: AugmentConfig | None, digests: Mapping[str, str] | None = None) -> Copies | None:
    """What makes the copies; None: none are asked for.

    Args: digests: of the folders as they were when the set was planned; None: it is being planned.
    Raises: CorpusError if a folder is not there, holds nothing that can be used, or is not what it was.
    """
    if config is None:
        return None
    named = {"noises": config.noises, "rooms": config.rooms}
    made = Copies(config, {name: _sounds(name, folder) for name, folder in named.items() if folder})
    if digests is not None and made.digests() != dict(digests):
        changed = next(name for name, digest in made.digests().items() if digests.get(name) != digest)
        raise CorpusError(
            f"the folder {named[changed]!r} of augment's {changed} is not what it was when the set was "
            "planned; bring it back, the same on each worker's machine, or run speech-features again, which "
            "makes a new set"
        )
    return made


@functools.lru_cache(maxsize=4)
def _sounds(kind: str, folder: str) -> Sounds:
    if not Path(folder).is_dir():
        raise CorpusError(
            f"augment's {kind} names the folder {folder!r}, and there is none; give one that each worker's "
            "machine has, or leave it empty: then they are made"
        )
    files = sorted(
        path for path in Path(folder).rglob("*") if path.is_file() and not path.name.startswith(".")
    )
    drawn = sorted(sorted(files, key=lambda path: _hash(path.name))[:MOST_FILES])
    limit = round(KEPT_S / max(1, len(drawn)) * RATE_HZ)
    sounds, wrong = [], Counter[str]()
    first: dict[str, str] = {}
    for path in drawn:
        try:
            sounds.append(_read(kind, path, limit))
        except AudioError as error:
            wrong[error.reason] += 1
            first.setdefault(error.reason, f"{path.name}: {error.detail}")
    aside = "; ".join(f"{count} {reason} (such as {first[reason]})" for reason, count in wrong.items())
    if not sounds:
        raise CorpusError(
            f"augment's {kind}: of {len(files)} files in {folder!r} none can be used"
            + (f": {aside}" if aside else "; put recordings there, or leave it empty: then they are made")
        )
    digest = hashlib.sha256(b"".join(hashlib.sha256(one.tobytes()).digest() for one in sounds)).hexdigest()
    notes = [f"{kind} for copies of train: {len(sounds)} files are used, of {len(files)}"]
    notes += [f"{kind} that are not used: {aside}"] if aside else []
    return Sounds(tuple(sounds), digest[:16], tuple(notes))


def _read(kind: str, path: Path, limit: int) -> Audio:
    """Raises AudioError."""
    file = sandbox.CLIPS.open(path, max_s=LONGEST_SOUND_S)
    try:
        audio = file.part(0, limit if kind == "noises" else round(2 * RATE_HZ))
    finally:
        file.close()
    if kind == "rooms":
        try:
            return distortions.room_response(audio)
        except ValueError as error:
            raise AudioError("silence", str(error)) from error
    if not len(audio) or (loudness := loudness_dbfs(audio)) < LEAST_DBFS:
        level = f"{loudness:.1f} dBFS" if len(audio) else "no sample"
        raise AudioError("silence", f"want at least {LEAST_DBFS:g} dBFS, found {level}")
    return audio


def _chance(seed: int, clip: str, number: int) -> np.random.Generator:
    return np.random.default_rng(list(_hash(f"{seed} {number} {clip}")))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
