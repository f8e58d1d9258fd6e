"""Recordings -> shards of 8-bit log-mel spectra: planned once, made by any number of workers, completed last.

    plan          a corpus -> which clip goes into which shard; names the set
    prepare_all   some of its shards, each written once and whole
    complete      all its shards -> the manifest, which makes the set usable

Each step finds what is done already and does not do it again, so each may be killed at any line and repeated.
The files are described in `shards`. What is held in memory does not grow with the corpus, but for its rows
(about 1 KB per clip).
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from dagsverk import records
from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.corpora.corpus import SPLITS, Clip, Corpus
from dagsverk.speech.corpora.overlap import HELD_OUT, sentence_key
from dagsverk.speech.errors import CorpusError, DamagedShard, SpeechError
from dagsverk.speech.features import near_duplicates, plans, read_before, shards, suspicions
from dagsverk.speech.features.building import Building, Row
from dagsverk.speech.features.clips import Made, make_rows
from dagsverk.speech.features.copies import Copies, copies
from dagsverk.speech.features.cutting import Cut, cut
from dagsverk.speech.features.near_duplicates import Twins
from dagsverk.speech.features.plans import Plan
from dagsverk.speech.features.shards import (
    CopiesRecord,
    CopiesTotals,
    Manifest,
    Rejections,
    ShardRecord,
    Suspicion,
    Totals,
)
from dagsverk.speech.languages import language
from dagsverk.store import Conflict, NotFound, Store

AHEAD = 2  # batches per thread that are read before their turn
BATCH_CLIPS, BATCH_BYTES = 8, 8 << 20  # decoded together: enough that asking for it costs little


def plan(store: Store, corpus: Corpus, code: str, config: PrepareConfig, source: str) -> str:
    """List the corpus and decide which clip goes into which shard; once, for the same content and settings.

    Args: code: the language. source: the corpus as people named it, kept for them.
    Returns: the set's id: the language's code, and a digest of all that the set depends on.
    Raises: CorpusError if the corpus cannot be listed, a split is empty, or two splits share a speaker;
        TooManyBadClips if too many clips were rejected while listing.
    """
    listing = corpus.listing()
    cut, notes = getattr(corpus, "cut", {}), getattr(corpus, "notes", [])
    copying = copies(config.augment)
    made, clips = plans.make(
        listing,
        language(code),
        config,
        corpus=corpus.name,
        source=source,
        cut=cut,
        notes=[*notes, *(copying.notes() if copying else ())],
        sounds=copying.digests() if copying else {},
    )
    plans.save(store, made, clips)
    return made.id


def pending(store: Store, set_id: str) -> list[int]:
    """The shards that are not made yet. Raises NotFound if the set was not planned."""
    planned = plans.load(store, set_id)
    present = set(store.list(shards.folder(set_id)))
    return [number for number in range(len(planned.clips)) if not _files(planned, number) <= present]


def portions(store: Store, set_id: str, corpus: Corpus) -> list[list[int]]:
    """The pending shards as they are best given to workers, one list to each.

    One shard each; or, of a corpus that can only be read from its beginning, the shards of one split each: so
    a worker fills one shard after another, and one that is killed has one to repeat.
    """
    waiting = pending(store, set_id)
    if not corpus.sequential:
        return [[number] for number in waiting]
    splits = plans.load(store, set_id).splits
    of_splits = [[number for number in waiting if splits[number] == split] for split in SPLITS]
    return [numbers for numbers in of_splits if numbers]


def prepare_all(
    store: Store, set_id: str, corpus: Corpus, numbers: Sequence[int], *, threads: int = 1
) -> list[ShardRecord]:
    """Make some shards in one pass over the corpus; those that are made already are left alone.

    A shard is written when its last clip is there, and its record after it.
    Returns: the record of each shard, in the order of `numbers`.
    Raises: NotFound if the set was not planned or has no such shard; CorpusError if the corpus breaks off,
        CorpusUnavailable if it does not answer: the shards that are whole by then stay.
    """
    planned = plans.load(store, set_id)
    waiting = sorted(set(numbers) & set(pending(store, set_id)))
    if unknown := sorted(set(numbers) - set(range(len(planned.clips)))):
        raise NotFound(f"the set {set_id} has the shards 0 to {len(planned.clips) - 1}, not {unknown[0]}")
    if waiting:
        _make(store, planned, corpus, waiting, threads)
    return [_record(store, set_id, number) for number in numbers]


def complete(store: Store, set_id: str) -> Manifest:
    """See that every shard is made, write the manifest, and make the set its language's newest.

    A set of train alone, which is there to be mixed in, does not become the newest.
    Raises: SpeechError if shards are missing; TooManyBadClips; CorpusError if all clips of a split were
        rejected; DamagedShard if a shard that was made again is not what it was.
    """
    if waiting := pending(store, set_id):
        raise SpeechError(
            f"{len(waiting)} shards of {set_id} are not made yet, the first is {waiting[0]}; run "
            f"speech-features/{shards.set_language(set_id).name} again: it makes what is missing"
        )
    planned = plans.load(store, set_id)
    made = [_record(store, set_id, number) for number in range(len(planned.clips))]
    try:
        manifest = shards.manifest(store, set_id)
    except NotFound:
        shared = _shared_sentences(store, set_id, made)
        doubts = suspicions.together(made, lambda: plans.texts(store, set_id))
        twins = near_duplicates.look(store, planned.settings["n_mels"], made)
        gone = {one.clip for record in made for one in record.rejected} | set(twins.gone)
        near = read_before.look(plans.texts(store, set_id), gone)
        manifest = replace(_manifest(planned, made, shared, doubts, twins), near_texts=near)
        try:
            store.put(shards.manifest_path(set_id), records.to_bytes(manifest))
        except Conflict:  # another worker was first, with the same shards
            manifest = shards.manifest(store, set_id)
    _check_remade(manifest, made)
    point(store, manifest)
    return manifest


# ------------------------------------------------------------------ making shards


def _files(planned: Plan, number: int) -> set[str]:
    """The artefacts of one shard, when it is made."""
    files = {shards.shard_path(planned.id, number), shards.record_path(planned.id, number)}
    return files | ({shards.copies_path(planned.id, number)} if _has_copies(planned, number) else set())


def _has_copies(planned: Plan, number: int) -> bool:
    return planned.config.augment is not None and planned.splits[number] == "train"


def _make(store: Store, planned: Plan, corpus: Corpus, numbers: Sequence[int], threads: int) -> None:
    wanted = plans.clips_of(store, planned.id, numbers)
    shard_of = {clip.id: number for number, clip in wanted}
    of_shard: dict[int, list[Clip]] = {}
    for number, clip in wanted:
        of_shard.setdefault(number, []).append(clip)
    building: dict[int, Building] = {}
    config = planned.config
    copying = copies(config.augment, planned.sounds)
    for clip, made in _worked(corpus, wanted, config, copying, threads):
        if clip.id not in shard_of:  # a name that an archive has twice
            continue
        number = shard_of.pop(clip.id)
        shard = building.get(number) or building.setdefault(number, Building(of_shard.pop(number)))
        shard.add(clip, made)
        if not shard.missing:
            _write(store, planned, number, building.pop(number))
        if not shard_of:  # what follows in an archive is not wanted
            break
    if shard_of:
        raise CorpusError(
            f"{corpus.name} gave {len(wanted) - len(shard_of)} of {len(wanted)} clips that it listed; the "
            f"first that is missing is {next(iter(shard_of))}: see that the corpus is whole, and run again"
        )


def _worked(
    corpus: Corpus,
    wanted: Sequence[tuple[int, Clip]],
    config: PrepareConfig,
    copying: Copies | None,
    threads: int,
) -> Iterator[tuple[Clip, Made]]:
    """Each clip as the corpus gives it, and what became of it; made by several threads, in bounded memory."""
    clips = corpus.read([clip for _, clip in wanted])
    batches = _batches(cut(clips, config.max_clip_s), {clip.id: number for number, clip in wanted})
    if threads == 1:
        for batch in batches:
            yield from _with_their_clips(batch, make_rows(batch, config, copying))
            del batch  # its sound, before the next is read
        return
    waiting: deque[tuple[list[tuple[Clip, Cut]], Future[list[Made]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for batch in batches:
            waiting.append((batch, pool.submit(_made, batch, config, copying)))
            if len(waiting) >= AHEAD * threads:
                first, made = waiting.popleft()
                yield from _with_their_clips(first, made.result())
        for first, made in waiting:
            yield from _with_their_clips(first, made.result())


def _made(batch: Sequence[tuple[Clip, Cut]], config: PrepareConfig, copying: Copies | None) -> list[Made]:
    return list(make_rows(batch, config, copying))


def _with_their_clips(batch: Iterable[tuple[Clip, Cut]], made: Iterable[Made]) -> Iterator[tuple[Clip, Made]]:
    return zip((clip for clip, _ in batch), made, strict=True)


def _batches(clips: Iterable[tuple[Clip, Cut]], shard_of: dict[str, int]) -> Iterator[list[tuple[Clip, Cut]]]:
    """Clips in their order, some at a time, and no longer held once they complete a shard.

    If the corpus breaks off, those before that come first.
    Args: shard_of: the number of the shard of each clip that is wanted, by id.
    """
    batch: list[tuple[Clip, Cut]] = []
    size, missing = 0, Counter(shard_of.values())
    try:
        for clip, content in clips:
            batch.append((clip, content))
            size += len(content) if isinstance(content, bytes) else getattr(content, "nbytes", 0)
            number = shard_of.pop(clip.id, -1)  # a clip that is not wanted completes none
            missing[number] -= 1
            if len(batch) >= BATCH_CLIPS or size >= BATCH_BYTES or missing[number] == 0:
                yield batch
                batch, size = [], 0
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _write(store: Store, planned: Plan, number: int, shard: Building) -> None:
    path, prints = shards.shard_path(planned.id, number), shards.prints_path(planned.id, number)
    size, digest = _put(store, planned, path, shard.rows(), prints)
    record = replace(shard.record(number, planned.splits[number], path, size, digest), prints=prints)
    if _has_copies(planned, number):
        path = shards.copies_path(planned.id, number)
        size, digest = _put(store, planned, path, shard.copies())
        record = replace(record, copies=shard.copies_record(path, size, digest))
    shard.close()
    records.write(store, shards.record_path(planned.id, number), record)


def _put(store: Store, planned: Plan, path: str, rows: Iterable[Row], prints: str = "") -> tuple[int, str]:
    """Write rows as a shard, and their fingerprints, if they have a path. Returns: its bytes, and their
    SHA-256."""
    with tempfile.TemporaryDirectory() as folder:
        file, marks = Path(folder) / "shard.parquet", Path(folder) / "prints.parquet"
        n_mels = planned.settings["n_mels"]
        shards.write_shard(file, rows, set_id=planned.id, n_mels=n_mels)
        if prints:
            near_duplicates.write_prints(marks, file, n_mels)
            store.put_file(prints, marks)
        return file.stat().st_size, store.put_file(path, file)


def _record(store: Store, set_id: str, number: int) -> ShardRecord:
    return records.read(store, shards.record_path(set_id, number), ShardRecord)


# ------------------------------------------------------------------ completing a set


def _shared_sentences(store: Store, set_id: str, made: Sequence[ShardRecord]) -> dict[str, tuple[int, int]]:
    """Of the clips that were made of dev and test, those whose sentence was planned for train, too."""
    train = plans.train_sentences(store, set_id)
    shared: dict[str, tuple[int, int]] = {}
    for split in HELD_OUT:
        of_split = [record for record in made if record.split == split]
        rejected = {one.clip for record in of_split for one in record.rejected}
        clips = plans.clips_of(store, set_id, [record.number for record in of_split])
        seen = [sentence_key(clip.text) in train for _, clip in clips if clip.id not in rejected]
        shared[split] = (sum(seen), len(seen))
    return shared


def _manifest(
    planned: Plan,
    made: Sequence[ShardRecord],
    shared: Mapping[str, tuple[int, int]],
    doubts: Mapping[str, Suspicion] | None,
    twins: Twins,
) -> Manifest:
    gave_way = [one for one, _, _ in twins.gone.values()]
    aside = [*planned.rejected, *(one for record in made for one in record.rejected), *gave_way]
    rejected = plans.by_reason(aside)
    listed = sum(planned.clips) + len(planned.rejected)
    splits: dict[str, Totals] = {
        split: totals([record for record in made if record.split == split], twins) for split in SPLITS
    }
    _check_sum(planned, listed, sum(each.clips for each in splits.values()), rejected)
    plans.check_share(listed, rejected, planned.settings["max_bad_share"])
    of_splits = {split: each.clips for split, each in splits.items()}
    plans.check_whole_splits(of_splits, rejected, planned.config)
    licences: Counter[str] = Counter()
    for record in made:
        licences.update(record.licences)
    return Manifest(
        id=planned.id,
        language=planned.language,
        corpus=planned.corpus,
        source=planned.source,
        fingerprint=planned.fingerprint,
        settings=planned.settings,
        n_mels=planned.settings["n_mels"],
        shards=tuple(record.shard() for record in made if record.clips),
        splits=splits,
        listed=listed,
        rejected=rejected,
        cut=planned.cut,
        notes=tuple(planned.notes),
        licences=dict(licences),
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        rows=planned.rows,
        left_out=planned.left_out,
        shared_sentences=shared,
        suspicious=doubts,
        copies=copies_totals([one.copies for one in made if one.copies]) if planned.config.augment else None,
        near_duplicates=twins.kept(),
    )


def _check_sum(planned: Plan, listed: int, clips: int, rejected: Mapping[str, Rejections]) -> None:
    """Raises SpeechError if a row of the corpus is neither a clip, nor rejected, nor left out."""
    aside = sum(one.clips for one in rejected.values())
    left_out = sum(planned.left_out.values())
    if listed != clips + aside or planned.rows not in (0, listed + left_out):
        raise SpeechError(
            f"the corpus of {planned.id} has {planned.rows:,} rows, its shards account for {clips:,} clips, "
            f"{aside:,} rejected and {left_out:,} left out: this is a fault of dagsverk; report it"
        )


def totals(made: Sequence[ShardRecord], twins: Twins | None = None) -> Totals:
    """What some shards hold together, without the clips that gave way to others."""
    splits = {record.split for record in made}
    gone = [seconds for _, seconds, split in twins.gone.values() if split in splits] if twins else []
    return Totals(
        clips=sum(record.clips for record in made) - len(gone),
        seconds=round(sum(record.seconds for record in made) - sum(gone), 3),
        speakers=len({speaker for record in made for speaker in record.speakers}),
    )


def copies_totals(made: Sequence[CopiesRecord]) -> CopiesTotals:
    """What some files of copies hold together."""
    left_out: Counter[str] = Counter()
    for record in made:
        left_out.update(record.left_out)
    return CopiesTotals(
        shards=tuple(record.shard() for record in made if record.clips),
        clips=sum(record.clips for record in made),
        seconds=round(sum(record.seconds for record in made), 3),
        left_out=dict(sorted(left_out.items())),
    )


def _check_remade(manifest: Manifest, made: Sequence[ShardRecord]) -> None:
    """A shard that was lost and made again must be the same, byte for byte, or models tell of other data."""
    digests = {one.path: one.sha256 for record in made for one in (record, record.copies) if one}
    for shard in (*manifest.shards, *(manifest.copies.shards if manifest.copies else ())):
        if digests[shard.path] != shard.sha256:
            raise DamagedShard(
                f"the shard {shard.path} was made again and differs from the one in the manifest: recordings "
                f"or libraries have changed; remove {shards.folder(manifest.id)} and prepare the set anew"
            )


def point(store: Store, about: Manifest) -> None:
    """Make a complete set its language's newest, but one that is there to be mixed in."""
    if about.settings.get("train_only"):
        return
    of, set_id = shards.set_language(about.id), about.id
    try:
        if shards.newest(store, of.code) == set_id:
            return
    except NotFound:
        pass
    records.write_json(store, shards.pointer(of), {"set": set_id})
