"""What both contenders wrote of the same clips -> the report, and the sound of clips that differ most."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import pandas as pd

from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.compared import material
from dagsverk.speech.compared.config import CompareConfig, Contender, digest
from dagsverk.speech.compared.material import Material
from dagsverk.speech.compared.paired import MIN_VOICES, paired, rates
from dagsverk.speech.compared.results import Answer, CompareReport, Cost, Example, Side, folder, keep
from dagsverk.speech.compared.work import answers_of, packed
from dagsverk.speech.compared.writing import Asked, Written
from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.errors import AudioError, SpeechError
from dagsverk.speech.evaluation.description import score_clips
from dagsverk.speech.languages import Language
from dagsverk.store import Store
from dagsverk.words import counted


def conclude(
    store: Store,
    language: Language,
    plan: str,
    written: Sequence[Written],
    contenders: Sequence[Contender],
    corpus: CorpusConfig,
    config: CompareConfig,
) -> CompareReport:
    """The report of two contenders on the clips that both answered; kept. Safe to repeat.

    Raises: SpeechError where fewer than two clips were answered by both.
    """
    made, rows = material.load(store, plan)
    both = [answers_of(store, language, one) for one in written]
    usable, set_aside = _usable(rows, both, written)
    if len(usable) < 2:
        reasons = "; ".join(f"{n} x {reason}" for reason, n in set_aside.items()) or "none"
        raise SpeechError(
            f"{written[0].name} and {written[1].name} both answered {counted(len(usable), 'clip')} of "
            f"{made.clips}, too few to compare; set aside: {reasons}"
        )
    tables = [_scored(usable, answers, asked, language) for asked, answers in both]
    sides = [
        _side(store, language, one, contender, table, answers, config)
        for one, contender, table, (_, answers) in zip(written, contenders, tables, both, strict=True)
    ]
    outcome = paired(
        *tables,
        resamples=config.resamples,
        seed=config.seed,
        min_group_clips=config.min_group_clips,
        examples=config.examples,
    )
    examples = _heard(store, language, outcome.examples, rows, made, corpus)
    report = CompareReport(
        **{**vars(outcome), "examples": examples},
        key=digest(made.key, [one.key for one in written], asdict(config)),
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        language=language.code,
        of=made.of,
        clips_key=made.key,
        first=sides[0],
        second=sides[1],
        set_aside={**set_aside, **made.left_out},
        notes=(*made.notes, *_notes(outcome.by, outcome.clips, sides)),
        took_s=sum(one.took_s for one in written),
    )
    keep(store, language, report)
    return report


def _usable(
    rows: pd.DataFrame, both: Sequence[tuple[Asked, Mapping[str, Answer]]], written: Sequence[Written]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Clips that both answered; others are counted for neither, each once, by reason."""
    why: Counter[str] = Counter()
    usable = []
    for clip in rows["id"]:
        reason = ""
        for (asked, answers), one in zip(both, written, strict=True):
            if clip in asked.missing and clip not in asked.durations_s:
                reason = f"the recording: {asked.missing[clip]}"
            elif clip not in answers or answers[clip].refused:
                words = answers[clip].refused if clip in answers else asked.missing.get(clip, "no answer")
                reason = f"{one.name}: {words}"
            if reason:
                break
        usable.append(not reason)
        why[reason] += 1
    del why[""]
    return rows[usable].reset_index(drop=True), dict(why.most_common())


def _scored(
    rows: pd.DataFrame, answers: Mapping[str, Answer], asked: Asked, language: Language
) -> pd.DataFrame:
    table = rows.rename(columns={"id": "clip_id"})
    table["hypothesis"] = [answers[clip].text for clip in rows["id"]]
    table["duration_s"] = [asked.durations_s[clip] for clip in rows["id"]]
    table["finished"] = True
    return score_clips(table, language.code)


def _side(
    store: Store,
    language: Language,
    written: Written,
    contender: Contender,
    table: pd.DataFrame,
    answers: Mapping[str, Answer],
    config: CompareConfig,
) -> Side:
    wer, cer = rates(table, resamples=config.resamples, seed=config.seed)
    data = packed(table)
    path = f"{folder(language)}/rows/{hashlib.sha256(data).hexdigest()[:16]}.parquet"
    store.put(path, data, overwrite=True)
    times = sorted(one.at for one in answers.values())
    return Side(
        name=written.name,
        detail=written.detail,
        key=written.key,
        rows=path,
        wer=wer,
        cer=cer,
        empty=int(((table["hypothesis"].str.strip() == "") & table["scored"]).sum()),
        loops=int(table["loop"].sum()),
        refused=dict(Counter(one.refused for one in answers.values() if one.refused).most_common()),
        cost=_cost(written, contender, answers),
        asked=(times[0], times[-1]) if times else ("", ""),
        version=written.version,
    )


def _cost(written: Written, contender: Contender, answers: Mapping[str, Answer]) -> Cost:
    """Of warm answers; a machine's price counts while it works, a minute's is as it is."""
    warm = [one for one in answers.values() if one.warm and not one.refused]
    machines = Counter(one.machine for one in warm)
    cost = Cost(
        audio_s=sum(one.audio_s for one in warm),
        took_s=sum(one.took_s for one in warm),
        clips=len(warm),
        machine=" and ".join(machines) or "not known",
        at_once=max((one.at_once for one in warm), default=1),
        memory_bytes=written.memory_bytes,
    )
    price = None
    if contender.price_per_audio_minute is not None:
        price = 60 * contender.price_per_audio_minute
    elif contender.price_per_machine_hour is not None and cost.seconds_per_hour is not None:
        price = contender.price_per_machine_hour * cost.seconds_per_hour / 3600 / cost.at_once
    return replace(cost, price_per_audio_hour=price)


def _notes(by: str, clips: int, sides: Sequence[Side]) -> list[str]:
    notes = []
    if by == "clips":
        notes.append(
            f"intervals are over clips, not voices (fewer than {MIN_VOICES} are known): others may differ"
        )
    for side in sides:
        if side.empty:
            notes.append(
                f"{side.name} wrote nothing for {counted(side.empty, 'clip')} in which something is said"
            )
        if side.empty > clips / 2:
            notes.append(f"is {side.name} set up rightly? with another `edition` it is asked again")
        if refused := sum(side.refused.values()):
            notes.append(
                f"{side.name} refused {counted(refused, 'clip')}, which count for neither: who refuses what "
                "is hard looks better than it is"
            )
        if side.loops:
            notes.append(f"{side.name} repeats itself in {counted(side.loops, 'clip')}")
        if side.asked[0][:10] != side.asked[1][:10]:
            notes.append(f"{side.name} was asked from {side.asked[0][:10]} to {side.asked[1][:10]}")
    return notes


def _heard(
    store: Store,
    language: Language,
    examples: Sequence[Example],
    rows: pd.DataFrame,
    made: Material,
    corpus: CorpusConfig,
) -> tuple[Example, ...]:
    """The examples with their sound, kept as small WAV files named by clip and recording."""
    wanted = rows[rows["id"].isin([one.clip for one in examples])]
    sounds: dict[str, str] = {}
    for clip, sound in material.recordings(wanted, language, corpus, made.checks) if len(wanted) else ():
        if isinstance(sound, AudioError):
            continue
        wav = encode_wav(sound)
        path = f"{folder(language)}/audio/{hashlib.sha256(wav).hexdigest()[:24]}.wav"
        store.put(path, wav, overwrite=True)
        sounds[clip] = path
    return tuple(replace(one, sound=sounds.get(one.clip)) for one in examples)
