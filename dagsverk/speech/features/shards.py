"""Prepared clips as they are kept: Parquet shards of 8-bit spectra, and the manifest that names them all.

Layout below `speech/<language name>/`, for a set such as `sv-0123456789abcdef`:
    shards.json                     which complete set is the newest
    shards/<set>/plan.parquet       every clip that is to be prepared, and in which shard
    shards/<set>/00000.parquet      a shard: clips of one split
    shards/<set>/00000-copies.parquet  changed copies of its clips, if these are asked for
    shards/<set>/00000-prints.parquet  what its recordings are told by
    shards/<set>/00000.json         its record, written after it: counts, SHA-256, rejected clips
    shards/<set>/mended.json        of a set made by hand of another: what was decided of its clips
    shards/<set>/manifest.json      written last: from here on the set is complete, and stays as it is

Light: pyarrow and numpy.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from dagsverk import records
from dagsverk.speech.corpora.corpus import RejectedClip, Split
from dagsverk.speech.languages import Language, language
from dagsverk.store import NotFound, Store
from dagsverk.words import counted

FORMAT = 1  # of shards, records and manifests; part of a set's name
GROUP_CLIPS = 64  # per row group: what is held in memory while reading or writing, a few MB
COMPRESSION_LEVEL = 1  # of zstd: 3, 9 and 15 save less than 1 % of the residuals of `pack`

CLIP_TEXTS = (
    "id", "audio", "text", "language", "split",
    "speaker", "gender", "age", "accent", "licence", "translation",
)  # fmt: skip
IN_JSON = Field(alias="set_aside")  # what rejected clips are called in kept records
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
class CopiesRecord:
    """The changed copies of a shard's clips, in a file of their own."""

    path: str
    bytes: int
    sha256: str
    clips: int
    seconds: float
    left_out: Mapping[str, int]  # reason -> copies that could not be used

    def shard(self) -> Shard:
        return Shard(
            path=self.path,
            split="train",
            clips=self.clips,
            seconds=self.seconds,
            bytes=self.bytes,
            sha256=self.sha256,
        )


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """What became of the clips that were planned for one shard."""

    format: int = FORMAT
    number: int
    path: str
    split: Split
    bytes: int
    sha256: str
    clips: int
    seconds: float
    speakers: tuple[str, ...]  # a digest of each, to count them over several shards
    licences: Mapping[str, int]  # licence -> clips
    rejected: Annotated[tuple[RejectedClip, ...], IN_JSON]
    suspicious: Mapping[str, Rejections] | None = None  # by kind, see `suspicions`; None: not looked at
    copies: CopiesRecord | None = None  # None: none were asked for
    prints: str = ""  # the artefact of its recordings' fingerprints; "": there is none, they are made anew

    def shard(self) -> Shard:
        return Shard(
            path=self.path,
            split=self.split,
            clips=self.clips,
            seconds=self.seconds,
            bytes=self.bytes,
            sha256=self.sha256,
        )


