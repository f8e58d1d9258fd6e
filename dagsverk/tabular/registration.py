"""Scored model classes -> a registered version, and its promotion if the gate says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from dagsverk.store.protocol import Model, Store
from dagsverk.tabular import training
from dagsverk.tabular.config import TrainingConfig
from dagsverk.tabular.errors import UntrainableRows
from dagsverk.tabular.gate import Decision, decide
from dagsverk.tabular.models import InvalidModel
from dagsverk.tabular.prediction import load_champion
from dagsverk.tabular.scores import Scores
from dagsverk.tabular.system import System
from dagsverk.tabular.tables import trained_on


def register(
    store: Store,
    system: System,
    rows: pd.DataFrame,
    scores: Sequence[Scores],
    config: TrainingConfig,
    lineage: Mapping[str, Any],
) -> tuple[Model, bool]:
    """The version that this training comes to, and whether it is new; promoted when its decision says so.

    Safe to repeat: a training is known by its key. A version that was saved but not yet promoted when its
    process was killed is promoted by the next call.

    Args:
        rows: what is fitted on, from `tables.labelled_rows`.
        scores: of every class compared, uncalibrated.
        lineage: where the rows came from: table, table_version, label, data_commit.
    Raises: Conflict when another training promoted a version in the meantime.
    """
    key = training.training_key(system, rows, config)
    known = [m for m in store.models(system.name) if m.info.get("training_key") == key]
    model = (
        known[-1] if known else _save(store, system, rows, scores, config, {**lineage, "training_key": key})
    )
    decision, champion = model.info["decision"], store.champion(system.name)
    in_use = champion.version if champion else None
    if decision["promoted"] and (in_use is None or in_use < model.version):
        store.promote(system.name, model.version, reason=decision["reason"], expected=in_use)
    return model, not known


def facts(model: Model, new: bool, champion: Model | None) -> dict[str, Any]:
    """A registration in JSON types, for reports."""
    decision, in_use = model.info["decision"], champion.version if champion else None
    reason = decision["reason"]
    if not new:
        same = f"nothing new to learn, the rows and settings are those of version {model.version}"
        reason = same if in_use == model.version else f"{same}: {reason}"
    return {
        "version": model.version,
        "new": new,
        "compared": model.info["compared"],
        "promoted": decision["promoted"],
        "reason": reason,  # of what the last training came to
        "decision": decision["reason"],  # of the gate, when the version was made
        "rule": decision["rule"],
        "warnings": decision["warnings"],
        "champion": in_use,
    }


def check_rows(system: System, rows: pd.DataFrame) -> None:
    """Refuse, before anything is scored, what scoring or the gate is sure to refuse. Raises UntrainableRows.

    Args: rows: all that have an outcome, from `tables.labelled_rows`.
    """
    outcomes = rows[system.label.name].value_counts()
    if len(outcomes) < 2 or outcomes.min() < 2:
        found = ", ".join(f"{name} {count}" for name, count in outcomes.items()) or "none"
        problem = f"want two outcomes ({system.label.name}) with two rows each, found: {found}"
        raise UntrainableRows(f"{system.name} cannot be trained on {len(rows)} rows: {problem}")
    if problems := column_checks(system, rows):
        raise UntrainableRows(f"{system.name} cannot be trained: {'; '.join(problems)}")


def column_checks(system: System, rows: pd.DataFrame) -> list[str]:
    """A sentence about all inputs from which nothing can be learned; empty: there is none."""
    known = {name: rows[name].dropna().unique() for name in system.inputs}
    found = [
        f"{name} is {values[0]} wherever it is known" if len(values) else f"{name} is always empty"
        for name, values in known.items()
        if len(values) < 2
    ]
    remedy = f"mend the source, or leave the columns out of {system.name}"
    return [f"nothing can be learned in {len(rows)} rows where {', '.join(found)}: {remedy}"] if found else []


def _save(
    store: Store,
    system: System,
    rows: pd.DataFrame,
    scores: Sequence[Scores],
    config: TrainingConfig,
    lineage: Mapping[str, Any],
) -> Model:
    compared = training.add_calibrated(system, rows, scores, config)
    chosen = training.select(compared)
    decision = _judge(store, system, rows, chosen, config)
    classifier = training.fit_selected(system, rows, chosen)
    origins = {**lineage, "origins": list(config.origins)}
    with TemporaryDirectory(prefix="dagsverk-") as folder:
        training.write_model_folder(
            Path(folder), system, classifier, scores=compared, decision=decision, rows=rows, lineage=origins
        )
        return store.save_model(
            system.name,
            Path(folder),
            metrics=training.registry_metrics(chosen),
            description=f"{system.title}: {chosen.model_class}, fitted on {len(rows)} rows",
            info={
                "training_key": lineage["training_key"],
                "model_class": chosen.model_class,
                "lineage": origins,
                "decision": decision.to_dict(),
                "compared": [_row(s) for s in sorted(compared, key=lambda s: s.log_loss)],
                "baseline": dict(chosen.baseline),
            },
            schema={column.name: column.kind for column in (*system.columns, system.label)},
        )


def _judge(
    store: Store, system: System, rows: pd.DataFrame, candidate: Scores, config: TrainingConfig
) -> Decision:
    champion, problems = _champion_scores(store, system, rows, config)
    decision = decide(
        candidate,
        champion,
        leak_accuracy=system.leak_accuracy,
        min_gain=config.min_gain,
        failed_checks=column_checks(system, rows),
    )
    return replace(decision, warnings=(*decision.warnings, *problems))


def _champion_scores(
    store: Store, system: System, rows: pd.DataFrame, config: TrainingConfig
) -> tuple[Scores | None, list[str]]:
    """The champion on today's folds, or why it cannot take part: it must not block its successors."""
    model = store.champion(system.name)
    if model is None:
        return None, []
    try:
        classifier = load_champion(system, store).classifier
        known = trained_on(store, system, model)
        return training.champion_scores(system, rows, classifier, known, config), []
    except (InvalidModel, ValueError) as error:  # its columns, or its rows, are not there any more
        problem = f"the champion, version {model.version}, could not be compared: {error}"
        return None, [problem]


def _row(scores: Scores) -> dict[str, Any]:
    """What reports and pages show of one class: metrics with intervals, and the one hold-out."""
    metrics = {
        name: {"mean": found.mean, "low": found.low, "high": found.high}
        for name, found in scores.metrics.items()
    }
    return {
        "model_class": scores.model_class,
        "calibrated": scores.calibrated,
        **metrics,
        "holdout_accuracy": scores.holdout.get("accuracy"),
    }
