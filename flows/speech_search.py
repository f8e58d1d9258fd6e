"""Better settings for fine-tuning, looked for: trials in stages, and an honest comparison at the end."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.searching import SEEDS, SpeechSearchConfig, Training
from flows.speech import LanguageCode
from tasks import speech as tasks
from tasks import speech_search as searches
from tasks.children import cancel_children
from tasks.runs import one_at_a_time, speech_run_name, trial_run_name
from tasks.speech import language_name
from tasks.speech_search import WHOLE, waves

SIDE_BY_SIDE: Any = ThreadPoolTaskRunner(max_workers=64)


@flow(name="speech-trial", flow_run_name=trial_run_name)
def speech_trial(language: LanguageCode, training: Training = Training()) -> str:
    """One training of a search, as far as the end of a stage; started by speech-search.

    Args:
        language: Whisper's code, such as sv; rm_as_it teaches rm under the token of it.
        training: Which settings on which set, until which step.
    """
    return searches.train_here(language, training)


@flow(
    name="speech-search",
    flow_run_name=speech_run_name,
    on_cancellation=[cancel_children],
    task_runner=SIDE_BY_SIDE,
)
def speech_search(
    language: LanguageCode,
    finetune: FinetuneConfig = FinetuneConfig(),
    search: SpeechSearchConfig = SpeechSearchConfig(),
) -> str:
    """The newest clips -> a report: are there better settings, on test clips that no choice has seen?

    It promotes nothing. Each training is a run of its own on pool gpu; a repeat goes on with what is done.

    Args:
        language: Whisper's code, such as sv; rm_as_it teaches rm under the token of it.
        finetune: The default to compare with. Empty fields: what suits the model and the device.
        search: How many trials, and how many of them at once.
    """
    with one_at_a_time(f"search-{language_name(language)}", "speech"):
        plan = searches.plan_search(language, tasks.newest_clips(language), finetune, search)
        for numbers in waves(range(search.trials), search):
            searches.draw_trials(language, plan, search, numbers)
            _train(language, plan, search, numbers, stage=0)
            searches.tell_trials(language, plan, search, numbers)
        for numbers in waves(searches.promote_trials(language, plan, search), search):
            _train(language, plan, search, numbers, stage=1)
        chosen = searches.choose_best(language, plan, search)
        for seed in range(SEEDS):
            for numbers in waves(chosen, search):
                _train(language, plan, search, numbers, stage=WHOLE, seed=seed)
        return searches.conclude_search(language, plan, search)


def _train(
    language: str, plan: str, search: SpeechSearchConfig, numbers: list[int], *, stage: int, seed: int = 0
) -> None:
    """Each of these trials to the end of a stage, side by side."""
    under_way = [
        searches.train_trial.submit(language, plan, search, number, stage, seed) for number in numbers
    ]
    for training in under_way:
        training.result()
