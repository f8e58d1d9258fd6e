"""The pieces of a training: score the classes, choose, fit, and write everything known about the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dagsverk.promotion import Decision
from dagsverk.records import plain, write_file
from dagsverk.tabular.card import model_card
from dagsverk.tabular.config import TrainingConfig
from dagsverk.tabular.errors import UntrainableRows
from dagsverk.tabular.evaluation import Progress, cross_validate, holdout, in_fixed_order, silent
from dagsverk.tabular.features import model_inputs
from dagsverk.tabular.models import Classifier, Encoding, fit, save
from dagsverk.tabular.near_equal import twins
from dagsverk.tabular.recipes import Recipe, recipe
from dagsverk.tabular.scores import Scores
from dagsverk.tabular.system import System
from dagsverk.tabular.tables import identity, real_rows
from dagsverk.version import code_version, package_version

__all__ = [
    "TrainingConfig",
    "add_calibrated",
    "champion_scores",
    "fit_selected",
    "registry_metrics",
    "score_class",
    "select",
    "training_key",
    "write_model_folder",
]

BACKGROUND_ROWS = 64  # that explanations compare a row with
MIN_ROWS_TO_CALIBRATE = 10  # of the rarest outcome


def training_key(system: System, rows: pd.DataFrame, config: TrainingConfig) -> str:
    """SHA-256 of all that decides what a training comes to; the same key: there is nothing new to learn.

    That is rows (in any order), columns, derived inputs, classes, settings and the version of this package.
    """
    content = model_inputs(system, rows).add_prefix("input_")
    content["label"] = rows[system.label.name].astype(str).to_numpy()
    for name in ("row_id", "event_time", "origin"):
        if name in rows:
            content[name] = rows[name].astype(str).to_numpy()
    definition: dict[str, Any] = {
        "system": system.name,
        "columns": Encoding.of(system).columns,
        "classes": system.classes,
        "leak_accuracy": system.leak_accuracy,
        "config": config.to_dict(),
        "version": package_version(),
    }
    repeats = config.evaluation.repeats_for(len(real_rows(rows)))
    if repeats < config.repeats:  # named only then, so that the keys of small tables stay what they were
        definition["repeats"] = repeats
    real = in_fixed_order(real_rows(rows))
    ids = list(real["row_id"]) if "row_id" in real else []
    if twins(system, model_inputs(system, real), ids).groups:  # named only then, likewise
        definition["twins"] = 1
    if (system.measure, system.positive) != ("log_loss", ""):
        definition["measure"] = [system.measure, system.positive]
    digest = hashlib.sha256(json.dumps(definition, sort_keys=True).encode())
    digest.update(np.sort(pd.util.hash_pandas_object(content, index=False).to_numpy()).tobytes())
    return digest.hexdigest()


def recipe_of(model_class: str, config: TrainingConfig) -> Recipe:
    """The class's default recipe, with what the settings say of it."""
    return recipe(model_class, n_neighbors=config.knn_k) if model_class == "knn" else recipe(model_class)


def score_class(
    system: System,
    rows: pd.DataFrame,
    model_class: str,
    config: TrainingConfig,
    progress: Progress = silent,
) -> Scores:
    """One model class, uncalibrated: cross-validated, with the one 80/20 split beside it.

    Raises UntrainableRows when the class cannot be fitted on so few or such rows.
    """
    try:
        return _score(system, rows, recipe_of(model_class, config), config, progress, calibrate=False)
    except ValueError as error:
        raise UntrainableRows(
            f"{system.name}: {model_class} cannot be scored on {len(rows)} rows: {error}; give it more rows, "
            f"or leave {model_class} out of model_classes"
        ) from error


def add_calibrated(
    system: System,
    rows: pd.DataFrame,
    scores: Sequence[Scores],
    config: TrainingConfig,
    progress: Progress = silent,
) -> list[Scores]:
    """The scores, those replaced by their calibrated model's where that has the lower log-loss.

    Where models are chosen by another measure, only the best is tried.

    Tried only where it can change who wins, or by how much: a calibration fitted on the very outcomes it is
    scored on shows the most that it can gain, and that must reach `min_gain` over the best score so far.
    Not tried either where an outcome has fewer than ten real rows.
    """
    rarest = real_rows(rows)[system.label.name].value_counts().min()
    if config.calibration == "never" or rarest < MIN_ROWS_TO_CALIBRATE:
        return list(scores)
    if system.measure != "log_loss":
        return _with_calibrated_best(system, rows, scores, config, progress)
    within_reach = select(scores).log_loss - config.min_gain
    better = []
    for bare in scores:
        hopeless = bare.log_loss - bare.calibration_gain > within_reach
        tried = bare if hopeless else _score(system, rows, bare.recipe, config, progress, calibrate=True)
        better.append(min(bare, tried, key=lambda s: s.log_loss))
    return better


