"""Scored model classes -> a registered version, and its promotion if the gate says so."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from dagsverk import promotion
from dagsverk.promotion import Decision
from dagsverk.records import parse, plain
from dagsverk.store.protocol import Model, Store
from dagsverk.tabular import training
from dagsverk.tabular.card import naming
from dagsverk.tabular.config import TrainingConfig
from dagsverk.tabular.errors import UntrainableRows
from dagsverk.tabular.evaluation import Progress, silent
from dagsverk.tabular.gate import decide
from dagsverk.tabular.models import InvalidModel
from dagsverk.tabular.prediction import load_champion
from dagsverk.tabular.reports import ComparedClass, RowsTwice, Trained
from dagsverk.tabular.scores import Scores
from dagsverk.tabular.system import System
from dagsverk.tabular.tables import real_rows, trained_on
from dagsverk.tabular.typical import typical_case
from dagsverk.version import code_version


def register(
    store: Store,
    system: System,
    rows: pd.DataFrame,
    scores: Sequence[Scores],
    config: TrainingConfig,
    lineage: Mapping[str, Any],
    progress: Progress = silent,
) -> Trained:
    """The version that this training comes to, found by its key or saved; promoted when its decision says so.

    Safe to repeat, see `promotion.register`.

    Args:
        rows: what is fitted on, from `tables.labelled_rows`.
        scores: of every class compared, uncalibrated.
        lineage: where the rows came from: table, table_version, label, data_commit; made: which run it was.
    Raises: Conflict when another training promoted a version in the meantime.
    """
    key = {"training_key": training.training_key(system, rows, config)}
    version, registration = promotion.register(
        store,
        system.name,
        key,
        lambda: _save(store, system, rows, scores, config, {**lineage, **key}, progress),
        nothing_new="nothing new to learn, the rows and settings are those of",
    )
    compared = (parse(row, ComparedClass) for row in version.info["compared"])
    chosen_by = {name: version.info[name] for name in ("measure", "positive") if name in version.info}
    doubled = parse(version.info["twice"], RowsTwice) if version.info.get("twice") else None
    return Trained(**vars(registration), compared=tuple(compared), twice=doubled, **chosen_by)


def check_rows(system: System, rows: pd.DataFrame) -> None:
    """Refuse, before anything is scored, what scoring or the gate is sure to refuse. Raises UntrainableRows.

    Args: rows: all that have an outcome, from `tables.labelled_rows`.
    """
    outcomes = rows[system.label.name].value_counts()
    if len(outcomes) < 2 or outcomes.min() < 2:
        present = ", ".join(f"{name} {count}" for name, count in outcomes.items()) or "none"
        problem = f"want two outcomes ({system.label.name}) with two rows each, found: {present}"
        alone = [str(name) for name, count in outcomes.items() if count < 2]
        remedy = "bring rows of another outcome"
        if len(outcomes) > 2:
            rest = f"leave {'it' if len(alone) == 1 else 'them'} out of the system's categories"
            remedy = f"bring more rows of {', '.join(alone)}, or {rest}, which sets the rows aside"
        raise UntrainableRows(f"{system.name} cannot be trained on {len(rows)} rows: {problem}; {remedy}")
    if problems := column_checks(system, rows):
        raise UntrainableRows(f"{system.name} cannot be trained: {'; '.join(problems)}")


def column_checks(system: System, rows: pd.DataFrame) -> list[str]:
    """A sentence about all inputs from which nothing can be learned; empty: there is none."""
    distinct = {name: rows[name].dropna().unique() for name in system.inputs}
    idle = [
        f"{name} is {values[0]} wherever it is known" if len(values) else f"{name} is always empty"
        for name, values in distinct.items()
        if len(values) < 2
    ]
    remedy = f"mend the source, or leave the columns out of {system.name}"
    return [f"nothing can be learned in {len(rows)} rows where {', '.join(idle)}: {remedy}"] if idle else []


def _save(
    store: Store,
    system: System,
    rows: pd.DataFrame,
    scores: Sequence[Scores],
    config: TrainingConfig,
    lineage: Mapping[str, Any],
    progress: Progress,
) -> Model:
    began = time.monotonic()
    compared = training.add_calibrated(system, rows, scores, config, progress)
    chosen = training.select(compared)
    decision = _decide(store, system, rows, chosen, config, progress)
    classifier = training.fit_selected(system, rows, chosen)
    spent_s = time.monotonic() - began + sum(one.seconds for one in scores)
    made = {**lineage.get("made", {}), "seconds": round(spent_s, 2)}
    origins = {**lineage, "origins": list(config.origins), "made": made, "code": code_version()}
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
                "decision": plain(decision),
                "compared": [plain(_compared(s)) for s in sorted(compared, key=lambda s: s.loss)],
                "baseline": dict(chosen.baseline),
                "twice": plain(chosen.twice),
                "reliability": [plain(part) for part in chosen.reliability],
                "predicted": dict(chosen.predicted),
                "typical": typical_case(system, real_rows(rows)),
                "measure": chosen.measure,
                "positive": chosen.positive,
                "per_class": [plain(each) for each in chosen.per_class],
                "naming": naming(classifier, chosen.positive),
            },
            schema={column.name: column.kind for column in (*system.columns, system.label)},
        )


def _decide(
    store: Store,
    system: System,
    rows: pd.DataFrame,
    candidate: Scores,
    config: TrainingConfig,
    progress: Progress,
) -> Decision:
    champion, problems = _champion_scores(store, system, rows, config, progress)
    decision = decide(
        candidate,
        champion,
        leak_accuracy=system.leak_accuracy,
        min_gain=config.min_gain,
        failed_checks=column_checks(system, rows),
    )
    return replace(decision, warnings=(*decision.warnings, *problems))


def _champion_scores(
    store: Store, system: System, rows: pd.DataFrame, config: TrainingConfig, progress: Progress
) -> tuple[Scores | None, list[str]]:
    """The champion on today's folds, or why it cannot take part: it must not block its successors."""
    model = store.champion(system.name)
    if model is None:
        return None, []
    try:
        classifier = load_champion(system, store).classifier
        fitted_on = trained_on(store, system, model)
        return training.champion_scores(system, rows, classifier, fitted_on, config, progress), []
    except (InvalidModel, ValueError) as error:  # its columns, or its rows, are not there any more
        problem = f"the champion, version {model.version}, could not be compared: {error}"
        return None, [problem]


def _compared(scores: Scores) -> ComparedClass:
    return ComparedClass(
        model_class=scores.model_class,
        calibrated=scores.calibrated,
        holdout_accuracy=scores.holdout.get("accuracy"),
        **scores.metrics,
    )
