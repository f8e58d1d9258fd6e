"""Rows of flowers and their predictions, as the monitor reads them."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from dagsverk.tabular.monitoring import Promise
from dagsverk.tabular.system import load_system

IRIS = load_system("iris")
NOW = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)
DAY_1 = pd.Timestamp("2026-01-01")


def promised(accuracy: float, version: int | None = None) -> Promise:
    return Promise(accuracy=accuracy, version=version)


def flowers(
    outcomes: list[str | None], *, origin: str = "historic", start: pd.Timestamp = DAY_1, name: str = "s"
) -> pd.DataFrame:
    """Feature rows s0, s1, ..., one a day, measured like a typical flower."""
    rng = np.random.default_rng(len(outcomes))
    return pd.DataFrame(
        {
            "row_id": [f"{name}{i}" for i in range(len(outcomes))],
            "event_time": pd.date_range(start, periods=len(outcomes), freq="D"),
            "origin": origin,
            "generator": None,
            **{c.name: rng.normal(c.example, 0.5, len(outcomes)) for c in IRIS.columns},
            "species": pd.Series(outcomes, dtype=object),
        }
    )


def predicted(
    rows: pd.DataFrame, classes: list[str] | str, *, version: int = 1, **changed: object
) -> pd.DataFrame:
    """A prediction of each row, made an hour after its event."""
    columns = {
        "row_id": rows["row_id"],
        "model_version": version,
        "event_time": rows["event_time"],
        "predicted_at": rows["event_time"] + pd.Timedelta(hours=1),
        "prediction": classes,
        "probability": 0.75,
        "probabilities": [[0.75, 0.25, 0.0]] * len(rows),
        "seen_in_training": False,
    }
    return pd.DataFrame(columns | changed)


def quiet_month() -> tuple[pd.DataFrame, pd.DataFrame]:
    """150 historic flowers and 68 later ones like them, the newest of yesterday, all predicted right."""
    later = flowers(["setosa"] * 68, start=pd.Timestamp(NOW.date()) - pd.Timedelta(days=68))
    rows = pd.concat([flowers(["setosa"] * 150, name="h", start=pd.Timestamp("1936-09-01")), later])
    return rows.reset_index(drop=True), predicted(later, "setosa")
