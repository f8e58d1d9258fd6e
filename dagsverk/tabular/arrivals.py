"""Checked rows meet the stored ones: whose values stand, when a row was, and that no outcome is lost.

The rules, for rows that are the same by their identity:

- A row that a source brought is changed by sources alone. The system's own facts, read on every day without
  a source, are written only where no source has brought the row; so the order of the two does not matter.
- A row without an id is the stored one with the same inputs, if there is one.
- A row that comes again without its outcome keeps the outcome that is stored.
- Rows without a time of their own have the system's `event_time`, for that is when its facts were so; but a
  row that comes in without an outcome is from the day on which it came. A stored row keeps its time, so that
  its outcome, which comes later, finds it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dagsverk.tabular.errors import SourceError
from dagsverk.tabular.features import Validated, model_inputs
from dagsverk.tabular.system import System
from dagsverk.tabular.tables import HISTORIC, SENT, identity

STORED_COLUMNS = (
    "row_id",
    "event_time",
    "origin",
    "generator",
)  # what is to be known of stored rows; the label too


@dataclass(frozen=True)
class Settled:
    """Rows as they are to be written."""

    rows: pd.DataFrame  # layout of the features table
    left_to_source: int  # facts that a source has brought as well: not written
    without_outcome: int  # of `rows`
    outcomes_kept: int  # of `rows`: came without an outcome, and one is stored


def settle(
    system: System, checked: Validated, stored: pd.DataFrame, *, sent: bool, now: pd.Timestamp
) -> Settled:
    """Rows of a source (`sent`), or the system's own facts, as they are to be written.

    Args:
        stored: STORED_COLUMNS and label of the stored rows, their inputs as well where rows have no ids.
        now: when they came in; with a time zone.
    Raises: SourceError for a source without the column that says when each row was.
    """
    if sent and system.time_column and not checked.timed:
        raise SourceError(
            f"{checked.source} lacks the column {system.time_column}, which says when each {system.row_name} "
            "was; add it. Nothing was changed"
        )
    label = system.label.name
    real = stored[stored["origin"] == HISTORIC]
    rows = checked.rows if checked.named or checked.timed else _named_as_stored(system, checked.rows, real)
    rows = _dated(system, rows, real, now) if sent and not checked.timed else rows
    left = 0
    if not sent:
        brought = _are_among(rows, real[real["generator"] == SENT], by_time=bool(system.time_column))
        left, rows = int(brought.sum()), rows[~brought]
    outcomes = pd.Series(real[label].to_numpy(dtype=object), identity(real))
    kept = pd.Series(outcomes.reindex(identity(rows)).to_numpy(dtype=object), rows.index, dtype=object)
    missing = rows[label].isna()
    values = rows[label].astype(object).where(~missing, kept)
    rows = rows.assign(**{label: values.where(values.notna(), None)}, generator=SENT if sent else None)
    return Settled(
        rows=rows.reset_index(drop=True),
        left_to_source=left,
        without_outcome=int(rows[label].isna().sum()),
        outcomes_kept=int((missing & kept.notna()).sum()),
    )


def _named_as_stored(system: System, rows: pd.DataFrame, real: pd.DataFrame) -> pd.DataFrame:
    """Rows without ids of their own, those that are stored under another name given that name.

    Else a table that others have published without ids would come in beside the system's own facts, each row
    twice, once to learn from and once to be tested on. Of equal rows the first is the first that is stored.
    """
    content = list(system.inputs)
    digests, stored = (
        pd.util.hash_pandas_object(model_inputs(system, part)[content], index=False) for part in (rows, real)
    )
    places = pd.MultiIndex.from_arrays([stored, stored.groupby(stored).cumcount()])
    wanted = pd.MultiIndex.from_arrays([digests, digests.groupby(digests).cumcount()])
    at = places.get_indexer(wanted)
    names = rows["row_id"].to_numpy(dtype=object, copy=True)
    names[at >= 0] = real["row_id"].to_numpy(dtype=object)[at[at >= 0]]
    taken = set(names[at >= 0])
    for place in np.flatnonzero(at < 0):  # a stored one may have been given the next name before
        stem, _, number = names[place].rpartition("-")
        while names[place] in taken:
            number = str(int(number) + 1)
            names[place] = f"{stem}-{number}"
        taken.add(names[place])
    return rows.assign(row_id=names)


def _are_among(rows: pd.DataFrame, others: pd.DataFrame, *, by_time: bool) -> NDArray[np.bool_]:
    """Which rows are there; without times of their own they are the same by their id."""
    if by_time:
        return np.asarray(identity(rows).isin(identity(others)))
    return rows["row_id"].isin(others["row_id"]).to_numpy(dtype=bool)


def _dated(system: System, rows: pd.DataFrame, real: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """Rows of a source without times of their own: as stored, else now where the outcome is not known yet."""
    came = now.tz_convert("UTC").tz_localize(None).as_unit("us")
    times = rows["event_time"].astype("datetime64[us]").mask(rows[system.label.name].isna(), came)
    newest = real.drop_duplicates("row_id", keep="last").set_index("row_id")["event_time"]
    stored = pd.to_datetime(rows["row_id"].map(newest)).astype("datetime64[us]")
    return rows.assign(event_time=stored.fillna(times))
