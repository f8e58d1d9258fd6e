"""Changed copies of train's clips: what is done to the sound, and what a set with copies is."""

from __future__ import annotations

import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tone_corpus import ToneCorpus, clips

from dagsverk.speech.audio import distortions
from dagsverk.speech.audio.samples import Audio
from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.augmented import AugmentConfig
from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.errors import CorpusError
from dagsverk.speech.features import copies as copying
from dagsverk.speech.features import preparation
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.store import Store, open_store

PLAIN = PrepareConfig(shard_clips=4)
EVERYTHING = AugmentConfig(
    copies=2, speeds=(0.9, 1.1), noise_share=0.5, room_share=0.5, telephone_share=0.5, gain_db=6
)
SPLITS = ("train", "dev", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    copying._sounds.cache_clear()
    return tmp_path / "cache"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def voice(seconds: float = 1.0, seed: int = 0) -> Audio:
    chance = np.random.default_rng(seed)
    at = np.arange(round(seconds * 16_000)) / 16_000
    buzz = sum(np.sin(2 * np.pi * 150 * n * at) / n for n in range(1, 40))
    return (0.1 * buzz * (1 + np.sin(2 * np.pi * 4 * at)) + 1e-3 * chance.standard_normal(len(at))).astype(
        "f4"
    )


def planned(store: Store, augment: AugmentConfig | None, corpus: ToneCorpus | None = None) -> str:
    corpus = corpus or ToneCorpus()
    return preparation.plan(store, corpus, "sv", replace(PLAIN, augment=augment), "tones")


def prepared(store: Store, augment: AugmentConfig | None, corpus: ToneCorpus | None = None, threads: int = 1):
    corpus = corpus or ToneCorpus()
    set_id = planned(store, augment, corpus)
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id), threads=threads)
    return preparation.complete(store, set_id)


def share_above(audio: Audio, hz: float) -> float:
    power = np.abs(np.fft.rfft(audio)) ** 2
    return float(power[round(hz / 8000 * (len(power) - 1)) :].sum() / power.sum())


# ------------------------------------------------------------------ sound


@pytest.mark.parametrize("speed, longer", [(0.9, 1 / 0.9), (1.1, 1 / 1.1), (2.0, 0.5), (1.0, 1.0)])
def test_a_speed_changes_length_and_pitch_together(speed: float, longer: float) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype("f4")
    fast = distortions.at_speed(tone, speed)
    assert len(fast) == pytest.approx(16_000 * longer, abs=2) and fast.dtype == np.float32
    peak_hz = np.abs(np.fft.rfft(fast)).argmax() * 16_000 / len(fast)
    assert peak_hz == pytest.approx(1000 * speed, rel=0.01)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_noise_is_as_far_below_the_voice_as_asked(snr_db: float, slope: float) -> None:
    clean = voice()
    noise = distortions.coloured_noise(len(clean), slope, np.random.default_rng(1))
    noisy = distortions.with_noise(clean, noise, snr_db)
    got_db = 20 * np.log10(distortions.rms(clean) / distortions.rms(noisy - clean))
    assert got_db == pytest.approx(snr_db, abs=0.1)


def test_a_telephone_line_lets_a_narrow_band_through_and_keeps_the_length() -> None:
    for samples in (16_000, 16_001, 3):
        assert len(distortions.over_telephone(voice()[:samples])) == samples or samples > 16_000
    white = distortions.coloured_noise(32_000, 0.0, np.random.default_rng(2)) * np.float32(0.1)
    line = distortions.over_telephone(white)
    assert share_above(white, 4000) > 0.45 and share_above(line, 4000) < 0.001
    assert share_above(line, 250) > 0.99


def test_rooms_differ_and_echo_and_leave_length_and_loudness() -> None:
    click = np.zeros(16_000, np.float32)
    click[100] = 0.5
    rooms = [distortions.made_room(number) for number in range(8)]
    assert len({room.tobytes() for room in rooms}) == 8
    for room in rooms:
        assert (
            room.argmax() == 0 and np.isfinite(room).all()
        )  # the voice itself comes first, and is not delayed
        echoed = distortions.in_room(click, room)
        assert len(echoed) == 16_000 and np.abs(echoed[:100]).max() < 1e-6
        assert (echoed[200:] ** 2).sum() > 0.05 * (echoed**2).sum()
        assert distortions.rms(echoed) == pytest.approx(distortions.rms(click), rel=0.01)


