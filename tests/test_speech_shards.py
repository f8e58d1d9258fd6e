"""Shards as files: what is written comes back, equal clips give equal bytes, and sets are found by name."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dagsverk import records
from dagsverk.speech.features import shards
from dagsverk.store import NotFound, Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def rows(count: int, n_mels: int = 80) -> list[dict[str, Any]]:
    chance = np.random.default_rng(count)
    texts = dict.fromkeys(shards.CLIP_TEXTS, "å")
    levels = [chance.integers(0, 256, (i % 7 + 1, n_mels), np.uint8) for i in range(count)]
    return [
        {
            **texts,
            "id": f"clip-{i}",
            "duration_s": 0.01 * len(one),
            "frames": len(one),
            "peak": 0.5,
            "mel": shards.pack(one),
        }
        for i, one in enumerate(levels)
    ]


@settings(max_examples=100, deadline=None)
@given(
    levels=arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.sampled_from([80, 128]))),
)
def test_what_is_packed_comes_back_and_the_original_is_left_alone(levels: np.ndarray) -> None:
    before = levels.copy()
    assert (shards.unpack(shards.pack(levels), levels.shape[1]) == before).all() and (levels == before).all()


def test_packed_spectra_of_sound_compress_better_than_plain_ones(tmp_path: Path) -> None:
    at = np.linspace(0, 6, 2000)[:, None] + np.linspace(0, 3, 80)
    chance = np.random.default_rng(0)
    levels = (120 + 80 * np.sin(at) + chance.normal(0, 3, at.shape)).astype(np.uint8)
    sizes = []
    for mel in (shards.pack(levels), levels.tobytes()):
        shards.write_shard(tmp_path / "s", [{**rows(1)[0], "mel": mel}], set_id="sv-1", n_mels=80)
        sizes.append((tmp_path / "s").stat().st_size)
    assert sizes[0] < 0.8 * sizes[1]


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shards.write_shard(tmp_path / name, iter(rows(200)), set_id="sv-1", n_mels=80)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_shard_is_read_a_few_clips_at_a_time_and_says_what_it_is(tmp_path: Path) -> None:
    given_rows = rows(200, 128)
    shards.write_shard(tmp_path / "a", given_rows, set_id="sv-1", n_mels=128)
    with pq.ParquetFile(tmp_path / "a") as file:
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        written, about = file.read().to_pylist(), file.schema_arrow.metadata
    assert groups == [64, 64, 64, 8] and written == given_rows
    assert about == {b"dagsverk.format": b"1", b"dagsverk.set": b"sv-1", b"dagsverk.n_mels": b"128"}


def test_datasets_reads_a_shard_as_it_is(tmp_path: Path) -> None:
    from datasets import Dataset

    shards.write_shard(tmp_path / "a.parquet", rows(3), set_id="sv-1", n_mels=80)
    written = Dataset.from_parquet(str(tmp_path / "a.parquet"), cache_dir=str(tmp_path / "cache"))
    assert written["id"][:] == ["clip-0", "clip-1", "clip-2"] and written[2]["mel"] == rows(3)[2]["mel"]


def example() -> shards.Manifest:
    shard = shards.Shard(path="p/00000.parquet", split="train", clips=2, seconds=3.5, bytes=10, sha256="ab")
    return shards.Manifest(
        id="sv-0123456789abcdef",
        language="sv",
        corpus="tones",
        source="spoken",
        fingerprint="f",
        settings={"n_mels": 80},
        n_mels=80,
        shards=(shard, shard),
        splits={"train": shards.Totals(clips=4, seconds=7.0, speakers=1)},
        listed=5,
        rejected={"silence": shards.Rejections(clips=1, examples=(shards.Example(clip="c", detail="d"),))},
        cut={"test": (10, 20)},
        notes=(),
        licences={"CC0-1.0": 4},
        created="2026-01-01T00:00:00+00:00",
    )


# As versions before this one wrote it: sets that were made then are read now.
WRITTEN = b"""{
 "format": 1,
 "id": "sv-0123456789abcdef",
 "language": "sv",
 "corpus": "tones",
 "source": "spoken",
 "fingerprint": "f",
 "settings": {
  "n_mels": 80
 },
 "n_mels": 80,
 "shards": [
  {
   "path": "p/00000.parquet",
   "split": "train",
   "clips": 2,
   "seconds": 3.5,
   "bytes": 10,
   "sha256": "ab"
  },
  {
   "path": "p/00000.parquet",
   "split": "train",
   "clips": 2,
   "seconds": 3.5,
   "bytes": 10,
   "sha256": "ab"
  }
 ],
 "splits": {
  "train": {
   "clips": 4,
   "seconds": 7.0,
   "speakers": 1
  }
 },
 "listed": 5,
 "set_aside": {
  "silence": {
   "clips": 1,
   "examples": [
    {
     "clip": "c",
     "detail": "d"
    }
   ]
  }
 },
 "cut": {
  "test": [
   10,
   20
  ]
 },
 "notes": [],
 "licences": {
  "CC0-1.0": 4
 },
 "created": "2026-01-01T00:00:00+00:00"
}"""


def test_a_manifest_is_written_as_ever_and_read_back(store: Store) -> None:
    made = example()
    assert records.to_bytes(made).startswith(WRITTEN.removesuffix(b"\n}"))  # what came later follows
    store.put(shards.manifest_path(made.id), WRITTEN)
    assert shards.manifest(store, made.id) == made
    assert made.seconds == 7.0


def test_a_manifest_of_another_format_is_refused_with_the_next_move(store: Store) -> None:
    store.put(shards.manifest_path(example().id), records.to_bytes(replace(example(), format=2)))
    with pytest.raises(ValueError, match=r"format 2, this version reads 1; upgrade"):
        shards.manifest(store, example().id)
    store.put(shards.manifest_path(example().id), b"null", overwrite=True)
    with pytest.raises(ValueError, match="format None"):
        shards.manifest(store, example().id)


@pytest.mark.parametrize("code", ["sv", "swedish"])
def test_without_a_set_the_next_move_is_told(store: Store, code: str) -> None:
    with pytest.raises(NotFound, match=r"no prepared clips of Swedish.*speech-features/swedish"):
        shards.newest(store, code)
    with pytest.raises(NotFound, match=r"no complete set.*speech-features/swedish"):
        shards.manifest(store, "sv-0123456789abcdef")


def test_what_is_no_sets_name_is_refused(store: Store) -> None:
    with pytest.raises(NotFound, match="no set's id"):
        shards.manifest(store, "klingon-1")
    with pytest.raises(ValueError, match="Whisper knows no language"):
        shards.newest(store, "klingon")


def test_addresses_sort_in_the_order_of_their_numbers() -> None:
    numbers = random.Random(0).sample(range(100_000), 200)
    paths = [shards.shard_path("it-0", number) for number in sorted(numbers)]
    assert paths == sorted(paths) and paths[0].startswith("speech/italian/shards/it-0/")
