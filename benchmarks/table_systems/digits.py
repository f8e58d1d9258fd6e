"""Digits: which of ten digits is written in 8 x 8 pixels?"""

from __future__ import annotations

import datetime as dt

import pandas as pd

from dagsverk.tabular.system import Column, System

ALL = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))
BLANK = ("pixel_0_0", "pixel_4_0", "pixel_4_7")  # without ink in every digit: nothing to learn from
PIXELS = tuple(name for name in ALL if name not in BLANK)
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def read() -> pd.DataFrame:
    """The 1,797 digits that scikit-learn carries, shape (1797, 66); ink from 0 to 16."""
    from sklearn.datasets import load_digits

    values, digits = load_digits(return_X_y=True)
    rows = pd.DataFrame(values, columns=list(ALL))
    return rows.assign(digit_id=range(1, len(rows) + 1), digit=[DIGITS[k] for k in digits])


SYSTEM = System(
    name="digits",
    title="Digits",
    description="Handwritten digits, scanned.",
    row_name="digit",
    id_column="digit_id",
    columns=tuple(
        Column(
            name=name,
            description=name.replace("_", " ").capitalize(),
            kind="number",
            minimum=0,
            maximum=16,
            example=0.0,
        )
        for name in PIXELS
    ),
    label=Column(name="digit", description="Digit", kind="category", categories=DIGITS),
    read=read,
    unused=BLANK,
    event_time=dt.datetime(1998, 7, 1, tzinfo=dt.UTC),
    licence="UCI, CC BY 4.0; carried by scikit-learn.",
)
