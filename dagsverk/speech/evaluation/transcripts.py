"""A model's hypotheses for a set of clips, in one mode: decoded once, ever, and kept."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from dagsverk import threads
from dagsverk.records import parse, plain
from dagsverk.speech.config import EvaluationConfig
from dagsverk.speech.evaluation.report import DecodingSpeed
from dagsverk.speech.evaluation.retention import draw
from dagsverk.speech.features.prepared import PreparedClips
from dagsverk.speech.languages import Language
from dagsverk.speech.model.decoded import Decoded
from dagsverk.speech.model.decoding import decode
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.model.precision import Precision, precision
from dagsverk.speech.results import folder
from dagsverk.speech.serving.guard import guarded
from dagsverk.store import Conflict, NotFound, Store

COLUMNS = ["clip_id", "hypothesis", "finished", "first"]
_RULES = "guarded"  # part of the name of what is kept: texts of other rules are no match
_READ_S = 4800.0  # of audio held in memory at a time: 150 MB of log-mel with 80 bins

Tick = Callable[[int, int], None]  # clips decoded, of how many


@dataclass(frozen=True, kw_only=True)
class Listening:
    """A model in one mode, and how it is asked."""

    model: SpeechModel
    language: Language
    config: EvaluationConfig
    full_windows: bool
    fingerprint: str  # of the model's weights
    tick: Tick | None = None

    @property
    def precision(self) -> Precision:
        """What it is decoded in here: hypotheses of two precisions are kept, and compared, apart."""
        return accelerated_precision(self.model)


@dataclass(frozen=True)
class Transcripts:
    """Texts: clip_id, hypothesis as it would be served, finished, first: as the model wrote it before it was
    doubted; and how fast they came."""

    texts: pd.DataFrame
    speed: DecodingSpeed


def transcripts(
    store: Store, listening: Listening, clips: PreparedClips, drawn_of: int | None = None
) -> Transcripts:
    """The model's hypotheses, decoded if they are not there.

    Depends on the weights, the clips, the beams and the mode; not on how many clips are decoded together.
    Args: drawn_of: how many clips the split has of which these are a draw; None: these are all.
    """
    path = _path(listening, clips, drawn_of)
    kept = _kept(store, path)
    if kept is not None:
        return kept
    return _keep(store, path, _decode(listening, clips))


def completed(store: Store, listening: Listening, clips: PreparedClips, draw: int) -> Transcripts:
    """The same of all clips of a split, where `draw` of them may have been decoded: those are not again."""
    part = drawn(clips, draw)
    path = _path(listening, clips, None)
    before = _kept(store, _path(listening, part, len(clips)))
    kept = _kept(store, path)
    if kept is not None or before is None:
        return kept or transcripts(store, listening, clips)
    done = set(before.texts["clip_id"])
    rest = clips.only([place for place, name in enumerate(clips.rows["id"]) if name not in done])
    return _keep(store, path, _joined(before, _decode(listening, rest), clips, listening))


def drawn(clips: PreparedClips, count: int) -> PreparedClips:
    """So many of the clips, always the same; all, if there are no more.

    One of each speaker in turn, for intervals rest on speakers; a clip without one counts as a speaker.
    """
    if count >= len(clips):
        return clips
    return clips.only(draw(clips.rows, count))


@contextmanager
def accelerated(model: SpeechModel) -> Iterator[None]:
    """Meanwhile the model is on the GPU, if there is one; afterwards where it was, to make room for
    others."""
    before, threads_before = model.device, torch.get_num_threads()
    torch.set_num_threads(threads.given())
    if torch.cuda.is_available():
        torch.nn.Module.to(model.model, "cuda")
    try:
        yield
    finally:
        torch.nn.Module.to(model.model, before)
        torch.set_num_threads(threads_before)


def accelerated_precision(model: SpeechModel) -> Precision:
    """What it is decoded in while `accelerated`."""
    return precision(model.model, torch.device("cuda") if torch.cuda.is_available() else None)


def digest(parts: list[Any]) -> str:
    """The name of what depends on these."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _path(listening: Listening, clips: PreparedClips, drawn_of: int | None) -> str:
    code, config = listening.language.code, listening.config
    (split,) = set(clips.rows["split"])
    subject = [listening.fingerprint, code, clips.set_id, split, config.beams, listening.full_windows, _RULES]
    subject += [] if drawn_of is None else [["drawn", len(clips), drawn_of]]
    subject += [] if listening.precision == "fp32" else [listening.precision]
    return f"{folder(listening.language)}/transcripts/{digest(subject)}.parquet"


