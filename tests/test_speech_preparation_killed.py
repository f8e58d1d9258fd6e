"""Preparation by processes that are killed or work side by side, and how much memory it takes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import shard_maker
from tone_corpus import ToneCorpus, clips

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