def _with_calibrated_best(
    system: System, rows: pd.DataFrame, scores: Sequence[Scores], config: TrainingConfig, progress: Progress
) -> list[Scores]:
    """The best by another measure, calibrated if that lowers its log-loss and costs it nothing."""
    best = select(scores)
    tried = _score(system, rows, best.recipe, config, progress, calibrate=True)
    better = tried.log_loss < best.log_loss and tried.loss <= best.loss + config.min_gain
    return [tried if s is best and better else s for s in scores]


def select(scores: Sequence[Scores]) -> Scores:
    """The best by the mean of the measure, which is log-loss unless the system says otherwise; of equals the
    first. Raises ValueError for none."""
    if not scores:
        raise ValueError("no scores to choose from: score one model class or more first")
    return min(scores, key=lambda s: s.loss)


def champion_scores(
    system: System,
    rows: pd.DataFrame,
    champion: Classifier,
    trained_on: pd.MultiIndex,
    config: TrainingConfig,
    progress: Progress = silent,
) -> Scores:
    """The champion on the candidate's folds: its recipe, fitted in each on only rows it was trained on.

    Args: trained_on: their identities.
    Raises: ValueError when too few of them are left among the rows.
    """
    fit_on = identity(rows).isin(trained_on)
    calibrate = champion.calibration is not None
    return cross_validate(
        system,
        rows,
        champion.recipe,
        config.evaluation,
        calibrate=calibrate,
        tune=bool(champion.tuning.measure),
        fit_on=fit_on,
        progress=lambda words: progress(f"the champion, {words}"),
    )


def fit_selected(system: System, rows: pd.DataFrame, scores: Scores) -> Classifier:
    """The scored recipe, fitted on all rows that have an outcome."""
    labelled = in_fixed_order(rows[rows[system.label.name].notna()])
    inputs, labels = model_inputs(system, labelled), labelled[system.label.name].to_numpy(dtype=object)
    return fit(system, scores.recipe, inputs, labels, scores.seed, calibrate=scores.calibrated)


def registry_metrics(scores: Scores) -> dict[str, float]:
    """Means for the model registry, by metric name."""
    return {name: interval.mean for name, interval in scores.metrics.items()}


def write_model_folder(
    folder: Path,
    system: System,
    classifier: Classifier,
    *,
    scores: Sequence[Scores],
    decision: Decision,
    rows: pd.DataFrame,
    lineage: Mapping[str, Any],
) -> Path:
    """Write model, recipe, scores of all classes, decision, lineage, background rows and card; return folder.

    Args: scores: of all classes compared, the classifier's among them.
        rows: those it was fitted on.
        lineage: where the rows came from (table, commit, key, ...), in JSON types.
    Raises: ValueError when the classifier's own scores are absent.
    """
    calibrated = classifier.calibration is not None
    own = [s for s in scores if s.recipe == classifier.recipe and s.calibrated == calibrated]
    if not own:
        raise ValueError(f"the scores are of {[s.model_class for s in scores]}, without {classifier.recipe}")
    save(classifier, folder)
    origin = {**lineage, "code": code_version(), "rows_fitted_on": len(rows)}
    write_file(folder / "scores.json", [plain(s) for s in scores])
    write_file(folder / "decision.json", plain(decision))
    write_file(folder / "lineage.json", origin)
    write_file(folder / "background.json", background(system, rows, own[0].seed))
    shown = {name: value for name, value in origin.items() if name != "made"}  # which run, how fast
    card = model_card(system, classifier, chosen=own[0], scores=scores, decision=decision, lineage=shown)
    (folder / "card.md").write_text(card, encoding="utf-8")
    return folder


def background(system: System, rows: pd.DataFrame, seed: int = 42) -> list[dict[str, Any]]:
    """Up to 64 real rows' inputs, classes in their shares: what explanations compare with."""
    real = in_fixed_order(real_rows(rows))
    shuffled = real.sample(frac=1.0, random_state=seed).sort_values(system.label.name, kind="stable")
    # Evenly spaced rows of a table sorted by class hold the classes in their shares.
    places = np.linspace(0, len(shuffled) - 1, min(BACKGROUND_ROWS, len(shuffled))).round().astype(int)
    inputs = shuffled[list(system.inputs)].iloc[places].astype(object)
    inputs = inputs.where(inputs.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in inputs.to_dict("records")]


def _score(
    system: System,
    rows: pd.DataFrame,
    recipe: Recipe,
    config: TrainingConfig,
    progress: Progress,
    *,
    calibrate: bool,
) -> Scores:
    scores = cross_validate(system, rows, recipe, config.evaluation, calibrate=calibrate, progress=progress)
    return replace(scores, holdout=holdout(system, rows, recipe, config.seed, calibrate=calibrate))
