"""Two models on the same clips: paired differences with intervals. Light: loads no learning library."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dagsverk.speech.config import EvaluationConfig
from dagsverk.speech.evaluation.bootstrap import bootstrap
from dagsverk.speech.evaluation.description import PER_FORM, group_columns, rate_columns, rate_pairs
from dagsverk.speech.evaluation.groups import find_groups
from dagsverk.speech.evaluation.report import Comparison, Difference, EvaluationReport, GroupChange
from dagsverk.speech.evaluation.scoring import NORMALISED
from dagsverk.speech.results import clip_rows
from dagsverk.store import Store

SAME = ("language", "set", "split", "normaliser")  # what two comparable reports have in common


def compare(store: Store, first: EvaluationReport, second: EvaluationReport) -> Comparison:
    """First minus second report on the same clips and the same resamples: below 0 the first is better.

    Where one is of a draw from the clips of the other, on the clips of that draw.

    Groups are those with the first report's least number of clips; `gap_change` says how much a group's
    distance to all others is greater with the first model than with the second.
    Raises ValueError when the two are not of the same clips, normalised alike.
    """
    check_comparable(first, second)
    one, other = clip_rows(store, first), clip_rows(store, second)
    if first.cut != second.cut:  # one of them is of a draw from the clips of the other
        one, other = one[one["clip_id"].isin(other["clip_id"])], other[other["clip_id"].isin(one["clip_id"])]
        one = one.reset_index(drop=True)
    paired = difference(one, other, first.config)
    return Comparison(first=first.key, second=second.key, **vars(paired))


def check_comparable(first: EvaluationReport, second: EvaluationReport) -> None:
    """Raises ValueError when the two reports are not of the same clips, normalised alike."""
    for name in SAME:
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            raise ValueError(
                f"reports {first.key} and {second.key} cannot be compared: {name} is {one} and {other}; "
                "evaluate both models on the same set with the same version"
            )


def difference(first: pd.DataFrame, second: pd.DataFrame, config: EvaluationConfig) -> Difference:
    """The paired part of `compare`, from per-clip rows. Raises ValueError unless they are of the same
    clips."""
    other = second.set_index("clip_id").reindex(first["clip_id"]).reset_index()
    if len(first) != len(second) or other["words"].isna().any():
        raise ValueError(f"{len(first)} and {len(second)} clips that are not the same cannot be compared")
    groups = [group for group in find_groups(first, config.min_group_clips) if group.large]
    sides = [
        np.column_stack(
            [rate_columns(rows, (NORMALISED,)), *(group_columns(rows, group) for group in groups)]
        )
        for rows in (first, other)
    ]
    shift = sides[0].shape[1]  # from a column of the first model to that of the second
    sums = bootstrap(np.column_stack(sides), first["speaker"], resamples=config.resamples, seed=config.seed)

    def rate(errors: int, length: int) -> tuple[tuple[int, int], tuple[int, int]]:
        return (errors, length), (errors + shift, length + shift)

    changes = []
    for i, group in enumerate(groups):
        place = PER_FORM + 4 * i
        inside, outside = rate(place, place + 1), rate(place + 2, place + 3)
        changes.append(
            GroupChange(
                by=group.by,
                value=group.value,
                clips=int(group.member.sum()),
                wer=sums.difference(*inside),
                gap_change=sums.change(inside, outside),
            )
        )
    pairs = rate_pairs()
    return Difference(
        clips=len(first),
        wer=sums.difference(*rate(*pairs["wer"])),
        cer=sums.difference(*rate(*pairs["cer"])),
        groups=tuple(changes),
    )
