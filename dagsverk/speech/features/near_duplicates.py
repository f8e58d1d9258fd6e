"""Recordings of a set that are one, told by their sound: what is tested is not to be heard in training.

Files of the same bytes gave way when the corpus was listed (`corpora.twins`). Here are those that were
encoded again, made louder or trimmed. Train gives way to dev, dev to test; within train they are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dagsverk.cache import cache_folder
from dagsverk.speech.corpora.corpus import RejectedClip, Split
from dagsverk.speech.features import shards
from dagsverk.speech.features.likeness import Index, Print, fingerprint
from dagsverk.speech.features.shards import Example, NearDuplicates, ShardRecord
from dagsverk.store import NotFound, Store

REASON = "recording in another split"  # as where its bytes are the same
MOST_CLIPS = 50_000  # of a split that others are compared with: 4 KB each
EXAMPLES = 5
PRINTS = pa.schema([("id", pa.string()), ("duration_s", pa.float64()), ("print", pa.binary())])
GIVES_WAY: dict[Split, tuple[Split, ...]] = {"dev": ("test",), "train": ("test", "dev")}


@dataclass
class Twins:
    """What was seen of a set."""

    gone: dict[str, tuple[RejectedClip, float, Split]] = field(
        default_factory=dict
    )  # clip -> why, its seconds
    looked_at: int = 0
    clips: int = 0
    inside: int = 0
    examples: list[Example] = field(default_factory=list)

    def kept(self) -> NearDuplicates:
        return NearDuplicates(
            clips=self.clips,
            looked_at=self.looked_at,
            gave_way=tuple(sorted(self.gone)),
            inside_train=self.inside,
            examples=tuple(self.examples[:EXAMPLES]),
        )


@dataclass(frozen=True)
class _Compared:
    clips: Sequence[str]
    index: Index


def look(store: Store, n_mels: int, made: Sequence[ShardRecord]) -> Twins:
    """Compare the recordings of all shards, by split."""
    twins = Twins()
    held_out: dict[Split, _Compared] = {}
    for split in ("test", "dev", "train"):
        own: list[tuple[str, Print | None]] = []
        for clip, seconds, levels_print in _prints(
            store, n_mels, [one for one in made if one.split == split]
        ):
            twins.clips += 1
            twins.looked_at += levels_print is not None
            twin = _twin(levels_print, split, held_out)
            if twin is not None:
                detail = f"in {split}, and by its sound in {twin[0]} as {twin[1]}"
                rejected = RejectedClip(clip=clip, reason=REASON, detail=detail)
                twins.gone[clip] = rejected, seconds, split
            elif len(own) < MOST_CLIPS:
                own.append((clip, levels_print))
        here = _Compared([clip for clip, _ in own], Index([one for _, one in own]))
        if split == "train":
            _count_inside(own, here, twins)
        else:
            held_out[split] = here
    return twins


def _twin(one: Print | None, split: Split, held_out: dict[Split, _Compared]) -> tuple[Split, str] | None:
    if one is None:
        return None
    for other in GIVES_WAY.get(split, ()):
        if same := held_out[other].index.same_as(one):
            return other, held_out[other].clips[same[0]]
    return None


def _count_inside(own: Sequence[tuple[str, Print | None]], here: _Compared, twins: Twins) -> None:
    for number, (clip, one) in enumerate(own):
        if one is not None and (same := here.index.same_as(one, before=number)):
            twins.inside += 1
            twins.examples.append(Example(clip=clip, detail=f"by its sound also {here.clips[same[0]]}"))


def write_prints(target: Path, shard: Path, n_mels: int) -> None:
    """What the recordings of a shard are told by, in a file beside it: all that is read of it when the set is
    completed. Args: shard: a local file."""
    rows = [
        {"id": clip, "duration_s": seconds, "print": one.to_bytes() if one else None}
        for clip, seconds, one in _of_shard(shard, n_mels)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=PRINTS), target, compression="zstd")


def _prints(
    store: Store, n_mels: int, made: Sequence[ShardRecord]
) -> Iterator[tuple[str, float, Print | None]]:
    """Clip, seconds and fingerprint of all clips of some shards; from their spectra where none are kept."""
    for record in made:
        if not record.clips:
            continue
        try:
            kept = pq.read_table(store.fetch(record.prints, cache_folder())) if record.prints else None
        except (NotFound, pa.ArrowInvalid):  # lost or broken: nothing depends on it
            kept = None
        if kept is None:
            yield from _of_shard(store.fetch(record.path, cache_folder()), n_mels)
            continue
        for row in kept.to_pylist():
            packed = row["print"]
            yield row["id"], row["duration_s"], Print.from_bytes(packed) if packed else None


def _of_shard(shard: Path, n_mels: int) -> Iterator[tuple[str, float, Print | None]]:
    """From its spectra, a group of them in memory at a time."""
    with pq.ParquetFile(shard) as file:
        for batch in file.iter_batches(shards.GROUP_CLIPS, columns=["id", "duration_s", "mel"]):
            columns = (batch[name].to_pylist() for name in ("id", "duration_s"))
            for clip, seconds, packed in zip(*columns, batch["mel"], strict=True):
                levels = shards.unpack(packed.as_buffer(), n_mels)
                yield clip, seconds, fingerprint(levels)
