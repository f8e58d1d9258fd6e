"""Predictions and outcomes -> the tables, series and alerts that the pages draw. Pure, but for `load`."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from dagsverk.store.protocol import Model, NotFound, Store, Table
from dagsverk.tabular.accuracy import AccuracyAlarm, Promise, promise_of, watch_accuracy, wilson
from dagsverk.tabular.alarms import Alert, PastAlarm, accuracy_alerts, drift_alerts, past_alarms, stale_alerts
from dagsverk.tabular.drift import MIN_ROWS, ColumnDrift, drift, label_drift
from dagsverk.tabular.expected import ExpectedAccuracy, expect
from dagsverk.tabular.predicted import KEY, prediction_alerts, watch_predictions
from dagsverk.tabular.system import System
from dagsverk.tabular.tables import HISTORIC, SYNTHETIC, features_table, identity, predictions_table
from dagsverk.tabular.watched import watch_table, with_evidence

__all__ = [
    "MIN_ROWS",
    "AccuracyAlarm",
    "Alert",
    "ColumnDrift",
    "PastAlarm",
    "Promise",
    "Report",
    "Tally",
    "accuracy_series",
    "confusion",
    "drift",
    "expected_accuracy",
    "history",
    "load",
    "promise_of",
    "report",
    "watch_version",
    "wilson",
]

WINDOW_ROWS = 90  # enough to see accuracy fall by about 0.11 from 0.82 with a power of 0.8
STALE_DAYS = 2  # a daily run may be late, but not a day late


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """How the predictions of rows of one kind have turned out: first predictions, unseen in training."""

    predictions: int
    outcomes: int  # of those, with a known outcome
    correct: int
    last: pd.DataFrame  # columns of `history`, newest first
    confusion: pd.DataFrame  # index: actual, columns: predicted; sums to `outcomes`
    series: pd.DataFrame  # columns of `accuracy_series`


@dataclass(frozen=True, kw_only=True, eq=False)
class Report(Tally):
    """All that a monitor page draws of one system. Times are UTC.

    What it inherits is of real rows alone. A synthetic row's label is what the generator drew: to agree with
    it says how well model and generator go together, and nothing of how often the model is right.
    """

    system: str
    made_at: dt.datetime
    window_rows: int
    invented: Tally  # of synthetic rows; the "outcome" is the generator's label
    last_predicted_at: dt.datetime | None  # of rows of both kinds
    accuracy: AccuracyAlarm  # real rows with outcomes against the champion's promise
    expected_accuracy: ExpectedAccuracy | None  # of real rows still without outcome: no measurement
    drift: tuple[ColumnDrift, ...]  # newest `window_rows` rows against those learned from; the label is last
    drift_of_invented: bool  # no real row was predicted yet: `drift` is of synthetic ones
    alerts: tuple[Alert, ...]
    past_alarms: tuple[PastAlarm, ...]  # of this champion, ended by later rows

    def to_dict(self) -> dict[str, Any]:
        """The report in JSON types: tables as lists of records, times in ISO 8601, missing as None."""
        content: dict[str, Any] = _plain(self)
        return content


def history(system: System, features: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions joined to their outcomes, sorted by event_time and row_id.

    Only rows that the model had not been trained on count, because accuracy on training rows flatters; of
    several predictions of one row only the first counts, because later models knew more.

    Returns: one row per row_id and event_time with columns row_id, event_time (UTC), origin, the inputs,
    prediction, probability, probabilities, model_version, predicted_at (UTC), outcome (None: not known yet),
    correct (boolean; <NA>: not known yet). A prediction whose features are gone stays, its inputs missing.
    """
    table = predictions_table(system)
    first = _utc(predictions.reindex(columns=table.schema.names), "event_time", "predicted_at")
    first = first[~first["seen_in_training"].astype("boolean").fillna(False).astype(bool)]
    first = first.sort_values(["predicted_at", "model_version"], kind="stable")
    first = first.drop_duplicates(["row_id", "event_time"])
    wanted = ["row_id", "event_time", "origin", *system.inputs, system.label.name]
    rows = _utc(features.reindex(columns=wanted), "event_time")
    rows = rows.drop_duplicates(["row_id", "event_time"], keep="last")
    joined = first.merge(rows, on=["row_id", "event_time"], how="left")
    joined = joined.rename(columns={system.label.name: "outcome"})
    joined["outcome"] = joined["outcome"].astype(object).where(joined["outcome"].notna(), None)
    joined["model_version"] = joined["model_version"].astype("int64")
    right = (joined["prediction"] == joined["outcome"]).to_numpy(dtype=bool)
    joined["correct"] = pd.arrays.BooleanArray(right, mask=joined["outcome"].isna().to_numpy(dtype=bool))
    order = ["row_id", "event_time", "origin", *system.inputs, "prediction", "probability", "probabilities"]
    order += ["model_version", "predicted_at", "outcome", "correct"]
    return joined.sort_values(["event_time", "row_id"], kind="stable", ignore_index=True)[order]


