"""A model and a set of clips -> an honest report of its hypotheses. Made once and kept.

A set is decoded by a model once, ever, in each of the two modes, whatever is asked of it afterwards. Dev
picks a run's checkpoint (see `training`); test picks nothing but the mode that it is served in, and that
beyond chance (see `modes`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from typing import Any, cast

import pandas as pd

from dagsverk.records import remembered
from dagsverk.speech.config import EvaluationConfig, Windows
from dagsverk.speech.corpora.corpus import Split
from dagsverk.speech.evaluation import normaliser
from dagsverk.speech.evaluation.description import describe, score_clips
from dagsverk.speech.evaluation.report import FORMAT, Cut, EvaluationReport, ScoredModel
from dagsverk.speech.evaluation.transcripts import (
    Listening,
    Tick,
    Transcripts,
    completed,
    digest,
    drawn,
    transcripts,
)
from dagsverk.speech.features.prepared import PreparedClips
from dagsverk.speech.features.shards import manifest
from dagsverk.speech.languages import Language
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.results import evaluation_folder
from dagsverk.store import Store


def evaluate(
    store: Store,
    language: Language,
    model: SpeechModel,
    clips: PreparedClips,
    config: EvaluationConfig,
    *,
    windows: Windows | None = None,
    tick: Tick | None = None,
    drawn_before: int | None = None,
) -> EvaluationReport:
    """The report of the model on these clips; the stored one if it was made before.

    Args:
        clips: all of one split of a set. If the set's manifest says that the split was cut, so does the
            report.
        windows: the mode in which it is scored; None: the one that its configuration names.
        tick: called as clips are decoded.
        drawn_before: of a draw of so many clips there may be texts in this mode; they are used.
    Raises: ValueError if the clips are of several splits, or none; or of another number of bins than the
    model's.
    """
    listening = _listening(model, language, config, windows, tick)

    def texts() -> Transcripts:
        if drawn_before is None:
            return transcripts(store, listening, clips)
        return completed(store, listening, clips, drawn_before)

    key = _key(listening, clips)
    path = f"{evaluation_folder(language, key)}/report.json"
    cut = _cut(store, clips)
    return remembered(
        store, path, EvaluationReport, lambda: _report(store, key, listening, clips, texts(), cut)
    )


def evaluate_draw(
    store: Store,
    language: Language,
    model: SpeechModel,
    clips: PreparedClips,
    config: EvaluationConfig,
    *,
    windows: Windows,
    count: int,
    tick: Tick | None = None,
) -> EvaluationReport:
    """The same of `count` of the clips at most, see `transcripts.drawn`; it says that it is cut."""
    if count >= len(clips):
        return evaluate(store, language, model, clips, config, windows=windows, tick=tick)
    listening, part = _listening(model, language, config, windows, tick), drawn(clips, count)
    key = _key(listening, part, drawn_of=len(clips))
    path = f"{evaluation_folder(language, key)}/report.json"
    cut = _cut(store, clips, count)

    def made() -> EvaluationReport:
        return _report(
            store, key, listening, part, transcripts(store, listening, part, drawn_of=len(clips)), cut
        )

    return remembered(store, path, EvaluationReport, made)


def _listening(
    model: SpeechModel,
    language: Language,
    config: EvaluationConfig,
    windows: Windows | None,
    tick: Tick | None,
) -> Listening:
    return Listening(
        model=model,
        language=language,
        config=config,
        full_windows=(windows or model.windows) == "full",
        fingerprint=model.fingerprint(),
        tick=tick,
    )


def _key(listening: Listening, clips: PreparedClips, drawn_of: int | None = None) -> str:
    split = _only_split(clips)
    code, full = listening.language.code, listening.full_windows
    subject: list[Any] = [listening.fingerprint, code, clips.set_id, split, full]
    settings = listening.config.of_report()
    subject += [settings] if drawn_of is None else [settings, ["drawn", len(clips), drawn_of]]
    subject += [] if listening.precision == "fp32" else [listening.precision]
    return digest([FORMAT, normaliser.VERSION, *subject])


def _report(
    store: Store, key: str, listening: Listening, clips: PreparedClips, made: Transcripts, cut: Cut | None
) -> EvaluationReport:
    model, language, config = listening.model, listening.language, listening.config
    about = clips.rows.rename(columns={"id": "clip_id"})
    rows = score_clips(about.merge(made.texts, on="clip_id"), language.code)
    return EvaluationReport(
        key=key,
        at=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        language=language.code,
        model=ScoredModel(
            fingerprint=listening.fingerprint, name=model.name, full_windows=listening.full_windows
        ),
        set=clips.set_id,
        split=_only_split(clips),
        cut=cut,
        config=config,
        normaliser=normaliser.VERSION,
        decoding=made.speed,
        rows=_keep_rows(store, evaluation_folder(language, key), rows),
        **vars(describe(rows, config)),
    )


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


def _cut(store: Store, clips: PreparedClips, drawn_clips: int | None = None) -> Cut | None:
    """How many clips of the corpus are scored, if those are not all that its split has."""
    kept, of = manifest(store, clips.set_id).cut.get(_only_split(clips), (0, 0))
    if drawn_clips is not None:
        return Cut(drawn_clips, of or len(clips))
    return Cut(kept, of) if of else None
