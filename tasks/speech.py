"""The steps of a speech day: read the store, call the knowledge, write the store, return a reference."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect import task

from dagsverk.cache import cache_folder
from dagsverk.speech import results, runs, steps
from dagsverk.speech.config import CorpusConfig, EvaluationConfig, FinetuneConfig, PrepareConfig
from dagsverk.speech.errors import CorpusError, Interrupted
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.runs import CheckpointRef
from dagsverk.speech.serving.champions import promoted
from dagsverk.store import ModelRef, NotFound
from tasks import show_speech as show
from tasks.children import run_child
from tasks.logs import run_logger, say
from tasks.policies import REPEATABLE, RESUMABLE
from tasks.runs import noted
from tasks.stores import open_store


@dataclass(frozen=True)
class ShardWork:
    """A shard set, and its shards that are not made yet, in groups for one task each."""

    set_id: str
    groups: list[list[int]]


def language_name(code: str) -> str:
    """Under which a language's deployments, limits, reports and models are found: "swedish" for sv."""
    return language_of(code).name


@task(name="run-part", task_run_name="{deployment}", **REPEATABLE)
def run_part(deployment: str, parameters: Mapping[str, Any]) -> str:
    """Safe to repeat: the same run asks under the same key, so it finds the child that it had started."""
    child = run_child(deployment, parameters)
    say(f"{child.name} of {deployment} completed after {child.run_count} start(s)")
    return str(child.id)


@task(name="list-clips", task_run_name="list clips {language}", **REPEATABLE)
def list_clips(language: str, corpus: CorpusConfig, preparation: PrepareConfig) -> ShardWork:
    """Safe to repeat: a plan is named by its content and written once."""
    from dagsverk.speech.corpora.opening import open_corpus
    from dagsverk.speech.features.preparation import plan, portions

    store, opened = open_store(), open_corpus(corpus, language)
    set_id = plan(store, opened, language, preparation, corpus.source)
    work = ShardWork(set_id, portions(store, set_id, opened))
    waiting = sum(len(group) for group in work.groups)
    say(f"read the clips of {corpus.source}, planned the set {set_id}", f"{waiting} shards are to be made")
    return work


@task(name="prepare-shards", task_run_name="prepare shards {numbers}", **REPEATABLE)
def prepare_shards(numbers: list[int], set_id: str, language: str, corpus: CorpusConfig) -> int:
    """Safe to repeat: a shard with its record is left alone, one without it is made again."""
    from dagsverk.speech.corpora.opening import open_corpus
    from dagsverk.speech.features.preparation import prepare_all

    made = prepare_all(open_store(), set_id, open_corpus(corpus, language), numbers)
    clips, audio_s = sum(shard.clips for shard in made), sum(shard.seconds for shard in made)
    aside = sum(len(shard.rejected) for shard in made)
    say(f"shards {numbers} of {set_id} hold {clips} clips, {audio_s:.0f} s of audio", f"{aside} set aside")
    return len(numbers)


@task(name="complete-shards", task_run_name="complete {set_id}", **REPEATABLE)
def complete_shards(language: str, set_id: str) -> str:
    """Safe to repeat: the manifest is written last, and once."""
    from dagsverk.speech.features.preparation import complete

    store, of = open_store(), language_of(language)
    before, made = steps.kept(store, of, steps.Prepared), complete(store, set_id)
    step = steps.prepared(made, new=before is None or before.set != set_id)
    if not made.settings.get("train_only"):  # what is mixed in is not what a day learns from and is scored on
        steps.keep(store, of, step)
    show.prepared(of, step)
    aside = sum(step.set_aside.values())
    counts = ", ".join(f"{name} {split.clips}" for name, split in step.splits.items())
    done = f"{'completed' if step.new else 'found'} the set {set_id}: {counts} clips"
    say(done, f"{aside} set aside", steps.suspicious_words(step))
    return set_id


@task(name="newest-clips", **REPEATABLE)
def newest_clips(language: str) -> str:
    """Safe to repeat: it only reads."""
    from dagsverk.speech.features.shards import newest

    set_id = newest(open_store(), language)
    say(f"the newest set of clips is {set_id}")
    return set_id


@task(name="fine-tune", task_run_name="fine-tune {language}", **RESUMABLE)
def finetune(language: str, set_id: str, config: FinetuneConfig) -> CheckpointRef:
    """Safe to repeat: training goes on from its newest whole checkpoint, and a finished one is found."""
    from dagsverk.speech.training.fit import fit

    store, of = open_store(), language_of(language)
    before = steps.kept(store, of, steps.Finetuned)
    try:
        chosen = fit(store, set_id, language, config, show.training_progress(of))
    except Interrupted:
        # Told to stop, it has saved its state. Now the run ends as Prefect ends one that is told to stop:
        # crashed, so that its worker, or the next one, resumes it.
        signal.raise_signal(signal.SIGTERM)
        raise
    runs.note_cost(store, chosen.run, noted("fine-tune"))
    step = steps.finetuned(store, chosen, new=before is None or before.run != chosen.run)
    steps.keep(store, of, step)
    show.finetuned(of, step)
    done = "trained" if step.new else "found the finished"
    rate = "" if step.dev_wer is None else f"WER {step.dev_wer:.3f} on dev"
    say(
        f"{done} run {chosen.run} of {step.steps} steps on {set_id}",
        f"step {chosen.step} is best: {rate}",
    )
    return chosen


@task(name="newest-checkpoint", **REPEATABLE)
def newest_checkpoint(language: str) -> CheckpointRef:
    """Safe to repeat: it only reads."""
    of = language_of(language)
    training = steps.kept(open_store(), of, steps.Finetuned)
    if training is None:
        raise NotFound(
            f"no finished training of {of.name}; start one: prefect deployment run speech-training/{of.name}"
        )
    say(f"the newest finished training is run {training.run}, step {training.step} is its best")
    return CheckpointRef(training.run, training.step)


