"""A trial's training as far as a stage, in the run that trains it; a whole one is scored on test, once."""

from __future__ import annotations

import time
from pathlib import Path

from dagsverk import studies
from dagsverk.speech import runs
from dagsverk.speech.config import EvaluationConfig
from dagsverk.speech.errors import Untrainable
from dagsverk.speech.evaluation.scoring import NORMALISED, count_errors, word_errors
from dagsverk.speech.evaluation.transcripts import Listening, transcripts
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.speech.languages import Language
from dagsverk.speech.runs import CheckpointRef, ValidationPoint
from dagsverk.speech.searching import Result, Training, keep_result, kept_result
from dagsverk.speech.training.fit import fit, load_checkpoint
from dagsverk.speech.training.progress import Progress
from dagsverk.store import Store


def train(store: Store, of: Language, training: Training, cache: Path, progress: Progress) -> Result:
    """Train from the newest checkpoint to the end of the stage, and keep what it came to. Again: that.

    One process at a time trains it; another that is asked for the same waits, and finds it.
    Raises: as `fit`, but for settings that cannot be trained: that is a result.
    """
    with studies.alone(f"training-{training.run_key}"):
        if (kept := kept_result(store, of, training)) is not None:
            return kept
        began = time.monotonic()
        try:
            result = _trained(store, of, training, cache, progress)
        except Untrainable as error:
            result = Result(reason=str(error))
        result = Result(**{**vars(result), "seconds": time.monotonic() - began})
        keep_result(store, of, training, result)
        return result


def _trained(store: Store, of: Language, training: Training, cache: Path, progress: Progress) -> Result:
    until, settings = training.until, training.settings
    ref = fit(store, training.set, of.code, settings, progress, until=until, search=training.search)
    if until == 0:  # only asked what it would be trained with
        return Result(run=ref.run)
    points = [p for p in runs.curve(store, ref.run) if isinstance(p, ValidationPoint) and p.step == ref.step]
    point = points[-1]
    steps = settings.steps or ref.step
    result = Result(
        run=ref.run,
        step=ref.step,
        steps=steps if until is None else until,
        dev_loss=point.dev_loss,
        dev_wer=point.dev_wer,
        reason="" if point.dev_loss is not None else "dev has no clip that can be scored",
    )
    return result if until is not None else _scored(store, of, training, ref, result, cache)


def _scored(
    store: Store, of: Language, training: Training, ref: CheckpointRef, result: Result, cache: Path
) -> Result:
    """With the errors in each test clip, as it would be served in the mode that it was trained for."""
    clips = open_prepared(store, training.set, ("test",), cache)
    model = load_checkpoint(store, ref, cache)
    listening = Listening(
        model=model,
        language=of,
        config=EvaluationConfig(),
        full_windows=model.windows == "full",
        fingerprint=model.fingerprint(),
    )
    rows = clips.rows.rename(columns={"id": "clip_id"}).merge(
        transcripts(store, listening, clips).texts, on="clip_id"
    )
    counts = count_errors(rows["text"].tolist(), rows["hypothesis"].tolist(), of.code, (NORMALISED,))
    return Result(
        **{
            **vars(result),
            "clips": tuple(rows["clip_id"]),
            "speakers": tuple(rows["speaker"].fillna("")),
            "words": tuple(int(n) for n in counts["words"]),
            "errors": tuple(int(n) for n in word_errors(counts)),
        }
    )
