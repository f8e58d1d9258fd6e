"""Which clip of a corpus goes into which shard: decided once, then read by every worker. Light.

A plan is one Parquet file: a row per clip with its shard, sorted by shard; what else is known is in the
file's metadata, as JSON.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dagsverk import records
from dagsverk.cache import cache_folder
from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.corpora.corpus import SPLITS, Clip, Listing, RejectedClip, Split
from dagsverk.speech.corpora.overlap import sentence_key
from dagsverk.speech.errors import CorpusError, TooManyBadClips
from dagsverk.speech.features import shards
from dagsverk.speech.features.shards import IN_JSON, Example, Rejections
from dagsverk.speech.languages import Language
from dagsverk.store import NotFound, Store

OFF_BEFORE = ("augment", "train_only")  # unset, a set is named as before there were these
EXAMPLES = 5  # of each reason, in the manifest; all are in the plan and the records
Text: TypeAlias = tuple[str, str, str]  # clip, split, text
METADATA = b"dagsverk.plan"
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in shards.CLIP_TEXTS),
        ("duration_s", pa.float64()),
        ("shard", pa.int32()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be made, without its clips."""

    id: str
    language: str
    corpus: str
    source: str
    fingerprint: str
    settings: Mapping[str, Any]
    cut: Mapping[str, tuple[int, int]]  # split -> clips kept of how many
    notes: Sequence[str]
    rejected: Annotated[Sequence[RejectedClip], IN_JSON]  # while listing
    splits: Sequence[Split]  # of each shard, by its number
    clips: Sequence[int]  # in each shard
    rows: int = 0  # of the corpus; 0: planned by a version that did not count them
    left_out: Mapping[str, int] = field(default_factory=dict)  # reason -> rows that were not asked for
    sounds: Mapping[str, str] = field(
        default_factory=dict
    )  # of augment's folders -> a digest of what is there

    @property
    def config(self) -> PrepareConfig:
        return records.parse(self.settings, PrepareConfig, f"the settings of {self.id}")


def make(
    listing: Listing,
    of: Language,
    config: PrepareConfig,
    *,
    corpus: str,
    source: str,
    cut: Mapping[str, tuple[int, int]],
    notes: Sequence[str] = (),
    sounds: Mapping[str, str] | None = None,
) -> tuple[Plan, list[list[Clip]]]:
    """Cut each split into shards, in the order of the listing.

    Returns: the plan, and the clips of each shard.
    Raises: CorpusError if a split is empty or two share a speaker; TooManyBadClips.
    """
    clips, others = _usable(listing.clips)
    if config.train_only:
        clips = [replace(clip, split="train") for clip in clips]
    rejected = [*listing.rejected, *others]
    _check_splits(clips, config)
    check_share(len(clips) + len(rejected), by_reason(rejected), config.max_bad_share)
    cut_clips = list(_shards(clips, config.shard_clips))
    settings = _named(config)
    plan = Plan(
        id=f"{of.code}-{_digest(listing.fingerprint, cut_clips, _placeless(settings, sounds or {}), cut)}",
        language=of.code,
        corpus=corpus,
        source=source,
        fingerprint=listing.fingerprint,
        settings=settings,
        cut=cut,
        notes=list(notes),
        rejected=rejected,
        splits=[shard[0].split for shard in cut_clips],
        clips=[len(shard) for shard in cut_clips],
        rows=listing.rows,
        left_out=dict(listing.left_out),
        sounds=dict(sounds or {}),
    )
    return plan, cut_clips


def save(store: Store, plan: Plan, clips: Iterable[Sequence[Clip]]) -> None:
    """Write the plan, if it is not there."""
    path = f"{shards.folder(plan.id)}/plan.parquet"
    if path in store.list(shards.folder(plan.id)):
        return
    rows = [{**vars(clip), "shard": number} for number, shard in enumerate(clips) for clip in shard]
    about = {METADATA: records.to_bytes(plan)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plan.parquet"
        table = pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata(about))
        pq.write_table(table, file, compression="zstd", row_group_size=10_000)
        store.put_file(path, file)


def load(store: Store, set_id: str) -> Plan:
    """The plan without its clips. Raises NotFound."""
    about = pq.read_schema(_file(store, set_id)).metadata[METADATA]
    return records.from_bytes(about, Plan, f"the plan of {set_id} in {store.url}")


def clips_of(store: Store, set_id: str, numbers: Sequence[int]) -> list[tuple[int, Clip]]:
    """(shard, clip) of some shards, in the order of the plan. Raises NotFound."""
    table = pq.read_table(_file(store, set_id), filters=[("shard", "in", list(numbers))])
    return [(row.pop("shard"), Clip(**row)) for row in table.to_pylist()]


def train_sentences(store: Store, set_id: str) -> frozenset[int]:
    """The keys of all sentences that were planned for train (`overlap.sentence_key`). Raises NotFound."""
    file = pq.ParquetFile(_file(store, set_id))
    keys: set[int] = set()
    for batch in file.iter_batches(columns=["split", "text"]):
        texts = batch["text"].filter(pc.equal(batch["split"], "train"))
        keys.update(map(sentence_key, texts.to_pylist()))
    return frozenset(keys)


