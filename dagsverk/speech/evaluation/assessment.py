"""A run's chosen checkpoint against the model it came from and the champion, on the same test clips.

It says how they score; the gate decides what comes of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dagsverk.records import write
from dagsverk.speech import results
from dagsverk.speech.config import EvaluationConfig, Windows
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.evaluation import normaliser
from dagsverk.speech.evaluation.comparison import compare
from dagsverk.speech.evaluation.evaluation import evaluate, evaluate_draw
from dagsverk.speech.evaluation.forgetting import forgetting_checks
from dagsverk.speech.evaluation.modes import NAMES, NOT_OF_NANO, OTHER, choose, mode_score
from dagsverk.speech.evaluation.report import Check, EvaluationReport, TwoModes, Verdict
from dagsverk.speech.evaluation.retained import retained
from dagsverk.speech.evaluation.sanity_checks import check_model
from dagsverk.speech.evaluation.transcripts import accelerated
from dagsverk.speech.features.prepared import PreparedClips
from dagsverk.speech.languages import Language
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.model.models import SpeechModel, load_model
from dagsverk.speech.runs import CheckpointRef, Curve
from dagsverk.store import Model, NotFound, Store, StoreError, Unavailable

OTHER_MODE_CLIPS = 1000  # of a test split: what is added to the hours of a large one is bounded


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
    """The verdict on a candidate: reports in both modes, paired differences, checks. Kept; safe to repeat.

    The champion is evaluated on these clips too, if it was not before. One that cannot be (it is gone, or
    reads other features) does not block its successors: `problems` says so.

    Args:
        clips: the test split, of the candidate's language.
        cache: where the champion's files may lie.
    """
    language, ref = language_of(clips.language), candidate.ref
    base = evaluate(store, language, candidate.base, clips, config)
    modes, checks = _modes(store, candidate, clips, config, base)
    report = results.report(store, language, modes.scores[modes.served].report)
    with candidate.model.marked(modes.served):
        retention = retained(
            store, candidate.base, candidate.model, clips, config, cache, taught=candidate.taught
        )
    in_use = store.champion(language.model_name)
    champion, problems = None, []
    if in_use is not None:
        try:
            champion = _champion_report(store, language, in_use, clips, config, cache, _precision(report))
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
        checks=(*checks, *forgetting_checks(retention, config.max_forgetting)),
        problems=tuple(problems),
        retention=retention,
        modes=modes,
    )
    write(store, results.verdict_path(language, ref), verdict)
    return verdict


def _modes(
    store: Store,
    candidate: Candidate,
    clips: PreparedClips,
    config: EvaluationConfig,
    base: EvaluationReport,
) -> tuple[TwoModes, tuple[Check, ...]]:
    """The candidate in both modes, and the checks of the one that it is served in.

    On the whole test split it is scored in the mode that it was trained for, and in the one that is chosen;
    of the other one a draw says enough.
    """
    language, model = language_of(clips.language), candidate.model
    trained = model.windows
    other = OTHER[trained]
    own = evaluate(store, language, model, clips, config)
    if not (candidate.base.full_windows or candidate.base.has_published_size):
        return _chosen(store, candidate, base, {trained: own})
    draw = config.other_mode_clips or OTHER_MODE_CLIPS
    drawn = evaluate_draw(store, language, model, clips, config, windows=other, count=draw)
    chosen = _chosen(store, candidate, base, {trained: own, other: drawn})
    if chosen[0].served == trained or drawn.clips == own.clips:
        return chosen
    whole = evaluate(store, language, model, clips, config, windows=other, drawn_before=draw)
    return _chosen(store, candidate, base, {trained: own, other: whole})


def _chosen(
    store: Store,
    candidate: Candidate,
    base: EvaluationReport,
    reports: Mapping[Windows, EvaluationReport],
) -> tuple[TwoModes, tuple[Check, ...]]:
    trained = candidate.model.windows
    checks = {mode: _checks(store, candidate, report, mode) for mode, report in reports.items()}
    scores = {
        mode: mode_score(report, base, compare(store, report, base), checks[mode])
        for mode, report in reports.items()
    }
    if len(reports) == 1:
        left_out = NOT_OF_NANO.format(NAMES[OTHER[trained]].capitalize(), NAMES[trained])
        return choose(scores, None, trained, left_out), checks[trained]
    between = compare(store, reports["true_length"], reports["full"])
    modes = choose(scores, between.wer, trained, None)
    return modes, checks[modes.served]


def _checks(
    store: Store, candidate: Candidate, report: EvaluationReport, windows: Windows
) -> tuple[Check, ...]:
    rows = results.clip_rows(store, report)
    hypotheses, references = list(rows["first"]), list(rows["text"])
    with accelerated(candidate.model):
        checks = check_model(
            candidate.model,
            report.language,
            hypotheses=hypotheses,
            references=references,
            curve=candidate.curve,
            windows=windows,
        )
    return tuple(checks)


def _champion_report(
    store: Store,
    language: Language,
    champion: Model,
    clips: PreparedClips,
    config: EvaluationConfig,
    cache: Path,
    precision: str,
) -> EvaluationReport:
    """The champion on these clips. Raises SpeechError, StoreError or ValueError if it cannot take part.

    The report that it was registered with will do, if it is of these clips and was decoded in the same
    precision as the candidate's: the model need not be loaded.
    A model as published has none.
    """
    if key := champion.info.get("evaluation"):
        with suppress(NotFound):
            report = results.report(store, language, key)
            wanted = (language.code, clips.set_id, "test", normaliser.VERSION, config.of_report())
            made = (report.language, report.set, report.split, report.normaliser, report.config.of_report())
            if made == wanted and _precision(report) == precision:
                return report
    folder = store.download(champion, cache / f"{champion.name}-{champion.version}")
    return evaluate(store, language, load_model(str(folder)), clips, config)


def _precision(report: EvaluationReport) -> str:
    """Those that do not say were decoded in fp32: they are of processors, before there was a choice."""
    return report.decoding.precision or "fp32"
