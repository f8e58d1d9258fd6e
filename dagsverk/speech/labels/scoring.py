"""The champion reads every clip of a set: how much likelier is what it hears than what is written?

    gap         loss of the text minus that of what the model writes by itself, in nats a token
    total gap   the same in nats of the whole text: the logarithm of how many times likelier that is
    worst       loss of the text's least likely token

Measured on planted faults: neither error rates nor a second model beside these see more
(docs/decisions/0053-labels-that-look-wrong.md).
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dagsverk import suspicion
from dagsverk.speech.config import EvaluationConfig
from dagsverk.speech.corpora.corpus import SPLITS
from dagsverk.speech.evaluation.scoring import count_errors, word_errors
from dagsverk.speech.evaluation.transcripts import Listening, Tick, accelerated, transcripts
from dagsverk.speech.features.prepared import PreparedClips, draw, open_prepared
from dagsverk.speech.labels import planting
from dagsverk.speech.labels.leading import Led, lead
from dagsverk.speech.languages import Language
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.results import folder
from dagsverk.store import NotFound, Store
from dagsverk.suspicion import Floats

FORMAT = 1
CALIBRATED_CLIPS = 400  # of which copies with planted faults are read, too
FEATURES = ("gap", "total_gap", "worst")
SEED = 0
WHOLE = "given"  # the text as it is, among the planted kinds


@dataclass(frozen=True)
class Scored:
    """Rows of all clips, and of the planted faults."""

    rows: pd.DataFrame  # id, split, text, hypothesis, word_errors, words, FEATURES, suspicion, ...
    planted: pd.DataFrame  # id, kind, suspicion
    seconds: float


def score(
    store: Store, language: Language, model: SpeechModel, set_id: str, cache: Path, tick: Tick
) -> Scored:
    """How suspicious each clip's text is to the model. Kept: the same again is found.

    Raises: ValueError for a set of fewer clips than a calibration needs.
    """
    path = (
        f"{folder(language)}/labels/{_digest([FORMAT, model.fingerprint(), model.windows, set_id])}.parquet"
    )
    try:
        return _unpacked(store.get(path))
    except NotFound:
        pass
    started = time.perf_counter()
    clips = open_prepared(store, set_id, SPLITS, cache)
    hypotheses = _hypotheses(store, language, model, clips)
    texts, kinds = _texts(clips, hypotheses)
    done = 0

    def counted(count: int) -> None:
        nonlocal done
        done += count
        tick(done, len(clips))

    with accelerated(model):
        led = lead(model, clips, texts, full_windows=model.full_windows, tick=counted)
    made = _judged(clips, hypotheses, kinds, led)
    made = Scored(made.rows, made.planted, time.perf_counter() - started)
    store.put(path, _packed(made), overwrite=True)
    return made


def _hypotheses(store: Store, language: Language, model: SpeechModel, clips: PreparedClips) -> list[str]:
    """What the model writes by itself, by clip; decoded if it was not before."""
    listening = Listening(
        model=model,
        language=language,
        config=EvaluationConfig(),
        full_windows=model.full_windows,
        fingerprint=model.fingerprint(),
    )
    written: dict[str, str] = {}
    for split in SPLITS:
        places = np.flatnonzero(clips.rows["split"] == split)
        if len(places):
            made = transcripts(store, listening, clips.only(places.tolist())).texts
            written |= dict(zip(made["clip_id"], made["first"], strict=True))
    return [written[name] for name in clips.rows["id"]]


def _texts(clips: PreparedClips, hypotheses: Sequence[str]) -> tuple[list[list[str]], list[list[str]]]:
    """Of each clip: its text, what the model writes, and copies of the text with faults; and their kinds."""
    own = clips.rows["text"].tolist()
    chosen = set(draw(clips, CALIBRATED_CLIPS, SEED))
    pool = [own[i] for i in sorted(chosen)]
    texts, kinds = [], []
    for i, (text, written) in enumerate(zip(own, hypotheses, strict=True)):
        faults: dict[str, str] = {}
        for kind, plant in planting.KINDS.items() if i in chosen else ():
            fault = plant(text, pool, planting.chance(SEED, f"{kind} {clips.rows['id'].iat[i]}"))
            if fault and fault.strip().casefold() != text.strip().casefold():
                faults[kind] = fault
        texts.append([text, written, *faults.values()])
        kinds.append(list(faults))
    return texts, kinds


def _judged(
    clips: PreparedClips,
    hypotheses: Sequence[str],
    kinds: Sequence[Sequence[str]],
    led: Sequence[Sequence[Led | None]],
) -> Scored:
    usable = [i for i, some in enumerate(led) if some[0] is not None and some[1] is not None]
    rows = clips.rows.iloc[usable].reset_index(drop=True)[
        ["id", "audio", "split", "speaker", "duration_s", "text"]
    ]
    rows["hypothesis"] = [hypotheses[i] for i in usable]
    counts = count_errors(rows["text"].tolist(), rows["hypothesis"].tolist(), clips.language, ("",))
    rows["word_errors"], rows["words"] = word_errors(counts).to_numpy(), counts["words"].to_numpy()
    features = np.array([_features(led[i][0], led[i][1]) for i in usable])
    faults = [
        (place, kind, _features(one, led[i][1]))
        for place, i in enumerate(usable)
        for kind, one in zip(kinds[i], led[i][2:], strict=True)
        if one is not None
    ]
    made = suspicion.judge(
        _scaled(features),
        _scaled(np.array([values for _, _, values in faults])),
        of=[place for place, _, _ in faults],
        seed=SEED,
    )
    for at, name in enumerate(FEATURES):
        rows[name] = features[:, at]
    rows["suspicion"] = made.suspicion
    planted = pd.DataFrame(
        {
            "id": [rows["id"].iat[place] for place, _, _ in faults],
            "kind": [kind for _, kind, _ in faults],
            "suspicion": made.planted,
        }
    )
    return Scored(rows, planted, 0.0)


def _features(text: Led | None, written: Led | None) -> tuple[float, float, float]:
    assert text is not None and written is not None  # noqa: S101  others were left out
    return text.mean - written.mean, text.total - written.total, text.worst


def _scaled(features: Floats) -> Floats:
    """Logarithms, so that a text that does not fit at all counts little more than one that hardly does."""
    scaled: Floats = np.log1p(np.clip(features, -0.5, None) + 0.5)
    return scaled


def _digest(parts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _packed(made: Scored) -> bytes:
    together = pd.concat([made.rows.assign(kind=WHOLE), made.planted], ignore_index=True)
    sink = io.BytesIO()
    together.assign(seconds=made.seconds).to_parquet(sink, compression="zstd", index=False)
    return sink.getvalue()


def _unpacked(data: bytes) -> Scored:
    together = pd.read_parquet(io.BytesIO(data))
    whole = together["kind"] == WHOLE
    rows = together[whole].drop(columns=["kind", "seconds"]).reset_index(drop=True)
    rows = rows.astype({"word_errors": "int64", "words": "int64"})
    planted = together.loc[~whole, ["id", "kind", "suspicion"]].reset_index(drop=True)
    return Scored(rows, planted, float(together["seconds"].to_numpy()[0]))
