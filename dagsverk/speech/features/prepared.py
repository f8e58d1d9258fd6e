"""Prepared clips for training and evaluation: random access to whole splits in little memory.

Light: pandas, pyarrow and numpy.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dagsverk.speech.corpora.corpus import Split
from dagsverk.speech.corpora.overlap import sentence_key
from dagsverk.speech.errors import DamagedShard
from dagsverk.speech.features import log_mel, plans, shards
from dagsverk.speech.features.log_mel import Mel, QuantisedMel
from dagsverk.speech.features.shards import Manifest, Shard
from dagsverk.store import NotFound, Store
from dagsverk.store.files import appearing

MAPPED_SHARDS = 256  # at a time: each takes a file handle
ROW_COLUMNS = [name for name in shards.SCHEMA.names if name not in ("peak", "mel")]


@dataclass(frozen=True)
class PreparedClips:
    """The clips of some splits of a set, in the order of its shards. Threads and processes may share it."""

    rows: pd.DataFrame = field(repr=False)  # columns of Clip (`duration_s` as decoded), frames: int32, and
    # in_train: bool, whether the sentence is read in train as well, or nearly (always True of train)
    # is_copy: bool, whether it is a changed copy of another one
    n_mels: int
    language: str  # Whisper's code
    set_id: str
    _frames: NDArray[np.int32] = field(repr=False)
    _peaks: NDArray[np.float32] = field(repr=False)
    _offsets: NDArray[np.int64] = field(repr=False)  # of each clip in its file, in bytes
    _file_of: NDArray[np.int32] = field(repr=False)
    _files: tuple[Path, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def mel(self, i: int) -> Mel:
        """The spectrum of clip i. Returns: float32, shape (frames, n_mels)."""
        return log_mel.dequantise(*self.quantised(i))

    def quantised(self, i: int) -> tuple[QuantisedMel, float]:
        """The spectrum of clip i as it is stored, (frames, n_mels) in 8 bits, and its loudest value."""
        start, frames = int(self._offsets[i]), int(self._frames[i])
        file = _mapped(self._files[self._file_of[i]])
        levels = file[start : start + frames * self.n_mels].reshape(frames, self.n_mels)
        return levels, float(self._peaks[i])

    def floor(self, i: int) -> float:
        """What silence is within clip i, in the units of `mel`: what it is to be padded with."""
        return log_mel.floor(float(self._peaks[i]))

    def only(self, places: Sequence[int]) -> PreparedClips:
        """The clips at these places, in this order."""
        chosen = np.asarray(places, dtype=np.intp)
        return replace(
            self,
            rows=self.rows.iloc[chosen].reset_index(drop=True),
            _frames=self._frames[chosen],
            _peaks=self._peaks[chosen],
            _offsets=self._offsets[chosen],
            _file_of=self._file_of[chosen],
        )


def open_prepared(
    store: Store,
    set_id: str,
    splits: Sequence[Split],
    cache: Path,
    *,
    copies: bool = False,
    first_shards: int | None = None,
    most_clips: int | None = None,
) -> PreparedClips:
    """The clips of the given splits of a complete set.

    Every shard's SHA-256 is compared with the manifest's before anything is given out. The spectra are then
    unpacked once into files below `cache` (28.8 MB per hour of audio at 80 bins), which are mapped, not
    loaded, and found again by the next process.
    Args:
        copies: whether the changed copies of train's clips come along, behind all others.
        first_shards: of all of these splits, where a part will do; None: all.
        most_clips: of more, whole shards are left out, drawn by their content; None: none are.
    Raises: NotFound; DamagedShard naming the first shard that is missing or not what was written.
    """
    about = shards.manifest(store, set_id)
    copied = about.copies.shards if copies and about.copies else ()
    chosen = [shard for shard in (*about.shards, *copied) if shard.split in splits][:first_shards]
    if most_clips is not None:
        chosen = _enough(chosen, most_clips)
    whole = [_verified(store, about, shard, cache) for shard in chosen]
    files = tuple(_unpacked(path, shard, about, cache) for path, shard in zip(whole, chosen, strict=True))
    tables = [pq.read_table(path, columns=[*ROW_COLUMNS, "peak"]) for path in whole]
    table = pa.concat_tables(
        [shards.SCHEMA.remove(shards.SCHEMA.get_field_index("mel")).empty_table(), *tables]
    )
    lengths = [
        np.cumsum([0, *rows["frames"].to_numpy()[:-1]], dtype=np.int64) for rows in tables if len(rows)
    ]
    counts = [len(rows) for rows in tables]
    rows = table.select(ROW_COLUMNS).to_pandas()
    rows["in_train"] = rows["split"].eq("train") | _in_train(store, set_id, rows["text"], splits)
    if about.near_texts:
        rows["in_train"] |= rows["id"].isin(about.near_texts.in_train)
    gone = set(about.near_duplicates.gave_way if about.near_duplicates else ())
    rows["is_copy"] = np.repeat(np.array([shard in copied for shard in chosen], bool), counts)
    clips = PreparedClips(
        rows=rows,
        n_mels=about.n_mels,
        language=about.language,
        set_id=set_id,
        _frames=table["frames"].to_numpy(),
        _peaks=table["peak"].to_numpy(),
        _offsets=np.concatenate([np.zeros(0, np.int64), *lengths]) * about.n_mels,
        _file_of=np.repeat(np.arange(len(files), dtype=np.int32), counts),
        _files=files,
    )
    return clips.only(np.flatnonzero(~_originals(rows).isin(gone)).tolist()) if gone else clips


def _originals(rows: pd.DataFrame) -> pd.Series[str]:
    """The id of each clip, or of the one that it is a copy of."""
    ids: pd.Series[str] = rows["id"]
    return ids.where(~rows["is_copy"], ids.str.replace(r"#copy\d+$", "", regex=True))


def draw(clips: PreparedClips, count: int, seed: int) -> list[int]:
    """The same `count` clips for the same seed, ascending; all, if there are no more."""
    order = sorted(
        range(len(clips)),
        key=lambda i: hashlib.sha256(f"{seed} {clips.rows['id'].iat[i]}".encode()).digest(),
    )
    return sorted(order[:count])


def _enough(chosen: Sequence[Shard], most_clips: int) -> list[Shard]:
    """As few shards as hold so many clips, in a random order that is always the same."""
    kept: list[Shard] = []
    for shard in sorted(chosen, key=lambda one: one.sha256):
        if sum(one.clips for one in kept) >= most_clips:
            break
        kept.append(shard)
    return sorted(kept, key=lambda one: one.path)


def _in_train(store: Store, set_id: str, texts: pd.Series[str], splits: Sequence[Split]) -> NDArray[np.bool_]:
    if set(splits) <= {"train"}:
        return np.ones(len(texts), bool)
    train = plans.train_sentences(store, set_id)
    return np.fromiter((sentence_key(text) in train for text in texts), bool, len(texts))


def _verified(store: Store, about: Manifest, shard: Shard, cache: Path) -> Path:
    """A local copy of the shard, known to be the one that was written."""
    advice = (
        "delete it and run the preparation again, which makes this one anew: "
        f"prefect deployment run speech-features/{shards.set_language(about.id).name}"
    )
    try:
        path = store.fetch(shard.path, cache)
    except NotFound as error:
        raise DamagedShard(f"the shard {shard.path} in {store.url} is missing; {advice}") from error
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != shard.sha256:
        raise DamagedShard(
            f"the shard {shard.path} in {store.url} is damaged: its SHA-256 is {sha256[:12]}…, "
            f"the manifest says {shard.sha256[:12]}…; {advice}"
        )
    return path


def _unpacked(path: Path, shard: Shard, about: Manifest, cache: Path) -> Path:
    """A file of all levels of the shard, clip after clip; named by its content, so never out of date."""
    target = cache / "levels" / f"{shard.sha256}.u8"
    with pq.ParquetFile(path) as source:
        frames = sum(
            int(batch["frames"].to_numpy().sum()) for batch in source.iter_batches(columns=["frames"])
        )
        if target.is_file() and target.stat().st_size == frames * about.n_mels:
            return target
        with appearing(target) as temporary, temporary.open("wb") as file:
            for batch in source.iter_batches(batch_size=shards.GROUP_CLIPS, columns=["mel"]):
                for packed in batch["mel"]:
                    file.write(shards.unpack(packed.as_buffer(), about.n_mels).data)
    return target


@functools.lru_cache(maxsize=MAPPED_SHARDS)
def _mapped(file: Path) -> NDArray[np.uint8]:
    return np.memmap(file, np.uint8, mode="r").view(np.ndarray)
