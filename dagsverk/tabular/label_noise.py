"""Outcomes that may be wrong: rows whose outcome a model that was not fitted on them finds unlikely.

Confident learning (Northcutt and others 2021) by the champion's recipe: probabilities out of fold, over
several partitions; the given outcome's against the likeliest other's, each in units of what rows of its class
have on average, so that a class that is always unsure is not suspected whole. How suspicious a row is comes
from outcomes that were changed on purpose, see `dagsverk.suspicion`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dagsverk import suspicion
from dagsverk.label_report import CUT, LEAST_LISTED, MOST_LISTED, PlantedKind, Suspect, SuspectLabels
from dagsverk.store.protocol import Store, TableRef
from dagsverk.suspicion import Floats, Judged
from dagsverk.tabular.config import EvaluationConfig
from dagsverk.tabular.errors import UntrainableRows
from dagsverk.tabular.evaluation import Partition, Progress, in_fixed_order, silent
from dagsverk.tabular.features import model_inputs
from dagsverk.tabular.labels import row_key
from dagsverk.tabular.metrics import Integers
from dagsverk.tabular.models import class_codes, fit
from dagsverk.tabular.near_equal import twice, twins
from dagsverk.tabular.prediction import load_champion
from dagsverk.tabular.recipes import Recipe
from dagsverk.tabular.registration import check_rows
from dagsverk.tabular.system import System
from dagsverk.tabular.tables import HISTORIC, decided_rows, identity, labelled_rows

PROTOCOL = EvaluationConfig(folds=5, repeats=3)
FAULTS, MOST_ROUNDS = 100, 10  # changed on purpose, at least; in so many rounds at the most
SHARE = suspicion.SHARE  # of the outcomes that are changed in a round
FLIPPED = "another outcome"
LEAST_PROBABILITY = 1e-4


def find(store: Store, system: System, rows: TableRef, progress: Progress = silent) -> SuspectLabels:
    """The report on the outcomes of a table as of a commit, by the champion's recipe.

    Raises: NotFound without a champion; UntrainableRows for rows that cannot be cross-validated.
    """
    started = time.perf_counter()
    champion = load_champion(system, store)
    decided = decided_rows(store, system, (HISTORIC,), rows.commit, rows.decisions)
    labelled = in_fixed_order(decided.rows).reset_index(drop=True)
    check_rows(system, labelled)
    ids, outcomes = list(labelled["row_id"]), list(labelled[system.label.name])
    doubled = twice(twins(system, model_inputs(system, labelled), ids), ids, outcomes)
    try:
        probabilities, made, faults = suspected(system, labelled, champion.classifier.recipe, progress)
    except ValueError as error:
        raise UntrainableRows(f"outcomes of {system.name} cannot be looked at: {error}") from error
    order = np.argsort(-made.suspicion, kind="stable")
    count = int((made.suspicion >= CUT).sum())
    listed = order[: min(MOST_LISTED, max(LEAST_LISTED, count))]
    sources = _sources(store, system, rows, labelled.iloc[listed])
    precision, low, high = suspicion.precision_at(made.suspicion, CUT)
    return SuspectLabels(
        family="tabular",
        name=system.name,
        of=str(rows.commit),
        decisions=rows.decisions,
        model=f"{system.name}, {champion.classifier.recipe.model_class}",
        model_version=champion.version,
        labels=len(labelled),
        suspicious=count,
        cut=CUT,
        share=SHARE,
        precision=precision,
        precision_low=low,
        precision_high=high,
        kinds={FLIPPED: faults},
        suspects=tuple(
            _suspect(system, labelled.iloc[at], probabilities[at], float(made.suspicion[at]), source)
            for at, source in zip(listed, sources, strict=True)
        ),
        seconds=round(time.perf_counter() - started, 1),
        notes=tuple(words for words in (decided.words, doubled.words) if words),
    )


def suspected(
    system: System, rows: pd.DataFrame, recipe: Recipe, progress: Progress = silent
) -> tuple[Floats, Judged, PlantedKind]:
    """Out-of-fold probabilities, how suspicious each outcome is, and how many planted faults were seen.

    Args: rows: with outcomes, in fixed order. Raises ValueError like `Partition`, and for too few rows.
    """
    inputs, labels = model_inputs(system, rows), rows[system.label.name].to_numpy(dtype=object)
    codes = class_codes(system, labels)
    partition = Partition(system, rows, PROTOCOL)
    probabilities = _out_of_fold(system, partition, inputs, labels, recipe, progress)
    features, faults, of = [margins(probabilities, codes)], [], []
    rounds = min(MOST_ROUNDS, max(2, math.ceil(FAULTS / max(1.0, SHARE * len(rows)))))
    for number in range(rounds):
        chosen, changed = flipped(codes, number)
        names = np.asarray(system.classes, dtype=object)[changed]
        again = _out_of_fold(system, partition, inputs, names, recipe, progress)
        faults.append(margins(again, changed)[chosen])
        of += chosen.tolist()
    made = suspicion.judge(
        np.concatenate(features)[:, None],
        np.concatenate(faults)[:, None],
        of=of,
        rounds=1,
        seed=PROTOCOL.seed,
    )
    seen = PlantedKind(planted=len(of), seen=int((made.planted >= CUT).sum()))
    return probabilities, made, seen


def flipped(codes: Integers, seed: int, share: float = SHARE) -> tuple[Integers, Integers]:
    """(places, outcomes of all rows): a share of them changed to another that occurs."""
    draw = np.random.default_rng(seed)
    present = np.unique(codes)
    chosen = np.sort(draw.choice(len(codes), max(1, round(share * len(codes))), replace=False))
    changed = codes.copy()
    for place in chosen:
        changed[place] = draw.choice(present[present != codes[place]])
    return chosen.astype(np.int64), changed


def margins(probabilities: Floats, codes: Integers) -> Floats:
    """How much likelier another outcome is than the given one, as a logarithm, shape (rows,).

    Each in units of the mean probability that rows of that outcome give it.
    """
    own = [probabilities[codes == k, k] for k in range(probabilities.shape[1])]
    usual = np.array([values.mean() if len(values) else 1.0 for values in own])
    logs = np.log(np.clip(probabilities, LEAST_PROBABILITY, 1.0)) - np.log(
        np.clip(usual, LEAST_PROBABILITY, 1)
    )
    places = np.arange(len(codes))
    given = logs[places, codes].copy()
    logs[places, codes] = -np.inf
    best: Floats = logs.max(axis=1) - given
    return best


def _out_of_fold(
    system: System,
    partition: Partition,
    inputs: pd.DataFrame,
    labels: Any,
    recipe: Recipe,
    progress: Progress,
) -> Floats:
    """Mean over the partitions, shape (rows, classes)."""
    total = np.zeros((len(inputs), len(system.classes)))
    times = np.zeros(len(inputs))
    for number, (train, test) in enumerate(partition.splits, start=1):
        fitted = fit(system, recipe, inputs.iloc[train], labels[train], PROTOCOL.seed, tune=False)
        total[test] += fitted.predict_proba(inputs.iloc[test])
        times[test] += 1
        progress(f"{number} of {len(partition.splits)} folds")
    return np.asarray(total / times[:, None])


def _sources(store: Store, system: System, rows: TableRef, listed: pd.DataFrame) -> list[pd.Series[Any]]:
    """The listed rows as their sources have them."""
    stored = labelled_rows(store, system, (HISTORIC,), rows.commit)
    stored.index = identity(stored)
    return [stored.loc[name] for name in identity(listed)]


def _suspect(
    system: System, row: pd.Series[Any], probabilities: Floats, how: float, source: pd.Series[Any]
) -> Suspect:
    label = str(row[system.label.name])
    other = max((p, name) for p, name in zip(probabilities, system.classes, strict=True) if name != label)
    given = float(probabilities[system.classes.index(label)])
    values = source.to_dict()
    return Suspect(
        key=row_key(system, values),
        name=str(row["row_id"]),
        label=label,
        source_label=str(source[system.label.name]),
        other=other[1],
        suspicion=round(how, 4),
        why=(
            f"models that have not seen this row give “{system.label.words(label)}” {100 * given:.0f} % "
            f"and “{system.label.words(other[1])}” {100 * other[0]:.0f} %",
        ),
        about=_values(system, values),
    )


def _values(system: System, row: Mapping[Any, Any]) -> dict[str, str]:
    return {
        column.name: "" if pd.isna(row[column.name]) else str(column.words(row[column.name]))
        for column in system.columns
    }
