"""Two models of a table on rows that neither has learnt -> a report: which is better, and where."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from dagsverk import threads
from dagsverk.store import Model, Store
from dagsverk.tabular.brought import read_predictions
from dagsverk.tabular.compared import (
    MIN_ROWS,
    CompareRowsConfig,
    TableContender,
    TableReport,
    TableSide,
    keep,
)
from dagsverk.tabular.errors import UntrainableRows
from dagsverk.tabular.evaluation import EvaluationConfig, in_fixed_order
from dagsverk.tabular.features import model_inputs
from dagsverk.tabular.models import Classifier, class_codes
from dagsverk.tabular.prediction import read_champion
from dagsverk.tabular.refitting import refitted
from dagsverk.tabular.row_tests import Judged, changes, examples, groups, mcnemar, over_folds
from dagsverk.tabular.system import System
from dagsverk.tabular.tables import HISTORIC, identity, labelled_rows, trained_on
from dagsverk.words import counted, last_part

Floats = NDArray[np.float64]
Tell = Callable[[str], None]
SPEED_S = 0.5  # that predictions are timed for, at least
ALL_RIGHT = 50  # rows: whoever has as many and all of them right may have been given the outcome
SAME_VERSION = "first and second are the same version: name another in second"
LEARNT, NOT_PREDICTED = "a version was trained on it", "not predicted by both"


@dataclass(frozen=True)
class _Opened:
    """A contender that is ready."""

    name: str
    detail: str
    version: int | None = None
    classifier: Classifier | None = None
    learnt: pd.MultiIndex | None = None  # identities of rows


def compare(
    store: Store,
    system: System,
    pair: tuple[TableContender, TableContender],
    config: CompareRowsConfig,
    commit: int,
    tell: Tell = lambda _: None,
) -> TableReport:
    """The report of two contenders on the real rows of a commit; kept. Safe to repeat.

    Raises: NotFound for a version; InvalidModel; SourceError; UntrainableRows where too few rows are left.
    """
    started = time.perf_counter()
    rows = in_fixed_order(labelled_rows(store, system, (HISTORIC,), commit)).reset_index(drop=True)
    opened = [_open(store, system, contender) for contender in pair]
    rows, left_out = _unlearnt(system, rows, opened, config)
    with ThreadpoolController().limit(limits=1):
        judged = [
            _judge(system, rows, one, contender, config, tell)
            for one, contender in zip(opened, pair, strict=True)
        ]
    both = judged[0].answered & judged[1].answered
    if (missing := int((~both).sum())) > 0:
        left_out[NOT_PREDICTED] = missing
    if both.sum() < MIN_ROWS:
        raise UntrainableRows(
            f"{system.name}: {counted(int(both.sum()), 'row')} can be compared, want {MIN_ROWS}; left out: "
            f"{'; '.join(f'{n} x {why}' for why, n in left_out.items()) or 'none'}; bring more rows"
        )
    rows, judged = rows[both].reset_index(drop=True), [one.only(both) for one in judged]
    report = _report(system, rows, opened, judged, pair, config, commit, left_out)
    report = _timed(report, time.perf_counter() - started)
    keep(store, report)
    return report


def _open(store: Store, system: System, contender: TableContender) -> _Opened:
    if contender.kind == "predictions":
        name = contender.name or last_part(contender.source)
        return _Opened(name, "predictions of somebody else; on which rows they were learnt is not known here")
    model = store.champion(system.name) if contender.version is None else None
    if model is None:
        version = contender.version
        if version is None:
            raise UntrainableRows(
                f"no champion of {system.name} yet; train one: prefect deployment run day/{system.name}"
            )
        model = store.model(system.name, version)
    classifier = _classifier(store, system, model)
    calibrated = ", calibrated" if classifier.calibration is not None else ""
    return _Opened(
        name=f"{system.title} version {model.version}",
        detail=f"{classifier.recipe.model_class}{calibrated}",
        version=model.version,
        classifier=classifier,
        learnt=trained_on(store, system, model),
    )


def _classifier(store: Store, system: System, model: Model) -> Classifier:
    with TemporaryDirectory(prefix="dagsverk-") as place:
        return read_champion(system, model, store.download(model, Path(place) / "model")).classifier


def _unlearnt(
    system: System, rows: pd.DataFrame, opened: Sequence[_Opened], config: CompareRowsConfig
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Rows that may be asked for: all out of fold, else those that no version was trained on."""
    if config.rows == "out_of_fold":
        return rows, {}
    learnt = np.zeros(len(rows), bool)
    for one in opened:
        if one.learnt is not None:
            learnt |= identity(rows).isin(one.learnt)
    if (~learnt).sum() < MIN_ROWS:
        raise UntrainableRows(
            f"{system.name}: of {counted(len(rows), 'row')} with an outcome {int((~learnt).sum())} were seen "
            f"by neither in training, want {MIN_ROWS}: on rows that one has learnt it would be flattered; "
            "bring new rows with outcomes, or compare with rows: out_of_fold"
        )
    return rows[~learnt].reset_index(drop=True), ({LEARNT: int(learnt.sum())} if learnt.any() else {})


