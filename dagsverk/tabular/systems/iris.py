"""Iris: which species is this flower?"""

from __future__ import annotations

import datetime as dt

import pandas as pd

from dagsverk.tabular.system import Column, System

SPECIES = ("setosa", "versicolor", "virginica")


def read() -> pd.DataFrame:
    """The 150 flowers that scikit-learn carries, shape (150, 6); lengths in centimetres."""
    from sklearn.datasets import load_iris

    bunch = load_iris(as_frame=True)
    rows: pd.DataFrame = bunch.data.set_axis(
        ["sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm"], axis=1
    )
    return rows.assign(flower_id=range(1, len(rows) + 1), species=[SPECIES[i] for i in bunch.target])


def _length(name: str, description: str, low: float, high: float, example: float) -> Column:
    return Column(
        name=name,
        description=description,
        kind="number",
        unit="cm",
        minimum=low,
        maximum=high,
        example=example,
    )


SYSTEM = System(
    name="iris",
    title="Iris",
    description="Three species of iris from four lengths (Anderson 1935, Fisher 1936).",
    row_name="flower",
    id_column="flower_id",
    id_synonyms=("id",),
    columns=(
        _length("sepal_length_cm", "Sepal length", 1, 15, 5.8),
        _length("sepal_width_cm", "Sepal width", 0.5, 10, 3.0),
        _length("petal_length_cm", "Petal length", 0.1, 15, 4.3),
        _length("petal_width_cm", "Petal width", 0.05, 8, 1.3),
    ),
    label=Column(
        name="species",
        description="Species",
        kind="category",
        categories=SPECIES,
        aliases={f"Iris-{name}": name for name in SPECIES},
        synonyms=("variety", "class", "target_name"),
    ),
    read=read,
    event_time=dt.datetime(1936, 9, 1, tzinfo=dt.UTC),
    leak_accuracy=0.995,
    licence="Public domain; carried by scikit-learn.",
)
