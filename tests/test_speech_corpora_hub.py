"""Data sets of Hugging Face, as the library writes them; and the Hub, when it is not there."""

import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from speech_clips import lay_out, wav

from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora.corpus import RejectedClip
from dagsverk.speech.corpora.hub import FLEURS, fleurs_subset, our_split
from dagsverk.speech.corpora.limited import UNKNOWN_VOICES
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.corpora.rows import whisper_code
from dagsverk.speech.errors import CorpusError
from dagsverk.speech.languages import LANGUAGES


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def fleurs_like(count, first=0):
    """Rows with the columns of google/fleurs."""
    numbers = range(first, first + count)
    rows = {
        "id": [number // 2 for number in numbers],  # of the sentence: two people read each
        "num_samples": [4800] * count,
        "path": [f"/somewhere/{number}.wav" for number in numbers],
        "audio": [{"bytes": wav(0.3, 200 + 10 * number), "path": f"{number}.wav"} for number in numbers],
        "transcription": [f"text {number}" for number in numbers],
        "raw_transcription": [f"Text, {number}." for number in numbers],
        "gender": [number % 2 for number in numbers],
        "language": ["Swedish"] * count,
    }
    made = datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(sampling_rate=16_000))
    return made.cast_column("gender", datasets.ClassLabel(names=["male", "female", "other"]))


def splits(make):
    return datasets.DatasetDict({"train": make(6), "validation": make(2, 6), "test": make(2, 8)})


def parquet(tmp_path, sets, rows_together=1000):
    for name, rows in sets.items():
        folder = tmp_path / "own" / "data"
        folder.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(str(folder / f"{name}-00000-of-00001.parquet"), batch_size=rows_together)
    return tmp_path / "own"


def saved(tmp_path, sets):
    sets.save_to_disk(str(tmp_path / "own"))
    return tmp_path / "own"


def opened(source, language="sv", **columns):
    return open_corpus(CorpusConfig(source=str(source), **columns), language)


@pytest.mark.parametrize("store", [saved, parquet])
@pytest.mark.parametrize("prefix", ["", "hub:"])
def test_the_columns_of_fleurs_are_understood(tmp_path, store, prefix):
    corpus = opened(f"{prefix}{store(tmp_path, splits(fleurs_like))}")
    listing = corpus.listing()
    assert corpus.sequential == (store is parquet)
    assert [clip.id for clip in listing.clips] == [
        *(f"train/{i}" for i in range(6)),
        *(f"validation/{i}" for i in range(2)),
        *(f"test/{i}" for i in range(2)),
    ]
    clip = listing.clips[7]
    assert (clip.text, clip.gender, clip.split, clip.duration_s) == ("Text, 7.", "female", "dev", 0.3)
    assert listing.rejected == []
    assert corpus.notes == [UNKNOWN_VOICES]
    sounds = dict(corpus.read(listing.clips))
    assert [sounds[clip] for clip in listing.clips] == [wav(0.3, 200 + 10 * i) for i in range(10)]


@pytest.mark.parametrize("store", [saved, parquet])
def test_some_rows_are_read_without_those_before_them_and_without_a_listing(tmp_path, store):
    source = store(tmp_path, splits(fleurs_like))
    wanted = [clip for clip in opened(source).listing().clips if clip.id in ("train/2", "train/4", "test/1")]
    read = [(clip.id, sound) for clip, sound in opened(source).read(wanted)]
    assert read == [
        (name, wav(0.3, 200 + 10 * i)) for name, i in (("train/2", 2), ("train/4", 4), ("test/1", 9))
    ]


def test_speakers_and_columns_of_other_names_are_taken_as_the_user_says(tmp_path):
    rows = datasets.Dataset.from_dict(
        {
            "ljud": [{"bytes": wav(), "path": None}] * 3,
            "ord": ["ett", "två", "tre"],
            "röst": ["a", "b", "c"],
        }
    ).cast_column("ljud", datasets.Audio())
    sets = datasets.DatasetDict(
        {name: rows.select([i]) for i, name in enumerate(("train.clean.100", "dev", "test"))}
    )
    source = saved(tmp_path, sets)
    with pytest.raises(
        CorpusError, match=r"no column of text .* it has ljud, ord, röst: name it as text_column"
    ):
        opened(source).listing()
    listing = opened(source, text_column="ord", speaker_column="röst").listing()
    assert [(c.text, c.speaker, c.split) for c in listing.clips] == [
        ("ett", "a", "train"),
        ("två", "b", "dev"),
        ("tre", "c", "test"),
    ]


def test_a_data_set_of_one_split_is_split_by_speaker(tmp_path):
    rows = datasets.Dataset.from_dict(
        {
            "audio": [{"bytes": wav(0.1), "path": None}] * 120,
            "sentence": ["hej"] * 120,
            "client_id": [f"s{i // 2}" for i in range(120)],
        }
    )
    listing = opened(saved(tmp_path, rows)).listing()
    assert {clip.split for clip in listing.clips} == {"train", "dev", "test"}
    assert listing.rejected == []
    assert len({(clip.speaker, clip.split) for clip in listing.clips}) == 60


