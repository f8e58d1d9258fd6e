"""The champion and the newest set -> the texts that may be wrong, the most suspicious first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dagsverk import label_decisions, suspicion
from dagsverk.label_report import CUT, LEAST_LISTED, MOST_LISTED, Suspect, SuspectLabels
from dagsverk.speech.audio.sandbox import CLIPS
from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.corpora.corpus import Clip, Corpus, RejectedClip
from dagsverk.speech.errors import AudioError, SpeechError
from dagsverk.speech.evaluation.transcripts import Tick
from dagsverk.speech.features import log_mel, shards
from dagsverk.speech.features.cutting import Cut, cut
from dagsverk.speech.labels import mending
from dagsverk.speech.labels.scoring import Scored, score
from dagsverk.speech.languages import Language
from dagsverk.speech.model.models import load_model
from dagsverk.store import Model, Store

LONGEST_S = 30.0
LIKELIER = 3.0  # nats: of what is heard over what is written, from which that is a reason
IMPROBABLE = 6.0  # nats: of a token, from which that is a reason
MOST_TIMES = 1_000_000
CHANGED = "the recording has changed since the set was prepared"


@dataclass(frozen=True)
class _Source:
    """A clip as it was prepared."""

    key: str
    text: str


def find(
    store: Store, language: Language, champion: Model, set_id: str, cache: Path, tick: Tick
) -> SuspectLabels:
    """The report on the texts of a set. Raises ValueError for too few clips to tell."""
    model = load_model(str(store.download(champion, cache / f"{champion.name}-{champion.version}")))
    made = score(store, language, model, set_id, cache, tick)
    rows = made.rows.sort_values("suspicion", ascending=False, kind="stable")
    suspicious = rows[rows["suspicion"] >= CUT]
    listed = rows.head(min(MOST_LISTED, max(LEAST_LISTED, len(suspicious))))
    parent = mending.parent_of(store, set_id)
    sources = _sources(store, parent, frozenset(listed["id"]), cache)
    learned = _learned(store, champion, parent)
    precision, low, high = suspicion.precision_at(made.rows["suspicion"].to_numpy(), CUT)
    judged = suspicion.Judged(made.rows["suspicion"].to_numpy(), made.planted["suspicion"].to_numpy())
    return SuspectLabels(
        family="speech",
        name=language.name,
        of=set_id,
        decisions=label_decisions.state(store, "speech", language.name).digest,
        model=champion.name,
        model_version=champion.version,
        labels=len(rows),
        suspicious=len(suspicious),
        suspicious_test=int((suspicious["split"] == "test").sum()),
        cut=CUT,
        share=suspicion.SHARE,
        precision=precision,
        precision_low=low,
        precision_high=high,
        kinds=suspicion.by_kind(judged, made.planted["kind"].tolist(), CUT),
        suspects=tuple(_suspect(row, sources, learned) for row in listed.to_dict("records")),
        audio_s=round(float(rows["duration_s"].sum()), 1),
        seconds=round(made.seconds, 1),
        notes=_notes(made, learned),
    )


def keep_sounds(
    store: Store, language: Language, report: SuspectLabels, corpus: Corpus, n_mels: int
) -> SuspectLabels:
    """The report with the recordings of its clips, each kept as a small WAV file.

    A recording that is another one by now is not kept: what is heard must be what was judged. A corpus that
    this machine cannot reach only makes them missing.
    """
    by_name = {one.name: one for one in report.suspects}
    sounds: dict[str, str] = {}
    silent: dict[str, str] = {}
    why = f"{corpus.name} does not have it"
    try:
        wanted = [_clip(language, one) for one in report.suspects]
        for clip, content in cut(corpus.read(wanted), LONGEST_S) if wanted else ():
            one = by_name[clip.id]
            try:
                sounds[clip.id] = _keep_sound(store, language, one, content, n_mels)
            except AudioError as error:
                silent[clip.id] = str(error)
    except (SpeechError, OSError) as error:
        why = f"{corpus.name} cannot be read here: {error}"
    suspects = tuple(
        replace(one, sound=sounds.get(one.name, ""), why_silent=_silent(one.name, sounds, silent, why))
        for one in report.suspects
    )
    return replace(report, suspects=suspects)


def sound_path(language: Language, key: str) -> str:
    """The artefact of a recording."""
    return f"labels/speech/{language.name}/sounds/{key}.wav"


def _silent(name: str, sounds: Mapping[str, str], silent: Mapping[str, str], why: str) -> str:
    return "" if name in sounds else silent.get(name, why)[:300]


def _keep_sound(store: Store, language: Language, one: Suspect, content: Cut, n_mels: int) -> str:
    if isinstance(content, RejectedClip):
        raise AudioError(content.reason, content.detail)
    sound = content
    if isinstance(sound, bytes):
        sound = CLIPS.read_samples(sound, max_s=LONGEST_S, language=language.code)
    levels, peak = log_mel.quantise(log_mel.log_mel(sound, n_mels))
    if mending.clip_key(shards.pack(levels), peak, one.source_label) != one.key:
        raise AudioError("changed", CHANGED)
    path = sound_path(language, one.key)
    store.put(path, encode_wav(sound), overwrite=True)
    return path


def _clip(language: Language, one: Suspect) -> Clip:
    return Clip(
        id=one.name,
        audio=one.about.get("audio", ""),
        text=one.source_label,
        language=language.code,
        split=one.split,  # type: ignore[arg-type]
        speaker=one.about.get("speaker", ""),
    )


def _sources(store: Store, parent: str, names: frozenset[str], cache: Path) -> dict[str, _Source]:
    about = shards.manifest(store, parent)
    return {
        name: _Source(key, text)
        for shard in about.shards
        for name, key, text in mending.keys_of(store, shard, cache)
        if name in names
    }


def _learned(store: Store, champion: Model, parent: str) -> bool:
    """Whether the champion was trained on clips of this very set."""
    trained = str(champion.info.get("set", ""))
    try:
        return bool(trained) and mending.parent_of(store, trained) == parent
    except Exception:  # noqa: BLE001  a set that is gone: nobody knows
        return False


def _suspect(row: Mapping[Any, Any], sources: Mapping[str, _Source], learned: bool) -> Suspect:
    source, name = sources[str(row["id"])], str(row["id"])
    return Suspect(
        key=source.key,
        name=name,
        label=str(row["text"]),
        source_label=source.text,
        other=str(row["hypothesis"]),
        suspicion=round(float(row["suspicion"]), 4),
        why=tuple(_why(row, learned)),
        about={
            "audio": str(row["audio"]),
            "speaker": str(row["speaker"] or ""),
            "seconds": f"{row['duration_s']:.1f}",
        },
        split=str(row["split"]),
    )


def _why(row: Mapping[Any, Any], learned: bool) -> list[str]:
    total, worst = float(row["total_gap"]), float(row["worst"])
    reasons = []
    if total >= LIKELIER:
        times = 2.718281828 ** min(total, 20.0)
        many = f"more than {MOST_TIMES:,}" if times > MOST_TIMES else f"{times:,.0f}"
        reasons.append(f"what the model hears is {many} times likelier to it")
    if worst >= IMPROBABLE:
        reasons.append(f"a piece of the text is improbable to it (a chance of {2.718281828**-worst:.1g})")
    if row["words"]:
        reasons.append(f"{row['word_errors']} of {row['words']} words differ")
    if learned and row["split"] == "train":
        reasons.append("the model was trained on this clip and may have learned a fault by heart")
    return reasons


def _notes(made: Scored, learned: bool) -> tuple[str, ...]:
    if not learned:
        return ()
    train = int((made.rows["split"] == "train").sum())
    return (
        f"the model was trained on {train:,} of these clips: of faults in those fewer are seen than of "
        "those that were put in on purpose afterwards",
    )
