"""Which clips belong together when a model is scored: by who speaks, and by how.

Light: loads no learning library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

STATED = ("gender", "age", "accent")  # by the corpus; "" where it does not say
NOT_STATED = "not stated"
_LENGTHS_S = (0.0, 2.0, 4.0, 7.0, 12.0, float("inf"))
_LENGTH_NAMES = ("< 2 s", "2-4 s", "4-7 s", "7-12 s", ">= 12 s")
_ORDER = (*_LENGTH_NAMES, "slow", "medium", "fast")


@dataclass(frozen=True)
class Group:
    """Clips that share a value, such as gender = female. Only a large one is scored."""

    by: str
    value: str
    member: npt.NDArray[np.bool_]  # of the rows
    large: bool


def find_groups(rows: pd.DataFrame, min_clips: int) -> list[Group]:
    """The groups of the scored clips, in an order that people expect.

    Large is one with at least `min_clips` clips, and another clip outside it to be compared with.
    Args: rows: see `group_clips`; and scored.
    """
    scored = rows["scored"].to_numpy(dtype=bool)
    labels = group_clips(rows)
    groups = []
    for by in labels:
        for value in sorted(labels[by][scored].dropna().unique(), key=_place):
            member = (labels[by] == value).to_numpy(dtype=bool) & scored
            groups.append(Group(str(by), value, member, bool(min_clips <= member.sum() < scored.sum())))
    return groups


def _place(value: str) -> tuple[int, str]:
    place = next((i for i, name in enumerate(_ORDER) if value.startswith(name)), len(_ORDER))
    return place, value


def group_clips(rows: pd.DataFrame) -> pd.DataFrame:
    """The group of each clip, one column per way to group: gender, age, accent, length, rate.

    A column that the corpus states of no clip is left out; so is the speaking rate where all clips have the
    same.

    Args: rows: with STATED, duration_s and words (of the normalised reference).
    """
    labels = {
        name: rows[name].fillna("").replace("", NOT_STATED)
        for name in STATED
        if name in rows and (rows[name].fillna("") != "").any()
    }
    labels["length"] = _by_length(rows["duration_s"])
    rate = _by_rate(rows["words"] / rows["duration_s"])
    if rate is not None:
        labels["rate"] = rate
    return pd.DataFrame(labels, index=rows.index)


def _by_length(duration_s: pd.Series[float]) -> pd.Series[str]:
    return pd.cut(duration_s, _LENGTHS_S, right=False, labels=_LENGTH_NAMES).astype(object)


def _by_rate(words_per_s: pd.Series[float]) -> pd.Series[str] | None:
    """Thirds of these clips, from slow to fast: languages differ too much for limits of their own."""
    spoken = words_per_s[np.isfinite(words_per_s) & (words_per_s > 0)]
    if spoken.empty:
        return None
    low, high = (float(q) for q in np.quantile(spoken, [1 / 3, 2 / 3]))
    if not low < high:
        return None
    names = [f"slow, < {low:.1f} words/s", "medium", f"fast, >= {high:.1f} words/s"]
    return pd.cut(words_per_s, [-np.inf, low, high, np.inf], right=False, labels=names).astype(object)
