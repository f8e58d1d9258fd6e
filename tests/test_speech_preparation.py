"""Preparation, step by step: what is made, what is set aside, and what a repeat finds done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tone_corpus import ToneCorpus, clips, seed, tone

from dagsverk.speech.audio.waveform import encode_wav, read_samples
from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.corpora.corpus import Corpus, RejectedClip
from dagsverk.speech.errors import CorpusError, DamagedShard, ModelError, SpeechError, TooManyBadClips
from dagsverk.speech.features import log_mel, plans, preparation, shards
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.store import NotFound, Store, open_store

CONFIG = PrepareConfig(shard_clips=3)
TOLERANT = PrepareConfig(shard_clips=3, max_bad_share=1.0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def plan(store: Store, corpus: Corpus, config: PrepareConfig = CONFIG) -> str:
    return preparation.plan(store, corpus, "sv", config, "tones")


def prepare(store: Store, corpus: Corpus, config: PrepareConfig = CONFIG) -> shards.Manifest:
    set_id = plan(store, corpus, config)
    for number in preparation.pending(store, set_id):
        preparation.prepare_all(store, set_id, corpus, [number])
    return preparation.complete(store, set_id)


def state(store: Store) -> dict[str, tuple[int, bytes]]:
    """Each file below the store: when it was written, and what is in it."""
    files = [path for path in Path(store.url).rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_prepared_clips_are_those_of_the_corpus_with_their_spectra(store: Store, cache: Path) -> None:
    corpus = ToneCorpus()
    made = prepare(store, corpus)
    opened = open_prepared(store, made.id, ("train", "dev", "test"), cache)
    assert sorted(opened.rows["id"]) == sorted(clip.id for clip in corpus.rows)
    by_id = {clip.id: clip for clip in corpus.rows}
    for i, row in enumerate(opened.rows.itertuples()):
        clip = by_id[row.id]
        assert (row.text, row.speaker, row.split) == (clip.text, clip.speaker, clip.split)
        mel, wanted = opened.mel(i), log_mel.log_mel(read_samples(encode_wav(tone(seed(clip)))))
        assert type(mel) is np.ndarray and mel.dtype == np.float32
        assert mel.shape == wanted.shape and np.abs(mel - wanted).max() < 0.004
        assert (row.frames, row.duration_s) == (40, 0.4)


def test_the_manifest_counts_clips_seconds_and_speakers_of_each_split(store: Store) -> None:
    made = prepare(store, ToneCorpus(cut={"test": (2, 9)}))
    assert made.splits["train"] == shards.Totals(clips=6, seconds=2.4, speakers=2)
    assert made.splits["test"] == shards.Totals(clips=2, seconds=0.8, speakers=2)
    assert [(shard.split, shard.clips) for shard in made.shards] == [
        ("train", 3),
        ("train", 3),
        ("dev", 2),
        ("test", 2),
    ]
    assert (made.listed, made.rejected, made.cut) == (10, {}, {"test": (2, 9)})
    assert made.licences == {"CC0-1.0": 10} and made.corpus == made.source == "tones"
    assert shards.newest(store, "sv") == made.id and shards.manifest(store, made.id) == made


def test_a_clip_of_the_test_tells_whether_its_sentence_is_read_in_train(store: Store, cache: Path) -> None:
    said = {"train-0": "Hej, du!", "test-0": "hej du", "test-1": "Nej."}
    made = prepare(store, ToneCorpus(rows=[replace(one, text=said.get(one.id, one.id)) for one in clips()]))
    assert made.shared_sentences == {"dev": (0, 2), "test": (1, 2)}
    rows = open_prepared(store, made.id, ("test",), cache).rows
    assert dict(zip(rows["id"], rows["in_train"], strict=True)) == {"test-0": True, "test-1": False}
    assert open_prepared(store, made.id, ("train",), cache).rows["in_train"].all()


def test_a_second_run_reads_no_clip_and_writes_nothing(store: Store) -> None:
    corpus = ToneCorpus()
    first = prepare(store, corpus)
    before, read = state(store), len(corpus.given)
    again = prepare(store, corpus)
    for number in range(4):
        preparation.prepare_all(store, first.id, corpus, [number])
    assert again == first and state(store) == before and len(corpus.given) == read


def test_the_name_of_a_set_tells_content_and_settings_and_not_place(store: Store) -> None:
    other_text = [replace(clip, text="Annat.") if clip.id == "dev-0" else clip for clip in clips()]
    names = [
        plan(store, ToneCorpus()),
        plan(store, ToneCorpus(), PrepareConfig(shard_clips=4)),
        plan(store, ToneCorpus(), PrepareConfig(shard_clips=3, n_mels=128)),
        plan(store, ToneCorpus(rows=other_text)),
        plan(store, ToneCorpus(rows=clips(train=7))),
        plan(store, ToneCorpus(cut={"test": (2, 3)})),
    ]
    assert len(set(names)) == len(names) and all(name.startswith("sv-") and len(name) == 19 for name in names)
    elsewhere = preparation.plan(store, ToneCorpus(name="copy"), "swedish", CONFIG, "s3://elsewhere")
    assert elsewhere == names[0]


def test_shards_are_equal_byte_for_byte_whoever_makes_them(tmp_path: Path) -> None:
    digests = []
    for name, order, threads in (("a", 1, 1), ("b", -1, 3)):
        store, corpus = open_store(str(tmp_path / name)), ToneCorpus()
        set_id = plan(store, corpus)
        numbers = preparation.pending(store, set_id)[::order]
        preparation.prepare_all(store, set_id, corpus, numbers, threads=threads)
        digests.append([shard.sha256 for shard in preparation.complete(store, set_id).shards])
    assert digests[0] == digests[1]


def test_an_older_set_becomes_the_newest_when_it_is_asked_for_again(store: Store) -> None:
    old = prepare(store, ToneCorpus())
    new = prepare(store, ToneCorpus(rows=clips(train=7)))
    assert shards.newest(store, "sv") == new.id
    prepare(store, ToneCorpus())
    assert shards.newest(store, "swedish") == old.id


BAD = {
    "train-0": (b"", "empty file"),
    "train-1": (b"a text file named .mp3, " * 50, "not audio"),
    "train-2": (encode_wav(tone(1, 0.1)), "too short"),
    "train-3": (encode_wav(tone(1, 31)), "too long"),
    "train-4": (encode_wav(np.zeros(16_000, np.float32)), "silence"),
    "train-5": (encode_wav(100 * tone(1)), "clipped"),
    "train-6": (RejectedClip(clip="train-6", reason="missing audio", detail="no such file"), "missing audio"),
}


def test_bad_clips_are_set_aside_counted_and_shown_and_the_others_kept(store: Store, cache: Path) -> None:
    listed = RejectedClip(clip="gone", reason="no text column", detail="line 7")
    rows = [*clips(train=12), clips()[0]]
    texts = {"train-7": " \x00<b></b> ", "train-8": "å" * 222}
    rows = [replace(clip, text=texts.get(clip.id, clip.text)) for clip in rows]
    bad = {name: given for name, (given, _) in BAD.items()}
    made = prepare(store, ToneCorpus(rows=rows, bad=bad, rejected=[listed]), TOLERANT)
    wanted = {name: reason for name, (_, reason) in BAD.items()}
    wanted |= {"gone": "no text column", "train-0 ": "duplicate id"}
    wanted |= {"train-7": "empty text", "train-8": "text too long"}
    rejected = {(one.clip, reason) for reason, counted in made.rejected.items() for one in counted.examples}
    assert rejected == {(name.strip(), reason) for name, reason in wanted.items()}
    assert all(counted.clips == 1 for counted in made.rejected.values())
    kept = open_prepared(store, made.id, ("train",), cache).rows["id"]
    assert sorted(kept) == ["train-10", "train-11", "train-9"]
    assert made.listed == len(kept) + len(wanted) + 4


def test_texts_are_cleaned_and_the_longest_that_fit_are_kept(store: Store, cache: Path) -> None:
    texts = {"train-0": "\ufeffEtt  <i>två</i>\n&amp; tre", "train-1": "å" * 221 + "a"}  # 443 bytes
    rows = [replace(clip, text=texts.get(clip.id, clip.text)) for clip in clips()]
    made = prepare(store, ToneCorpus(rows=rows))
    kept = open_prepared(store, made.id, ("train",), cache).rows.set_index("id")["text"]
    assert kept["train-0"] == "Ett två & tre" and kept["train-1"] == texts["train-1"]


def test_a_row_that_no_file_can_hold_is_set_aside(store: Store) -> None:
    rows = [replace(clip, audio="\udce5.wav") if clip.id == "train-0" else clip for clip in clips()]
    made = prepare(store, ToneCorpus(rows=rows), TOLERANT)
    assert made.rejected["not Unicode"].examples[0].clip == "train-0"


def test_too_many_bad_clips_stop_the_set_with_reasons_counts_and_examples(store: Store) -> None:
    corpus = ToneCorpus(bad={"train-0": b"", "train-1": b"", "train-2": b"not audio"})
    with pytest.raises(TooManyBadClips, match=r"3 of 10.*30\.0%.* 2 x empty file \(such as train-0"):
        prepare(store, corpus)
    assert "manifest.json" not in " ".join(store.list("")) and "speech/swedish/shards.json" not in store.list(
        ""
    )
    assert prepare(store, corpus, TOLERANT).splits["train"].clips == 3


def test_a_corpus_that_is_bad_already_when_listed_is_refused_before_any_work(store: Store) -> None:
    gone = [RejectedClip(clip=f"c{i}", reason="missing audio", detail="") for i in range(5)]
    with pytest.raises(TooManyBadClips, match=r"5 of 15 clips.*5 x missing audio"):
        plan(store, ToneCorpus(rejected=gone))
    assert store.list("") == []


def test_a_split_without_clips_is_refused_by_name(store: Store) -> None:
    with pytest.raises(CorpusError, match=r"no clip is left for dev and test;.*test_clips"):
        plan(store, ToneCorpus(rows=clips(dev=0, test=0)))
    corpus = ToneCorpus(bad={"dev-0": b"", "dev-1": b""})
    with pytest.raises(CorpusError, match=r"no clip is left for dev;.*2 x empty file \(such as dev-0"):
        prepare(store, corpus, TOLERANT)


def test_a_speaker_heard_in_two_splits_is_refused_by_name(store: Store) -> None:
    rows = [replace(clip, speaker="Anna") if clip.id in ("train-1", "test-1") else clip for clip in clips()]
    with pytest.raises(CorpusError, match=r"'Anna' is heard in train \(clip train-1\) and in test"):
        plan(store, ToneCorpus(rows=rows))
    unknown = [replace(clip, speaker="") for clip in clips()]
    assert prepare(store, ToneCorpus(rows=unknown)).splits["test"].speakers == 0


def test_an_incomplete_set_is_not_completed(store: Store) -> None:
    corpus = ToneCorpus()
    set_id = plan(store, corpus)
    preparation.prepare_all(store, set_id, corpus, [1])
    assert preparation.pending(store, set_id) == [0, 2, 3]
    with pytest.raises(SpeechError, match=r"3 shards.*the first is 0"):
        preparation.complete(store, set_id)
    with pytest.raises(NotFound, match="shards 0 to 3, not 4"):
        preparation.prepare_all(store, set_id, corpus, [4])
    with pytest.raises(NotFound, match="no plan"):
        preparation.pending(store, "sv-0123456789abcdef")


def test_a_damaged_or_missing_shard_is_named_and_made_anew_when_deleted(store: Store, cache: Path) -> None:
    corpus = ToneCorpus()
    made = prepare(store, corpus)
    shard = Path(store.url, "artefacts", made.shards[1].path)
    whole = shard.read_bytes()
    open_prepared(store, made.id, ("train",), cache)
    for damage in (whole[:-1], whole[:100] + bytes([whole[100] ^ 1]) + whole[101:], b"", None):
        shard.unlink() if damage is None else shard.write_bytes(damage)
        with pytest.raises(DamagedShard, match=r"00001.parquet.*delete it and run the preparation again"):
            open_prepared(store, made.id, ("train", "dev"), cache)
    assert len(open_prepared(store, made.id, ("test",), cache)) == 2  # the others serve
    assert preparation.pending(store, made.id) == [1] and prepare(store, corpus) == made
    assert shard.read_bytes() == whole


def test_a_shard_that_cannot_be_made_again_as_it_was_is_refused(store: Store) -> None:
    corpus = ToneCorpus()
    made = prepare(store, corpus)
    Path(store.url, "artefacts", made.shards[0].path).unlink()
    corpus.bad["train-0"] = encode_wav(tone(999))
    with pytest.raises(DamagedShard, match=r"00000.parquet was made again and differs"):
        prepare(store, corpus)


def test_random_access_uses_files_that_a_later_process_finds_again(store: Store, cache: Path) -> None:
    made = prepare(store, ToneCorpus())
    first = open_prepared(store, made.id, ("train", "dev"), cache)
    files = {path: path.stat().st_mtime_ns for path in (cache / "levels").iterdir()}
    next(iter(files)).write_bytes(b"cut short")
    again = open_prepared(store, made.id, ("train", "dev"), cache)
    assert len(files) == 3 and len(first) == len(again) == 8
    assert all((first.mel(i) == again.mel(i)).all() for i in range(8))
    unchanged = [path for path, written in files.items() if path.stat().st_mtime_ns == written]
    assert len(unchanged) == 2


def test_every_split_may_be_asked_for_and_none(store: Store, cache: Path) -> None:
    made = prepare(store, ToneCorpus())
    counts = {"train": 6, "dev": 2, "test": 2}
    for split, count in counts.items():
        opened = open_prepared(store, made.id, (split,), cache)  # type: ignore[arg-type]
        assert set(opened.rows["split"]) == {split} and len(opened) == count
    assert len(open_prepared(store, made.id, (), cache)) == 0


def test_padding_with_the_floor_is_what_the_extractor_makes_of_silence(store: Store, cache: Path) -> None:
    opened = open_prepared(store, prepare(store, ToneCorpus()).id, ("train",), cache)
    for i in range(len(opened)):
        mel = opened.mel(i)
        assert (
            opened.floor(i) == pytest.approx(max(mel.max() - 2, -1.5), abs=1e-6)
            and mel.min() >= opened.floor(i) - 1e-6
        )


def test_a_plan_keeps_all_that_was_set_aside_and_the_settings(store: Store) -> None:
    gone = [RejectedClip(clip=f"c{i}", reason="missing audio", detail="x") for i in range(7)]
    set_id = plan(store, ToneCorpus(rejected=gone), TOLERANT)
    kept = plans.load(store, set_id)
    assert [one.clip for one in kept.rejected] == [f"c{i}" for i in range(7)]
    assert PrepareConfig(**kept.settings) == TOLERANT and list(kept.clips) == [3, 3, 2, 2]
    assert json.dumps(kept.settings)


class Cut(ToneCorpus):
    """An archive that ends after a few clips."""

    def read(self, clips):  # type: ignore[no-untyped-def]
        given: Iterator = super().read(clips)  # type: ignore[type-arg]
        for _ in range(4):
            yield next(given)
        raise CorpusError("the archive is cut short")


def test_an_archive_cut_short_leaves_the_shards_that_were_whole_by_then(store: Store) -> None:
    corpus = ToneCorpus(sequential=True)
    set_id = plan(store, corpus)
    with pytest.raises(CorpusError, match="cut short"):
        preparation.prepare_all(store, set_id, Cut(sequential=True), [0, 1])
    assert preparation.pending(store, set_id) == [1, 2, 3]
    assert prepare(store, corpus).id == set_id and corpus.given.count("train-0") == 0


def test_a_corpus_that_leaves_out_clips_is_refused_by_the_first(store: Store) -> None:
    set_id = plan(store, ToneCorpus())
    with pytest.raises(CorpusError, match=r"gave 2 of 3 .*missing is train-1"):
        corpus = ToneCorpus(rows=[c for c in clips() if c.id != "train-1"])
        preparation.prepare_all(store, set_id, corpus, [0])


def test_an_archive_is_gone_through_once_for_each_worker(store: Store) -> None:
    corpus = ToneCorpus(sequential=True)
    set_id = plan(store, corpus)
    assert preparation.portions(store, set_id, ToneCorpus()) == [[0], [1], [2], [3]]
    assert preparation.portions(store, set_id, corpus) == [[0, 1], [2], [3]]
    facts = preparation.prepare_all(store, set_id, corpus, [0, 1, 2, 3], threads=2)
    assert sorted(corpus.given) == sorted(clip.id for clip in corpus.rows)
    assert [(one.number, one.clips, one.split) for one in facts] == [
        (0, 3, "train"),
        (1, 3, "train"),
        (2, 2, "dev"),
        (3, 2, "test"),
    ]
    assert preparation.portions(store, set_id, corpus) == []


def test_a_folder_without_a_vocabulary_is_no_tokenizer_that_counts_nothing(
    store: Store, tmp_path: Path
) -> None:
    """Of such a folder transformers makes a tokenizer for which every text is of no token."""
    (tmp_path / "empty").mkdir()
    long = [replace(clip, text="hej " * 500) for clip in clips()]
    config = replace(CONFIG, tokenizer=str(tmp_path / "empty"))
    with pytest.raises(ModelError, match=r"no Whisper tokenizer .*its vocabulary has"):
        prepare(store, ToneCorpus(rows=long), config)
