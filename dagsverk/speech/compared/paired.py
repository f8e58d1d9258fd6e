"""Two models' texts of the same clips -> what differs, with intervals. Light: loads no learning library.

Intervals are of the paired bootstrap over speakers (`bootstrap`); with fewer than two known speakers over
clips, which says nothing of other voices. Many groups are looked at, so their p-values are Holm's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from dagsverk.speech.compared.results import Example, Group, Paired
from dagsverk.speech.evaluation.bootstrap import Sums, bootstrap, speaker_codes
from dagsverk.speech.evaluation.description import (
    IN_TRAIN,
    PER_FORM,
    group_columns,
    rate_columns,
    rate_pairs,
)
from dagsverk.speech.evaluation.groups import Group as Members
from dagsverk.speech.evaluation.groups import find_groups
from dagsverk.speech.evaluation.report import GroupChange, Interval
from dagsverk.speech.evaluation.scoring import NORMALISED, word_errors

MOST_SPEAKERS = 40  # of which each is a group
SHOWN_LETTERS = 2000  # of a text in an example


def paired(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    resamples: int = 2000,
    min_group_clips: int = 20,
    examples: int = 12,
    seed: int = 0,
) -> Paired:
    """First minus second, of the clips that both have.

    Args: rows as `description.score_clips` gives them.
    Raises: ValueError where they have no clip in common, or one clip with two texts of what is said.
    """
    one, other = in_common(first, second)
    speakers = by_whom(one)
    groups = _groups(one, min_group_clips)
    sums = _sums(one, other, groups, speakers, resamples, seed)
    by_clip = _sums(one, other, groups, [""] * len(one), resamples, seed)
    pairs, shift = rate_pairs(), PER_FORM + 4 * len(groups)
    changes = [
        _change(by_clip if group.by == "speaker" else sums, group, place, shift)
        for place, group in enumerate(groups)
    ]
    mine, theirs = word_errors(one).to_numpy(), word_errors(other).to_numpy()
    named = one["speaker"].fillna("")
    return Paired(
        clips=len(one),
        speakers=int(named[named != ""].nunique()),
        words=int(one["words"].sum()),
        audio_s=float(one["duration_s"].sum()),
        by="clips" if not any(speakers) else "voices",
        wer=_difference(sums, pairs["wer"], shift),
        cer=_difference(sums, pairs["cer"], shift),
        only_first=int(((mine > 0) & (theirs == 0)).sum()),
        only_second=int(((theirs > 0) & (mine == 0)).sum()),
        groups=_adjusted(changes),
        examples=_examples(one, other, mine, theirs, examples),
    )


def in_common(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both, of the clips that both have, in the order of the first."""
    one = first[first["clip_id"].isin(second["clip_id"])].reset_index(drop=True)
    other = second.set_index("clip_id").reindex(one["clip_id"]).reset_index()
    if one.empty:
        raise ValueError("the two have no clip in common; compare both on the same clips")
    if list(one["text"]) != list(other["text"]):
        raise ValueError("the two were scored against different texts of the same clips; score them again")
    return one, other


def rates(rows: pd.DataFrame, *, resamples: int, seed: int) -> tuple[Interval, Interval]:
    """Word and character error rate of one model."""
    sums = bootstrap(rate_columns(rows, (NORMALISED,)), by_whom(rows), resamples=resamples, seed=seed)
    pairs = rate_pairs()
    return sums.rate(*pairs["wer"]), sums.rate(*pairs["cer"])


def by_whom(rows: pd.DataFrame) -> list[str]:
    """What is drawn: speakers, or clips where there are not two known or unknown ones."""
    speakers = list(rows["speaker"].fillna(""))
    return speakers if len(set(speaker_codes(speakers))) > 1 else [""] * len(rows)


def _groups(rows: pd.DataFrame, least: int) -> list[Members]:
    groups = [group for group in find_groups(rows, least) if group.large]
    scored = rows["scored"].to_numpy(dtype=bool)
    named = rows["speaker"].fillna("")
    counts = named[(named != "") & scored].value_counts()
    more = [("speaker", str(name), (named == name).to_numpy()) for name in counts.index[:MOST_SPEAKERS]]
    if IN_TRAIN in rows:
        seen = rows[IN_TRAIN].to_numpy(dtype=bool)
        more += [("sentence", "read in training", seen), ("sentence", "new", ~seen)]
    for by, value, member in more:
        inside = member & scored
        if least <= inside.sum() < scored.sum():
            groups.append(Members(by, value, inside, large=True))
    return groups


def _sums(
    one: pd.DataFrame,
    other: pd.DataFrame,
    groups: Sequence[Members],
    speakers: Sequence[str],
    resamples: int,
    seed: int,
) -> Sums:
    sides = [
        np.column_stack(
            [rate_columns(rows, (NORMALISED,)), *(group_columns(rows, group) for group in groups)]
        )
        for rows in (one, other)
    ]
    return bootstrap(np.column_stack(sides), speakers, resamples=resamples, seed=seed)


def _difference(sums: Sums, pair: tuple[int, int], shift: int) -> Interval:
    errors, length = pair
    return sums.difference((errors, length), (errors + shift, length + shift))


def _change(sums: Sums, group: Members, number: int, shift: int) -> GroupChange:
    place = PER_FORM + 4 * number
    inside, outside = (place, place + 1), (place + 2, place + 3)
    moved = [((a, b), (a + shift, b + shift)) for a, b in (inside, outside)]
    return GroupChange(
        by=group.by,
        value=group.value,
        clips=int(group.member.sum()),
        wer=sums.difference(*moved[0]),
        gap_change=sums.change(*moved),
    )


def _adjusted(changes: Sequence[GroupChange]) -> tuple[Group, ...]:
    """Holm (1979): the smallest p times how many there are, the next times one less, and so on."""
    order = sorted((change.wer.p, place) for place, change in enumerate(changes) if change.wer.p is not None)
    adjusted: dict[int, float] = {}
    least = 0.0
    for rank, (p, place) in enumerate(order):
        least = max(least, min(1.0, p * (len(order) - rank)))
        adjusted[place] = least
    return tuple(Group(change=one, p_adjusted=adjusted.get(place)) for place, one in enumerate(changes))


def _examples(
    one: pd.DataFrame, other: pd.DataFrame, mine: np.ndarray, theirs: np.ndarray, most: int
) -> tuple[Example, ...]:
    """Clips in whose wrong words the two are furthest apart."""
    columns = ["clip_id", "speaker", "duration_s", "text", "hypothesis", "words"]
    table = one[columns].assign(
        second=other["hypothesis"], mine=mine, theirs=theirs, apart=np.abs(mine - theirs)
    )
    table = table[table["apart"] > 0].sort_values(["apart", "clip_id"], ascending=[False, True]).head(most)
    return tuple(
        Example(
            clip=str(row["clip_id"]),
            speaker=str(row["speaker"] or ""),
            duration_s=float(row["duration_s"]),
            text=str(row["text"])[:SHOWN_LETTERS],
            first=str(row["hypothesis"])[:SHOWN_LETTERS],
            second=str(row["second"])[:SHOWN_LETTERS],
            words=int(row["words"]),
            first_errors=int(row["mine"]),
            second_errors=int(row["theirs"]),
        )
        for row in cast(list[dict[str, Any]], table.to_dict("records"))
    )
