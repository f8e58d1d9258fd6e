"""What models wrote of recordings without texts -> clips that are good enough to learn from, as a corpus.

    judge     a segment, and what another model wrote of the same time -> why it is not good enough, or ""
    select    the segments of a plan's recordings -> clips and a table in a folder; the rest counted by reason

A clip's text is a model's word, not a person's: the folder is for train alone (`train_only`), and the report
says which model wrote it and what was asked of it.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dagsverk import records
from dagsverk.speech.audio.sandbox import Sandbox
from dagsverk.speech.audio.waveform import SAMPLE_RATE_HZ, encode_wav
from dagsverk.speech.errors import AudioError, SpeechError
from dagsverk.speech.evaluation.normaliser import normalise
from dagsverk.speech.evaluation.scoring import NORMALISED, count_errors, total
from dagsverk.speech.languages import Language
from dagsverk.speech.serving.repetition import MAX_COMPRESSION_RATIO, compression_ratio, loops
from dagsverk.speech.transcription import results
from dagsverk.speech.transcription.pseudo_config import PseudoLabelConfig, PseudoLabels, summary
from dagsverk.speech.transcription.results import KeptSegment, Recording, Text
from dagsverk.speech.transcription.sources import FolderSource, PrefixSource, Unread, open_source
from dagsverk.speech.transcription.spoken_language import Teller, other, spoken
from dagsverk.speech.transcription.work import MAX_S, Plan
from dagsverk.store import NotFound, Store

REPORT = "pseudo-labels"
TABLE = "metadata.jsonl"
ANOTHER = "another language is spoken"
UNWRITTEN = "recording that no model wrote down"

_DECODERS = Sandbox(1, reuse=True, most_waiting=100, patience_s=float("inf"))


def judge(
    segment: KeptSegment, other: str | None, language: str, config: PseudoLabelConfig
) -> tuple[str, float | None]:
    """Why a segment is not good enough ("": it is), and the share of words on which the models differ.

    Args: other: what the second model wrote of the same time; None: it was not asked.
    """
    seconds = segment.end_s - segment.start_s
    letters_per_s = sum(map(str.isalnum, segment.text)) / seconds if seconds > 0 else 0.0
    possible = config.min_letters_per_s <= letters_per_s <= config.max_letters_per_s
    faults = {
        "no words": not normalise(segment.text, language).strip(),
        "too short": seconds < config.min_clip_s,
        "too long": seconds > config.max_clip_s,
        "says the same again and again": loops(segment.text)
        or compression_ratio(segment.text) > MAX_COMPRESSION_RATIO,
        "likely no speech": not segment.no_speech_probability <= config.max_no_speech,
        "the model is unsure": not segment.mean_log_probability >= config.min_log_probability,  # nor NaN
        "more, or less, than anybody says in that time": not possible,
    }
    if why := next((reason for reason, is_so in faults.items() if is_so), ""):
        return why, None
    if other is None:
        return "", None
    rates = total(count_errors([segment.text], [other], language, (NORMALISED,)), NORMALISED)
    return "the models differ" if rates.wer > config.max_disagreement else "", rates.wer


def of_the_same_time(segment: KeptSegment, others: Sequence[KeptSegment]) -> str:
    """What the other model wrote of it: segments whose middle lies within."""
    return " ".join(
        one.text for one in others if segment.start_s <= (one.start_s + one.end_s) / 2 < segment.end_s
    )


def select(
    store: Store,
    language: Language,
    plan: Plan,
    second: Plan | None,
    config: PseudoLabelConfig,
    tell: Teller | None = None,
) -> PseudoLabels:
    """Write the clips that are good enough, then their table, and keep the report.

    Args: tell: which language is spoken; None: it is not asked.
    Raises: SpeechError if none is; CorpusUnavailable.
    """
    source, output = open_source(config.source), Path(config.output).expanduser()
    _refuse_inside(source, output)
    (output / "clips").mkdir(parents=True, exist_ok=True)
    rejected, unread, others = Counter[str](), Counter[str](), Counter[str]()
    rows: list[dict[str, Any]] = []
    segments, segments_s = 0, 0.0
    for recording in plan.recordings:
        text = _text(store, language, plan, recording)
        other = _text(store, language, second, recording) if second else None
        if text is None or (second and other is None):
            unread[UNWRITTEN] += 1
            continue
        segments += len(text.segments)
        segments_s += sum(one.end_s - one.start_s for one in text.segments)
        good = list(_good(text, other, language, config, rejected))
        try:
            cut = _cut(source, recording, good, output, _Asked(language, config.min_language, tell))
            rows += cut.rows
            others.update(cut.others)
            rejected[ANOTHER] += sum(cut.others.values())
        except (AudioError, Unread) as error:
            unread[error.reason] += 1
    made = PseudoLabels(
        source=config.source,
        output=config.output,
        model=plan.model,
        second=second.model if second else "",
        recordings=len(plan.recordings),
        segments=segments,
        kept=len(rows),
        kept_s=round(sum(row["duration"] for row in rows), 3),
        segments_s=round(segments_s, 3),
        rejected={why: count for why, count in rejected.most_common() if count},
        unread=dict(unread.most_common()),
        asked={name: value for name, value in asdict(config).items() if name[:4] in ("min_", "max_")},
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        told_by=tell.name if tell else "",
        spoken=dict(others.most_common()),
    )
    records.keep_report(store, language.name, REPORT, made)
    if not rows:
        raise SpeechError(
            f"no segment is good enough to learn from: {summary(made)}; lower what is asked for"
        )
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    temporary = output / f".{TABLE}.{os.getpid()}"
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(output / TABLE)  # last: a table names clips that are there
    return made


def _good(
    text: Text,
    other: Text | None,
    language: Language,
    config: PseudoLabelConfig,
    rejected: Counter[str],
) -> Iterator[tuple[KeptSegment, float | None]]:
    for segment in text.segments:
        second = None if other is None else of_the_same_time(segment, other.segments)
        why, disagreement = judge(segment, second, language.code, config)
        if why:
            rejected[why] += 1
        else:
            yield segment, disagreement


@dataclass(frozen=True)
class _Asked:
    """The language that is to be spoken, how likely at least, and who tells."""

    language: Language
    least: float
    tell: Teller | None


@dataclass
class _Cut:
    """The rows of the table for a recording, and segments in which another language is spoken."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def _cut(
    source: FolderSource | PrefixSource,
    recording: Recording,
    good: Sequence[tuple[KeptSegment, float | None]],
    output: Path,
    asked: _Asked,
) -> _Cut:
    """Write the clips of a recording in which the language is spoken. Raises: AudioError; Unread."""
    made = _Cut()
    if not good:
        return made
    with source.opened(recording) as file:
        samples = _DECODERS.open(file, max_s=MAX_S, language=asked.language.code)
    with closing(samples):
        parts = (samples.part(*_samples_of(segment)) for segment, _ in good)
        for number, (part, likely) in enumerate(spoken(parts, asked.tell)):
            segment, disagreement = good[number]
            if instead := other(likely, asked.language, asked.least):
                made.others[instead] += 1
                continue
            name = f"clips/{recording.key}-{number:04d}.wav"
            temporary = output / f"{name}.{os.getpid()}"
            temporary.write_bytes(encode_wav(part))
            temporary.replace(output / name)
            made.rows.append(
                {
                    "file": name,
                    "text": segment.text.strip(),
                    "duration": round(segment.end_s - segment.start_s, 3),
                    "split": "train",
                    "pseudo_of": recording.path,
                    "pseudo_from_s": segment.start_s,  # "start" would mean a part of the clip
                    "mean_log_probability": round(segment.mean_log_probability, 4),
                    "disagreement": disagreement,
                }
            )
    return made


def _samples_of(segment: KeptSegment) -> tuple[int, int]:
    return round(segment.start_s * SAMPLE_RATE_HZ), round(segment.end_s * SAMPLE_RATE_HZ)


def _text(store: Store, language: Language, plan: Plan, recording: Recording) -> Text | None:
    path = results.record_path(results.root(language, plan.place), recording, plan.model)
    try:
        return records.read(store, path, Text)
    except NotFound:
        return None


def _refuse_inside(source: FolderSource | PrefixSource, output: Path) -> None:
    """Raises SpeechError: the next run would take the clips for recordings."""
    if isinstance(source, FolderSource) and output.resolve().is_relative_to(source.address):
        raise SpeechError(
            f"the output {output} is below the source {source.address}; name a folder beside it"
        )
