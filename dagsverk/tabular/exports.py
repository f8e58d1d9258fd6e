"""Predictions as a file: CSV that no spreadsheet takes for formulas, and Parquet."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dagsverk.tabular import monitoring
from dagsverk.tabular.system import System

BLOCK_ROWS = 5_000
# What spreadsheets take for the start of a formula (OWASP, "CSV injection"); a number is none
FORMULA = re.compile(r"^[\s\x00]*[=+\-@\t\r\n|＝＋－＠]")
NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")


def predictions(
    system: System, features: pd.DataFrame, made: pd.DataFrame, *, every: bool = False
) -> pd.DataFrame:
    """Predictions with what they were made of, sorted by time, row and version.

    Returns: columns row_id, the system's own id, event_time, origin, the inputs, prediction, probability, a
        probability per class, model_version, predicted_at, seen_in_training, outcome, correct.

    Args:
        made: the predictions table.
        every: those of all versions, and of rows learned from; else the first of each row that was unseen
            then, which are those that accuracy counts.
    """
    table = _of_all_versions(system, features, made) if every else _history(system, features, made)
    shares = pd.DataFrame(table["probabilities"].tolist(), table.index, dtype="float64")
    shares = shares.reindex(columns=range(len(system.classes)))
    shares.columns = [f"probability_{name}" for name in system.classes]
    table = pd.concat([table, shares], axis=1)
    table[system.id_column] = table["row_id"].str.removeprefix(f"{system.name}-")
    whole = {c.name: "Int64" for c in system.columns if c.kind == "integer"}
    order = ["row_id", system.id_column, "event_time", "origin", *system.inputs, "prediction", "probability"]
    order += [*shares.columns, "model_version", "predicted_at", "seen_in_training", "outcome", "correct"]
    ordered: pd.DataFrame = table.astype(whole)[list(dict.fromkeys(order))]
    return ordered


def _history(system: System, features: pd.DataFrame, made: pd.DataFrame) -> pd.DataFrame:
    return monitoring.history(system, features, made).assign(seen_in_training=False)


def _of_all_versions(system: System, features: pd.DataFrame, made: pd.DataFrame) -> pd.DataFrame:
    """As the history, but for all versions of the model, and for rows that these were fitted on."""
    parts = [
        monitoring.history(system, features, part.assign(seen_in_training=False)).assign(
            seen_in_training=bool(seen)
        )
        for (_, seen), part in made.groupby(["model_version", "seen_in_training"])
    ]
    if not parts:
        return _history(system, features, made)
    by = ["event_time", "row_id", "model_version"]
    return pd.concat(parts).sort_values(by, kind="stable", ignore_index=True)


def to_csv(table: pd.DataFrame) -> Iterator[bytes]:
    """The table in UTF-8, block by block, times in ISO 8601; the mark that spreadsheets want comes first."""
    for start in range(0, max(len(table), 1), BLOCK_ROWS):
        block = table.iloc[start : start + BLOCK_ROWS].copy()
        for name in block:
            if isinstance(block[name].dtype, pd.DatetimeTZDtype):
                block[name] = block[name].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            elif block[name].dtype == object or isinstance(block[name].dtype, pd.StringDtype):
                block[name] = block[name].map(harmless, na_action="ignore")
        text = block.to_csv(index=False, header=not start, lineterminator="\r\n")
        yield (b"" if start else "\ufeff".encode()) + text.encode()


def harmless(value: Any) -> Any:
    """Text that a spreadsheet would run is given a quotation mark in front, which it does not show."""
    if isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def to_parquet(table: pd.DataFrame) -> bytes:
    """The table with its types; times in UTC, to the microsecond."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), file, coerce_timestamps="us")
    return file.getvalue()