def texts(store: Store, set_id: str) -> Iterator[Text]:
    """Clip, split and text of all that is planned, a part of them in memory at a time. Raises NotFound."""
    columns = ["id", "split", "text"]
    for batch in pq.ParquetFile(_file(store, set_id)).iter_batches(columns=columns):
        yield from zip(*(batch[name].to_pylist() for name in columns), strict=True)


def by_reason(rejected: Iterable[RejectedClip]) -> dict[str, Rejections]:
    """How many clips were rejected for each reason, and the first few; the commonest reason first."""
    groups: dict[str, list[RejectedClip]] = defaultdict(list)
    for one in rejected:
        groups[one.reason].append(one)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return {
        reason: Rejections(
            clips=len(clips),
            examples=tuple(Example(clip=one.clip, detail=one.detail) for one in clips[:EXAMPLES]),
        )
        for reason, clips in ordered
    }


def check_share(listed: int, rejected: Mapping[str, Rejections], allowed: float) -> None:
    """Raises TooManyBadClips, with reasons and examples, if more than the share `allowed` was rejected."""
    bad = sum(rejections.clips for rejections in rejected.values())
    if bad > allowed * listed:
        raise TooManyBadClips(
            f"{bad} of {listed} clips ({bad / listed:.1%}) were set aside, more than the {allowed:.1%} "
            f"allowed: {in_words(rejected)}; mend the corpus, or raise max_bad_share"
        )


def in_words(rejected: Mapping[str, Rejections]) -> str:
    """Reasons with counts and an example of each."""
    return "; ".join(
        f"{one.clips} x {reason} (such as {one.examples[0].clip}: {one.examples[0].detail})"
        for reason, one in rejected.items()
    )


def check_whole_splits(
    clips: Mapping[str, int], rejected: Mapping[str, Rejections], config: PrepareConfig
) -> None:
    """Raises CorpusError naming the splits that have no clip."""
    splits = SPLITS[:1] if config.train_only else SPLITS
    if empty := [split for split in splits if not clips.get(split)]:
        why = f" (set aside: {in_words(rejected)})" if rejected else ""
        raise CorpusError(
            f"no clip is left for {' and '.join(empty)}; want clips for each of {', '.join(splits)}{why}: "
            "give the corpus more clips or speakers, or raise train_clips, dev_clips and test_clips"
        )


def _check_splits(clips: Sequence[Clip], config: PrepareConfig) -> None:
    check_whole_splits(Counter(clip.split for clip in clips), {}, config)
    first_of: dict[str, Clip] = {}
    for clip in clips:
        first = first_of.setdefault(clip.speaker, clip) if clip.speaker else clip
        if first.split != clip.split:
            raise CorpusError(
                f"the speaker {clip.speaker[:40]!r} is heard in {first.split} (clip {first.id}) and in "
                f"{clip.split} (clip {clip.id}): scores would flatter the model; "
                "give each speaker to one split, or leave out who speaks"
            )


def _usable(clips: Iterable[Clip]) -> tuple[list[Clip], list[RejectedClip]]:
    kept: dict[str, Clip] = {}
    others = []
    for clip in clips:
        if broken := [
            name for name in shards.CLIP_TEXTS if _readable(getattr(clip, name)) != getattr(clip, name)
        ]:
            detail = f"half a character in its {broken[0]}"
            others.append(RejectedClip(clip=_readable(clip.id), reason="not Unicode", detail=detail))
        elif kept.setdefault(clip.id, clip) is not clip:
            others.append(RejectedClip(clip=clip.id, reason="duplicate id", detail=f"again, as {clip.audio}"))
    return list(kept.values()), others


def _readable(text: str) -> str:
    """The text with a ? for each half of a surrogate pair, which no file can hold."""
    return text.encode(errors="replace").decode()


def _shards(clips: Sequence[Clip], size: int) -> Iterator[list[Clip]]:
    for split in SPLITS:
        chosen = (clip for clip in clips if clip.split == split)
        while shard := list(itertools.islice(chosen, size)):
            yield shard


def _named(config: PrepareConfig) -> dict[str, Any]:
    """The settings that a set is named by: without what is off, so that sets keep their names."""
    settings = asdict(config)
    return {name: value for name, value in settings.items() if value or name not in OFF_BEFORE}


def _placeless(settings: Mapping[str, Any], sounds: Mapping[str, str]) -> Mapping[str, Any]:
    """The settings with what lies in their folders instead of where these are."""
    return {**settings, "augment": {**settings["augment"], **sounds}} if sounds else settings


def _digest(
    fingerprint: str,
    clips: Iterable[Sequence[Clip]],
    settings: Mapping[str, Any],
    cut: Mapping[str, tuple[int, int]],
) -> str:
    digest = hashlib.sha256()
    for part in ([shards.FORMAT, fingerprint, settings, cut], *map(vars, itertools.chain(*clips))):
        digest.update(json.dumps(part, sort_keys=True, default=list).encode() + b"\n")
    return digest.hexdigest()[:16]


def _file(store: Store, set_id: str) -> Path:
    try:
        return store.fetch(f"{shards.folder(set_id)}/plan.parquet", cache_folder())
    except NotFound as error:
        raise NotFound(
            f"no plan of the set {set_id!r} in {store.url}; make one: "
            f"prefect deployment run speech-features/{shards.set_language(set_id).name}"
        ) from error