def _judge(
    system: System,
    rows: pd.DataFrame,
    opened: _Opened,
    contender: TableContender,
    config: CompareRowsConfig,
    tell: Tell,
) -> Judged:
    """What a contender says of each row."""
    codes = class_codes(system, rows[system.label.name].to_numpy(dtype=object))
    if opened.classifier is None:
        return _brought(system, rows, codes, contender)
    if config.rows == "unseen":
        probabilities = opened.classifier.predict_proba(model_inputs(system, rows))
        return Judged.once(probabilities, opened.classifier.named(probabilities), codes)
    protocol = EvaluationConfig(folds=config.folds, repeats=config.repeats, seed=config.seed)
    fit_on = np.ones(len(rows), bool) if opened.learnt is None else identity(rows).isin(opened.learnt)
    return refitted(
        system, rows, opened.classifier, protocol, fit_on, lambda words: tell(f"{opened.name}, {words}")
    )


def _brought(
    system: System, rows: pd.DataFrame, codes: NDArray[np.int64], contender: TableContender
) -> Judged:
    ids = list(rows["row_id"].astype(str))
    if len(set(ids)) < len(ids):
        raise UntrainableRows(
            f"{system.name} has rows of one id at several times, and predictions name ids alone; "
            "compare two versions, or give each row an id of its own"
        )
    brought = read_predictions(system, contender.source, ids)
    answered = np.array([one in brought.probabilities for one in ids])
    uniform = np.full(len(system.classes), 1 / len(system.classes))
    probabilities = np.array([brought.probabilities.get(one, uniform) for one in ids])
    judged = Judged.once(probabilities, probabilities.argmax(axis=1), codes, answered=answered)
    return judged.labels() if brought.labels_only else judged.with_aside(brought.set_aside)


def _report(
    system: System,
    rows: pd.DataFrame,
    opened: Sequence[_Opened],
    judged: Sequence[Judged],
    pair: Sequence[TableContender],
    config: CompareRowsConfig,
    commit: int,
    left_out: Mapping[str, int],
) -> TableReport:
    one, two = judged
    things = list(rows["row_id"].astype(str))
    measure = "accuracy" if one.labels_only or two.labels_only else "log_loss"
    only_first, only_second, p = mcnemar(one, two)
    sides = [
        _side(system, rows, each, judgement, config) for each, judgement in zip(opened, judged, strict=True)
    ]
    settings = config.to_dict()
    subject = [system.name, commit, [_subject(contender) for contender in pair], settings]
    return TableReport(
        key=hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()[:16],
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        system=system.name,
        data_commit=commit,
        of=_of(config, opened),
        rows=len(rows),
        left_out=dict(left_out),
        first=sides[0],
        second=sides[1],
        measure=measure,
        changes=changes(one, two, things, config),
        over_folds=over_folds(one, two),
        only_first_right=only_first,
        only_second_right=only_second,
        mcnemar_p=p,
        groups=groups(system, rows, one, two, things, config, measure),
        examples=examples(system, rows, one, two, config.examples),
        notes=_notes(opened, judged, sides, len(rows)),
        config=settings,
        took_s=0.0,
    )


def _subject(contender: TableContender) -> dict[str, object]:
    return {name: getattr(contender, name) for name in ("kind", "version", "source", "name")}


def _timed(report: TableReport, took_s: float) -> TableReport:
    return TableReport(**{**vars(report), "took_s": took_s})


def _of(config: CompareRowsConfig, opened: Sequence[_Opened]) -> str:
    if config.rows == "unseen":
        return "real rows that neither version was trained on, by the models as they are"
    versions = sum(one.classifier is not None for one in opened)
    whose = "both versions' recipes" if versions > 1 else "the version's recipe"
    return f"real rows, each judged by {whose} fitted without it"


def _side(
    system: System, rows: pd.DataFrame, opened: _Opened, judged: Judged, config: CompareRowsConfig
) -> TableSide:
    del config
    return TableSide(
        name=opened.name,
        detail=opened.detail,
        accuracy=float(judged.right.mean()),
        log_loss=None if judged.labels_only else float(judged.loss.mean()),
        brier=None if judged.labels_only else float(judged.brier.mean()),
        version=opened.version,
        rows_per_s=_speed(system, rows, opened.classifier),
        machine=f"{platform.machine()}, {threads.allowed()} cores, 1 thread" if opened.classifier else "",
        set_aside=judged.aside or None,
    )


def _speed(system: System, rows: pd.DataFrame, classifier: Classifier | None) -> float | None:
    """Rows predicted in a second, from inputs as they are stored; the first time is not counted."""
    if classifier is None:
        return None
    classifier.predict_proba(model_inputs(system, rows))
    count, started = 0, time.perf_counter()
    while (passed_s := time.perf_counter() - started) < SPEED_S or not count:
        classifier.predict_proba(model_inputs(system, rows))
        count += len(rows)
    return count / passed_s


def _notes(
    opened: Sequence[_Opened], judged: Sequence[Judged], sides: Sequence[TableSide], rows: int
) -> tuple[str, ...]:
    notes = []
    if opened[0].version is not None and opened[0].version == opened[1].version:
        notes.append(SAME_VERSION)
    for one, judgement, side in zip(opened, judged, sides, strict=True):
        if one.classifier is None:
            notes.append(f"{one.name}: whether it was learnt on these very rows is not known here")
        if judgement.labels_only:
            notes.append(f"{one.name} gives classes and no probabilities: accuracy alone is compared")
        if one.classifier is None and side.accuracy == 1 and rows >= ALL_RIGHT:
            notes.append(f"{one.name} has every row right: is that its prediction, or the outcome itself?")
        for reason, count in (judgement.aside or {}).items():
            notes.append(f"{one.name}: {counted(count, 'row')} of its table set aside: {reason}")
    if any(not one.folds for one in judged) and any(one.folds for one in judged):
        notes.append(
            "the interval is over rows alone: what another training would change is not in it, and a small "
            "difference may be of this training"
        )
    return tuple(notes)
