"""A run's chosen checkpoint against the model it came from and the champion, on the same test clips.

It says how they score; the gate decides what comes of it.
"""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dagsverk.records import write
from dagsverk.speech import results
from dagsverk.speech.config import EvaluationConfig
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.evaluation import normaliser
from dagsverk.speech.evaluation.comparison import compare
from dagsverk.speech.evaluation.evaluation import accelerated, evaluate
from dagsverk.speech.evaluation.forgetting import forgetting_checks
from dagsverk.speech.evaluation.report import Check, EvaluationReport, Verdict
from dagsverk.speech.evaluation.retained import retained
from dagsverk.speech.evaluation.sanity_checks import check_model
from dagsverk.speech.features.prepared import PreparedClips
from dagsverk.speech.languages import Language
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.model.models import SpeechModel, load_model
from dagsverk.speech.runs import CheckpointRef, Curve
from dagsverk.store import Model, NotFound, Store, StoreError, Unavailable


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A checkpoint that may become champion."""

    ref: CheckpointRef
    model: SpeechModel
    base: SpeechModel  # the model it was trained from, as it was
    curve: Curve = ()  # of its run
    taught: bool = False  # whether its training had translations into English


def assess(
    store: Store, candidate: Candidate, clips: PreparedClips, config: EvaluationConfig, cache: Path
) -> Verdict:
    """The verdict on a candidate: reports, paired differences, checks. Kept; safe to repeat.

    The champion is evaluated on these clips too, if it was not before. One that cannot be (it is gone, or
    reads other features) does not block its successors: `problems` says so.

    Args:
        clips: the test split, of the candidate's language.
        cache: where the champion's files may lie.
    """
    language, ref = language_of(clips.language), candidate.ref
    report = evaluate(store, language, candidate.model, clips, config)
    base = evaluate(store, language, candidate.base, clips, config)
    retention = retained(
        store, candidate.base, candidate.model, clips, config, cache, taught=candidate.taught
    )
    checks = (
        *_checks(store, candidate, report),
        *forgetting_checks(retention, config.max_forgetting),
    )
    in_use = store.champion(language.model_name)
    champion, problems = None, []
    if in_use is not None:
        try:
            champion = _champion_report(store, language, in_use, clips, config, cache)
        except Unavailable:
            raise  # it can take part, in a moment
        except (SpeechError, StoreError, ValueError) as error:
            problems.append(f"the champion, version {in_use.version}, could not be compared: {error}")
    verdict = Verdict(
        at=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        run=ref.run,
        step=ref.step,
        language=language.code,
        set=clips.set_id,
        candidate=report.key,
        base=base.key,
        champion=champion.key if champion else None,
        champion_version=in_use.version if in_use else None,
        against_base=compare(store, report, base),
        against_champion=compare(store, report, champion) if champion else None,
        checks=checks,
        problems=tuple(problems),
        retention=retention,
    )
    write(store, results.verdict_path(language, ref), verdict)
    return verdict


def _checks(store: Store, candidate: Candidate, report: EvaluationReport) -> tuple[Check, ...]:
    rows = results.clip_rows(store, report)
    hypotheses, references = list(rows["hypothesis"]), list(rows["text"])
    with accelerated(candidate.model):
        checks = check_model(
            candidate.model,
            report.language,
            hypotheses=hypotheses,
            references=references,
            curve=candidate.curve,
        )
    return tuple(checks)


def _champion_report(
    store: Store,
    language: Language,
    champion: Model,
    clips: PreparedClips,
    config: EvaluationConfig,
    cache: Path,
) -> EvaluationReport:
    """The champion on these clips. Raises SpeechError, StoreError or ValueError if it cannot take part.

    The report that it was registered with will do, if it is of these clips: the model need not be loaded.
    A model as published has none.
    """
    if key := champion.info.get("evaluation"):
        with suppress(NotFound):
            report = results.report(store, language, key)
            wanted = (language.code, clips.set_id, "test", normaliser.VERSION, config.of_report())
            made = (report.language, report.set, report.split, report.normaliser, report.config.of_report())
            if made == wanted:
                return report
    folder = store.download(champion, cache / f"{champion.name}-{champion.version}")
    return evaluate(store, language, load_model(str(folder)), clips, config)
