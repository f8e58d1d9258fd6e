"""Preparation on every store: the same shards, found again, and a damaged one named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from store_backends import BACKENDS
from tone_corpus import ToneCorpus, seed, tone

from dagsverk.speech.audio.waveform import encode_wav, read_samples
from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.errors import DamagedShard
from dagsverk.speech.features import log_mel, preparation, shards
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.store import Store


@pytest.fixture(params=list(BACKENDS))
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    return BACKENDS[request.param](tmp_path)


def prepare(store: Store, corpus: ToneCorpus) -> shards.Manifest:
    set_id = preparation.plan(store, corpus, "it", PrepareConfig(shard_clips=4, n_mels=128), "tones")
    for numbers in preparation.portions(store, set_id, corpus):
        preparation.prepare_all(store, set_id, corpus, numbers)
    return preparation.complete(store, set_id)


def test_prepared_clips_come_back_from_every_store(store: Store, tmp_path: Path) -> None:
    corpus = ToneCorpus()
    made = prepare(store, corpus)
    opened = open_prepared(store, shards.newest(store, "italian"), ("train", "test"), tmp_path / "cache")
    by_id = {clip.id: clip for clip in corpus.rows}
    assert opened.n_mels == 128 and opened.language == "it" and len(opened) == 8
    for i, name in enumerate(opened.rows["id"]):
        wanted = log_mel.log_mel(read_samples(encode_wav(tone(seed(by_id[name])))), 128)
        assert np.abs(opened.mel(i) - wanted).max() < 0.004
    read = len(corpus.given)
    assert prepare(store, corpus) == made and len(corpus.given) == read


def test_a_shard_damaged_in_any_store_is_named_before_use_and_mended_by_a_repeat(
    store: Store, tmp_path: Path
) -> None:
    corpus = ToneCorpus()
    made = prepare(store, corpus)
    path = made.shards[1].path
    whole = store.get(path)
    store.put(path, whole[:-1] + b"?", overwrite=True)
    for _ in range(2):
        with pytest.raises(DamagedShard, match=path):
            open_prepared(store, made.id, ("train",), tmp_path / "cache")
    store.remove(shards.folder(made.id))
    assert prepare(store, corpus).shards == made.shards and store.get(path) == whole
    assert len(open_prepared(store, made.id, ("train",), tmp_path / "cache")) == 6