@dataclass(frozen=True, kw_only=True)
class Example:
    """A clip that was rejected for a reason, and what was the matter."""

    clip: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Rejections:
    """The clips that were rejected for one reason."""

    clips: int  # how many
    examples: tuple[Example, ...]  # the first few


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """The clips whose text is suspicious in one way; they are used all the same."""

    clips: int
    test_clips: int  # of them
    examples: tuple[Example, ...]  # the first few
    test_examples: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What the shards of one split hold together."""

    clips: int
    seconds: float
    speakers: int  # those who are named


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """Recordings of a set that are one by their sound, see `near_duplicates`."""

    clips: int
    looked_at: int  # of them; the others are too short to tell, or hold hardly any sound
    gave_way: tuple[
        str, ...
    ]  # clips that dev or test has, too: they are in the shards, and are never given out
    inside_train: int  # clips that train has before, too; they are used
    examples: tuple[Example, ...]  # of these


@dataclass(frozen=True, kw_only=True)
class NearTexts:
    """Texts of a set that are the same but for spelling, numbers or one word, see `read_before`."""

    clips: int  # looked at
    in_train: tuple[str, ...]  # clips of dev and test: nearly a text of train, and wholly none
    kinds: Mapping[str, Rejections]  # how many, by which split's and where, with examples


@dataclass(frozen=True, kw_only=True)
class CopiesTotals:
    """The changed copies of train's clips, which count as no clips of the set."""

    shards: tuple[Shard, ...]
    clips: int
    seconds: float
    left_out: Mapping[str, int]  # reason -> copies that could not be used


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """How a set differs from the one that it was made of, by decisions of people."""

    parent: str  # the set, as it was prepared
    decisions: str  # a digest of those that apply
    mended: Mapping[Split, int]  # split -> clips with another text
    dropped: Mapping[Split, int]  # split -> clips left out
    not_applied: Mapping[str, int] = field(default_factory=dict)  # why decisions do not apply -> how many

    @property
    def of_test(self) -> int:
        """Test clips that are scored otherwise, or not at all."""
        return self.mended.get("test", 0) + self.dropped.get("test", 0)

    @property
    def words(self) -> str:
        """ "3 texts mended and 1 clip dropped by hand, of them 1 of test"."""
        mended, dropped = sum(self.mended.values()), sum(self.dropped.values())
        done = f"{counted(mended, 'text')} mended and {counted(dropped, 'clip')} dropped by hand"
        return f"{done}, of them {self.of_test} of test" if self.of_test else done


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a complete set holds and what it was made from."""

    format: int = FORMAT
    id: str
    language: str  # Whisper's code
    corpus: str  # its name, for people
    source: str  # as it was given
    fingerprint: str  # of the corpus's content
    settings: Mapping[str, Any]  # of the preparation
    n_mels: int
    shards: tuple[Shard, ...]
    splits: Mapping[str, Totals]
    listed: int  # clips in the corpus, rejected ones included
    rejected: Annotated[Mapping[str, Rejections], IN_JSON]  # by reason, the commonest first
    cut: Mapping[str, tuple[int, int]]  # split -> clips kept of how many, where the corpus was cut
    notes: tuple[str, ...]  # what a reader of its scores has to know
    licences: Mapping[str, int]  # licence -> clips
    created: str  # ISO 8601, UTC
    rows: int = 0  # of the corpus: clips + rejected + left out; 0: made by a version that did not count them
    left_out: Mapping[str, int] = field(default_factory=dict)  # reason -> rows that were not asked for
    shared_sentences: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # dev, test -> clips of how
    # many that say a sentence of train; {}: made by a version that did not count them
    suspicious: Mapping[str, Suspicion] | None = None  # by kind, the commonest first; None: not looked at
    copies: CopiesTotals | None = None  # None: none were asked for
    by_hand: ByHand | None = None  # None: as it was prepared
    near_duplicates: NearDuplicates | None = None  # None: not looked for
    near_texts: NearTexts | None = None  # None: not looked for

    @property
    def seconds(self) -> float:
        return round(sum(shard.seconds for shard in self.shards), 3)


def manifest(store: Store, set_id: str) -> Manifest:
    """What the set holds. Raises NotFound if there is none, or it is not complete yet; ValueError if it is of
    another format."""
    of = set_language(set_id)
    try:
        content = records.read_json(store, manifest_path(set_id))
    except NotFound as error:
        raise NotFound(
            f"no complete set of clips {set_id!r} in {store.url}; make one: "
            f"prefect deployment run speech-features/{of.name}"
        ) from error
    is_format = content.get("format") if isinstance(content, dict) else None
    if is_format != FORMAT:
        raise ValueError(
            f"the set {set_id!r} has format {is_format!r}, this version reads {FORMAT}; upgrade "
            "dagsverk, or prepare it again"
        )
    return records.parse(content, Manifest, f"the manifest of {set_id} in {store.url}")


def newest(store: Store, code: str) -> str:
    """The id of the newest complete set of a language (code or name). Raises NotFound."""
    of = language(code)
    try:
        return str(records.read_json(store, pointer(of))["set"])
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


def manifest_path(set_id: str) -> str:
    """The artefact that makes a set complete."""
    return f"{folder(set_id)}/manifest.json"


def shard_path(set_id: str, number: int) -> str:
    """The artefact of one shard."""
    return f"{folder(set_id)}/{number:05d}.parquet"


def copies_path(set_id: str, number: int) -> str:
    """The artefact of the changed copies of a shard's clips."""
    return f"{folder(set_id)}/{number:05d}-copies.parquet"


def prints_path(set_id: str, number: int) -> str:
    """The artefact of the fingerprints of a shard's recordings, see `near_duplicates`."""
    return f"{folder(set_id)}/{number:05d}-prints.parquet"


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
