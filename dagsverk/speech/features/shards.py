"""Prepared clips as they are kept: Parquet shards of 8-bit spectra, and the manifest that names them all.

Layout below `speech/<language name>/`, for a set such as `sv-0123456789abcdef`:
    shards.json                     which complete set is the newest
    shards/<set>/plan.parquet       every clip that is to be prepared, and in which shard
    shards/<set>/00000.parquet      a shard: clips of one split
    shards/<set>/00000.json         its record, written after it: counts, SHA-256, clips set aside
    shards/<set>/manifest.json      written last: from here on the set is complete, and stays as it is

Light: pyarrow and numpy.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dagsverk.speech.corpora.corpus import Split
from dagsverk.speech.languages import Language, language
from dagsverk.store import NotFound, Store

FORMAT = 1  # of shards, records and manifests; part of a set's name
GROUP_CLIPS = 64  # per row group: what is held in memory while reading or writing, a few MB
COMPRESSION_LEVEL = 1  # of zstd: 3, 9 and 15 save less than 1 % of the residuals of `pack`

CLIP_TEXTS = (
    "id", "audio", "text", "language", "split",
    "speaker", "gender", "age", "accent", "licence", "translation",
)  # fmt: skip
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in CLIP_TEXTS),
        ("duration_s", pa.float64()),  # as decoded
        ("frames", pa.int32()),
        ("peak", pa.float32()),  # see `features.quantise`
        ("mel", pa.binary()),  # see `pack`
    ]
)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of prepared clips, all of one split."""

    path: str  # the artefact
    split: Split
    clips: int
    seconds: float
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a complete set holds and what it was made from."""

    id: str
    language: str  # Whisper's code
    corpus: str  # its name, for people
    source: str  # as it was given
    fingerprint: str  # of the corpus's content
    settings: Mapping[str, Any]  # of the preparation
    n_mels: int
    shards: tuple[Shard, ...]
    splits: Mapping[str, Mapping[str, float]]  # split -> clips, seconds, speakers (known ones)
    listed: int  # clips in the corpus, those set aside included
    set_aside: Mapping[str, Mapping[str, Any]]  # reason -> clips (how many), examples [{clip, detail}]
    cut: Mapping[str, tuple[int, int]]  # split -> clips kept of how many, where the corpus was cut
    notes: tuple[str, ...]  # what a reader of its scores has to know
    licences: Mapping[str, int]  # licence -> clips
    created: str  # ISO 8601, UTC

    @property
    def seconds(self) -> float:
        return round(sum(shard.seconds for shard in self.shards), 3)

    def to_dict(self) -> dict[str, Any]:
        """The manifest in JSON types."""
        return {"format": FORMAT, **asdict(self), "shards": [asdict(shard) for shard in self.shards]}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Manifest:
        """Raises ValueError if it is of another format."""
        if found.get("format") != FORMAT:
            raise ValueError(
                f"the set {found.get('id')!r} has format {found.get('format')!r}, this version reads "
                f"{FORMAT}; upgrade dagsverk, or prepare it again"
            )
        known = {field.name: found[field.name] for field in fields(cls)}
        shards = tuple(Shard(**shard) for shard in found["shards"])
        cut = {split: (int(kept), int(of)) for split, (kept, of) in found["cut"].items()}
        return cls(**{**known, "shards": shards, "cut": cut, "notes": tuple(found["notes"])})


def manifest(store: Store, set_id: str) -> Manifest:
    """What the set holds. Raises NotFound if there is none, or it is not complete yet."""
    of = set_language(set_id)
    try:
        found = store.get(f"{folder(set_id)}/manifest.json")
    except NotFound as error:
        raise NotFound(
            f"no complete set of clips {set_id!r} in {store.url}; make one: "
            f"prefect deployment run speech-features/{of.name}"
        ) from error
    return Manifest.from_dict(json.loads(found))


def newest(store: Store, code: str) -> str:
    """The id of the newest complete set of a language (code or name). Raises NotFound."""
    of = language(code)
    try:
        return str(json.loads(store.get(pointer(of)))["set"])
    except NotFound as error:
        raise NotFound(
            f"no prepared clips of {of.title} in {store.url}; make them: "
            f"prefect deployment run speech-features/{of.name}"
        ) from error


def pointer(of: Language) -> str:
    """The artefact that names the newest complete set of a language."""
    return f"speech/{of.name}/shards.json"


def set_language(set_id: str) -> Language:
    """The language of a set, which is in its id. Raises NotFound for what is no set's id."""
    try:
        return language(set_id.partition("-")[0])
    except ValueError as error:
        raise NotFound(f"{set_id!r} is no set's id; want one such as sv-0123456789abcdef") from error


def folder(set_id: str) -> str:
    """Where a set's artefacts are. Raises NotFound."""
    return f"speech/{set_language(set_id).name}/shards/{set_id}"


def shard_path(set_id: str, number: int) -> str:
    """The artefact of one shard."""
    return f"{folder(set_id)}/{number:05d}.parquet"


def record_path(set_id: str, number: int) -> str:
    """The artefact that says that a shard is there, and what it holds."""
    return f"{folder(set_id)}/{number:05d}.json"


def write_shard(target: Path, rows: Iterable[Mapping[str, Any]], *, set_id: str, n_mels: int) -> None:
    """Write clips (rows of SCHEMA) to a local file, a row group at a time. Equal rows give equal bytes."""
    about = {"dagsverk.format": str(FORMAT), "dagsverk.set": set_id, "dagsverk.n_mels": str(n_mels)}
    schema = SCHEMA.with_metadata(about)
    with pq.ParquetWriter(
        target,
        schema,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=list(CLIP_TEXTS),
        write_statistics=[*CLIP_TEXTS, "duration_s", "frames", "peak"],
    ) as writer:
        waiting = iter(rows)
        while group := list(itertools.islice(waiting, GROUP_CLIPS)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema), row_group_size=GROUP_CLIPS)


def pack(levels: NDArray[np.uint8]) -> bytes:
    """An 8-bit spectrum, shape (frames, n_mels), as bytes that compress well.

    Each value is replaced by its difference (modulo 256) to what its neighbours one frame earlier and one
    bin lower let expect, `earlier + lower - earlier_lower`: zstd makes a fifth less of it than of the values.
    """
    residuals = levels.copy()
    residuals[1:] -= levels[:-1]
    over_time = residuals.copy()
    residuals[:, 1:] -= over_time[:, :-1]
    return residuals.tobytes()


def unpack(packed: bytes, n_mels: int) -> NDArray[np.uint8]:
    """The spectrum that `pack` was given. Returns: uint8, shape (frames, n_mels)."""
    residuals = np.frombuffer(packed, np.uint8).reshape(-1, n_mels)
    over_time = np.add.accumulate(residuals, axis=1, dtype=np.uint8)
    return np.add.accumulate(over_time, axis=0, dtype=np.uint8, out=over_time)
