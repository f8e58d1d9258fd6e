"""One recording under two names, told by its sound: in one split it is counted, in two it gives way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from speech_clips import encode
from tone_corpus import ToneCorpus, clips

from dagsverk.speech.audio import distortions
from dagsverk.speech.audio.samples import Audio
from dagsverk.speech.audio.waveform import encode_wav, read_samples
from dagsverk.speech.augmented import AugmentConfig
from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.corpora.corpus import Clip, RejectedClip
from dagsverk.speech.features import likeness, log_mel, near_duplicates, preparation, shards
from dagsverk.speech.features.likeness import Index, Print, fingerprint
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.store import Store, open_store

CHANGES = {
    "MP3": lambda audio: read_samples(encode([audio], 16_000, "mp3", "libmp3lame")),
    "Opus": lambda audio: read_samples(encode([audio], 16_000, "ogg", "libopus")),
    "quieter": lambda audio: audio * np.float32(0.25),
    "with an offset": lambda audio: audio * np.float32(0.9) + np.float32(0.02),
    "50 ms less": lambda audio: audio[800:],
    "over the telephone": distortions.over_telephone,
}


def speech(seed: int, seconds: float = 2.5, take: int = 0) -> Audio:
    """Something that changes as speech does: noise whose bands go up and down, by the seed. Another take has
    the same course, a little faster, with other noise."""
    course = np.random.default_rng(seed)
    size = round(seconds * 16_000)
    at = np.arange(size) / 16_000 * (1 + 0.06 * take)
    made = np.zeros(size)
    for band in range(12):
        hz = 150 * 1.3**band
        level = np.clip(
            sum(np.sin(2 * np.pi * course.uniform(1, 6) * at + course.uniform(0, 6)) for _ in "abc"), 0, 3
        )
        made += level * np.sin(2 * np.pi * hz * at + np.cumsum(course.normal(0, 0.02, size)))
    return (0.02 * made + 1e-4 * np.random.default_rng([seed, take]).normal(size=size)).astype("f4")


def print_of(audio: Audio) -> Print | None:
    return fingerprint(log_mel.quantise(log_mel.log_mel(audio.astype("f4")))[0])


@pytest.mark.parametrize("change", CHANGES)
def test_a_recording_that_was_changed_is_told_by_its_sound(change: str) -> None:
    originals = [speech(seed) for seed in range(6)]
    index = Index([print_of(audio) for audio in originals])
    for number, audio in enumerate(originals):
        changed = print_of(CHANGES[change](audio))
        assert changed is not None and index.same_as(changed) == [number]


def test_other_takes_and_other_recordings_are_not_taken_for_it() -> None:
    index = Index([print_of(speech(seed)) for seed in range(6)])
    for seed in range(6):
        for other in (
            speech(seed, take=1),
            speech(100 + seed),
            speech(seed)[:28_000],
            speech(seed)[::-1].copy(),
        ):
            mark = print_of(other)
            assert mark is not None and index.same_as(mark) == []


def test_what_is_short_silent_or_never_changes_has_no_print() -> None:
    steady = np.sin(2 * np.pi * 440 * np.arange(48_000) / 16_000).astype("f4")
    for audio in (speech(1, 1.0), np.zeros(48_000, "f4"), np.full(48_000, 0.2, "f4"), steady):
        assert print_of(audio) is None
    assert Index([None]).same_as(print_of(speech(1)) or pytest.fail()) == []


def test_a_print_is_kept_in_four_bytes_for_each_10_ms() -> None:
    made = print_of(speech(3))
    assert made is not None and len(made.to_bytes()) <= 4 * 250
    again = Print.from_bytes(made.to_bytes())
    assert np.array_equal(again.signs, made.signs) and np.array_equal(again.strong, made.strong)


class Speeches(ToneCorpus):
    """`sounds` maps a clip's id to what is heard; the others are all of their own."""

    def __init__(self, sounds: dict[str, Audio | bytes], train: int = 6) -> None:
        super().__init__(rows=clips(train=train))
        self.sounds = sounds

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        for number, clip in enumerate(clips):
            sound = self.sounds.get(clip.id, speech(1000 + sum(clip.id.encode()) * 7 + number))
            yield clip, sound if isinstance(sound, bytes) else encode_wav(sound)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    return open_store(str(tmp_path / "store"))