def confusion(system: System, history: pd.DataFrame) -> pd.DataFrame:
    """Counts of rows with outcomes, shape (classes, classes): index actual, columns predicted.

    All classes are there, in the order of `system.classes`, whatever has occurred. The sum is the number of
    rows with outcomes. Raises ValueError for a class that the system does not know: no row is lost silently.
    """
    outcomes = history[history["outcome"].notna()]
    classes = pd.Index(system.classes)
    actual, predicted = (classes.get_indexer(pd.Index(outcomes[side])) for side in ("outcome", "prediction"))
    if strange := outcomes[(actual < 0) | (predicted < 0)]["row_id"].tolist():
        raise ValueError(
            f"{system.name}: rows {strange[:5]} have a prediction or outcome outside {list(system.classes)}; "
            "correct the stored rows, or add the class to the system's label"
        )
    size = len(classes)
    counts = np.bincount(actual * size + predicted, minlength=size * size).reshape(size, size)
    return pd.DataFrame(counts, index=classes.rename("actual"), columns=classes.rename("predicted"))


def accuracy_series(history: pd.DataFrame, *, window_rows: int = WINDOW_ROWS) -> pd.DataFrame:
    """Accuracy per day of event time, over rows with outcomes; days without outcomes have no row.

    Returns: columns date (UTC midnight), model_version (the newest that predicted a row of that day), and
    three times n, correct, accuracy, low, high (Wilson 95 % interval): of the day alone; with the prefix
    `cumulative_`, of all rows so far; with the prefix `rolling_`, of the last `window_rows` rows so far.
    """
    outcomes = history[history["outcome"].notna()]
    days = outcomes.groupby(outcomes["event_time"].dt.floor("D"))
    ends = days.size().to_numpy(dtype=np.int64).cumsum()
    so_far = np.concatenate([[0], outcomes["correct"].to_numpy(dtype=np.int64).cumsum()])
    starts = {
        "": np.concatenate([[0], ends])[: len(ends)],
        "cumulative_": np.zeros_like(ends),
        "rolling_": np.maximum(ends - window_rows, 0),
    }
    series = days["model_version"].max().rename_axis("date").reset_index()
    for prefix, start in starts.items():
        n, correct = ends - start, so_far[ends] - so_far[start]
        low, high = wilson(correct, n)
        values = {"n": n, "correct": correct, "accuracy": correct / n, "low": low, "high": high}
        series = series.assign(**{prefix + name: value for name, value in values.items()})
    return series


def expected_accuracy(history: pd.DataFrame, promise: Promise | None) -> ExpectedAccuracy | None:
    """The accuracy to expect of the promise's model's rows that are still without outcome. None: no such."""
    waiting = history[history["outcome"].isna()]
    if promise is not None and promise.version is not None:
        waiting = waiting[waiting["model_version"] == promise.version]
    probability = waiting["probability"].dropna().to_numpy(dtype=np.float64)
    return expect(probability, promise.reliability if promise else ())


def report(
    system: System,
    features: pd.DataFrame,
    predictions: pd.DataFrame,
    promise: Promise | None,
    *,
    window_rows: int = WINDOW_ROWS,
    last: int = 10,
    stale_days: float = STALE_DAYS,
    now: dt.datetime,
) -> Report:
    """Everything that the monitor of one system shows, at the moment `now`.

    Args:
        features, predictions: the stored tables; both may be empty.
        promise: what the champion's cross-validation promised; None: no champion.
        window_rows: the newest rows that drift and rolling accuracy look at.
        last: how many predictions `Report.last` shows.
        stale_days: newest prediction older than this: an alert.
        now: with a time zone.
    Raises: ValueError for a `now` without time zone, or counts below 1.
    """
    if now.tzinfo is None or window_rows < 1 or last < 1:
        raise ValueError(f"want a zoned now, window_rows and last >= 1; got {now}, {window_rows}, {last}")
    past = history(system, features, predictions)
    real, invented = past[past["origin"] != SYNTHETIC], past[past["origin"] == SYNTHETIC]
    tally = _tally(system, real, window_rows, last)
    version = promise.version if promise else None
    reference = _reference(system, features, predictions, past, version)
    alarm, watched, clock = watch_accuracy(real, promise, len(reference), window_rows=window_rows)
    shift, shifted, shift_clock = watch_predictions(
        system, real, promise.predicted if promise else {}, version, len(reference)
    )
    rows = invented if real.empty else real
    rows = rows[rows["origin"].notna()]  # else their inputs are gone
    window = rows.tail(window_rows)
    looks = [*drift(system, reference, window), label_drift(system, reference, window)]
    since_champion = rows if version is None else rows[rows["model_version"] == version]
    table = watch_table(system, reference, since_champion)
    columns = with_evidence(looks, table)
    predicted_at = _newest_moment(predictions)
    return Report(
        **vars(tally),
        system=system.name,
        made_at=now.astimezone(dt.UTC),
        window_rows=window_rows,
        invented=_tally(system, invented, window_rows, last),
        last_predicted_at=predicted_at,
        accuracy=alarm,
        expected_accuracy=expected_accuracy(real, promise),
        drift=tuple(columns),
        drift_of_invented=real.empty,
        alerts=(
            *stale_alerts(predicted_at, now, stale_days),
            *accuracy_alerts(alarm),
            *prediction_alerts(system, shift),
            *drift_alerts(system, columns, invented=real.empty),
        ),
        past_alarms=(
            *past_alarms({"accuracy": watched}, clock),
            *past_alarms({KEY: shifted}, shift_clock),
            *past_alarms(table.by_key, table.clock),
        ),
    )


