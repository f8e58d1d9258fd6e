"""Two models' texts of the same clips -> what differs, with intervals. Light: loads no learning library.

Intervals are of the paired bootstrap over speakers (`bootstrap`); with fewer than MIN_VOICES of them over
clips, which says nothing of other voices. Beyond chance is what is so by the interval and by flipping signs:
where each voice is better understood by one of the two, three voices agree by luck in one of four draws, and
a t interval takes that for proof. Many groups are looked at, so their p-values are Holm's.
"""

from __future__ import annotations

import itertools
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

MIN_VOICES = 6  # all of one mind by luck in 1 of 32 draws; of five in 1 of 16
EXACT_UNITS = 12  # up to which all signs are tried
FLIPS = 4000  # drawn of more
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
    each = [""] * len(one)
    flipped = [
        flip_p((mine - theirs) * group.member, each if group.by == "speaker" else speakers, seed)
        for group in groups
    ]
    named = one["speaker"].fillna("")
    return Paired(
        clips=len(one),
        speakers=int(named[named != ""].nunique()),
        words=int(one["words"].sum()),
        audio_s=float(one["duration_s"].sum()),
        by="clips" if not any(speakers) else "voices",
        wer=_difference(sums, pairs["wer"], shift),
        cer=_difference(sums, pairs["cer"], shift),
        flip_p=flip_p(mine - theirs, speakers, seed),
        only_first=int(((mine > 0) & (theirs == 0)).sum()),
        only_second=int(((theirs > 0) & (mine == 0)).sum()),
        groups=_adjusted(changes, flipped),
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
    """What is drawn: speakers, or clips where there are too few of them."""
    speakers = list(rows["speaker"].fillna(""))
    return speakers if len(set(speaker_codes(speakers))) >= MIN_VOICES else [""] * len(rows)


def flip_p(differences: np.ndarray, speakers: Sequence[str], seed: int) -> float | None:
    """How often errors differ by as much if each voice's (or clip's) two models are swapped at random.

    Two-sided; both have the same references, so errors alone decide. None where no clip differs.
    """
    codes = speaker_codes(speakers)
    sums = np.bincount(codes, differences)
    sums = sums[sums != 0]
    if not len(sums):
        return None
    least = abs(float(sums.sum())) - 1e-9
    if len(sums) <= EXACT_UNITS:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(sums))))
        return float((np.abs(signs @ sums) >= least).mean())
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, 2, size=(FLIPS, len(sums)), dtype=np.int8) * 2.0 - 1.0
    return float((1 + (np.abs(drawn @ sums) >= least).sum()) / (1 + FLIPS))


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


def _adjusted(changes: Sequence[GroupChange], flipped: Sequence[float | None]) -> tuple[Group, ...]:
    """Holm (1979): the smallest p times how many there are, the next times one less, and so on.

    Of each group counts the larger p, that of its interval or that by flipping signs.
    """
    order = sorted(
        (max(change.wer.p, p), place)
        for place, (change, p) in enumerate(zip(changes, flipped, strict=True))
        if change.wer.p is not None and p is not None
    )
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
