"""What a search may set of each model class: ranges around the defaults that are usual for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from dagsverk.tabular.recipes import DEFAULTS, Recipe, recipe

Space: TypeAlias = Mapping[str, BaseDistribution]
CLASS = "model_class"


def _whole(low: int, high: int) -> IntDistribution:
    return IntDistribution(low, high, log=True)


def _real(low: float, high: float) -> FloatDistribution:
    return FloatDistribution(low, high, log=True)


def _share(low: float) -> FloatDistribution:
    return FloatDistribution(low, 1.0)


SPACES: Mapping[str, Space] = {
    "knn": {
        "n_neighbors": _whole(1, 100),
        "weights": CategoricalDistribution(("uniform", "distance")),
    },
    "logistic": {"C": _real(1e-3, 1e2)},
    "gradient_boosting": {
        "n_estimators": _whole(30, 400),
        "max_depth": IntDistribution(1, 6),
        "learning_rate": _real(0.01, 0.3),
        "subsample": _share(0.5),
    },
    "xgboost": {
        "n_estimators": _whole(50, 500),
        "max_depth": IntDistribution(2, 8),
        "learning_rate": _real(0.01, 0.3),
        "min_child_weight": _real(1.0, 20.0),
        "subsample": _share(0.5),
        "colsample_bytree": _share(0.4),
        "reg_lambda": _real(0.1, 20.0),
    },
    "hist_gradient_boosting": {
        "max_iter": _whole(50, 400),
        "max_leaf_nodes": _whole(3, 32),
        "min_samples_leaf": _whole(3, 50),
        "learning_rate": _real(0.01, 0.3),
        "l2_regularization": _real(0.01, 20.0),
        "max_features": _share(0.3),
    },
    "lda": {},  # nothing to set: its default is scored, and it is not searched
}


def searchable(model_classes: Sequence[str]) -> tuple[str, ...]:
    """Those of the classes that have something to set."""
    return tuple(name for name in model_classes if SPACES[name])


def defaults_of(model_class: str) -> dict[str, Any]:
    """The class's default as the parameters of a trial; none for a class with nothing to set."""
    space = SPACES[model_class]
    if not space:
        return {}
    return {CLASS: model_class, **{f"{model_class}.{name}": DEFAULTS[model_class][name] for name in space}}


def suggested(trial: Trial, model_classes: Sequence[str]) -> Recipe:
    """A class and its parameters, as the trial's sampler draws them, or as the trial was enqueued with."""
    model_class = str(trial.suggest_categorical(CLASS, list(searchable(model_classes))))
    space = SPACES[model_class]
    return recipe(model_class, **{n: _drawn(trial, f"{model_class}.{n}", space[n]) for n in space})


def _drawn(trial: Trial, name: str, among: BaseDistribution) -> Any:
    if isinstance(among, CategoricalDistribution):
        return trial.suggest_categorical(name, among.choices)
    if isinstance(among, IntDistribution):
        return trial.suggest_int(name, among.low, among.high, log=among.log)
    if isinstance(among, FloatDistribution):
        return trial.suggest_float(name, among.low, among.high, log=among.log)
    raise TypeError(f"{name}: no way to draw from {among}")
