"""The steps of a tabular day: read the store, call the knowledge, write the store, return a reference."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import time
from typing import TYPE_CHECKING

import pandas as pd
from prefect import task

from dagsverk.label_decisions import keep_state
from dagsverk.records import digest, keep_report, last_report, read, remembered
from dagsverk.store import ModelRef, NotFound, Store, Table, TableRef
from dagsverk.tabular.config import ModelClass, TrainingConfig
from dagsverk.tabular.days import SynthesisConfig
from dagsverk.tabular.errors import TooManyBadRows
from dagsverk.tabular.measures import WORDS
from dagsverk.tabular.reports import Ingested, Monitored, Predicted, Quality, Synthesised
from dagsverk.tabular.summary import arrival_words
from dagsverk.tabular.system import System, load_system
from dagsverk.tabular.tables import (
    HISTORIC,
    decided_rows,
    features_table,
    labelled_rows,
    predictions_table,
    rejects_table,
    trained_on,
)
from dagsverk.version import package_version
from dagsverk.words import counted
from tasks import show
from tasks.logs import now_and_then, say, wrote
from tasks.policies import REPEATABLE
from tasks.runs import noted
from tasks.stores import open_store

if TYPE_CHECKING:
    from dagsverk.tabular.scores import Scores


@task(name="ingest", task_run_name="ingest {system}", **REPEATABLE)
def ingest(system: str, source: str | None = None, max_bad_share: float = 0.1) -> TableRef:
    """Safe to repeat: rows and rejects are written by key."""
    from dagsverk.tabular.arrivals import STORED_COLUMNS, settle
    from dagsverk.tabular.features import new_rejects, validate
    from dagsverk.tabular.sources import EMBEDDED, read_source

    store, described, now = open_store(), load_system(system), pd.Timestamp.now("UTC")
    checked = validate(described, read_source(described, source), now)
    table, rejects = features_table(described), rejects_table(described)
    store.ensure(table)
    store.ensure(rejects)
    store.upsert(rejects, new_rejects(checked.rejects, store.read(rejects)))
    if checked.rows_set_aside > max_bad_share * checked.rows_in:
        raise TooManyBadRows(checked.complaint(max_bad_share))
    content = () if checked.named else described.inputs
    stored = store.read(table, columns=[*STORED_COLUMNS, *content, described.label.name])
    settled = settle(described, checked, stored, sent=source not in (None, EMBEDDED), now=now)
    about = noted("ingest", source=checked.source, rows_in=checked.rows_in, set_aside=checked.rows_set_aside)
    commit = store.upsert(table, settled.rows, about)
    came = {*checked.rows["row_id"], *settled.rows["row_id"]}
    gone = set(stored.loc[stored["origin"] == HISTORIC, "row_id"]) - came
    report = Ingested(
        source=checked.source,
        rows_in=checked.rows_in,
        rows_set_aside=checked.rows_set_aside,
        rows_gone=len(gone),
        inserted=commit.inserted,
        updated=commit.updated,
        left_to_source=settled.left_to_source,
        without_outcome=settled.without_outcome,
        outcomes_kept=settled.outcomes_kept,
        guesses=checked.guesses,
    )
    keep_report(store, system, "features", report)
    show.ingested(system, report, checked.rejects)
    show.committed(table, commit, system)
    say(
        f"read {checked.rows_in} rows of {checked.source}, set {checked.rows_set_aside} aside",
        wrote(table, commit),
        f"{len(gone)} known rows are not in the source and stay" if gone else "",
        *arrival_words(report),
        *checked.guesses,
    )
    return _reference(store, table, system, commit.id)


@task(name="newest-rows", **REPEATABLE)
def newest_rows(system: str) -> TableRef:
    """Safe to repeat: it only reads."""
    store, table = open_store(), features_table(load_system(system))
    store.ensure(table)
    if not store.commits(table):
        raise NotFound(f"{table.name} has no rows yet; read some: prefect deployment run day/{system}")
    rows = _reference(store, table, system)
    decided = f"with the decisions {rows.decisions} of people" if rows.decisions else ""
    say(f"{table.name}_{table.version} stands at commit {rows.commit}", decided)
    return rows


def _reference(store: Store, table: Table, system: str, commit: int | None = None) -> TableRef:
    """The rows as they stand, with what people have decided of their outcomes so far."""
    decisions = keep_state(store, "tabular", system)
    return TableRef(table.name, table.version, commit or store.commits(table)[-1].id, decisions)


@task(name="cross-validate", task_run_name="cross-validate {model_class} {system}", **REPEATABLE)
def cross_validate(system: str, rows: TableRef, model_class: ModelClass, config: TrainingConfig) -> str:
    """Safe to repeat: scores are kept under a digest of all they depend on. Returns their path.

    Raises UntrainableRows at once where the gate would refuse whatever comes of it.
    """
    from dagsverk.tabular import registration, training
    from dagsverk.tabular.scores import Scores

    store, described = open_store(), load_system(system)
    labelled = labelled_rows(store, described, config.origins, rows.commit, rows.decisions)
    registration.check_rows(described, labelled)
    alone = dataclasses.replace(config, model_classes=(model_class,), min_gain=0.0, calibration="never")
    path = f"scores/{system}/{training.training_key(described, labelled, alone)[:16]}-{model_class}.json"
    computed = []

    def compute() -> Scores:
        computed.append(model_class)
        began = time.monotonic()
        made = training.score_class(described, labelled, model_class, config, now_and_then())
        return dataclasses.replace(made, seconds=round(time.monotonic() - began, 2))

    scores = remembered(store, path, Scores, compute)
    did = f"scored {model_class}" if computed else f"found the scores of {model_class}, kept from before,"
    protocol = f"{counted(scores.folds, 'fold')}, {counted(scores.repeats, 'repeat')}"
    say(
        f"{did} on {len(labelled)} rows of commit {rows.commit} ({protocol})",
        _folds_words(described, scores, config),
        f"log-loss {scores.log_loss:.4f}{_measured(scores)}, kept at {path}",
    )
    return path


def _folds_words(system: System, scores: Scores, config: TrainingConfig) -> str:
    """Why the folds are fewer than asked; empty: they are not."""
    if scores.folds >= config.folds or not scores.per_class:
        return ""
    rarest = min(scores.per_class, key=lambda each: each.rows)
    return f"no more folds, because {system.label.words(rarest.name)} has {counted(rarest.rows, 'row')}"


def _measured(scores: Scores) -> str:
    if scores.measure == "log_loss":
        return ""
    return f", {WORDS[scores.measure]} {scores.value:.4f}"


@task(name="register-best", task_run_name="register-best {system}", **REPEATABLE)
def register_best(system: str, rows: TableRef, scores: list[str], config: TrainingConfig) -> ModelRef:
    """Safe to repeat: the same training is found by its key, and a promotion that was cut off is finished."""
    from dagsverk.tabular import registration
    from dagsverk.tabular.scores import Scores

    store, described = open_store(), load_system(system)
    decided = decided_rows(store, described, config.origins, rows.commit, rows.decisions)
    labelled = decided.rows
    of_classes = [read(store, path, Scores) for path in scores]
    lineage = {
        "table": rows.name,
        "table_version": rows.version,
        "label": described.label.name,
        "data_commit": rows.commit,
        "made": noted("register-best"),
    }
    if decided.words:
        lineage |= {"label_decisions": rows.decisions, "by_hand": decided.words}
    report = registration.register(store, described, labelled, of_classes, config, lineage, now_and_then())
    keep_report(store, system, "training", report)
    show.trained(system, report)
    done = "registered" if report.new else "nothing new to learn: found"
    say(
        f"read the scores of {len(of_classes)} model classes, {done} {system} version {report.version}",
        decided.words,
        *(f"{count} decisions do not apply: {why}" for why, count in decided.not_applied.items()),
        report.decision,
        f"champion: version {report.champion}" if report.champion else "there is no champion",
    )
    return ModelRef(system, report.version)


@task(name="synthesize", task_run_name="synthesize {system} {date}", **REPEATABLE)
def synthesize(system: str, date: dt.date, config: SynthesisConfig) -> TableRef:
    """Safe to repeat: a day's rows have names of their own, and those that exist are left as they are."""
    from dagsverk.tabular.synthesis import rows_of_day

    store, described = open_store(), load_system(system)
    table = features_table(described)
    if not config.count:
        return _no_rows(store, table, system, date, config)
    real = labelled_rows(store, described, (HISTORIC,))
    midnight = dt.datetime.combine(date, dt.time(), dt.UTC)
    stored = store.read(table, columns=["row_id"], since=midnight, until=midnight + dt.timedelta(days=1))
    present, inserted = pd.Index(stored["row_id"]), 0
    about = noted("synthesize", generator=config.method, seed=config.seed, date=date)
    for block in rows_of_day(described, real, date=date, **dataclasses.asdict(config)):
        new = block[present.get_indexer(block["row_id"]) < 0]
        if len(new):
            inserted += store.upsert(table, new, about).inserted
    quality, unmeasured = _quality(store, described, real, config.method)
    report = Synthesised(**dataclasses.asdict(config), date=date, inserted=inserted, quality=quality)
    keep_report(store, system, "synthesis", report)
    show.synthesised(system, report)
    rows = _reference(store, table, system)
    say(
        f"fitted {config.method} on {len(real)} real rows, drew {config.count} of {date}",
        f"wrote {inserted} new rows to {table.name}_{table.version} (commit {rows.commit})",
        unmeasured,
    )
    return rows


