"""Wide: 20,000 rows of 50 numbers, made by scikit-learn; two classes of which one is rarer."""

from __future__ import annotations

import datetime as dt

import pandas as pd

from dagsverk.tabular.system import Column, System

ROWS, NUMBERS = 20_000, 50
NAMES = tuple(f"x{i:02d}" for i in range(NUMBERS))


def read() -> pd.DataFrame:
    """Shape (20000, 52); the same rows every time."""
    from sklearn.datasets import make_classification

    values, classes = make_classification(
        n_samples=ROWS, n_features=NUMBERS, n_informative=12, n_redundant=8, weights=[0.7], random_state=42
    )
    rows = pd.DataFrame(values.round(4), columns=list(NAMES))
    return rows.assign(item_id=range(1, ROWS + 1), outcome=[("no", "yes")[k] for k in classes])


SYSTEM = System(
    name="wide",
    title="Wide",
    description="A yes or no from fifty numbers.",
    row_name="item",
    id_column="item_id",
    columns=tuple(Column(name=name, description=name, kind="number", example=0.0) for name in NAMES),
    label=Column(name="outcome", description="Outcome", kind="category", categories=("no", "yes")),
    read=read,
    event_time=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    licence="Made by scikit-learn's make_classification.",
)