def test_gain_never_clips() -> None:
    assert np.abs(distortions.gained(voice(), 30)).max() <= 0.981
    assert distortions.rms(distortions.gained(voice(), -6)) == pytest.approx(
        distortions.rms(voice()) / 2, rel=0.01
    )


# ------------------------------------------------------------------ sets


def test_copies_stand_beside_trains_clips_and_never_beside_others(store: Store, cache: Path) -> None:
    made = prepared(store, EVERYTHING)
    assert made.copies is not None
    assert (made.copies.clips, made.copies.left_out, len(made.copies.shards)) == (12, {}, 2)
    assert made.splits["train"].clips == 6 and made.listed == 10 and made.seconds == 4.0
    alone, both = (open_prepared(store, made.id, SPLITS, cache, copies=copies) for copies in (False, True))
    assert len(alone) == 10 and len(both) == 22
    copied = both.rows[both.rows["is_copy"]]
    assert len(copied) == 12 and set(copied["split"]) == {"train"}
    assert len(open_prepared(store, made.id, ("dev", "test"), cache, copies=True)) == 4
    texts = dict(zip(alone.rows["id"], alone.rows["text"], strict=True))
    assert all(texts[one.id.split("#")[0]] == one.text for one in copied.itertuples())
    lengths = sorted({round(seconds, 2) for seconds in copied["duration_s"]})
    assert lengths == [0.36, 0.44]  # each clip at both speeds
    assert (copied.groupby(copied["id"].str.split("#").str[0])["duration_s"].nunique() == 2).all()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_asked_for_no_spectrum_of_dev_test_or_of_the_recordings_changes(
    store: Store, cache: Path, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    share = {name: float(chance.random()) for name in ("noise_share", "room_share", "telephone_share")}
    augment = AugmentConfig(copies=int(chance.integers(1, 4)), gain_db=3, seed=seed, **share)
    plain, changed = prepared(store, None), prepared(store, augment)
    files = [one.path.rpartition("/")[2] for one in plain.shards]
    ids = [open_prepared(store, made.id, SPLITS, cache) for made in (plain, changed)]
    assert list(ids[0].rows["id"]) == list(ids[1].rows["id"])
    for place in range(len(ids[0])):
        assert np.array_equal(ids[0].quantised(place)[0], ids[1].quantised(place)[0])
    assert [one.path.rpartition("/")[2] for one in changed.shards] == files


def test_sets_without_copies_keep_their_names(store: Store) -> None:
    assert planned(store, None) == "sv-0ea54bd7993f6e8b"
    assert planned(store, EVERYTHING) != planned(store, replace(EVERYTHING, seed=1)) != planned(store, None)


def test_a_set_lost_in_part_and_made_again_is_the_same_bit_by_bit(tmp_path: Path, store: Store) -> None:
    whole = prepared(store, EVERYTHING)
    other = open_store(str(tmp_path / "other"))
    assert prepared(other, EVERYTHING, threads=3).copies == whole.copies
    assert whole.copies is not None
    lost = whole.copies.shards[0].path
    (Path(store.url) / "artefacts" / lost).unlink()
    assert preparation.pending(store, whole.id) == [0]
    assert prepared(store, EVERYTHING).copies == whole.copies


def test_a_copy_that_a_speed_brings_over_the_limit_is_left_out_and_counted(store: Store) -> None:
    corpus = ToneCorpus(rows=clips(train=2), seconds=28.0)
    made = prepared(store, AugmentConfig(copies=2, speeds=(0.9, 1.1)), corpus)
    assert made.splits["train"].clips == 2
    assert made.copies is not None and (made.copies.clips, made.copies.left_out) == (2, {"too long": 2})


# ------------------------------------------------------------------ folders of noises and rooms


def lay(folder: Path, **sounds: Audio | bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, sound in sounds.items():
        (folder / f"{name}.wav").write_bytes(sound if isinstance(sound, bytes) else encode_wav(sound))
    return folder


def test_noises_and_rooms_of_ones_own_are_used_and_name_the_set_wherever_they_lie(
    store: Store, tmp_path: Path
) -> None:
    hum = np.sin(2 * np.pi * 6000 * np.arange(8_000) / 16_000).astype("f4") * np.float32(0.2)
    augment = AugmentConfig(noise_share=1, snr_db=(0, 0), noises=str(lay(tmp_path / "noises", hum=hum)))
    made = prepared(store, augment)
    again = replace(augment, noises=str(lay(tmp_path / "moved", hum=hum)))
    assert planned(store, again) == made.id
    assert any("1 files are used, of 1" in note for note in made.notes)
    copy = copying.copies(augment)
    assert copy is not None
    ((_, noisy),) = copy.of("a", voice(1.0))
    assert share_above(noisy, 5900) > 0.4 and share_above(voice(1.0), 5900) < 0.05


def test_what_holds_no_sound_is_set_aside_with_its_reason_and_nothing_but_that_is_refused(
    store: Store, tmp_path: Path
) -> None:
    silence = np.zeros(16_000, np.float32)
    folder = lay(tmp_path / "noises", a=voice(), silent=silence, text=b"not a sound at all")
    made = prepared(store, AugmentConfig(noise_share=1, noises=str(folder)))
    (note,) = [note for note in made.notes if "not used" in note]
    assert "1 silence (such as silent.wav" in note and "not audio (such as text.wav" in note
    for kind, share in (("noises", "noise_share"), ("rooms", "room_share")):
        silent = lay(tmp_path / f"silent-{kind}", zeros=silence)
        with pytest.raises(CorpusError, match=f"augment's {kind}: of 1 files .* none can be used: 1 silence"):
            planned(store, AugmentConfig(**{share: 1, kind: str(silent)}))
        with pytest.raises(CorpusError, match="there is none"):
            planned(store, AugmentConfig(**{share: 1, kind: str(tmp_path / "nowhere")}))


def test_a_file_of_ten_hours_is_set_aside(tmp_path: Path) -> None:
    with wave.open(str(lay(tmp_path / "noises", a=voice()) / "long.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(b"\x80\x90" * (4000 * 36_000 // 10))
    made = copying.copies(AugmentConfig(noise_share=1, noises=str(tmp_path / "noises")))
    assert made is not None and any("1 too long (such as long.wav" in note for note in made.notes())


def test_a_folder_that_has_changed_since_the_set_was_planned_is_refused(store: Store, tmp_path: Path) -> None:
    folder = lay(tmp_path / "noises", a=voice())
    corpus = ToneCorpus()
    set_id = planned(store, AugmentConfig(noise_share=1, noises=str(folder)), corpus)
    lay(folder, b=voice(seed=3))
    copying._sounds.cache_clear()  # another worker
    with pytest.raises(CorpusError, match="not what it was when the set was planned"):
        preparation.prepare_all(store, set_id, corpus, [0])


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({}, "the copies would be what they are copied from"),
        ({"speeds": (1.0,)}, "the copies would be"),
        ({"copies": 0, "gain_db": 3}, "copies must be"),
        ({"copies": True, "gain_db": 3}, "copies must be"),
        ({"speeds": (0.0,)}, "speeds must be"),
        ({"speeds": (float("nan"),)}, "speeds must be"),
        ({"speeds": (0.9, 0.9)}, "each once"),
        ({"noise_share": float("nan")}, "noise_share must be"),
        ({"noise_share": 1, "snr_db": (20, 5)}, "snr_db wants"),
        ({"noise_share": 1, "snr_db": (float("nan"), 5)}, "snr_db wants"),
        ({"gain_db": float("inf")}, "gain_db must be"),
        ({"gain_db": 3, "noises": "folder"}, "noise_share is 0"),
        ({"room_share": 1, "rooms": "s3://key:secret@bucket/x"}, "rooms"),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AugmentConfig(**wrong)  # type: ignore[arg-type]