def _no_rows(store: Store, table: Table, system: str, date: dt.date, config: SynthesisConfig) -> TableRef:
    """A day on which nothing is invented: no generator is fitted, and the report says so."""
    report = Synthesised(**dataclasses.asdict(config), date=date, inserted=0)
    keep_report(store, system, "synthesis", report)
    show.synthesised(system, report)
    say(f"invented no rows for {date}: count is 0")
    return _reference(store, table, system)


@task(name="predict", task_run_name="predict {system}", **REPEATABLE)
def predict(system: str) -> TableRef:
    """Safe to repeat: keyed by row and model version, and only rows without a prediction are predicted."""
    from dagsverk.tabular.prediction import load_champion, pending, predict_rows

    store, described = open_store(), load_system(system)
    champion = load_champion(described, store)
    features, predictions = features_table(described), predictions_table(described)
    store.ensure(predictions)
    done = store.read(predictions, columns=["row_id", "event_time", "model_version"])
    rows = pending(store.read(features), done, champion.model.version)
    seen = trained_on(store, described, champion.model)
    predicted = predict_rows(champion, rows, seen, dt.datetime.now(dt.UTC))
    unseen = int((~predicted["seen_in_training"]).sum())
    about = noted("predict", model_version=champion.model.version, unseen=unseen)
    commit = store.upsert(predictions, predicted, about)
    report = Predicted(predicted=len(rows), unseen=unseen, model_version=champion.model.version)
    keep_report(store, system, "inference", report)
    show.committed(predictions, commit, system)
    say(
        f"read version {champion.model.version} and {len(rows)} rows that it has not predicted yet, "
        f"{unseen} of them unseen in training",
        wrote(predictions, commit),
    )
    return TableRef(predictions.name, predictions.version, commit.id)