def prepared(store: Store, corpus: Speeches, **changes: object) -> shards.Manifest:
    config = PrepareConfig(shard_clips=4, max_bad_share=0.5, **changes)  # type: ignore[arg-type]
    set_id = preparation.plan(store, corpus, "sv", config, "speeches")
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    return preparation.complete(store, set_id)


def test_train_gives_way_to_dev_and_dev_to_test_and_copies_go_with_their_clip(
    store: Store, tmp_path: Path
) -> None:
    one, two, three = speech(1), speech(2), speech(3)
    sounds: dict[str, Audio | bytes] = {
        "test-0": one,
        "train-1": encode([one], 16_000, "mp3", "libmp3lame"),
        "dev-0": two,
        "train-3": two * np.float32(0.3),
        "test-1": three,
        "dev-1": three[400:],
        "train-4": three * np.float32(0.5),
    }
    made = prepared(store, Speeches(sounds), augment=AugmentConfig(copies=2, gain_db=6))
    assert made.near_duplicates is not None
    assert made.near_duplicates.gave_way == ("dev-1", "train-1", "train-3", "train-4")
    assert {split: totals.clips for split, totals in made.splits.items()} == {"train": 3, "dev": 1, "test": 2}
    rejected = made.rejected["recording in another split"]
    assert rejected.clips == 4 and "by its sound in test as test-" in rejected.examples[0].detail
    opened = open_prepared(store, made.id, ("train", "dev", "test"), tmp_path / "cache", copies=True)
    assert set(opened.rows.loc[~opened.rows["is_copy"], "id"]) == {
        "train-0", "train-2", "train-5", "dev-0", "test-0", "test-1",
    }  # fmt: skip
    assert len(opened) == 6 + 3 * 2
    fresh = [opened.quantised(place)[0] for place in range(len(opened))]
    assert [len(levels) for levels in fresh] == opened.rows["frames"].tolist()


def test_within_train_it_is_counted_and_used(store: Store) -> None:
    made = prepared(store, Speeches({"train-0": speech(1), "train-2": speech(1) * np.float32(0.4)}))
    assert made.near_duplicates is not None and made.near_duplicates.gave_way == ()
    assert made.near_duplicates.inside_train == 1 and made.splits["train"].clips == 6
    assert made.near_duplicates.examples[0].detail.startswith("by its sound also train-")


def test_clips_too_short_to_tell_are_left_as_they_are_and_not_counted_as_looked_at(store: Store) -> None:
    made = prepared(store, Speeches({"test-0": speech(1, 0.9), "train-0": speech(1, 0.9)}))
    assert made.near_duplicates is not None
    assert (made.near_duplicates.clips, made.near_duplicates.looked_at) == (10, 8)
    assert made.splits["train"].clips == 6
    assert likeness.LEAST_FRAMES == 170


def test_a_set_is_completed_without_its_spectra_and_one_of_before_with_them(store: Store) -> None:
    sounds: dict[str, Audio | bytes] = {"test-0": speech(1), "train-1": speech(1) * np.float32(0.4)}
    corpus = Speeches(sounds)
    set_id = preparation.plan(store, corpus, "sv", PrepareConfig(shard_clips=4, max_bad_share=0.5), "x")
    made = preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    before = [replace(one, prints="") for one in made]  # as records were, before fingerprints were kept
    kept, anew = near_duplicates.look(store, 80, made), near_duplicates.look(store, 80, before)
    assert kept == anew and list(kept.gone) == ["train-1"]
    for one in made:
        store.put(one.prints, b"broken", overwrite=True)
    assert near_duplicates.look(store, 80, made) == anew
    made = preparation.prepare_all(store, set_id, corpus, range(len(made)))
    for one in made:
        near_duplicates.write_prints(Path(store.url, "p"), store.fetch(one.path, Path(store.url)), 80)
        store.put_file(one.prints, Path(store.url, "p"))
        store.put(one.path, b"no shard", overwrite=True)
    assert near_duplicates.look(store, 80, made) == anew