def _tally(system: System, past: pd.DataFrame, window_rows: int, last: int) -> Tally:
    with_outcome = past[past["outcome"].notna()]
    return Tally(
        predictions=len(past),
        outcomes=len(with_outcome),
        correct=int(with_outcome["correct"].sum()),
        last=past.tail(last).iloc[::-1].reset_index(drop=True),
        confusion=confusion(system, past),
        series=accuracy_series(past, window_rows=window_rows),
    )


def load(system: System, store: Store) -> tuple[pd.DataFrame, pd.DataFrame, Model | None]:
    """(features, predictions, champion) of a system; a table that is not there yet reads as empty."""

    def rows(table: Table) -> pd.DataFrame:
        try:
            return store.read(table)
        except NotFound:
            empty: pd.DataFrame = table.schema.empty_table().to_pandas()
            return empty

    return rows(features_table(system)), rows(predictions_table(system)), store.champion(system.name)


def watch_version(system: System, store: Store) -> tuple[int, int, int]:
    """(features, predictions, champion) versions: cheap to read, and different when a page must be redrawn.

    0 stands for a champion, -1 for a table, that is not there yet.
    """

    def version(table: Table) -> int:
        try:
            return store.version(table)
        except NotFound:
            return -1

    champion = store.champion(system.name)
    return (
        version(features_table(system)),
        version(predictions_table(system)),
        champion.version if champion else 0,
    )


def _reference(
    system: System, features: pd.DataFrame, predictions: pd.DataFrame, past: pd.DataFrame, version: int | None
) -> pd.DataFrame:
    """The historic rows that this model version learned from, as its predictions of them say.

    Where they do not: those that are not part of the history.
    """
    if "origin" not in features:
        return features.reindex(columns=[*past.columns, system.label.name])
    historic = _utc(features[features["origin"] == HISTORIC], "event_time")
    if version is not None:
        seen = predictions[(predictions["model_version"] == version) & predictions["seen_in_training"]]
        learned = identity(historic).isin(identity(seen))
        if learned.any():
            return historic[learned]
    return historic[~identity(historic).isin(identity(past))]


def _newest_moment(predictions: pd.DataFrame) -> dt.datetime | None:
    """When the newest prediction of all was made, those of training rows included: the run took place."""
    made = _utc(predictions.reindex(columns=["predicted_at"]), "predicted_at")
    return _moment(made["predicted_at"].max())


def _utc(rows: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """A copy with the named columns as UTC times and row_id as text: what both sides of a join need."""
    times: dict[str, Any] = {name: pd.to_datetime(rows[name], utc=True).dt.as_unit("us") for name in columns}
    if "row_id" in rows:
        times["row_id"] = rows["row_id"].astype(str)
    return rows.assign(**times)


def _moment(time: Any) -> dt.datetime | None:
    return None if time is None or time is pd.NaT else pd.Timestamp(time).to_pydatetime()


def _plain(value: Any) -> Any:
    """`value` in JSON types; anything missing or not finite is None."""
    if isinstance(value, pd.DataFrame) and value.index.name == "actual":
        value = {"classes": list(value.columns), "counts": value.to_numpy().tolist()}
    elif isinstance(value, pd.DataFrame):
        value = value.to_dict("records")
    elif isinstance(value, Alert | PastAlarm | AccuracyAlarm | ExpectedAccuracy | ColumnDrift | Tally):
        value = {f.name: getattr(value, f.name) for f in fields(value)}
    elif isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is pd.NA or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value.isoformat() if isinstance(value, dt.datetime) else value