@task(name="monitor", task_run_name="monitor {system}", **REPEATABLE)
def monitor(system: str) -> list[str]:
    """Safe to repeat: it reads tables and replaces its report. Returns the alerts, in words."""
    from dagsverk.tabular import monitoring

    store, described = open_store(), load_system(system)
    features, predictions, champion = monitoring.load(described, store)
    promise = monitoring.promise_of(champion)
    report = monitoring.report(described, features, predictions, promise, now=dt.datetime.now(dt.UTC))
    low, high = monitoring.wilson(report.correct, report.outcomes)
    alerts = [alert.message for alert in report.alerts]
    before = last_report(store, system, "monitoring", Monitored)
    standing = before.standing if before else ()
    show.monitored(system, report, standing)  # first: who is killed in between says it twice, not never
    kept = Monitored(
        predictions=report.predictions,
        outcomes=report.outcomes,
        accuracy=report.correct / report.outcomes if report.outcomes else None,
        low=float(low) if report.outcomes else None,
        high=float(high) if report.outcomes else None,
        promised=report.accuracy.promised,
        alerts=tuple(alerts),
        standing=tuple(alert.key for alert in report.alerts),
        invented_outcomes=report.invented.outcomes,
        invented_agreed=report.invented.correct,
    )
    keep_report(store, system, "monitoring", kept)
    say(
        f"read {report.predictions} predictions of unseen real rows, {report.outcomes} with an outcome, "
        f"{report.correct} right; {report.invented.predictions} of invented rows",
        f"alerts: {len(report.alerts)}",
        *alerts,
        *(f"no longer: the alarm of {key}" for key in standing if key not in kept.standing),
    )
    return alerts


def _quality(store: Store, system: System, real: pd.DataFrame, method: str) -> tuple[Quality | None, str]:
    """How good the generator is on this system's real rows, measured once for the same rows; or why nobody
    knows: too few rows to measure it are no reason to fail a day."""
    from dagsverk.tabular.quality import measure

    name = digest(real, method, package_version())
    path = f"quality/{system.name}/{method}-{name}.json"
    try:
        compute = functools.partial(measure, system, real, method, progress=now_and_then())
        return remembered(store, path, Quality, compute), ""
    except ValueError as error:
        return None, f"the generator's quality was not measured: {error}"