def test_audio_that_lies_in_files_of_its_own_is_read_and_what_is_gone_is_told(tmp_path):
    lay_out({"secret.wav": wav(), "own/sound/0.wav": wav(), "own/sound/1.wav": wav()}, tmp_path)
    whole = str(tmp_path / "own" / "sound" / "1.wav")
    outside = [str(tmp_path / "secret.wav"), "sound/../../secret.wav", "/etc/passwd", "file:///etc/passwd",
               "hf://datasets/other/private/1.wav", "hf://x::file:///etc/passwd"]  # fmt: skip
    paths = ["sound/0.wav", whole, "sound/2.wav", *outside]
    count = len(paths)
    rows = datasets.Dataset.from_dict({"audio": paths, "text": ["hej"] * count, "split": ["x"] * count})
    corpus = opened(saved(tmp_path, datasets.DatasetDict({"train": rows, "dev": rows, "test": rows})))
    read = [sound for clip, sound in corpus.read(corpus.listing().clips) if clip.split == "test"]
    assert read[:2] == [wav(), wav()]
    reasons = [one.reason for one in read[2:] if isinstance(one, RejectedClip)]
    assert reasons == ["missing audio"] + ["path outside the folder"] * len(outside)


def test_another_recording_changes_the_fingerprint_and_another_place_does_not(tmp_path):
    source = saved(tmp_path, splits(fleurs_like))
    first = opened(source).listing().fingerprint
    moved = source.rename(tmp_path / "moved")
    assert opened(moved).listing().fingerprint == first
    other = saved(tmp_path, splits(lambda count, first=0: fleurs_like(count, first + 1)))
    assert opened(other).listing().fingerprint != first


def test_rows_of_another_language_are_refused(tmp_path):
    with pytest.raises(CorpusError, match="no clip that can be used"):
        opened(saved(tmp_path, splits(fleurs_like)), "it").listing()


CARD = """---
configs:
- config_name: sv_se
  data_files: [{split: train, path: data/train-*}, {split: validation, path: data/validation-*},
               {split: test, path: data/test-*}]
- config_name: it_it
  data_files: [{split: train, path: data/train-*}]
---
"""


def test_of_several_subsets_the_one_in_our_language_is_read_else_one_must_be_named(tmp_path):
    source = parquet(tmp_path, splits(fleurs_like))
    (source / "README.md").write_text(CARD)
    assert len(opened(source).listing().clips) == 10
    assert len(opened(source, subset="sv_se").listing().clips) == 10
    with pytest.raises(CorpusError, match="several subsets; name one as subset: sv_se, it_it"):
        opened(source, "de").listing()
    with pytest.raises(CorpusError, match="'nl_nl' not found"):
        opened(source, "nl", subset="nl_nl").listing()


def test_a_subset_of_another_language_is_refused():
    with pytest.raises(CorpusError, match=r"'sv_se' .* is in 'sv', asked for is 'it'"):
        opened("hub:google/fleurs", "it", subset="sv_se")


@pytest.mark.parametrize(
    "language, subset", [("sv", "sv_se"), ("it", "it_it"), ("no", "nb_no"), ("zh", "cmn_hans_cn")]
)
def test_fleurs_has_a_subset_by_default(language, subset):
    assert fleurs_subset(language) == subset
    assert opened("hub:google/fleurs", language).name == f"google/fleurs {subset}"


def test_every_subset_of_fleurs_that_is_listed_is_of_a_language_that_whisper_knows():
    assert [subset for subset in FLEURS.split() if whisper_code(subset) not in LANGUAGES] == []


@pytest.mark.parametrize(
    "name, split",
    [
        ("train", "train"),
        ("validation", "dev"),
        ("test.clean", "test"),
        ("train-other", "train"),
        ("invalidated", None),
    ],
)
def test_names_of_splits_are_understood(name, split):
    assert our_split(name) == split


def ask_the_hub(**variables):
    """In a process of its own: the library reads its variables when it is imported."""
    code = """
from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.errors import CorpusError
try:
    open_corpus(CorpusConfig(source="hub:google/fleurs"), "sv").listing()
except CorpusError as error:
    print(type(error).__name__, error)
"""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_TOKEN": "hf_hunter2hunter2", **variables},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )


@pytest.mark.parametrize(
    "kind, variables",
    [
        ("CorpusError", {"HF_HUB_OFFLINE": "1"}),
        ("CorpusUnavailable", {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}),
    ],
)
def test_a_hub_that_is_not_reached_is_told_at_once_and_not_asked_again(kind, variables):
    done = ask_the_hub(**variables)
    assert done.stdout.startswith(f"{kind} the Hugging Face Hub was not reached for google/fleurs")
    assert "give its folder" in done.stdout
    assert "Retry" not in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
