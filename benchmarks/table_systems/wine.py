"""Wine: which of three growers made it?"""

from __future__ import annotations

import datetime as dt

import pandas as pd

from dagsverk.tabular.system import Column, System

GROWERS = ("first", "second", "third")
# name: description, unit, an ordinary value
MEASURED: dict[str, tuple[str, str, float]] = {
    "alcohol": ("Alcohol", "% by volume", 13.0),
    "malic_acid": ("Malic acid", "g/l", 1.9),
    "ash": ("Ash", "g/l", 2.4),
    "alcalinity_of_ash": ("Alcalinity of ash", "", 19.5),
    "magnesium": ("Magnesium", "mg/l", 98.0),
    "total_phenols": ("Phenols", "", 2.4),
    "flavanoids": ("Flavanoids", "", 2.1),
    "nonflavanoid_phenols": ("Other phenols", "", 0.34),
    "proanthocyanins": ("Proanthocyanins", "", 1.6),
    "color_intensity": ("Colour", "", 4.7),
    "hue": ("Hue", "", 0.96),
    "od280/od315_of_diluted_wines": ("OD280/OD315 when diluted", "", 2.8),
    "proline": ("Proline", "mg/l", 673.0),
}


def _name(measured: str) -> str:
    return measured.replace("/", "_")


def read() -> pd.DataFrame:
    """The 178 wines that scikit-learn carries, shape (178, 15)."""
    from sklearn.datasets import load_wine

    bunch = load_wine(as_frame=True)
    rows: pd.DataFrame = bunch.data[list(MEASURED)].rename(columns=_name)
    return rows.assign(wine_id=range(1, len(rows) + 1), grower=[GROWERS[k] for k in bunch.target])


SYSTEM = System(
    name="wine",
    title="Wine",
    description="Three growers in one valley of Italy, told apart by their wine's chemistry.",
    row_name="wine",
    id_column="wine_id",
    columns=tuple(
        Column(name=_name(name), description=words, kind="number", unit=unit, minimum=0, example=usual)
        for name, (words, unit, usual) in MEASURED.items()
    ),
    label=Column(name="grower", description="Grower", kind="category", categories=GROWERS),
    read=read,
    event_time=dt.datetime(1991, 7, 1, tzinfo=dt.UTC),
    licence="UCI, CC BY 4.0; carried by scikit-learn.",
)
