"""What is kept of a place's recordings -> the report: counts, reasons, hours, speed, error rates.

Each record is read once: `index.json` holds what the report needs of those before. It may be lost.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dagsverk import records
from dagsverk.speech.corpora.corpus import Clip
from dagsverk.speech.errors import CorpusError, CorpusUnavailable
from dagsverk.speech.languages import Language
from dagsverk.speech.transcription import results
from dagsverk.speech.transcription.config import TranscriptionConfig
from dagsverk.speech.transcription.results import (
    Failure,
    Portion,
    Scored,
    Speed,
    Text,
    Transcribed,
)
from dagsverk.speech.transcription.sources import open_source
from dagsverk.store import Store, StoreError

if TYPE_CHECKING:
    from dagsverk.speech.transcription.work import Plan

MOST_FAILURES = 20  # that the report names
RESAMPLES = 2000
COUNTED = ("substitutions", "deletions", "insertions", "words", "character_errors", "characters")


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Of one text against one reference."""

    reference: str  # digest
    counts: Mapping[str, int]  # COUNTED; empty: nothing to score


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the report needs of one text."""

    audio_s: float
    took_s: float
    model: str
    errors: Errors | None = None


@dataclass(frozen=True)
class Index:
    """By <key>/<record>."""

    rows: Mapping[str, Row] = field(default_factory=dict)


def complete(
    store: Store,
    language: Language,
    made: Plan,
    config: TranscriptionConfig,
    attempts: Sequence[Portion],
) -> Transcribed:
    """Add up what is there, and keep the report. Raises CorpusUnavailable if the place does not answer."""
    folder = results.root(language, made.place)
    references, note = _references(language, config)
    before, rows = _index(store, folder).rows, dict[str, Row]()
    kept, failures, speakers = results.kept(store, folder), list[Failure](), dict[str, str]()
    for recording in made.recordings:
        names = kept.get(recording.key, set())
        if record := results.best_text(names, made.model):
            label, reference = f"{recording.key}/{record}", references.get(recording.path)
            path = results.record_path(folder, recording, record)
            rows[label] = _row(store, path, before.get(label), reference, language)
            speakers[label] = reference.speaker if reference else ""
        elif names:
            name = results.FAILED if results.FAILED in names else results.UNREAD
            failures.append(records.read(store, results.record_path(folder, recording, name), Failure))
    report = _report(made, config, attempts, rows, failures)
    notes = [one for one in (note, _unwritten(attempts), _denied(made)) if one]
    report = replace(report, scored=_scored(rows, speakers), notes=notes)
    records.write(store, f"{folder}/index.json", Index(rows))
    records.keep_report(store, language.name, results.report_name(made.place), report)
    return report


def _index(store: Store, folder: str) -> Index:
    try:
        return records.read(store, f"{folder}/index.json", Index)
    except StoreError:  # none yet, or damaged: its records are there
        return Index()


def _references(language: Language, config: TranscriptionConfig) -> tuple[dict[str, Clip], str]:
    """What is said in recordings, by path, as a corpus in a folder has it; and why there is none, if there is
    a table that cannot be read. English has none: those of corpora are of what is spoken."""
    from dagsverk.speech.corpora.folder import FolderCorpus

    if config.task != "transcribe":
        return {}, ""
    try:
        clips = FolderCorpus(open_source(config.source).place, language.spoken).listing().clips
    except CorpusUnavailable:
        raise
    except CorpusError as error:
        return {}, "" if "holds no corpus" in str(error) else f"texts beside are not compared: {error}"
    return {clip.audio: clip for clip in clips}, ""


def _unwritten(attempts: Sequence[Portion]) -> str:
    count = sum(one.unwritten for one in attempts)
    what = "the text of one recording is" if count == 1 else f"the texts of {count} recordings are"
    return f"{what} in the store alone: the output cannot hold files of their names" if count else ""


def _denied(made: Plan) -> str:
    count = len(made.denied)
    what = "one folder" if count == 1 else f"{count} folders"
    return f"{what} below may not be read, and nobody knows what is in there" if count else ""


def _row(store: Store, path: str, before: Row | None, reference: Clip | None, language: Language) -> Row:
    digest = hashlib.sha256(reference.text.encode("utf-8", "replace")).hexdigest()[:16] if reference else ""
    if before and (before.errors.reference if before.errors else "") == digest:
        return before
    text = records.read(store, path, Text)
    model = text.model if text.version is None else f"{text.model} {text.version}"
    row = Row(audio_s=text.audio_s, took_s=text.took_s, model=model)
    if reference is None:
        return row
    return replace(row, errors=Errors(reference=digest, counts=_counts(reference.text, text.text, language)))


def _counts(reference: str, text: str, language: Language) -> dict[str, int]:
    from dagsverk.speech.evaluation.scoring import NORMALISED, count_errors  # jiwer

    counted = count_errors([reference], [" ".join(text.split())], language.code, (NORMALISED,))
    if not counted["scored"].iloc[0]:
        return {}
    return {name: int(counted[name].iloc[0]) for name in COUNTED}


def _scored(rows: Mapping[str, Row], speakers: Mapping[str, str]) -> Scored | None:
    from dagsverk.speech.evaluation.bootstrap import bootstrap

    scored = {label: row.errors.counts for label, row in rows.items() if row.errors and row.errors.counts}
    if not scored:
        return None
    columns = [
        [
            one["substitutions"] + one["deletions"] + one["insertions"],
            one["words"],
            one["character_errors"],
            one["characters"],
        ]
        for one in scored.values()
    ]
    names = [speakers[label] for label in scored]
    sums = bootstrap(columns, names, resamples=RESAMPLES, seed=0)
    return Scored(
        recordings=len(scored),
        speakers=len({name for name in names if name}),
        words=sum(one["words"] for one in scored.values()),
        wer=sums.rate(0, 1),
        cer=sums.rate(2, 3),
    )


def _report(
    made: Plan,
    config: TranscriptionConfig,
    attempts: Sequence[Portion],
    rows: Mapping[str, Row],
    failures: Sequence[Failure],
) -> Transcribed:
    models = sorted({row.model for row in rows.values()})
    by_model = [(model, [row for row in rows.values() if row.model == model]) for model in models]
    return Transcribed(
        source=config.source,
        task=config.task,
        recordings=len(made.recordings),
        written=len(rows),
        new=sum(one.written for one in attempts),
        failed=dict(Counter(one.reason for one in failures).most_common()),
        failures=tuple(failures[:MOST_FAILURES]),
        audio_s=round(sum(row.audio_s for row in rows.values()), 3),
        new_audio_s=round(sum(one.audio_s for one in attempts), 3),
        new_took_s=round(sum(one.took_s for one in attempts), 3),
        models=tuple(_speed(model, of_model) for model, of_model in by_model),
        scored=None,
        other_files=made.other_files,
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )


def _speed(model: str, rows: Sequence[Row]) -> Speed:
    return Speed(
        model=model,
        recordings=len(rows),
        audio_s=round(sum(row.audio_s for row in rows), 3),
        took_s=round(sum(row.took_s for row in rows), 3),
    )


def summary(report: Transcribed) -> str:
    """In one line."""
    failed = ", ".join(f"{count} {reason}" for reason, count in report.failed.items())
    speed = (
        f", {report.new_audio_s / report.new_took_s:.1f} times as fast as spoken" if report.new_took_s else ""
    )
    parts = [
        f"{report.written} of {report.recordings} recordings are written down, {report.audio_s / 3600:.2f} h",
        f"{report.new} of them now ({report.new_audio_s / 60:.1f} min{speed})",
        f"not: {failed}" if failed else "",
        _rate(report.scored),
        *report.notes,
    ]
    return "; ".join(part for part in parts if part)


def _rate(scored: Scored | None) -> str:
    from dagsverk.words import interval

    if scored is None:
        return ""
    wer = interval(scored.wer.value, scored.wer.low, scored.wer.high)
    return f"WER {wer} on {scored.recordings} with a text beside them"
