"""What an evaluation says, from what was heard in each clip: rates with intervals, groups, the worst clips.

Light: loads no learning library.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dagsverk.speech.config import EvaluationConfig
from dagsverk.speech.evaluation.bootstrap import Interval, Sums, bootstrap
from dagsverk.speech.evaluation.groups import Group, find_groups
from dagsverk.speech.evaluation.scoring import RAW, count_errors, total, word_errors
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
_PAIRS = {  # columns of `rate_columns`: (errors, length)
    "": {"wer": (0, 1), "cer": (2, 3)},
    RAW: {"wer": (4, 5), "cer": (6, 7)},
}
N_RATE_COLUMNS = 8


def score_clips(clips: pd.DataFrame, language: str) -> pd.DataFrame:
    """ABOUT_CLIP, the counts of `scoring.count_errors`, and loop: said over and over; one row per clip."""
    counts = count_errors(list(clips["text"]), list(clips["hypothesis"]), language)
    loop = [
        loops(heard) and not loops(said)
        for heard, said in zip(clips["hypothesis"], clips["text"], strict=True)
    ]
    return pd.concat([clips[list(ABOUT_CLIP)].reset_index(drop=True), counts.assign(loop=loop)], axis=1)


def describe(rows: pd.DataFrame, config: EvaluationConfig) -> dict[str, Any]:
    """All that a report says about its clips, in JSON types. Args: rows: from `score_clips`."""
    groups = find_groups(rows, config.min_group_clips)
    columns = [group_columns(rows, group) for group in groups if group.large]
    sums = bootstrap(
        np.column_stack([rate_columns(rows), *columns]),
        rows["speaker"],
        resamples=config.resamples,
        seed=config.seed,
    )
    told = _describe_groups(rows, groups, sums)
    known = rows["speaker"].fillna("")
    return {
        "clips": len(rows),
        "speakers": _speakers(rows),
        "clips_without_speaker": int((known == "").sum()),
        "audio_s": float(rows["duration_s"].sum()),
        "empty_references": int((~rows["scored"]).sum()),
        "empty_hypotheses": int((rows["hypothesis"].str.strip() == "").sum()),
        "loops": int(rows["loop"].sum()),
        "unfinished": int((~rows["finished"]).sum()),  # stopped at the limit of tokens: mostly loops
        "scores": {"normalised": _scores(rows, sums, ""), "raw": _scores(rows, sums, RAW)},
        "groups": told,
        "worst_groups": worst_groups(told),
        "worst": worst_clips(rows, config.worst),
    }


def rate_columns(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """(clips, 8): word errors, words, character errors, characters; the same of the raw texts."""
    return np.column_stack(
        [
            column
            for prefix in ("", RAW)
            for column in (
                word_errors(rows, raw=prefix == RAW),
                rows[prefix + "words"],
                rows[prefix + "character_errors"],
                rows[prefix + "characters"],
            )
        ]
    ).astype(np.float64)


def rate_pairs(*, raw: bool = False) -> dict[str, tuple[int, int]]:
    """Where wer and cer are in `rate_columns`: (errors, length)."""
    return _PAIRS[RAW if raw else ""]


def group_columns(rows: pd.DataFrame, group: Group) -> npt.NDArray[np.float64]:
    """(clips, 4): word errors and words of the group's members, and of all others."""
    errors, words = word_errors(rows).to_numpy(), rows["words"].to_numpy()
    member = group.member
    return np.column_stack([errors * member, words * member, errors * ~member, words * ~member])


def worst_groups(groups: list[dict[str, Any]]) -> dict[str, Any]:
    """For each way to group, the scored group whose rate exceeds that of all others most."""
    found: dict[str, Any] = {}
    for group in groups:
        if group["gap"] is None or group["gap"]["value"] is None:
            continue
        present = found.get(group["by"])
        if present is None or group["gap"]["value"] > present["gap"]["value"]:
            found[group["by"]] = {
                "value": group["value"],
                "wer": group["wer"]["value"],
                "gap": group["gap"],
            }
    return found


def worst_clips(rows: pd.DataFrame, n: int) -> list[dict[str, Any]]:
    """The n clips with the most wrong words, those with a higher rate first among equals."""
    table = rows.assign(errors=word_errors(rows))
    table = table[table["scored"] & (table["errors"] > 0)]
    table = table.assign(wer=table["errors"] / table["words"])
    table = table.sort_values(["errors", "wer", "clip_id"], ascending=[False, False, True]).head(n)
    table = table.rename(columns={"clip_id": "clip"})
    kept = ["clip", "audio", "speaker", "duration_s", "text", "hypothesis", "words", "errors", "wer"]
    return [
        {str(name): _plain(value) for name, value in clip.items()} for clip in table[kept].to_dict("records")
    ]


def _scores(rows: pd.DataFrame, sums: Sums, prefix: str) -> dict[str, Any]:
    intervals: dict[str, Interval] = {
        name: sums.rate(*pair) for name, pair in rate_pairs(raw=prefix == RAW).items()
    }
    counts = total(rows, raw=prefix == RAW).to_dict()
    return {**counts, **{name: interval.to_dict() for name, interval in intervals.items()}}


def _describe_groups(rows: pd.DataFrame, groups: list[Group], sums: Sums) -> list[dict[str, Any]]:
    """`sums` holds `group_columns` of the large ones, in their order, after `rate_columns`."""
    told, place = [], N_RATE_COLUMNS
    for group in groups:
        members = rows[group.member]
        wer = gap = None
        if group.large:
            inside, outside = (place, place + 1), (place + 2, place + 3)
            wer, gap = sums.rate(*inside).to_dict(), sums.difference(inside, outside).to_dict()
            place += 4
        sizes = {
            "clips": len(members),
            "speakers": _speakers(members),
            "words": int(members["words"].sum()),
        }
        told.append({"by": group.by, "value": group.value, **sizes, "wer": wer, "gap": gap})
    return told


def _speakers(rows: pd.DataFrame) -> int:
    known = rows["speaker"].fillna("")
    return int(known[known != ""].nunique())


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
