"""Rows of clips with their hypotheses -> what a report says: rates with intervals, groups, the worst clips.

Light: loads no learning library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dagsverk.speech.config import EvaluationConfig
from dagsverk.speech.evaluation.bootstrap import Sums, bootstrap
from dagsverk.speech.evaluation.groups import Group, find_groups
from dagsverk.speech.evaluation.report import (
    BothScores,
    Description,
    GroupScore,
    Interval,
    Scores,
    UnseenScores,
    WorstClip,
    WorstGroup,
)
from dagsverk.speech.evaluation.scoring import (
    COUNTS,
    FORMS,
    NORMALISED,
    RAW,
    WHISPER,
    count_errors,
    word_errors,
)
from dagsverk.speech.serving.repetition import loops

ABOUT_CLIP = (
    "clip_id",
    "audio",
    "speaker",
    "gender",
    "age",
    "accent",
    "duration_s",
    "text",
    "hypothesis",
    "finished",
)
FIRST = "first"  # the column, where it is known: what the model wrote before it was doubted
FIRST_ERRORS = "first_errors"  # wrong words in that, normalised
IN_TRAIN = "in_train"  # the column, where it is known: whether the clip's sentence is read in train, too
PER_FORM = 4  # columns of `rate_columns`


def score_clips(clips: pd.DataFrame, language: str) -> pd.DataFrame:
    """ABOUT_CLIP, IN_TRAIN and FIRST if they are known, the counts of `scoring.count_errors`, and loop.

    One row per clip.

    loop: the same is said over and over, by the model alone and before it was doubted.
    """
    counts = count_errors(list(clips["text"]), list(clips["hypothesis"]), language)
    first = clips[FIRST] if FIRST in clips else clips["hypothesis"]
    counts["loop"] = [
        loops(written) and not loops(reference)
        for written, reference in zip(first, clips["text"], strict=True)
    ]
    if FIRST in clips:
        counts[FIRST_ERRORS] = _first_errors(clips, counts, language)
    about = [*ABOUT_CLIP, *(name for name in (IN_TRAIN, FIRST) if name in clips)]
    return pd.concat([clips[about].reset_index(drop=True), counts], axis=1)


def describe(rows: pd.DataFrame, config: EvaluationConfig) -> Description:
    """All that a report says about its clips. Args: rows: from `score_clips`."""
    groups = find_groups(rows, config.min_group_clips)
    large = [group for group in groups if group.large]
    unseen = _unseen_group(rows)
    sums = bootstrap(
        np.column_stack([rate_columns(rows), *(group_columns(rows, group) for group in [*large, *unseen])]),
        rows["speaker"],
        resamples=config.resamples,
        seed=config.seed,
    )
    scored_groups = _score_groups(rows, groups, sums)
    return Description(
        clips=len(rows),
        speakers=_speakers(rows),
        clips_without_speaker=int((rows["speaker"].fillna("") == "").sum()),
        audio_s=float(rows["duration_s"].sum()),
        empty_references=int((~rows["scored"]).sum()),
        empty_hypotheses=int((rows["hypothesis"].str.strip() == "").sum()),
        loops=int(rows["loop"].sum()),
        unfinished=int((~rows["finished"]).sum()),
        first_wer=_first_wer(rows, config),
        scores=BothScores(
            normalised=_scores(rows, sums, NORMALISED),
            raw=_scores(rows, sums, RAW),
            whisper=_scores(rows, sums, WHISPER),
        ),
        groups=scored_groups,
        worst_groups=worst_groups(scored_groups),
        worst=worst_clips(rows, config.worst),
        unseen=_score_unseen(rows, unseen[0], sums, _place(len(large))) if unseen else None,
    )


def _first_errors(clips: pd.DataFrame, counts: pd.DataFrame, language: str) -> npt.NDArray[Any]:
    errors = word_errors(counts).to_numpy().copy()
    changed = (clips[FIRST] != clips["hypothesis"]).to_numpy()
    if changed.any():
        texts = list(clips["text"][changed]), list(clips[FIRST][changed])
        errors[changed] = word_errors(count_errors(*texts, language, (NORMALISED,)))
    return errors


def _first_wer(rows: pd.DataFrame, config: EvaluationConfig) -> Interval | None:
    if FIRST not in rows or (rows[FIRST] == rows["hypothesis"]).all():
        return None
    sums = bootstrap(
        rows[[FIRST_ERRORS, "words"]].to_numpy(np.float64),
        rows["speaker"],
        resamples=config.resamples,
        seed=config.seed,
    )
    return sums.rate(0, 1)


def rate_columns(rows: pd.DataFrame, forms: Sequence[str] = FORMS) -> npt.NDArray[np.float64]:
    """(clips, PER_FORM * forms): word errors, words, character errors, characters; of each form."""
    return np.column_stack(
        [
            column
            for form in forms
            for column in (
                word_errors(rows, form),
                rows[form + "words"],
                rows[form + "character_errors"],
                rows[form + "characters"],
            )
        ]
    ).astype(np.float64)


def rate_pairs(form: str = NORMALISED) -> dict[str, tuple[int, int]]:
    """Where wer and cer are in `rate_columns` of FORMS: (errors, length)."""
    start = PER_FORM * FORMS.index(form)
    return {"wer": (start, start + 1), "cer": (start + 2, start + 3)}


def group_columns(rows: pd.DataFrame, group: Group) -> npt.NDArray[np.float64]:
    """(clips, 4): word errors and words of the group's members, and of all others."""
    errors, words = word_errors(rows).to_numpy(), rows["words"].to_numpy()
    member = group.member
    return np.column_stack([errors * member, words * member, errors * ~member, words * ~member])


