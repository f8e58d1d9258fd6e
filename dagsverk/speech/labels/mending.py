"""Decisions of people about clips -> a set of its own, made of the prepared one without decoding again.

Shards without a decision are those of the parent; of the others the texts are written anew, their spectra are
copied. The same decisions give the same set, which is found. A kill at any line is mended by a repeat: the
manifest is written last.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from dagsverk import label_decisions, records
from dagsverk.cache import cache_folder
from dagsverk.label_decisions import LabelDecision, content_key
from dagsverk.speech.corpora.corpus import SPLITS, Clip, RejectedClip, Split
from dagsverk.speech.corpora.overlap import HELD_OUT, sentence_key
from dagsverk.speech.corpora.text import clean_text
from dagsverk.speech.errors import AudioError
from dagsverk.speech.features import plans, read_before, shards, suspicions
from dagsverk.speech.features.clips import COPY, check_text
from dagsverk.speech.features.preparation import copies_totals, point, totals
from dagsverk.speech.features.shards import ByHand, Manifest, Shard, ShardRecord
from dagsverk.store import Conflict, NotFound, Store

DROPPED = "dropped by hand"
GONE = "no clip of the set has that sound and text"
FORMAT = 1
Decided = Mapping[str, LabelDecision]


@dataclass(frozen=True, kw_only=True)
class MendedClip:
    """A clip of a set made by hand: what it was, and what was decided."""

    clip: str
    decision: LabelDecision


@dataclass(frozen=True, kw_only=True)
class Mended:
    """All of them."""

    clips: tuple[MendedClip, ...] = ()

    @property
    def by_clip(self) -> dict[str, LabelDecision]:
        return {one.clip: one.decision for one in self.clips}


@dataclass
class _Found:
    """Where decisions apply in a set."""

    of_shard: dict[str, dict[str, LabelDecision]] = field(default_factory=dict)  # shard's path -> clip -> it
    not_applied: Counter[str] = field(default_factory=Counter)

    @property
    def by_clip(self) -> dict[str, LabelDecision]:
        return {clip: one for own in self.of_shard.values() for clip, one in own.items()}


def clip_key(mel: bytes, peak: float, text: str) -> str:
    """What a clip is, wherever it lies: its spectrum as it is stored, and its text as the corpus has it."""
    return content_key(mel, np.float32(peak).tobytes(), text)


def keys_of(store: Store, shard: Shard, cache: Path) -> Iterator[tuple[str, str, str]]:
    """(clip, its key, its text) of a shard, some in memory at a time."""
    with pq.ParquetFile(store.fetch(shard.path, cache)) as file:
        columns = ["id", "text", "peak", "mel"]
        for batch in file.iter_batches(batch_size=shards.GROUP_CLIPS, columns=columns):
            ids, texts, peaks = (batch[name].to_pylist() for name in columns[:3])
            for name, text, peak, mel in zip(ids, texts, peaks, batch["mel"], strict=True):
                yield name, clip_key(mel.as_buffer().to_pybytes(), peak, text), text


def parent_of(store: Store, set_id: str) -> str:
    """The set that was prepared of recordings: itself, or the one that it was made of."""
    made = shards.manifest(store, set_id).by_hand
    return made.parent if made else set_id


def mended_clips(store: Store, set_id: str) -> Mended:
    """What was decided of the clips of a set; none of a set as it was prepared."""
    try:
        return records.read(store, _mended_path(set_id), Mended)
    except NotFound:
        return Mended()


def mend(store: Store, set_id: str, cache: Path | None = None) -> Manifest:
    """The set with all that people decided so far; the language's newest from then on.

    Args: set_id: a complete set, or one that was made of one: it is its parent that is mended.
    Raises: CorpusError if no clip of a split would be left; DamagedShard, NotFound.
    """
    cache = cache or cache_folder()
    parent = shards.manifest(store, parent_of(store, set_id))
    name = shards.set_language(set_id).name
    state = label_decisions.state(store, "speech", name)
    decided = {one.key: one for one in state.decisions if one.action != "keep"}
    applied = _find(store, parent, decided, cache) if decided else _Found()
    if not applied.by_clip:
        point(store, parent)
        return parent
    made = _set_id(parent, applied.by_clip)
    try:
        manifest = shards.manifest(store, made)
    except NotFound:
        manifest = _make(store, parent, made, applied, cache)
    point(store, manifest)
    return manifest


def _find(store: Store, parent: Manifest, decided: Decided, cache: Path) -> _Found:
    tokenizer = plans.load(store, parent.id).config.tokenizer
    applied, seen = _Found(), set()
    for shard in parent.shards:
        for clip, key, _ in keys_of(store, shard, cache):
            decision = decided.get(key)
            if decision is None:
                continue
            seen.add(key)
            why = _unusable(decision, tokenizer)
            if why:
                applied.not_applied[why] += 1
            else:
                applied.of_shard.setdefault(shard.path, {})[clip] = decision
    if gone := len(set(decided) - seen):
        applied.not_applied[GONE] = gone
    return applied


def _unusable(decision: LabelDecision, tokenizer: str) -> str:
    """Why a new text cannot be used; "": it can."""
    if decision.action != "mend":
        return ""
    try:
        check_text(decision.value, clean_text(decision.value), "", tokenizer)
    except AudioError as error:
        return f"the new text cannot be used: {error.reason}"
    return ""


def _set_id(parent: Manifest, by_clip: Decided) -> str:
    done = sorted((clip, one.key, one.action, one.value) for clip, one in by_clip.items())
    digest = hashlib.sha256(json.dumps([FORMAT, parent.id, done]).encode())
    return f"{parent.id.partition('-')[0]}-{digest.hexdigest()[:16]}"


def _make(store: Store, parent: Manifest, made: str, applied: _Found, cache: Path) -> Manifest:
    before = [
        records.read(store, shards.record_path(parent.id, number), ShardRecord)
        for number in range(len(plans.load(store, parent.id).clips))
    ]
    after = [
        _rewrite(store, record, made, parent.n_mels, applied.of_shard[record.path], cache)
        if record.path in applied.of_shard
        else record
        for record in before
    ]
    planned = _plan(store, parent, made, applied.by_clip)
    about = Mended(
        clips=tuple(MendedClip(clip=clip, decision=one) for clip, one in sorted(applied.by_clip.items()))
    )
    records.write(store, _mended_path(made), about)
    aside = {one.clip for record in before for one in record.rejected}
    clips = [clip for clip in planned if clip.id not in aside]
    doubts = suspicions.together(after, lambda: plans.texts(store, made))
    manifest = replace(_manifest(parent, made, applied, after), shared_sentences=_shared(clips, parent))
    gave_way = set(parent.near_duplicates.gave_way if parent.near_duplicates else ())
    near = read_before.look(plans.texts(store, made), aside | gave_way) if parent.near_texts else None
    manifest = replace(manifest, suspicious=doubts, near_texts=near)
    config = plans.load(store, parent.id).config
    counts = {name: one.clips for name, one in manifest.splits.items()}
    plans.check_whole_splits(counts, manifest.rejected, config)
    try:
        store.put(shards.manifest_path(made), records.to_bytes(manifest))
    except Conflict:  # another was first, with the same decisions
        return shards.manifest(store, made)
    return manifest


class _Counted:
    """What the rows of a shard come to, as they pass."""

    def __init__(self) -> None:
        self.seconds, self.licences = 0.0, Counter[str]()
        self.texts: list[tuple[str, str, float, str]] = []
        self.speakers: set[str] = set()

    def add(self, row: Mapping[str, Any]) -> None:
        self.seconds += row["duration_s"]
        self.licences[row["licence"]] += 1
        self.texts.append((row["id"], row["text"], row["duration_s"], row["language"]))
        if row["speaker"]:
            self.speakers.add(hashlib.sha256(row["speaker"].encode()).hexdigest()[:16])


def _rewrite(
    store: Store, record: ShardRecord, made: str, n_mels: int, own: Decided, cache: Path
) -> ShardRecord:
    """The shard, and the copies of its clips, with other texts and without the clips that are dropped."""
    path, counted = shards.shard_path(made, record.number), _Counted()
    size, digest = _written(store, record.path, path, made, n_mels, own, cache, counted)
    copies = record.copies
    if copies is not None:
        to, of_copies = shards.copies_path(made, record.number), _Counted()
        size_of, digest_of = _written(store, copies.path, to, made, n_mels, own, cache, of_copies)
        copies = replace(
            copies,
            path=to,
            bytes=size_of,
            sha256=digest_of,
            clips=len(of_copies.texts),
            seconds=round(of_copies.seconds, 3),
        )
    return replace(
        record,
        path=path,
        bytes=size,
        sha256=digest,
        clips=len(counted.texts),
        seconds=round(counted.seconds, 3),
        speakers=tuple(sorted(counted.speakers)),
        licences=dict(sorted(counted.licences.items())),
        suspicious=suspicions.count(counted.texts),
        copies=copies,
    )


def _written(
    store: Store, source: str, to: str, made: str, n_mels: int, own: Decided, cache: Path, counted: _Counted
) -> tuple[int, str]:
    """(size, SHA-256) of a file of clips with what was decided of them.

    A translation goes with the text that it was of.
    """

    def rows() -> Iterator[dict[str, Any]]:
        with pq.ParquetFile(store.fetch(source, cache)) as file:
            for batch in file.iter_batches(batch_size=shards.GROUP_CLIPS):
                for row in batch.to_pylist():
                    decision = own.get(row["id"].partition(COPY)[0]) or own.get(row["id"])
                    if decision and decision.action == "drop":
                        continue
                    changed = {"text": clean_text(decision.value), "translation": ""} if decision else {}
                    counted.add({**row, **changed})
                    yield {**row, **changed}

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "shard.parquet"
        shards.write_shard(file, rows(), set_id=made, n_mels=n_mels)
        return file.stat().st_size, store.put_file(to, file)


def _plan(store: Store, parent: Manifest, made: str, by_clip: Decided) -> list[Clip]:
    """Write the plan of the new set: its sentences are looked up there. Returns its clips."""
    planned = plans.load(store, parent.id)
    of_shard: list[list[Clip]] = [[] for _ in planned.clips]
    for number, clip in plans.clips_of(store, parent.id, range(len(planned.clips))):
        decision = by_clip.get(clip.id)
        if decision is None:
            of_shard[number].append(clip)
        elif decision.action == "mend":
            of_shard[number].append(replace(clip, text=clean_text(decision.value), translation=""))
    counts = [len(own) for own in of_shard]
    plans.save(store, replace(planned, id=made, clips=counts), of_shard)
    return [clip for own in of_shard for clip in own]


def _manifest(parent: Manifest, made: str, applied: _Found, after: Sequence[ShardRecord]) -> Manifest:
    by_clip = applied.by_clip
    split_of = {clip: split for split, clips in _by_split(after, applied).items() for clip in clips}
    mended, dropped = (
        dict(Counter(split_of[clip] for clip, one in by_clip.items() if one.action == action))
        for action in ("mend", "drop")
    )
    by_hand = ByHand(
        parent=parent.id,
        decisions=made.partition("-")[2],
        mended=mended,
        dropped=dropped,
        not_applied=dict(applied.not_applied),
    )
    out = [
        RejectedClip(clip=clip, reason=DROPPED, detail=f"“{one.was[:60]}”, decided {one.at}")
        for clip, one in sorted(by_clip.items())
        if one.action == "drop"
    ]
    licences: Counter[str] = Counter()
    for record in after:
        licences.update(record.licences)
    return replace(
        parent,
        id=made,
        shards=tuple(record.shard() for record in after if record.clips),
        splits={split: totals([one for one in after if one.split == split]) for split in SPLITS},
        rejected={**parent.rejected, **plans.by_reason(out)},
        licences=dict(licences),
        notes=(*parent.notes, *_notes(by_hand)),
        copies=copies_totals([one.copies for one in after if one.copies]) if parent.copies else None,
        near_duplicates=parent.near_duplicates,  # who gave way goes on doing so
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        by_hand=by_hand,
    )


def _by_split(after: Sequence[ShardRecord], applied: _Found) -> dict[Split, list[str]]:
    clips: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for path, own in applied.of_shard.items():
        number = int(path.rpartition("/")[2].partition(".")[0])
        clips[after[number].split] += list(own)
    return clips


def _notes(by_hand: ByHand) -> list[str]:
    notes = [f"{by_hand.words}; made of {by_hand.parent}"]
    if by_hand.of_test:
        notes.append(
            f"{by_hand.of_test} test clips were mended or dropped by hand: scores are of another test set "
            f"than those on {by_hand.parent}, and are not to be compared with them"
        )
    return notes


def _shared(clips: Sequence[Clip], parent: Manifest) -> dict[str, tuple[int, int]]:
    """Of dev and test, the clips whose sentence is read in train, of how many."""
    train = {sentence_key(clip.text) for clip in clips if clip.split == "train"}
    shared: dict[str, tuple[int, int]] = {}
    for split in HELD_OUT if parent.shared_sentences else ():
        own = [sentence_key(clip.text) in train for clip in clips if clip.split == split]
        shared[split] = (sum(own), len(own))
    return shared


def _mended_path(set_id: str) -> str:
    return f"{shards.folder(set_id)}/mended.json"
