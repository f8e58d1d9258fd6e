"""Preparation by processes that are killed or work side by side, and how much memory it takes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import shard_maker
from tone_corpus import ToneCorpus, clips

from dagsverk.speech.augmented import AugmentConfig
from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.features import preparation, shards
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.store import Store, open_store

MAKER = Path(shard_maker.__file__)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def planned(folder: Path, sequential: bool) -> tuple[Store, str]:
    store = open_store(str(folder))
    corpus = shard_maker.corpus(sequential)
    return store, preparation.plan(store, corpus, "sv", shard_maker.CONFIG, "tones")


def start(store: Store, set_id: str, sequential: bool) -> subprocess.Popen[str]:
    command = [sys.executable, str(MAKER), store.url, set_id, str(sequential)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_until_killed(process: subprocess.Popen[str], after: int, spin: int) -> list[str]:
    """The clips that the process began, at least `after`, before SIGKILL at a moment that `spin` decides."""
    assert process.stdout is not None
    begun = [process.stdout.readline().strip() for _ in range(after)]
    sum(range(spin))
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    return [*begun, *rest.split()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """SHA-256 of each shard of a run that nobody killed."""
    store, set_id = planned(tmp_path_factory.mktemp("undisturbed"), False)
    corpus = shard_maker.corpus(False)
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    return [shard.sha256 for shard in preparation.complete(store, set_id).shards]


@pytest.mark.parametrize("sequential, seed", [(False, 0), (True, 1), (True, 2)])
def test_a_killed_run_repeats_one_shard_at_most_and_ends_the_same(
    tmp_path: Path, undisturbed: list[str], sequential: bool, seed: int
) -> None:
    store, set_id = planned(tmp_path / "store", sequential)
    chance = random.Random(f"{seed} {sequential}")
    begun = read_until_killed(
        start(store, set_id, sequential), chance.randrange(1, 37), chance.randrange(10**6)
    )
    for path in Path(store.url, "artefacts").rglob("*.parquet"):
        pq.read_table(path)  # none is half there
    corpus = shard_maker.corpus(sequential)
    for numbers in preparation.portions(store, set_id, corpus):
        preparation.prepare_all(store, set_id, corpus, numbers)
    repeated = set(begun) & set(corpus.given)
    assert len(repeated) <= shard_maker.CONFIG.shard_clips
    assert len({clip.split for clip in corpus.rows if clip.id in repeated}) <= 1
    assert [shard.sha256 for shard in preparation.complete(store, set_id).shards] == undisturbed


COPIED = replace(
    shard_maker.CONFIG, augment=AugmentConfig(copies=3, speeds=(0.9, 1.1), noise_share=0.5, room_share=0.5)
)


def copied(folder: Path) -> tuple[Store, str]:
    store = open_store(str(folder))
    return store, preparation.plan(store, shard_maker.corpus(False), "sv", COPIED, "tones")


def completed(store: Store, set_id: str) -> dict[str, str]:
    """SHA-256 of each file of clips and of copies, by path."""
    corpus = shard_maker.corpus(False)
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    made = preparation.complete(store, set_id)
    assert made.copies is not None and made.copies.clips == 3 * 23
    return {one.path: one.sha256 for one in (*made.shards, *made.copies.shards)}


@pytest.mark.parametrize("after", [9, 21])
def test_a_run_that_is_killed_while_it_makes_changed_copies_ends_in_the_same_bytes(
    tmp_path: Path, after: int
) -> None:
    undisturbed = completed(*copied(tmp_path / "undisturbed"))
    store, set_id = copied(tmp_path / "store")
    read_until_killed(start(store, set_id, False), after, after * 40_000)
    for path in Path(store.url, "artefacts").rglob("*.parquet"):
        pq.read_table(path)  # none is half there
    assert completed(store, set_id) == undisturbed


@pytest.mark.parametrize("lost", ["{}.json", "{}-copies.parquet", "{}.parquet"])
def test_what_a_kill_leaves_of_a_shard_and_its_copies_is_made_whole(tmp_path: Path, lost: str) -> None:
    store, set_id = copied(tmp_path / "store")
    before = completed(store, set_id)
    folder = next(Path(store.url, "artefacts").rglob("00000.parquet")).parent
    (folder / "00000.json").unlink()  # the record comes last
    (folder / lost.format("00000")).unlink(missing_ok=True)
    assert preparation.pending(store, set_id) == [0]
    assert completed(store, set_id) == before


def test_workers_side_by_side_make_one_set(tmp_path: Path, undisturbed: list[str]) -> None:
    store, set_id = planned(tmp_path / "store", False)
    workers = [start(store, set_id, False) for _ in range(2)]
    for worker in workers:
        _, failure = worker.communicate()
        assert worker.returncode == 0, failure
    assert [shard.sha256 for shard in shards.manifest(store, set_id).shards] == undisturbed


def peak_bytes(store: Store, count: int, cache: Path) -> int:
    corpus = ToneCorpus(rows=clips(train=count), sequential=True, seconds=1)
    set_id = preparation.plan(store, corpus, "sv", PrepareConfig(shard_clips=10_000), "tones")
    tracemalloc.start()
    try:
        preparation.prepare_all(store, set_id, corpus, [0, 1, 2])
        preparation.complete(store, set_id)
        opened = open_prepared(store, set_id, ("train",), cache)
        assert sum(len(opened.mel(i)) for i in range(len(opened))) == 100 * count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_holds_the_rows_of_a_shard_and_not_their_sound(tmp_path: Path, cache: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    small, large = peak_bytes(store, 130, cache), peak_bytes(store, 230, cache)  # over two row groups each
    assert large - small < 100 * 5_000  # a clip's audio is 32,000 bytes here, its levels 8000
