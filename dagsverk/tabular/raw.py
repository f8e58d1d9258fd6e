"""Rows as they came from a source, and how many there may be."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

MAX_CELLS = 20_000_000
MAX_COLUMNS = 2_000
TEXT = pd.StringDtype("pyarrow", na_value=np.nan)  # a tenth of the memory of Python's own text


@dataclass(frozen=True)
class Raw:
    """Rows as they came. The index is the line in the source (the header is line 1)."""

    name: str  # where from, without credentials
    rows: pd.DataFrame  # cells as text, or as a system's own `read` gives them; None or NaN: missing
    malformed: dict[int, str] = field(default_factory=dict)  # line -> what is wrong with its shape
    guesses: tuple[str, ...] = ()  # what was found out about the source and might be otherwise: sentences