@task(name="score-checkpoint", task_run_name="score {checkpoint.run} at {checkpoint.step}", **REPEATABLE)
def score_checkpoint(language: str, checkpoint: CheckpointRef, config: EvaluationConfig) -> str:
    """Safe to repeat: a model's hypotheses for a test set are kept. Returns the verdict's path."""
    from dagsverk.speech.evaluation.assessment import Candidate, assess
    from dagsverk.speech.features.prepared import open_prepared
    from dagsverk.speech.training.fit import base_model, load_checkpoint

    store, cache, of = open_store(), cache_folder(), language_of(language)
    made = runs.run_config(store, checkpoint.run)
    set_id = made.set_id
    candidate = Candidate(
        ref=checkpoint,
        model=load_checkpoint(store, checkpoint, cache),
        base=base_model(store, checkpoint.run),
        curve=runs.curve(store, checkpoint.run),
        taught=made.finetune.translate_share > 0,
    )
    clips = open_prepared(store, set_id, ("test",), cache)
    verdict = assess(store, candidate, clips, config, cache)
    report = results.report(store, of, verdict.candidate)
    wer, path = report.scores.normalised.wer.value, results.verdict_path(of, checkpoint)
    rate = "nothing to score" if wer is None else f"WER {wer:.3f}"
    say(
        f"scored step {checkpoint.step} of run {checkpoint.run} on {report.clips} test clips of {set_id}",
        f"{rate}, the verdict is at {path}",
    )
    return path


@task(name="keep-worst-clips", task_run_name="keep worst clips {language}", **REPEATABLE)
def keep_worst_clips(language: str, verdict: str, corpus: CorpusConfig) -> int:
    """Safe to repeat: sounds are kept by their clip. A corpus out of reach is noted, not an error."""
    from dagsverk.speech.corpora.opening import open_corpus
    from dagsverk.speech.evaluation.playback import keep_audio

    store, of = open_store(), language_of(language)
    report = results.report(store, of, results.verdict(store, verdict).candidate)
    try:
        opened = open_corpus(corpus, language)
    except CorpusError as error:
        say(f"the worst clips cannot be heard on the page: {error}")
        return 0
    kept = len(keep_audio(store, of, report, opened).clips)
    say(f"keeps the sound of the {kept} worst clips")
    return kept


@task(name="register", task_run_name="register {language}", **REPEATABLE)
def register(language: str, checkpoint: CheckpointRef, verdict: str) -> ModelRef:
    """Safe to repeat: the same checkpoint is found by its key, and a promotion cut off is finished."""
    from dagsverk.speech.features.shards import manifest
    from dagsverk.speech.registry import registration
    from dagsverk.speech.training.fit import load_checkpoint

    store, of = open_store(), language_of(language)
    made = runs.run_config(store, checkpoint.run)
    step = registration.register(
        store,
        of,
        results.verdict(store, verdict),
        load_checkpoint(store, checkpoint, cache_folder()),
        manifest=manifest(store, made.set_id),
        config=made.finetune,
        made=noted("register"),
    )
    steps.keep(store, of, step)
    show.registered(of, step)
    say(f"{of.model_name} version {step.version}", step.reason)
    return ModelRef(of.model_name, step.version)


@task(name="adopt", task_run_name="adopt {model} for {language}", **REPEATABLE)
def adopt(language: str, model: str) -> ModelRef:
    """Safe to repeat: the same weights are found by their key, and a promotion cut off is finished."""
    from dagsverk.speech.registry import adoption

    store, of = open_store(), language_of(language)
    registration = adoption.adopt(store, of, model)
    show.adopted(of, registration)
    say(f"{of.model_name} version {registration.version}", registration.reason)
    return ModelRef(of.model_name, registration.version)


@task(name="export", task_run_name="export {model.name} {model.version}", **REPEATABLE)
def export(language: str, model: ModelRef) -> list[str]:
    """Safe to repeat: archives are written by key, the record last; an export that is there is used."""
    from dagsverk.speech.export import exporting

    store, of = open_store(), language_of(language)
    in_use = store.champion(model.name)
    if in_use is None or in_use.version != model.version:
        say(f"{model.name} version {model.version} is not in use, and is not exported")
        return []
    try:
        made, new = exporting.export(store, of, store.model(model.name, model.version), cache_folder())
    except NotFound as error:
        say(f"{model.name} version {model.version} is not exported, and runs on torch", str(error))
        return []
    show.exported(of, made)
    for one in made.forms:
        came = f"is not published: {one.refused}" if one.refused else f"is at {one.path}, {one.bytes:,} bytes"
        say(f"{made.model} version {made.version} in {one.form} {came}", "new" if new else "nothing new")
    return [one.form for one in made.published]


def export_registered(language: str, model: ModelRef) -> None:
    """The export as a run's last step: its version is there already, so what fails is told, and no more."""
    try:
        export(language, model)
    except Exception as error:  # noqa: BLE001  whatever it is, the version runs on torch
        again = f"prefect deployment run speech-export/{language_name(language)}"
        run_logger().warning(
            "%s version %s is registered and runs on torch; its export failed: %s; try it again: %s",
            model.name,
            model.version,
            error,
            again,
        )


@task(name="champion", **REPEATABLE)
def champion(language: str) -> ModelRef:
    """Safe to repeat: it only reads."""
    in_use = promoted(open_store(), language_of(language))
    say(f"{in_use.name} version {in_use.version} is in use")
    return in_use.ref
