"""Which settings a search tries: drawn one after the other, each once, however often the drawer is killed.

A draw follows from the trials that ended before it and from the seed alone. It is written down before anybody
trains with it; who asks for it again gets the same. Trainings are done elsewhere, in runs of their own, and
what they came to is in the store, named by what it depends on. So nothing here is lost with a machine: a
study that begins anew draws the same settings, and finds them trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from dagsverk import studies
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.search.space import default_parameters, suggested
from dagsverk.speech.searching import Plan, Result, SpeechSearchConfig
from dagsverk.store.encoding import decode, encode

RANDOM_TRIALS = 6  # the first, the default among them, before the sampler draws by what it has learned
NUMBER, SETTINGS = "number", "settings"


def draw(plan: Plan, config: SpeechSearchConfig, number: int) -> FinetuneConfig:
    """The settings of the search's trial of this number, from 0 on; 0 is the default."""
    with studies.opened(plan.search) as study:
        if (drawn := _numbered(study).get(number)) is not None:
            return _settings(drawn)
        for torn in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if NUMBER not in torn.user_attrs:  # its drawer was killed: nobody has heard of it
                study._storage.set_trial_state_values(torn._trial_id, TrialState.FAIL)
        study.sampler = optuna.samplers.TPESampler(
            seed=config.seed + number, n_startup_trials=RANDOM_TRIALS, constant_liar=config.at_once > 1
        )
        if number == 0 and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            study.enqueue_trial(default_parameters(plan.settings))
        running = study.ask()
        settings = suggested(running, plan.settings)
        if number == 0:
            settings = plan.settings
        running.set_user_attr(SETTINGS, encode(settings.to_dict()).decode())
        running.set_user_attr(NUMBER, number)
        return settings


def tell(plan: Plan, number: int, result: Result) -> None:
    """Keep what a trial came to after the first stage; again: nothing.

    One that cannot be trained counts as worse than any other; one that was lost says nothing.
    """
    with studies.opened(plan.search) as study:
        trial = _numbered(study)[number]
        if trial.state.is_finished():
            return
        if result.dev_loss is not None:
            study.tell(trial.number, result.dev_loss)
            return
        studies.note(study, trial, studies.REASON, result.reason)
        study.tell(trial.number, state=TrialState.FAIL if result.lost else TrialState.PRUNED)


def importances(plan: Plan, count: int) -> dict[str, float]:
    """Parameter -> its share in what makes the first `count` trials good or bad."""
    with studies.opened(plan.search) as study:
        numbered = _numbered(study)
        return studies.importances([numbered[n] for n in range(count) if _is_complete(numbered.get(n))])


def _is_complete(trial: FrozenTrial | None) -> bool:
    return trial is not None and trial.state is TrialState.COMPLETE


def _numbered(study: optuna.Study) -> dict[int, FrozenTrial]:
    listed: Sequence[FrozenTrial] = study.get_trials(deepcopy=False)
    return {int(t.user_attrs[NUMBER]): t for t in listed if NUMBER in t.user_attrs}


def _settings(trial: FrozenTrial) -> FinetuneConfig:
    content = decode(str(trial.user_attrs[SETTINGS]).encode(), "a search's trial", "start another search")
    return FinetuneConfig(**{**content, "replay_sets": tuple(content["replay_sets"])})
