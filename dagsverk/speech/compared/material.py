"""Which clips two contenders are compared on, and their recordings: clips that neither has learnt."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd

from dagsverk.records import parse, read, write
from dagsverk.speech.audio.samples import Audio
from dagsverk.speech.compared.config import CompareConfig, Contender
from dagsverk.speech.compared.contenders import learnt, refuse_absent
from dagsverk.speech.compared.results import folder
from dagsverk.speech.config import CorpusConfig, PrepareConfig
from dagsverk.speech.corpora.corpus import Clip, RejectedClip, Split
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.corpora.overlap import sentence_key
from dagsverk.speech.errors import AudioError, SpeechError
from dagsverk.speech.evaluation.retention import draw
from dagsverk.speech.features import plans, shards
from dagsverk.speech.languages import Language
from dagsverk.store import NotFound, Store
from dagsverk.words import counted

LEARNT = "a contender was trained on it"
CHECKS = ("min_s", "max_s", "silence_dbfs", "max_clipped_share")


@dataclass(frozen=True, kw_only=True)
class Material:
    """The clips of a comparison, as the store keeps them."""

    key: str
    of: str  # in words
    clips: int
    checks: Mapping[str, float]  # that a recording has to pass
    left_out: Mapping[str, int] = field(default_factory=dict)  # reason -> clips
    notes: tuple[str, ...] = ()


def choose(
    store: Store,
    language: Language,
    contenders: Sequence[Contender],
    corpus: CorpusConfig,
    config: CompareConfig,
) -> str:
    """The clips that are compared, kept. Returns the path of their record.

    Raises: SpeechError if fewer than two are left that neither contender has learnt; CorpusError; as
        `refuse_absent` for a contender that is not there.
    """
    for contender in contenders:
        refuse_absent(store, language, contender)
    if config.clips == "test":
        clips, of, checks, notes = _of_set(store, language, config)
    else:
        clips, of, checks, notes = _of_corpus(language, corpus)
    fair, left_out, more, sentences = _fair(store, language, contenders, clips)
    rows = _rows(fair, sentences)
    if len(rows) < 2:
        why = "; ".join(f"{counted(n, 'clip')}: {reason}" for reason, n in left_out.items())
        raise SpeechError(
            f"no fair comparison can be made on {of}: {counted(len(rows), 'clip')} of {len(clips)} is left "
            f"({why or 'there are no more'}); compare on clips that neither has learnt: name another corpus"
        )
    rows = _drawn(rows, config)
    if len(rows) < len(fair):
        more.append(f"of {counted(len(fair), 'clip')} {len(rows)} were drawn, of every speaker in turn")
    data = _packed(rows)
    key = hashlib.sha256(data).hexdigest()[:16]
    made = Material(key=key, of=of, clips=len(rows), checks=checks, left_out=left_out, notes=(*notes, *more))
    root = folder(language)
    store.put(f"{root}/clips/{key}.parquet", data, overwrite=True)
    path = f"{root}/clips/{key}-{hashlib.sha256(repr(made).encode()).hexdigest()[:8]}.json"
    write(store, path, made)
    return path


def load(store: Store, path: str) -> tuple[Material, pd.DataFrame]:
    """What `choose` kept. Raises NotFound."""
    made = read(store, path, Material)
    root = path.rpartition("/")[0]
    return made, pd.read_parquet(io.BytesIO(store.get(f"{root}/{made.key}.parquet")))


def recordings(
    rows: pd.DataFrame, language: Language, corpus: CorpusConfig, checks: Mapping[str, float]
) -> Iterator[tuple[str, Audio | AudioError]]:
    """The samples of each clip, or why it cannot be used, in the corpus's order.

    Raises: CorpusError, CorpusUnavailable.
    """
    from dagsverk.speech.audio.sandbox import CLIPS
    from dagsverk.speech.audio.waveform import check
    from dagsverk.speech.features.cutting import cut

    opened = open_corpus(corpus, language.code)
    opened.listing()  # some corpora know their places only then
    clips = [_clip(dict(row), language) for row in rows.to_dict("records")]
    longest_s = float(checks["max_s"])
    for clip, content in cut(opened.read(clips), longest_s):
        if isinstance(content, RejectedClip):
            yield clip.id, AudioError(content.reason, content.detail)
            continue
        try:
            samples = (
                CLIPS.read_samples(content, max_s=longest_s, language=clip.language)
                if isinstance(content, bytes)
                else content
            )
            check(samples, **checks)
        except AudioError as error:
            yield clip.id, error
            continue
        yield clip.id, np.ascontiguousarray(samples, np.float32)


def _of_set(
    store: Store, language: Language, config: CompareConfig
) -> tuple[list[Clip], str, dict[str, float], list[str]]:
    set_id = config.set or shards.newest(store, language.code)
    if shards.set_language(set_id) != language:
        raise SpeechError(
            f"{set_id} is a set of {shards.set_language(set_id).title}, not of {language.title}"
        )
    plan = plans.load(store, set_id)
    numbers = [number for number, split in enumerate(plan.splits) if split == "test"]
    clips = [clip for _, clip in plans.clips_of(store, set_id, numbers)]
    settings, of_set = parse(dict(plan.settings), PrepareConfig), f"the test clips of {set_id}"
    return clips, f"{of_set}, from {plan.corpus}", _checks(settings), list(plan.notes)


def _of_corpus(
    language: Language, corpus: CorpusConfig
) -> tuple[list[Clip], str, dict[str, float], list[str]]:
    opened = open_corpus(corpus, language.code)
    listing = opened.listing()
    rejected = Counter(one.reason for one in listing.rejected)
    notes = [
        f"{counted(count, 'row')} of the corpus set aside: {reason}" for reason, count in rejected.items()
    ]
    return (
        list(listing.clips),
        f"all clips of {opened.name}",
        _checks(PrepareConfig()),
        [*opened.notes, *notes],
    )


def _checks(settings: PrepareConfig) -> dict[str, float]:
    values = settings.min_clip_s, settings.max_clip_s, settings.silence_dbfs, settings.max_clipped_share
    return dict(zip(CHECKS, values, strict=True))


def _fair(
    store: Store, language: Language, contenders: Sequence[Contender], clips: Sequence[Clip]
) -> tuple[list[Clip], dict[str, int], list[str], frozenset[int]]:
    """Clips that no contender is known to have learnt; why others are left out; notes; sentences learnt."""
    taught: set[tuple[str, str]] = set()
    sentences: set[int] = set()
    notes = []
    for place, contender in zip(("first", "second"), contenders, strict=True):
        lesson = learnt(store, language, contender)
        if lesson.set is None:
            notes.append(f"the {place}: {lesson.why}")
            continue
        try:
            for name, split, text in plans.texts(store, lesson.set):
                if split != "test":  # dev chose the checkpoint
                    taught.add((name, text))
                if split == "train":
                    sentences.add(sentence_key(text))
        except NotFound as error:
            notes.append(f"the {place}: {error}")
    fair = [clip for clip in clips if (clip.id, clip.text) not in taught]
    gone = len(clips) - len(fair)
    return fair, ({LEARNT: gone} if gone else {}), notes, frozenset(sentences)


def _rows(clips: Sequence[Clip], sentences: frozenset[int]) -> pd.DataFrame:
    names = ("id", "audio", "text", "split", "speaker", "gender", "age", "accent")
    columns = {name: [getattr(clip, name) for clip in clips] for name in names}
    rows = pd.DataFrame(columns, dtype=object).drop_duplicates("id")
    if sentences:
        rows["in_train"] = [sentence_key(text) in sentences for text in rows["text"]]
    return rows.reset_index(drop=True)


def _drawn(rows: pd.DataFrame, config: CompareConfig) -> pd.DataFrame:
    if len(rows) <= config.most_clips:
        return rows
    return rows.iloc[draw(rows, config.most_clips, config.seed)].reset_index(drop=True)


def _clip(row: Mapping[Any, Any], language: Language) -> Clip:
    return Clip(
        id=str(row["id"]),
        audio=str(row["audio"]),
        text=str(row["text"]),
        language=language.spoken,
        split=cast(Split, row["split"]),
        speaker=str(row["speaker"]),
    )


def _packed(rows: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    rows.to_parquet(sink, compression="zstd", index=False)
    return sink.getvalue()
