"""Penguins: which species is it? Some measures are missing."""

from __future__ import annotations

import datetime as dt

import pandas as pd

from dagsverk.tabular.system import Column, System


def read() -> pd.DataFrame:
    """The 344 penguins of the package palmerpenguins, shape (344, 8)."""
    from palmerpenguins import load_penguins

    rows: pd.DataFrame = load_penguins().drop(columns="year")
    return rows.assign(penguin_id=range(1, len(rows) + 1))


def _measure(name: str, description: str, unit: str, low: float, high: float, example: float) -> Column:
    return Column(
        name=name,
        description=description,
        kind="number",
        unit=unit,
        minimum=low,
        maximum=high,
        required=False,
        example=example,
    )


SYSTEM = System(
    name="penguins",
    title="Penguins",
    description="Three species of penguin on three islands (Gorman, Williams & Fraser 2014).",
    row_name="penguin",
    id_column="penguin_id",
    columns=(
        Column(
            name="island",
            description="Island",
            kind="category",
            categories=("Biscoe", "Dream", "Torgersen"),
            example="Dream",
        ),
        _measure("bill_length_mm", "Bill length", "mm", 20, 80, 44.5),
        _measure("bill_depth_mm", "Bill depth", "mm", 8, 30, 17.3),
        _measure("flipper_length_mm", "Flipper", "mm", 120, 280, 197),
        _measure("body_mass_g", "Weight", "g", 1000, 9000, 4050),
        Column(name="sex", description="Sex", kind="category", categories=("female", "male"), required=False),
    ),
    label=Column(
        name="species",
        description="Species",
        kind="category",
        categories=("Adelie", "Chinstrap", "Gentoo"),
    ),
    read=read,
    event_time=dt.datetime(2009, 12, 1, tzinfo=dt.UTC),
    licence="CC0; carried by palmerpenguins.",
)
