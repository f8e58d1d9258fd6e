"""Tables as text, and what becomes of them."""

import pandas as pd

from dagsverk.tabular.features import validate
from dagsverk.tabular.sources import read_source
from dagsverk.tabular.system import load_system

NOW = pd.Timestamp("2026-01-31 12:00", tz="UTC")
HEADER = "passenger_id,survived,pclass,sex,age,sibsp,parch,fare,embarked\n"
ROW = "1,0,3,male,22,1,0,7.25,S\n"


def taken(path, content, system="titanic"):
    """The checked rows of a file with this content."""
    described = load_system(system)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return validate(described, read_source(described, str(path)), NOW)


def said(checked):
    """All that was guessed."""
    return "; ".join(checked.guesses)
