"""The tables of one tabular system, and the names under which they are found."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from dagsverk.label_decisions import kept_state
from dagsverk.store.protocol import Model, Store, Table
from dagsverk.tabular.labels import Decided, with_decisions
from dagsverk.tabular.system import System

HISTORIC, SYNTHETIC = "historic", "synthetic"  # real rows, and those of a generator
SENT = "source"  # in `generator`: of a real row that a source brought; empty: of the system's own facts

_ARROW = {"number": pa.float64(), "integer": pa.int64(), "category": pa.string()}
_TIME = pa.timestamp("us")  # UTC


def features_table(system: System) -> Table:
    """One row per passenger, flower, ...: inputs as entered, and the outcome once it is known."""
    fields = [
        ("row_id", pa.string()),
        ("event_time", _TIME),
        ("origin", pa.string()),
        ("generator", pa.string()),  # a synthetic row's method; of a real row, SENT or empty
        *((column.name, _ARROW[column.kind]) for column in system.columns),
        (system.label.name, pa.string()),
    ]
    return Table(
        f"{system.name}_features",
        1,
        pa.schema(fields),
        ("row_id",),
        "event_time",
        f"{system.title}: inputs and outcomes",
    )


def predictions_table(system: System) -> Table:
    """One row per row and model version that predicted it; `event_time` is the row's own."""
    fields = [
        ("row_id", pa.string()),
        ("model_version", pa.int64()),
        ("event_time", _TIME),
        ("predicted_at", _TIME),
        ("prediction", pa.string()),
        ("probability", pa.float64()),  # of the predicted class
        ("probabilities", pa.list_(pa.float64())),  # in the order of System.classes
        ("seen_in_training", pa.bool_()),
    ]
    return Table(
        f"{system.name}_predictions",
        1,
        pa.schema(fields),
        ("row_id", "model_version"),
        "event_time",
        f"{system.title}: what each model version predicted",
    )


def rejects_table(system: System) -> Table:
    """One row per failed check of a raw row that was set aside."""
    fields = [
        ("source", pa.string()),
        ("line", pa.int64()),  # of the raw table; the header is line 1
        ("column", pa.string()),
        ("check", pa.string()),
        ("value", pa.string()),
        ("found_at", _TIME),
    ]
    return Table(
        f"{system.name}_rejects",
        1,
        pa.schema(fields),
        ("source", "line", "column", "check"),
        None,
        f"{system.title}: raw rows set aside, and why",
    )


def labelled_rows(
    store: Store, system: System, origins: Sequence[str], as_of: int | None = None, decisions: str = ""
) -> pd.DataFrame:
    """Rows of these origins whose outcome is known, as the feature table stood after the commit `as_of`.

    Args: decisions: what people had decided of their outcomes, by its digest; "": as the sources have them.
    """
    return decided_rows(store, system, origins, as_of, decisions).rows


def decided_rows(
    store: Store, system: System, origins: Sequence[str], as_of: int | None, decisions: str
) -> Decided:
    """The same, and what was decided of them."""
    rows = labelled(system, store.read(features_table(system), as_of=as_of), origins)
    return with_decisions(system, rows, kept_state(store, "tabular", system.name, decisions))


def labelled(system: System, features: pd.DataFrame, origins: Sequence[str]) -> pd.DataFrame:
    """The rows that a training uses: of these origins, with an outcome.

    What is fitted on and what lineage says was fitted on are both this.
    """
    wanted = features["origin"].isin(list(origins)) & features[system.label.name].notna()
    return features[wanted].reset_index(drop=True)


def real_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Those that no generator made; all, where nothing is said of their origin."""
    return rows[rows["origin"] == HISTORIC] if "origin" in rows else rows


def trained_on(store: Store, system: System, model: Model) -> pd.MultiIndex:
    """Identities of the rows that a registered model was fitted on, by its lineage."""
    lineage = model.info["lineage"]
    decisions = lineage.get("label_decisions", "")
    return identity(labelled_rows(store, system, lineage["origins"], lineage["data_commit"], decisions))


def identity(rows: pd.DataFrame) -> pd.MultiIndex:
    """What makes a row the same: row id and event time in UTC, whether or not the time came with a zone."""
    times = pd.to_datetime(rows["event_time"], utc=True).dt.as_unit("us")
    return pd.MultiIndex.from_arrays([rows["row_id"].astype(object), times], names=["row_id", "event_time"])
