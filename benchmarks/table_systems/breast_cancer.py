"""Breast cancer: is this tumour malignant?"""

from __future__ import annotations

import datetime as dt

import pandas as pd

from dagsverk.tabular.system import Column, System

OF_A_NUCLEUS = (
    *("radius", "texture", "perimeter", "area", "smoothness"),
    *("compactness", "concavity", "concave points", "symmetry", "fractal dimension"),
)
MEASURED = (
    *(f"mean {name}" for name in OF_A_NUCLEUS),
    *(f"{name} error" for name in OF_A_NUCLEUS),
    *(f"worst {name}" for name in OF_A_NUCLEUS),
)


def _name(measured: str) -> str:
    return measured.replace(" ", "_")


def read() -> pd.DataFrame:
    """The 569 tumours that scikit-learn carries, shape (569, 32)."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer(as_frame=True)
    rows: pd.DataFrame = bunch.data[list(MEASURED)].rename(columns=_name)
    return rows.assign(tumour_id=range(1, len(rows) + 1), diagnosis=bunch.target)


SYSTEM = System(
    name="breast_cancer",
    title="Breast cancer",
    description="Tumours, from pictures of their nuclei.",
    row_name="tumour",
    id_column="tumour_id",
    columns=tuple(
        Column(name=_name(name), description=name.capitalize(), kind="number", minimum=0) for name in MEASURED
    ),
    label=Column(
        name="diagnosis",
        description="Diagnosis",
        kind="category",
        categories=("benign", "malignant"),
        aliases={"0": "malignant", "1": "benign"},
    ),
    read=read,
    event_time=dt.datetime(1995, 11, 1, tzinfo=dt.UTC),
    licence="UCI, CC BY 4.0; carried by scikit-learn.",
)
