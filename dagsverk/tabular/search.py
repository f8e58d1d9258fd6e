"""One search on one part of the rows: its trials, one after the other, in a journal that outlives them.

The rows are cut into outer folds. A part is what one outer fold leaves to fit on; the last part is all rows.
Each part has a search of its own, so what it chooses can be scored on rows that it has never seen.

A trial is drawn from the trials finished before it and from the seed alone: a search that is killed anywhere
and goes on draws what it would have drawn. The lock of its file is held for one trial; who is killed lets go
of it, so a trial that is under way while we hold the lock is one that nobody is at any more.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, Trial, TrialState
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from dagsverk import studies
from dagsverk.studies import DEAD, REASON, finished
from dagsverk.tabular.config import EvaluationConfig, TrainingConfig
from dagsverk.tabular.errors import UntrainableRows
from dagsverk.tabular.evaluation import Partition, in_fixed_order
from dagsverk.tabular.measures import loss
from dagsverk.tabular.recipes import Recipe, recipe
from dagsverk.tabular.searching import SearchConfig
from dagsverk.tabular.spaces import SPACES, defaults_of, searchable, suggested
from dagsverk.tabular.system import System
from dagsverk.tabular.tables import real_rows
from dagsverk.tabular.training import training_key

FORMAT = 1
PRUNING_P, FOLDS_BEFORE_PRUNING = 0.2, 2  # of Wilcoxon's test against the best trial, on the folds of both
RANDOM_TRIALS = 10  # the first, defaults among them, before the sampler draws by what it has learned
RECIPE, SECONDS, FITS, REPEATED = "recipe", "seconds", "fits", "repeated"


@dataclass(frozen=True)
class Done:
    """A trial that is finished: scored, given up or failed."""

    number: int  # among the finished ones, from 0 on
    recipe: Recipe
    state: TrialState
    value: float | None  # mean over all inner folds, less is better; None unless COMPLETE
    reason: str
    seconds: float
    fits: int
    repeated: bool

    @property
    def words(self) -> str:
        """What became of it."""
        if self.state is TrialState.COMPLETE:
            return f"scored {self.value:.4f} (less is better)"
        return (
            f"failed: {self.reason}" if self.state is TrialState.FAIL else f"given up after {self.fits} folds"
        )


@dataclass(frozen=True)
class Search:
    """What one search is of: part `part` of the rows (see the top). Rows: real, labelled, in order."""

    system: System
    rows: pd.DataFrame
    config: SearchConfig
    part: int

    @cached_property
    def outer(self) -> Partition:
        """The outer folds, of all rows."""
        return outer_partition(self.system, self.rows, self.config)

    @cached_property
    def inner(self) -> Partition:
        """Folds of the rows that this search may see."""
        seen = self.rows
        if self.part < len(self.outer.splits):
            seen = self.rows.iloc[np.sort(self.outer.splits[self.part][0])].reset_index(drop=True)
        return Partition(self.system, seen, _protocol(self.config.inner_folds, self.config.seed))

    @cached_property
    def name(self) -> str:
        """Of all that decides what is drawn and how it is scored; the count of trials is no part of it."""
        asked = {k: v for k, v in self.config.to_dict().items() if k != "trials"}
        spaces = {name: repr(sorted(SPACES[name].items())) for name in self.config.model_classes}
        key = training_key(self.system, self.rows, TrainingConfig(seed=self.config.seed))
        defaults = {name: dict(recipe(name).parameters) for name in self.config.model_classes}
        content = [FORMAT, key, asked, spaces, defaults, self.part, optuna.__version__]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        return f"{self.system.name}-{digest}-{self.part}"

    @property
    def journal(self) -> Path:
        """The file that its trials are in, where they are in a file."""
        return studies.journal(self.name)


def search_of(system: System, rows: pd.DataFrame, config: SearchConfig, part: int) -> Search:
    """Args: rows: labelled ones, of any origin and order; invented ones are left out."""
    return Search(system, in_fixed_order(real_rows(rows)).reset_index(drop=True), config, part)


def outer_partition(system: System, rows: pd.DataFrame, config: SearchConfig) -> Partition:
    """The folds that neither choice sees."""
    return Partition(system, rows, _protocol(config.outer_folds, config.seed, config.outer_repeats))


def parts(system: System, rows: pd.DataFrame, config: SearchConfig) -> int:
    """How many searches there are: one per outer fold, and one of all rows.

    Raises UntrainableRows where one of them would have too few rows of an outcome to be scored on.
    """
    try:
        every = search_of(system, rows, config, 0)
        count = len(every.outer.splits) + 1
        for part in range(count):
            _ = Search(system, every.rows, config, part).inner
    except ValueError as error:
        raise UntrainableRows(
            f"{system.name}: settings cannot be searched for on {len(rows)} rows: {error}; a search wants "
            "rows of each outcome in its folds and in the folds of these: bring more"
        ) from error
    return count


def trial(search: Search, number: int) -> Done:
    """The search's finished trial of this number, from 0 on; made now, with those before it, if need be."""
    with _open(search) as study:
        while len(done := finished(study)) <= number:
            _one_more(search, study, len(done))
        return _as_done(done[number], number)