def _kept(store: Store, path: str) -> Transcripts | None:
    try:
        return _unpacked(store.get(path))
    except NotFound:
        return None


def _keep(store: Store, path: str, made: Transcripts) -> Transcripts:
    try:
        store.put(path, _packed(made))
    except Conflict:  # another process was first: its texts are the ones that count
        return _kept(store, path) or made
    return made


def _packed(made: Transcripts) -> bytes:
    table = pa.Table.from_pandas(made.texts, preserve_index=False)
    table = table.replace_schema_metadata({"decoding": json.dumps(plain(made.speed))})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _unpacked(data: bytes) -> Transcripts:
    table = pq.read_table(io.BytesIO(data))
    speed = parse(json.loads(table.schema.metadata[b"decoding"]), DecodingSpeed)
    return Transcripts(table.to_pandas(), speed)


def _decode(listening: Listening, clips: PreparedClips) -> Transcripts:
    model, config = listening.model, listening.config
    texts: dict[str, tuple[str, bool, str]] = {}
    with accelerated(model):
        device, started = _device_name(model), time.perf_counter()
        for part in _parts(clips.rows["frames"], max(_READ_S, config.batch_s)):
            first, counted = _decode_part(listening, clips, part)
            texts |= {
                name: (one.text, one.finished, before.text)
                for name, one, before in zip(clips.rows["id"].iloc[part], counted, first, strict=True)
            }
            if listening.tick is not None:
                listening.tick(len(texts), len(clips.rows))
        seconds = time.perf_counter() - started
    ids = list(clips.rows["id"])
    table = pd.DataFrame([(name, *texts[name]) for name in ids], columns=COLUMNS)
    audio_s = float(clips.rows["duration_s"].sum())
    return Transcripts(table, _speed(seconds, len(ids), audio_s, device, listening))


def _decode_part(
    listening: Listening, clips: PreparedClips, part: Sequence[int]
) -> tuple[list[Decoded], list[Decoded]]:
    """(what the model writes, what of it is served): scores are of what people get."""
    config = listening.config

    def decoded(places: Sequence[int], beams: int) -> list[Decoded]:
        return decode(
            listening.model,
            [clips.mel(place) for place in places],
            [clips.floor(place) for place in places],
            language=listening.language.code,
            beams=beams,
            batch_s=config.batch_s,
            full_windows=listening.full_windows,
        )

    first = decoded(part, config.beams)
    return first, guarded(
        first, lambda doubted, beams: decoded([part[i] for i in doubted], beams), beams=config.beams
    )


def _joined(one: Transcripts, other: Transcripts, clips: PreparedClips, listening: Listening) -> Transcripts:
    """The texts of both, in the order of the clips."""
    texts = pd.concat([one.texts, other.texts]).set_index("clip_id")
    texts = texts.reindex(clips.rows["id"]).rename_axis("clip_id").reset_index()
    seconds = one.speed.seconds + other.speed.seconds
    audio_s, speed = float(clips.rows["duration_s"].sum()), other.speed
    return Transcripts(texts, _speed(seconds, len(clips), audio_s, speed.device, listening))


def _speed(seconds: float, clips: int, audio_s: float, device: str, listening: Listening) -> DecodingSpeed:
    return DecodingSpeed(
        seconds=round(seconds, 2),
        clips_per_s=round(clips / seconds, 2),
        audio_s_per_s=round(audio_s / seconds, 1),
        device=device,
        beams=listening.config.beams,
        precision=listening.precision,
    )


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


def _device_name(model: SpeechModel) -> str:
    return torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else model.device.type
