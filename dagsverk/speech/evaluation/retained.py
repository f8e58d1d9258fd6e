"""A published model before and after training, asked for what it was not trained for; its answers are kept.

English from the test clips, and times between their words; the newest clips of other languages that the store
has. Each model answers in the mode in which it is served. Base answers are made once for all runs from it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from dagsverk.speech import results
from dagsverk.speech.config import NANO, EvaluationConfig
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.evaluation import retention
from dagsverk.speech.evaluation.forgetting import english_holds, knows_english
from dagsverk.speech.evaluation.report import OtherLanguage, Retention, Timestamps, Translation
from dagsverk.speech.evaluation.transcripts import accelerated, accelerated_precision
from dagsverk.speech.features import shards
from dagsverk.speech.features.prepared import PreparedClips, open_prepared
from dagsverk.speech.languages import Language
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.model.decoding import decode
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.model.timestamps import Stamped, decode_with_timestamps
from dagsverk.store import Conflict, NotFound, Store, StoreError, Unavailable
from dagsverk.words import counted

MOST_LANGUAGES = 4  # heard: those whose clips were prepared last
SHARDS = 1  # of another language's test clips that are looked at: 1,000 clips, as prepared by default
OTHERS_SHARE = 0.5  # of `clips`, heard of each other language
FEWEST_SENTENCES = 5  # by which English is judged; of fewer, times are asked of all clips
TIMED_SHARE = 0.4  # of `clips`, asked for times

Asked = Literal["transcribe", "translate", "timestamps"]


@dataclass(frozen=True)
class Pair:
    """A model before and after training, with the SHA-256 of their weights."""

    before: SpeechModel
    after: SpeechModel
    fingerprints: tuple[str, str]


def retained(
    store: Store,
    before: SpeechModel,
    after: SpeechModel,
    clips: PreparedClips,
    config: EvaluationConfig,
    cache: Path,
    *,
    taught: bool = False,
) -> Retention | None:
    """What the model still knows after training; None for nano, which knew nothing. Safe to repeat.

    Args:
        clips: the test split of the tuned language.
        taught: whether its training had translations.
    """
    if before.name == NANO or not config.clips_asked:
        return None
    pair = Pair(before, after, (before.fingerprint(), after.fingerprint()))
    language = language_of(clips.language)
    not_measured: dict[str, str] = {}
    reason = _no_english(language, pair, clips, taught=taught)
    translation = None if reason else _translation(store, pair, clips, config)
    if reason:
        not_measured["English"] = reason
    languages, reasons = _other_languages(store, pair, language, config, cache)
    not_measured |= reasons
    timestamps = _timestamps(store, pair, clips, config) if len(clips) else None
    if timestamps is None:
        not_measured["timestamps"] = "there are no test clips"
    able_before = knows_english(before.model.config)
    english, why = False, reason
    if translation:
        english, why = english_holds(translation, able_before=able_before)
    return Retention(
        translation=translation,
        languages=languages,
        timestamps=timestamps,
        not_measured=not_measured,
        english=english,
        why=why,
    )


def _no_english(language: Language, pair: Pair, clips: PreparedClips, *, taught: bool) -> str:
    """Why no English is asked for; empty: it is."""
    if language.spoken == "en":
        return "English is what is spoken"
    able = knows_english(pair.before.model.config)
    if not able and not taught:
        return "the model was not taught to translate, before or here"
    asked = clips.only(retention.sentences(clips.rows, language.code))
    if len(asked) < FEWEST_SENTENCES:
        return (
            f"{len(asked)} of {counted(len(clips), 'test clip')} have {retention.MIN_WORDS} words or more, "
            "too few to judge it by"
        )
    if able:
        return ""
    if not any(asked.rows["translation"].fillna("")):
        return "it was taught here alone, and no test clip has a translation to judge it by"
    return ""


def _translation(store: Store, pair: Pair, clips: PreparedClips, config: EvaluationConfig) -> Translation:
    asked = clips.only(retention.sentences(clips.rows, clips.language))
    drawn = asked.only(retention.draw(asked.rows, config.clips_asked, config.seed))
    before, after = (list(rows["text"]) for rows in answers(store, pair, drawn, config, "translate"))
    return retention.translation(drawn.rows, before, after, clips.language, config)


def _timestamps(store: Store, pair: Pair, clips: PreparedClips, config: EvaluationConfig) -> Timestamps:
    most = max(1, round(TIMED_SHARE * config.clips_asked))
    asked = clips.only(retention.sentences(clips.rows, clips.language))
    if len(asked) < FEWEST_SENTENCES:
        asked = clips
    drawn = asked.only(retention.draw(asked.rows, most, config.seed))
    sides = [
        [Stamped(text, tuple(begins), tuple(ends), whole=whole) for text, begins, ends, whole in rows]
        for rows in (
            zip(table["text"], table["begins_s"], table["ends_s"], table["whole"], strict=True)
            for table in answers(store, pair, drawn, config, "timestamps")
        )
    ]
    return retention.timestamps(list(drawn.rows["duration_s"]), *sides)


def _other_languages(
    store: Store, pair: Pair, tuned: Language, config: EvaluationConfig, cache: Path
) -> tuple[tuple[OtherLanguage, ...], dict[str, str]]:
    """Rates of each, and why others have none; at least a sentence of one kind."""
    measured: list[OtherLanguage] = []
    reasons: dict[str, str] = {}
    for language, set_id in _newest_sets(store, tuned):
        if len(measured) == MOST_LANGUAGES:
            break
        try:
            measured.append(_other_language(store, pair, language, set_id, config, cache))
        except Unavailable:
            raise  # in a moment it can be measured
        except (SpeechError, StoreError, ValueError) as error:
            reasons[language.title] = str(error)
    if not measured and not reasons:
        reasons["other languages"] = (
            "the store has clips of no other language; prepare some of one that the model should still know "
            "(deployment speech-features), and score again"
        )
    return tuple(measured), reasons


def _newest_sets(store: Store, tuned: Language) -> list[tuple[Language, str]]:
    """Other languages that Whisper knows with their newest complete set, the newest set first."""
    sets: list[tuple[str, Language, str]] = []
    for language in results.speech_languages(store):
        if language.is_borrowed or language.token == tuned.token:
            continue
        try:
            set_id = shards.newest(store, language.code)
            sets.append((shards.manifest(store, set_id).created, language, set_id))
        except (NotFound, ValueError):
            continue  # runs without clips, or clips of another format
    return [(language, set_id) for _, language, set_id in sorted(sets, key=lambda one: one[0], reverse=True)]


def _other_language(
    store: Store, pair: Pair, language: Language, set_id: str, config: EvaluationConfig, cache: Path
) -> OtherLanguage:
    """Raises ValueError if it cannot be measured."""
    about = shards.manifest(store, set_id)
    if about.n_mels != pair.before.n_mels:
        raise ValueError(
            f"its clips have {about.n_mels} mel bins, the model hears {pair.before.n_mels}; prepare them so"
        )
    clips = open_prepared(store, set_id, ("test",), cache, first_shards=SHARDS)
    if not len(clips):
        raise ValueError("it has no test clips")
    most = max(1, round(OTHERS_SHARE * config.clips_asked))
    drawn = clips.only(retention.draw(clips.rows, most, config.seed))
    before, after = (list(rows["text"]) for rows in answers(store, pair, drawn, config, "transcribe"))
    return retention.other_language(drawn.rows, before, after, language.code, about.corpus, set_id, config)


def answers(
    store: Store, pair: Pair, clips: PreparedClips, config: EvaluationConfig, asked: Asked
) -> list[pd.DataFrame]:
    """What each of the two models wrote of each clip: columns clip_id, text, and of times what `Stamped`
    has. Kept."""
    models = zip((pair.before, pair.after), pair.fingerprints, strict=True)
    return [_answer(store, model, fingerprint, clips, config, asked) for model, fingerprint in models]


def _answer(
    store: Store,
    model: SpeechModel,
    fingerprint: str,
    clips: PreparedClips,
    config: EvaluationConfig,
    asked: Asked,
) -> pd.DataFrame:
    ids = list(clips.rows["id"])
    beams = 1 if asked == "timestamps" else config.beams
    subject: list[object] = [fingerprint, clips.set_id, ids, beams, model.full_windows]
    subject += [] if (kind := accelerated_precision(model)) == "fp32" else [kind]
    path = _path(clips.language, asked, subject)
    try:
        return pd.read_parquet(io.BytesIO(store.get(path)))
    except NotFound:
        with accelerated(model):
            table = pd.DataFrame({"clip_id": ids, **_asked(model, clips, config, asked)})
    sink = io.BytesIO()
    table.to_parquet(sink, compression="zstd", index=False)
    try:
        store.put(path, sink.getvalue())
    except Conflict:  # another process was first: its texts are the ones that count
        return pd.read_parquet(io.BytesIO(store.get(path)))
    return table


def _path(language: str, asked: Asked, subject: list[object]) -> str:
    key = hashlib.sha256(json.dumps([language, asked, *subject]).encode()).hexdigest()[:16]
    return f"{results.folder(language_of(language))}/transcripts/{asked}-{key}.parquet"


def _asked(
    model: SpeechModel, clips: PreparedClips, config: EvaluationConfig, asked: Asked
) -> dict[str, Sequence[object]]:
    places = range(len(clips))
    sounds = [clips.mel(i) for i in places], [clips.floor(i) for i in places]
    if asked == "timestamps":
        stamped = decode_with_timestamps(model, *sounds, language=clips.language, batch_s=config.batch_s)
        return {name: [getattr(one, name) for one in stamped] for name in Stamped.__dataclass_fields__}
    decoded = decode(
        model, *sounds, language=clips.language, task=asked, beams=config.beams, batch_s=config.batch_s
    )
    return {"text": [one.text for one in decoded]}
