"""A part of train's clips, for a learning curve: a smaller part lies in every larger one of the same seed.

Light: pandas and numpy.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.features.prepared import PreparedClips


def part_of(train: PreparedClips, config: FinetuneConfig) -> PreparedClips:
    """The clips that a run is to learn from, in their order: `train_share` of the seconds.

    By speakers: so many of them, each with all their clips. By clips: of each speaker about that share, so
    that all speakers stay as long as they have a clip each. A clip without a speaker is a speaker of its own;
    changed copies go with the clip that they are made of.
    Raises: SpeechError where no clip is left.
    """
    if config.train_share >= 1:
        return train
    rows = train.rows
    ids = rows["id"].astype(str)
    originals = ids.where(~rows["is_copy"], ids.str.replace(r"#copy\d+$", "", regex=True))
    order = _order(rows[~rows["is_copy"]], config)
    seconds = rows.loc[~rows["is_copy"]].set_index(ids[~rows["is_copy"]])["duration_s"].reindex(order["id"])
    wanted = config.train_share * float(seconds.sum())
    if config.train_by == "speakers":
        by_speaker = order.assign(seconds=seconds.to_numpy()).groupby("place", sort=True)["seconds"].sum()
        before = by_speaker.cumsum() - by_speaker
        kept = order[order["place"].isin(before[before + by_speaker / 2 <= wanted].index)]
    else:
        kept = order[(seconds.cumsum().to_numpy() - seconds.to_numpy() / 2) <= wanted]
    if kept.empty:
        raise SpeechError(
            f"{config.train_share:.3g} of train's {len(order)} clips by {config.train_by} is none; take a "
            "larger share"
        )
    chosen = set(kept["id"])
    return train.only(np.flatnonzero(originals.isin(chosen).to_numpy()).tolist())


def _order(rows: pd.DataFrame, config: FinetuneConfig) -> pd.DataFrame:
    """id, place: clips in the order in which they are taken, by a draw that depends on the seed alone."""
    drawn = np.random.default_rng([config.seed, 54])
    named = rows["speaker"].fillna("").astype(str)
    ids = rows["id"].astype(str)
    speakers = named.where(named != "", "\0" + ids)  # no name of a speaker begins so
    table = pd.DataFrame({"id": ids.to_numpy(), "speaker": speakers.to_numpy()}).sort_values(
        ["speaker", "id"]
    )
    table["chance"] = drawn.random(len(table))
    names = sorted(set(table["speaker"]))
    rank = dict(zip(names, drawn.permutation(len(names)).tolist(), strict=True))
    if config.train_by == "speakers":
        table["place"] = table["speaker"].map(rank).astype(float)
        return table.sort_values(["place", "chance"])
    of_one = table.groupby("speaker")["chance"]
    table["place"] = (of_one.rank(method="first") - 0.5) / of_one.transform("size")
    return table.sort_values(["place", "chance"])