def trials(search: Search, count: int) -> tuple[Done, ...]:
    """The first so many finished trials, oldest first. Raises ValueError where there are fewer."""
    with _open(search) as study:
        done = finished(study)[:count]
    if len(done) < count:
        raise ValueError(f"{search.name} has {len(done)} finished trials, want {count}: run the search again")
    return tuple(_as_done(each, number) for number, each in enumerate(done))


def deaths(search: Search) -> int:
    """Trials that were cut off with their process, and done again."""
    with _open(search) as study:
        return sum(DEAD in each.user_attrs for each in study.get_trials(deepcopy=False))


def importances(search: Search, count: int) -> dict[str, float]:
    """Parameter -> its share in what makes the search's best trials better than others; the greatest first.

    PED-ANOVA, which knows parameters that only some trials have. Empty where there are too few trials.
    """
    with _open(search) as study:
        return studies.importances(finished(study)[:count])


def _protocol(folds: int, seed: int, repeats: int = 1) -> EvaluationConfig:
    return EvaluationConfig(folds=folds, repeats=repeats, seed=seed)


@contextmanager
def _open(search: Search) -> Iterator[optuna.Study]:
    """The study, alone: who comes meanwhile waits. What the dead left is put right."""
    with studies.opened(search.name) as study:
        studies.bury(study)
        yield study


def _one_more(search: Search, study: optuna.Study, number: int) -> None:
    """Draw settings and score them fold by fold. What cannot be fitted is a trial that failed."""
    started, classes = time.monotonic(), search.config.model_classes
    running, made = _draw(search, study, number)
    running.set_user_attr(RECIPE, made.to_dict())
    before = _same(study, made)
    if before is not None and number >= len(classes):
        running.set_user_attr(REPEATED, before.number)
        study.tell(running, before.value)
        return
    values: list[float] = []
    value: float | None = None
    try:
        state, value = _scored(search, running, made, values, may_stop=number >= len(classes))
    except Exception as error:  # noqa: BLE001 - whatever a library makes of strange settings; it is reported
        running.set_user_attr(REASON, f"{made.model_class}: {error or type(error).__name__}")
        state = TrialState.FAIL
    running.set_user_attr(FITS, len(values))
    running.set_user_attr(SECONDS, time.monotonic() - started)
    study.tell(running, value, state=state)


def _scored(
    search: Search, running: Trial, made: Recipe, values: list[float], *, may_stop: bool
) -> tuple[TrialState, float | None]:
    """Fill in the losses of the folds. Returns their mean, or that the trial was given up.

    Raises ValueError for a loss that is no number, and what a library raises.
    """
    folds, measure = len(search.inner.splits), search.system.measure
    with ThreadpoolController().limit(limits=1):
        for fold in range(folds):
            value = loss(measure, search.inner.metrics(fold, made, search.config.seed)[measure])
            if not np.isfinite(value):
                raise ValueError(f"its {measure} is {value} in fold {fold + 1}")
            values.append(value)
            running.report(value, fold)
            if may_stop and fold + 1 < folds and _hopeless(running):
                return TrialState.PRUNED, None
    return TrialState.COMPLETE, float(np.mean(values))


def _draw(search: Search, study: optuna.Study, number: int) -> tuple[Trial, Recipe]:
    """The default of each class first, then what the sampler says."""
    classes = search.config.model_classes
    study.pruner = _pruner()
    study.sampler = optuna.samplers.TPESampler(
        seed=search.config.seed + number, n_startup_trials=RANDOM_TRIALS
    )
    if number < len(classes) or not searchable(classes):
        model_class = classes[number % len(classes)]
        if not SPACES[model_class]:
            return study.ask(), recipe(model_class)
        if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            study.enqueue_trial(defaults_of(model_class))
    running = study.ask()
    return running, suggested(running, classes)


def _same(study: optuna.Study, made: Recipe) -> FrozenTrial | None:
    """A trial of these very settings that was scored."""
    scored = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return next((t for t in scored if t.user_attrs.get(RECIPE) == made.to_dict()), None)


def _pruner() -> optuna.pruners.BasePruner:
    """In pairs: a trial is compared with the best on the same folds, for some are harder than others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its interface may change, it says
        return optuna.pruners.WilcoxonPruner(p_threshold=PRUNING_P, n_startup_steps=FOLDS_BEFORE_PRUNING)


def _hopeless(running: Trial) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the pruner says when its test has too few folds to tell
        return running.should_prune()


def _as_done(of: FrozenTrial, number: int) -> Done:
    kept = of.user_attrs
    made = kept.get(RECIPE, {"model_class": "unknown", "parameters": {}})
    value = of.value if of.state is TrialState.COMPLETE else None
    return Done(
        number,
        Recipe(made["model_class"], made["parameters"]),
        of.state,
        value,
        str(kept.get(REASON, "")),
        float(kept.get(SECONDS, 0.0)),
        int(kept.get(FITS, 0)),
        REPEATED in kept,
    )
