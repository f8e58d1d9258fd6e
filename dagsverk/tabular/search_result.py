"""What the searches of all parts come to: both choices on rows that neither has seen, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from optuna.trial import TrialState
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from dagsverk.tabular.errors import UntrainableRows
from dagsverk.tabular.measures import loss
from dagsverk.tabular.recipes import Recipe
from dagsverk.tabular.reports import Interval
from dagsverk.tabular.scores import mean_interval
from dagsverk.tabular.search import Done, Search, deaths, importances, search_of, trials
from dagsverk.tabular.searching import SEEDS, Cost, FoldChoice, SearchConfig, Searched, Settings
from dagsverk.tabular.system import System

Metrics = dict[str, float]


@dataclass(frozen=True)
class _Fold:
    """Both choices of an outer fold, and their metrics on its rows: means over the seeds."""

    default: Done
    best: Done
    by_default: Metrics
    by_best: Metrics


def conclude(
    system: System,
    rows: pd.DataFrame,
    config: SearchConfig,
    data_commit: int,
    progress: Callable[[str], None],
) -> Searched:
    """Score the best default and the best settings of each outer fold's search on the fold's own rows.

    Raises ValueError where a search is not finished; UntrainableRows where no trial of one could be fitted.
    """
    every = search_of(system, rows, config, 0)
    count = len(every.outer.splits) + 1
    searches = [Search(system, every.rows, config, part) for part in range(count)]
    done = [trials(search, config.trials) for search in searches]
    seeds = tuple(range(config.seed, config.seed + SEEDS))
    with ThreadpoolController().limit(limits=1):
        folds = [_fold(every, part, done[part], seeds, progress) for part in range(count - 1)]
    names: tuple[str, ...] = tuple(dict.fromkeys((system.measure, "accuracy", "log_loss")))
    gains = {name: [_gain(fold, name) for fold in folds] for name in names}
    outer = every.outer.config
    gain = {name: mean_interval(each, outer.folds, low=-np.inf) for name, each in gains.items()}
    default, best = _choices(system, done[-1], config)
    return Searched(
        data_commit=data_commit,
        rows=len(every.rows),
        measure=system.measure,
        model_classes=config.model_classes,
        trials=config.trials,
        outer_folds=outer.folds,
        outer_repeats=outer.repeats,
        inner_folds=len(searches[-1].inner.splits),
        seeds=seeds,
        default=_intervals((fold.by_default for fold in folds), names, outer.folds),
        best=_intervals((fold.by_best for fold in folds), names, outer.folds),
        gain=gain,
        better=gain[system.measure].low > 0,
        choices=tuple(
            FoldChoice(_settings(system, f.default), _settings(system, f.best), _gain(f, system.measure))
            for f in folds
        ),
        standing=_settings(system, default),
        settings=_settings(system, best),
        importances=importances(searches[-1], config.trials),
        cost=_cost([each for part in done for each in part], sum(map(deaths, searches))),
        config=config.to_dict(),
    )


def _choices(system: System, done: Sequence[Done], config: SearchConfig) -> tuple[Done, Done]:
    """The best default and the best of all; of equals the earlier."""
    scored = [each for each in done if each.value is not None]
    defaults = [each for each in scored if each.number < len(config.model_classes)]
    if not defaults:
        reasons = "; ".join(dict.fromkeys(each.reason for each in done if each.reason))
        raise UntrainableRows(f"{system.name}: no default could be fitted to compare with: {reasons}")
    return min(defaults, key=_value), min(scored, key=_value)


def _value(of: Done) -> float:
    return np.inf if of.value is None else of.value


def _fold(
    every: Search, part: int, done: Sequence[Done], seeds: Sequence[int], progress: Callable[[str], None]
) -> _Fold:
    default, best = _choices(every.system, done, every.config)

    def scored(recipe: Recipe) -> Metrics:
        each = [every.outer.metrics(part, recipe, seed) for seed in seeds]
        return {name: float(np.mean([metrics[name] for metrics in each])) for name in each[0]}

    by_default = scored(default.recipe)
    by_best = by_default if best is default else scored(best.recipe)
    progress(f"both choices: {part + 1} of {len(every.outer.splits)} outer folds")
    return _Fold(default, best, by_default, by_best)


def _gain(fold: _Fold, name: str) -> float:
    return loss(name, fold.by_default[name]) - loss(name, fold.by_best[name])


def _intervals(tested: Iterable[Metrics], names: Sequence[str], folds: int) -> dict[str, Interval]:
    each = list(tested)
    ends = {name: np.inf if name == "log_loss" else 1.0 for name in names}
    return {
        name: mean_interval([metrics[name] for metrics in each], folds, high=ends[name]) for name in names
    }


def _settings(system: System, of: Done) -> Settings:
    return Settings(of.recipe.model_class, dict(of.recipe.parameters), loss(system.measure, _value(of)))


def _cost(done: Sequence[Done], cut_off: int) -> Cost:
    def count(state: TrialState) -> int:
        return sum(each.state is state for each in done)

    return Cost(
        seconds=sum(each.seconds for each in done),
        fits=sum(each.fits for each in done),
        finished=count(TrialState.COMPLETE),
        pruned=count(TrialState.PRUNED),
        failed=count(TrialState.FAIL),
        repeated=sum(each.repeated for each in done),
        cut_off=cut_off,
        reasons=tuple(dict.fromkeys(each.reason for each in done if each.reason)),
    )
