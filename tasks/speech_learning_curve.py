"""The steps of a language's learning curve."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from prefect import task

from dagsverk.cache import cache_folder
from dagsverk.records import keep_report
from dagsverk.speech.errors import Interrupted
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.learning_curve import STEP, Part, SpeechCurveConfig, SpeechCurvePlan
from dagsverk.speech.learning_curve_words import curve_sentences
from tasks import show_learning_curve as show
from tasks.logs import say
from tasks.policies import REPEATABLE, RESUMABLE
from tasks.show_speech import training_progress
from tasks.stores import open_store


@task(name="plan-curve", task_run_name="plan-curve {set_id}", **REPEATABLE)
def plan_speech_curve(set_id: str, config: SpeechCurveConfig) -> SpeechCurvePlan:
    """Safe to repeat: it only reads."""
    from dagsverk.speech.training import learning_curve_points

    plan = learning_curve_points.plan(open_store(), set_id, config)
    say(f"{len(plan.whole)} trainings on all clips of {set_id}, {len(plan.parts)} on parts", *plan.notes)
    return plan


@task(name="curve-point", task_run_name="curve-point {part.share} {part.way} {part.seed}", **RESUMABLE)
def speech_point(
    language: str, config: SpeechCurveConfig, plan: SpeechCurvePlan, part: Part, whole: str | None = None
) -> str:
    """Safe to repeat: a training goes on from its newest checkpoint, a point that is there is used.

    Returns the name of its run. Args: whole: the run on all clips, whose steps count.
    """
    from dagsverk.speech.training import learning_curve_points

    store, of = open_store(), language_of(language)
    before = learning_curve_points.read_points(store, of, [whole])[0] if whole else None
    try:
        point = learning_curve_points.measure(
            store, of, plan.set_id, config, part, cache_folder(), before, training_progress(of)
        )
    except Interrupted:  # told to stop, it has saved its state; as in `tasks.speech.finetune`
        signal.raise_signal(signal.SIGTERM)
        raise
    rate = sum(point.errors) / max(1, sum(point.words))
    say(
        f"{part.share:.3g} of the clips by {part.way}, seed {part.seed}: run {point.run}, {point.steps} "
        f"steps on {point.clips} clips, {point.audio_s / 60:.1f} min of {point.speakers} named speakers",
        f"WER {rate:.3f} on test",
    )
    return point.run


@task(name="conclude-curve", task_run_name="conclude-curve {language}", **REPEATABLE)
def conclude_speech_curve(
    language: str, config: SpeechCurveConfig, plan: SpeechCurvePlan, names: Sequence[str]
) -> str:
    """Safe to repeat: it reads points and replaces its report. Returns what came of it, in words."""
    from dagsverk.speech.training import learning_curve_points

    store, of = open_store(), language_of(language)
    points = learning_curve_points.read_points(store, of, names)
    report = learning_curve_points.conclude(store, plan, config, points)
    keep_report(store, of.name, STEP, report)
    show.speech_curve(of, report)
    sentences = curve_sentences(report)
    say(*sentences, f"{report.seconds:.0f} s of training and scoring")
    return " ".join(sentences)
