"""Rare: one row in a hundred is a fraud; 10,000 rows of 12 numbers, made by scikit-learn."""

from __future__ import annotations

import datetime as dt

import pandas as pd

from dagsverk.tabular.system import Column, System

ROWS, NUMBERS = 10_000, 12
NAMES = tuple(f"v{i:02d}" for i in range(NUMBERS))


def read() -> pd.DataFrame:
    """Shape (10000, 14); the same rows every time."""
    from sklearn.datasets import make_classification

    values, classes = make_classification(
        n_samples=ROWS,
        n_features=NUMBERS,
        n_informative=6,
        n_redundant=2,
        weights=[0.99],
        flip_y=0.002,
        class_sep=1.0,
        random_state=7,
    )
    rows = pd.DataFrame(values.round(4), columns=list(NAMES))
    return rows.assign(payment_id=range(1, ROWS + 1), verdict=[("honest", "fraud")[k] for k in classes])


SYSTEM = System(
    name="rare",
    title="Rare",
    description="Payments, of which one in a hundred is a fraud.",
    row_name="payment",
    id_column="payment_id",
    columns=tuple(Column(name=name, description=name, kind="number", example=0.0) for name in NAMES),
    label=Column(name="verdict", description="Verdict", kind="category", categories=("honest", "fraud")),
    read=read,
    event_time=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    measure="average_precision",
    leak_accuracy=0.98,  # less than naming every payment honest reaches
    licence="Made by scikit-learn's make_classification.",
)
