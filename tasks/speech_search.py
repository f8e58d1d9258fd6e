"""The steps of a search for better settings of fine-tuning; each training is a run of its own deployment."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from prefect import task

from dagsverk.cache import cache_folder
from dagsverk.records import keep_report
from dagsverk.speech import runs, searching
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import Interrupted, SpeechError
from dagsverk.speech.languages import Language
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.searching import (
    KEPT_SHARE,
    SEEDS,
    STAGES,
    STEP,
    Plan,
    Result,
    SpeechSearchConfig,
    Training,
    kept_result,
    training_of,
)
from dagsverk.store import Store
from tasks import show_speech as show
from tasks.children import ChildFailed, run_child
from tasks.logs import run_logger, say
from tasks.policies import REPEATABLE, RESUMABLE
from tasks.stores import open_store

WHOLE = len(STAGES)


def waves(numbers: Sequence[int], config: SpeechSearchConfig) -> Iterator[list[int]]:
    """As many at a time as may be under way together."""
    for first in range(0, len(numbers), config.at_once):
        yield list(numbers[first : first + config.at_once])


@task(name="train-trial-here", task_run_name="train {training.run_key} until {training.until}", **RESUMABLE)
def train_here(language: str, training: Training) -> str:
    """Safe to repeat: training goes on from its newest checkpoint, and what it came to is kept."""
    from dagsverk.speech.search.training import train

    of = language_of(language)
    if not training.set:
        raise SpeechError(f"a trial is started by a search: prefect deployment run speech-search/{of.name}")
    try:
        result = train(open_store(), of, training, cache_folder(), show.training_progress(of))
    except Interrupted:
        signal.raise_signal(signal.SIGTERM)  # as in `fine-tune`
        raise
    loss = "" if result.dev_loss is None else f"loss {result.dev_loss:.3f} on dev"
    say(f"run {result.run} of {training.search} stands at step {result.step}", loss, result.reason)
    return result.run


@task(name="plan-search", task_run_name="plan-search {language}", **REPEATABLE)
def plan_search(language: str, set_id: str, finetune: FinetuneConfig, config: SpeechSearchConfig) -> str:
    """Safe to repeat: the plan is named by its content. Returns the search's name.

    What people left open is filled in where it will be trained: a child run begins the default, and takes no
    step.
    """
    from dagsverk.speech.search.space import start_of

    store, of = open_store(), language_of(language)
    asked = replace(finetune, push_to_hub="")
    name = searching.plan_name(set_id, asked, config.seed)
    begun = Training(search=name, set=set_id, settings=asked, until=0)
    result = _trained(store, of, begun, "plan")
    made = runs.run_config(store, result.run)
    plan = Plan(
        search=name,
        language=of.code,
        set=set_id,
        asked=asked,
        settings=start_of(made.finetune),
        model=made.fingerprint,
    )
    searching.keep_plan(store, of, plan)
    steps = plan.settings.steps or 0
    say(f"{name}: up to {config.trials} trials on {set_id}, a full run has {steps} steps")
    return name


@task(name="draw-trials", task_run_name="draw trials {numbers}", **REPEATABLE)
def draw_trials(language: str, search: str, config: SpeechSearchConfig, numbers: list[int]) -> None:
    """Safe to repeat: what was drawn once is drawn again."""
    from dagsverk.speech.search.study import draw

    store, of = open_store(), language_of(language)
    plan = searching.kept_plan(store, of, search)
    for number in numbers:
        settings = draw(plan, config, number)
        searching.keep_settings(store, of, search, number, settings)
        say(f"trial {number}: {searching.changes(settings, plan.settings) or 'the default'}")


@task(name="train-trial", task_run_name="trial {number}, stage {stage}, seed {seed}", **REPEATABLE)
def train_trial(
    language: str, search: str, config: SpeechSearchConfig, number: int, stage: int, seed: int = 0
) -> str:
    """Safe to repeat: the child that was started is found, and so is what it came to.

    A trial whose child fails twice is set aside as lost, unless it is the default, or too many are.
    """
    store, of = open_store(), language_of(language)
    plan = searching.kept_plan(store, of, search)
    training = training_of(plan, searching.kept_settings(store, of, search, number), stage, seed)
    part = f"{number}-{stage}-{seed}"
    try:
        result = _trained(store, of, training, part)
    except ChildFailed as error:
        if number == 0 or stage == WHOLE or _lost(store, of, plan, config) >= config.trials // KEPT_SHARE:
            raise
        run_logger().warning("trial %d is lost, the search goes on without it: %s", number, error)
        result = Result(reason=f"lost: {error}", lost=True)
        searching.keep_result(store, of, training, result)
    if stage == WHOLE and seed:  # scored: only the first seed of the best may be wanted again
        _drop(store, [result])
    return result.reason or f"loss {result.dev_loss}"


@task(name="tell-trials", task_run_name="tell trials {numbers}", **REPEATABLE)
def tell_trials(language: str, search: str, config: SpeechSearchConfig, numbers: list[int]) -> None:
    """Safe to repeat: a trial is told once. Checkpoints of those that cannot go on any more are removed."""
    from dagsverk.speech.search import conclusion
    from dagsverk.speech.search.study import tell

    store, of = open_store(), language_of(language)
    plan = searching.kept_plan(store, of, search)
    for number in numbers:
        settings = searching.kept_settings(store, of, search, number)
        if (result := kept_result(store, of, training_of(plan, settings, 0))) is not None:
            tell(plan, number, result)
    made = conclusion.trials(store, of, plan, max(numbers) + 1)
    going_on = conclusion.promoted(made, config.promoted)
    removed = _drop(store, [result for t in made if t not in going_on for result in t.results])
    say(f"told trials {numbers}", f"checkpoints of {removed} trials that do not go on are removed")


@task(name="promote-trials", **REPEATABLE)
def promote_trials(language: str, search: str, config: SpeechSearchConfig) -> list[int]:
    """Safe to repeat: it only reads. The trials of the second stage."""
    from dagsverk.speech.search import conclusion

    store, of = open_store(), language_of(language)
    plan = searching.kept_plan(store, of, search)
    made = conclusion.trials(store, of, plan, config.trials)
    numbers = [t.number for t in conclusion.promoted(made, config.promoted)]
    say(f"trials {numbers} go on to the second stage")
    return numbers


@task(name="choose-best", **REPEATABLE)
def choose_best(language: str, search: str, config: SpeechSearchConfig) -> list[int]:
    """Safe to repeat. Which two trials are trained whole; none if the default is the best on dev."""
    from dagsverk.speech.search import conclusion

    store, of = open_store(), language_of(language)
    plan = searching.kept_plan(store, of, search)
    going_on = conclusion.promoted(conclusion.trials(store, of, plan, config.trials), config.promoted)
    best = conclusion.best_of(going_on)
    chosen = [] if best is None else [0, best.number]
    removed = _drop(store, [r for t in going_on if t.number not in chosen for r in t.results])
    words = "the default is the best on dev" if best is None else f"trial {best.number} is the best on dev"
    say(words, f"checkpoints of {removed} others are removed")
    return chosen


@task(name="conclude-search", task_run_name="conclude-search {language}", **REPEATABLE)
def conclude_search(language: str, search: str, config: SpeechSearchConfig) -> str:
    """Safe to repeat: it reads results and replaces its report. Returns the verdict, in words."""
    from dagsverk.speech.search import conclusion

    store, of = open_store(), language_of(language)
    plan = searching.kept_plan(store, of, search)
    report = conclusion.conclude(store, of, plan, config)
    best = None if report.best is None else training_of(plan, report.best, WHOLE)
    sides = [] if report.best is None else [report.default, report.best]
    _drop(
        store,
        [
            kept_result(store, of, training)
            for settings in sides
            for training in (training_of(plan, settings, WHOLE, seed) for seed in range(SEEDS))
            if not (report.better and training == best)
        ],
    )
    keep_report(store, of.name, STEP, report)
    show.searched(of, report)
    say(report.verdict)
    return report.verdict


def _trained(store: Store, of: Language, training: Training, part: str) -> Result:
    """What a child run came to; one that fails is started once more, from its newest checkpoint."""
    asked = {"training": asdict(training)}
    for attempt in (1, 2):
        if (result := kept_result(store, of, training)) is not None:
            return result
        try:
            run_child(f"speech-trial/{of.name}", asked, part=f"{training.search}-{part}")
        except ChildFailed as error:
            if attempt == 2 or "was cancelled" in str(error):
                raise
            run_logger().warning("%s; it is started once more", error)
    result = kept_result(store, of, training)
    if result is None:
        raise ChildFailed(
            f"{training.search}: the run of {training.key} completed, and {store.url} has no result of it; "
            "give the workers of pool gpu the same DAGSVERK_STORE"
        )
    return result


def _lost(store: Store, of: Language, plan: Plan, config: SpeechSearchConfig) -> int:
    """Trials that were set aside so far."""
    from dagsverk.speech.search import conclusion

    return sum(
        any(result is not None and result.lost for result in t.results)
        for t in conclusion.trials(store, of, plan, config.trials, there=True)
    )


def _drop(store: Store, results: Sequence[Result | None]) -> int:
    """Remove the checkpoints of these trainings; their settings and curves stay. Returns of how many."""
    dropped = 0
    for run in sorted({result.run for result in results if result is not None and result.run}):
        folder = f"{runs.run_folder(run)}/checkpoints"
        if store.list(folder):
            store.remove(folder)
            dropped += 1
    return dropped
