"""A model and a set of clips -> its hypotheses, and an honest report of them. Both are made once and kept.

A set is decoded by a model once, ever, whatever is asked of it afterwards: each model has one hypothesis of
each clip of the test split. Dev picks a run's checkpoint (see `training`), so test picks nothing.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from dagsverk.records import parse, plain, remembered
from dagsverk.speech.config import EvaluationConfig
from dagsverk.speech.corpora.corpus import Split
from dagsverk.speech.evaluation import normaliser
from dagsverk.speech.evaluation.description import describe, score_clips
from dagsverk.speech.evaluation.report import FORMAT, Cut, DecodingSpeed, EvaluationReport, ScoredModel
from dagsverk.speech.features.prepared import PreparedClips
from dagsverk.speech.features.shards import manifest
from dagsverk.speech.languages import Language
from dagsverk.speech.model.decoding import decode
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.results import evaluation_folder, folder
from dagsverk.store import Conflict, NotFound, Store

_READ_S = 4800.0  # of audio held in memory at a time: 150 MB of log-mel with 80 bins

Tick = Callable[[int, int], None]  # clips decoded, of how many


def evaluate(
    store: Store,
    language: Language,
    model: SpeechModel,
    clips: PreparedClips,
    config: EvaluationConfig,
    *,
    tick: Tick | None = None,
) -> EvaluationReport:
    """The report of the model on these clips; the stored one if it was made before.

    Args:
        clips: all of one split of a set. If the set's manifest says that the split was cut, so does the
            report.
        tick: called as clips are decoded.
    Raises: ValueError if the clips are of several splits, or none; or of another number of bins than the
    model's.
    """
    split = _only_split(clips)
    fingerprint = model.fingerprint()
    subject = [fingerprint, language.code, clips.set_id, split, model.full_windows]
    settings = config.of_report()
    key = _digest([FORMAT, normaliser.VERSION, *subject, settings])
    root = evaluation_folder(language, key)

    def made() -> EvaluationReport:
        hypotheses, speed = transcripts(store, language, model, clips, config, fingerprint, tick)
        about = clips.rows.rename(columns={"id": "clip_id"})
        rows = score_clips(about.merge(hypotheses, on="clip_id"), language.code)
        return EvaluationReport(
            key=key,
            at=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            language=language.code,
            model=ScoredModel(fingerprint=fingerprint, name=model.name, full_windows=model.full_windows),
            set=clips.set_id,
            split=split,
            cut=_cut(store, clips.set_id, split),
            config=config,
            normaliser=normaliser.VERSION,
            decoding=speed,
            rows=_keep_rows(store, root, rows),
            **vars(describe(rows, config)),
        )

    path = f"{root}/report.json"
    return remembered(store, path, EvaluationReport, made)


def transcripts(
    store: Store,
    language: Language,
    model: SpeechModel,
    clips: PreparedClips,
    config: EvaluationConfig,
    fingerprint: str,
    tick: Tick | None = None,
) -> tuple[pd.DataFrame, DecodingSpeed]:
    """The model's hypotheses (clip_id, hypothesis, finished), and how fast they came; decoded once and kept.

    Depends on the weights (`fingerprint`), the clips and the beams; not on how many clips are decoded
    together.
    """
    subject = [fingerprint, language.code, clips.set_id, _only_split(clips), config.beams, model.full_windows]
    path = f"{folder(language)}/transcripts/{_digest(subject)}.parquet"
    try:
        return _read_transcripts(store.get(path))
    except NotFound:
        table = _decode_all(language, model, clips, config, tick)
    try:
        store.put(path, table)
    except Conflict:  # another process was first: its texts are the ones that count
        table = store.get(path)
    return _read_transcripts(table)


def _decode_all(
    language: Language, model: SpeechModel, clips: PreparedClips, config: EvaluationConfig, tick: Tick | None
) -> bytes:
    texts: dict[str, tuple[str, bool]] = {}
    with accelerated(model):
        device, started = _device_name(model), time.perf_counter()
        for part in _parts(clips.rows["frames"], max(_READ_S, config.batch_s)):
            decoded = decode(
                model,
                [clips.mel(i) for i in part],
                [clips.floor(i) for i in part],
                language=language.code,
                beams=config.beams,
                batch_s=config.batch_s,
            )
            names = clips.rows["id"].iloc[part]
            texts |= {name: (clip.text, clip.finished) for name, clip in zip(names, decoded, strict=True)}
            if tick is not None:
                tick(len(texts), len(clips.rows))
        seconds = time.perf_counter() - started
    speed = DecodingSpeed(
        seconds=round(seconds, 2),
        clips_per_s=round(len(texts) / seconds, 2),
        audio_s_per_s=round(float(clips.rows["duration_s"].sum()) / seconds, 1),
        device=device,
        beams=config.beams,
    )
    ids = list(clips.rows["id"])
    columns = {
        "clip_id": ids,
        "hypothesis": [texts[name][0] for name in ids],
        "finished": [texts[name][1] for name in ids],
    }
    table = pa.table(columns).replace_schema_metadata({"decoding": json.dumps(plain(speed))})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _parts(frames: pd.Series[int], most_s: float) -> Iterator[list[int]]:
    """Places of clips, the longest first, with at most so many seconds of audio together (or one clip)."""
    part: list[int] = []
    held_s = 0.0
    for place in frames.to_numpy().argsort(kind="stable")[::-1]:
        seconds = frames.iloc[place] / 100
        if part and held_s + seconds > most_s:
            yield part
            part, held_s = [], 0.0
        part.append(int(place))
        held_s += seconds
    if part:
        yield part


def _read_transcripts(data: bytes) -> tuple[pd.DataFrame, DecodingSpeed]:
    table = pq.read_table(io.BytesIO(data))
    return table.to_pandas(), parse(json.loads(table.schema.metadata[b"decoding"]), DecodingSpeed)


def _keep_rows(store: Store, root: str, rows: pd.DataFrame) -> str:
    """Named by its content: whoever else makes this report at the same time keeps rows of its own."""
    sink = io.BytesIO()
    rows.to_parquet(sink, compression="zstd", index=False)
    path = f"{root}/clips-{hashlib.sha256(sink.getvalue()).hexdigest()[:16]}.parquet"
    store.put(path, sink.getvalue(), overwrite=True)
    return path


def _only_split(clips: PreparedClips) -> Split:
    splits = sorted(set(clips.rows["split"]))
    if len(splits) != 1:
        raise ValueError(
            f"want clips of one split, got {' and '.join(splits) or 'no clips'} of {clips.set_id}"
        )
    return cast(Split, splits[0])


def _cut(store: Store, set_id: str, split: str) -> Cut | None:
    kept, of = manifest(store, set_id).cut.get(split, (0, 0))
    return Cut(kept, of) if of else None


@contextmanager
def accelerated(model: SpeechModel) -> Iterator[None]:
    """Meanwhile the model is on the GPU, if there is one; afterwards where it was, to make room for
    others."""
    before = model.device
    if torch.cuda.is_available():
        torch.nn.Module.to(model.model, "cuda")
    try:
        yield
    finally:
        torch.nn.Module.to(model.model, before)


def _device_name(model: SpeechModel) -> str:
    return torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else model.device.type


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