def worst_groups(groups: Sequence[GroupScore]) -> dict[str, WorstGroup]:
    """For each way to group, the scored group whose rate exceeds that of all others most."""
    worst: dict[str, WorstGroup] = {}
    for group in groups:
        if group.wer is None or group.gap is None or group.wer.value is None or group.gap.value is None:
            continue
        present = worst.get(group.by)
        if present is None or group.gap.value > (present.gap.value or 0.0):
            worst[group.by] = WorstGroup(group.value, group.wer.value, group.gap)
    return worst


def worst_clips(rows: pd.DataFrame, n: int) -> tuple[WorstClip, ...]:
    """The n clips with the most wrong words, those with a higher rate first among equals."""
    table = rows.assign(errors=word_errors(rows), speaker=rows["speaker"].fillna(""))
    table = table[table["scored"] & (table["errors"] > 0)]
    table = table.assign(wer=table["errors"] / table["words"])
    table = table.sort_values(["errors", "wer", "clip_id"], ascending=[False, False, True]).head(n)
    table = table.rename(columns={"clip_id": "clip"})[[field.name for field in fields(WorstClip)]]
    return tuple(
        WorstClip(**{str(name): _plain(value) for name, value in clip.items()})
        for clip in table.to_dict("records")
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _unseen_group(rows: pd.DataFrame) -> list[Group]:
    """The scored clips whose sentence is not read in train; nothing where nobody knows."""
    if IN_TRAIN not in rows:
        return []
    member = (~rows[IN_TRAIN].to_numpy(dtype=bool)) & rows["scored"].to_numpy(dtype=bool)
    return [Group("sentence", "not in train", member, large=True)]


def _score_unseen(rows: pd.DataFrame, group: Group, sums: Sums, place: int) -> UnseenScores:
    """Args: place: of the group's columns in `sums`."""
    inside, outside = (place, place + 1), (place + 2, place + 3)
    clips, scored = int(group.member.sum()), int(rows["scored"].sum())
    return UnseenScores(
        clips=clips,
        speakers=_speakers(rows[group.member]),
        of=scored,
        wer=sums.rate(*inside) if clips else None,
        gap=sums.difference(inside, outside) if 0 < clips < scored else None,
    )


def _place(group: int) -> int:
    """Where the columns of the n-th group begin, after those of all forms."""
    return PER_FORM * (len(FORMS) + group)


def _scores(rows: pd.DataFrame, sums: Sums, form: str) -> Scores:
    pairs = rate_pairs(form)
    counts = {name: int(rows[form + name].sum()) for name in COUNTS}
    return Scores(wer=sums.rate(*pairs["wer"]), cer=sums.rate(*pairs["cer"]), **counts)


def _score_groups(rows: pd.DataFrame, groups: Sequence[Group], sums: Sums) -> tuple[GroupScore, ...]:
    """`sums` holds `group_columns` of the large ones, in their order, after `rate_columns`."""
    scores, place = [], _place(0)
    for group in groups:
        members = rows[group.member]
        wer = gap = None
        if group.large:
            inside, outside = (place, place + 1), (place + 2, place + 3)
            wer, gap = sums.rate(*inside), sums.difference(inside, outside)
            place += 4
        scores.append(
            GroupScore(
                by=group.by,
                value=group.value,
                clips=len(members),
                speakers=_speakers(members),
                words=int(members["words"].sum()),
                wer=wer,
                gap=gap,
            )
        )
    return tuple(scores)


def _speakers(rows: pd.DataFrame) -> int:
    named = rows["speaker"].fillna("")
    return int(named[named != ""].nunique())
