"""Real rows, models fitted on them, and scores with chosen numbers; each made once per test run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd

from dagsverk.tabular.features import model_inputs, validate
from dagsverk.tabular.models import Classifier, fit, recipe
from dagsverk.tabular.scores import Scores, mean_interval
from dagsverk.tabular.sources import read_source
from dagsverk.tabular.system import System, load_system


@cache
def system_and_rows(name: str) -> tuple[System, pd.DataFrame]:
    system = load_system(name)
    return system, validate(system, read_source(system), pd.Timestamp("2026-01-01", tz="UTC")).rows


def inputs_of(name: str) -> pd.DataFrame:
    return model_inputs(*system_and_rows(name))


@cache
def fitted(name: str, model_class: str) -> Classifier:
    system, rows = system_and_rows(name)
    return fit(system, recipe(model_class), model_inputs(system, rows), rows[system.label.name].to_numpy())


def made_up_scores(
    log_losses: Sequence[float],
    *,
    accuracy: float = 0.8,
    baseline: float = 0.66,
    model_class: str = "xgboost",
    calibrated: bool = False,
    folds_id: str = "same",
) -> Scores:
    """Scores whose log-loss per fold (one repeat) is given."""
    folds = len(log_losses)
    per_fold = {"log_loss": tuple(log_losses), "accuracy": (accuracy,) * folds}
    metrics = {name: mean_interval(values, folds) for name, values in per_fold.items()}
    others = {name: mean_interval((0.1,) * folds, folds) for name in ("auc", "brier", "ece")}
    return Scores(
        system="titanic",
        model_class=model_class,
        parameters=dict(recipe(model_class).parameters),
        calibrated=calibrated,
        folds=folds,
        repeats=1,
        seed=42,
        rows=100,
        rows_known=100,
        folds_id=folds_id,
        metrics={**metrics, **others},
        per_fold=per_fold,
        baseline=dict.fromkeys(("accuracy", "auc", "brier", "ece"), 0.5) | {"log_loss": baseline},
        calibration_gain=0.0,
    )


def shuffled(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    return rows.iloc[np.random.default_rng(seed).permutation(len(rows))]
