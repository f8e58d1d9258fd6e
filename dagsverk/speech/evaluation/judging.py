"""A run's chosen checkpoint against the model it came from and the champion, on the same test clips."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dagsverk.speech import results
from dagsverk.speech.config import EvaluationConfig
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.evaluation import normaliser
from dagsverk.speech.evaluation.comparison import compare
from dagsverk.speech.evaluation.evaluation import Tick, accelerated, evaluate
from dagsverk.speech.evaluation.sanity_checks import heard_traps
from dagsverk.speech.features.prepared import PreparedClips
from dagsverk.speech.languages import Language
from dagsverk.speech.model.models import SpeechModel, load_model
from dagsverk.speech.runs import CheckpointRef
from dagsverk.store import Model, NotFound, Store, StoreError, Unavailable


def judge(
    store: Store,
    language: Language,
    ref: CheckpointRef,
    model: SpeechModel,
    base: SpeechModel,
    clips: PreparedClips,
    config: EvaluationConfig,
    *,
    curve: Sequence[Mapping[str, Any]] = (),
    cache: Path,
    tick: Tick | None = None,
) -> dict[str, Any]:
    """The verdict on a checkpoint: reports, paired differences, traps. Kept; safe to repeat.

    The champion is evaluated on these clips too, if it was not before. One that cannot be (it is gone, or
    reads other features) does not block its successors: `problems` says so.

    Args:
        model: the checkpoint's. base: the model it was trained from, as it was.
        clips: the test split.
        curve: of the run, from `training.curve`, for the trap of a loss that falls while errors rise.
        cache: where the champion's files may lie.
    """
    candidate = evaluate(store, language, model, clips, config, tick=tick)
    untrained = evaluate(store, language, base, clips, config, tick=tick)
    heard = results.clip_rows(store, candidate)
    with accelerated(model):
        traps = heard_traps(
            model,
            language.code,
            hypotheses=list(heard["hypothesis"]),
            references=list(heard["text"]),
            curve=curve,
        )
    in_use = store.champion(language.model_name)
    champion, problems = _champion_report(store, language, in_use, clips, config, cache, tick)
    verdict = {
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        "run": ref.run,
        "step": ref.step,
        "language": language.code,
        "set": clips.set_id,
        "candidate": candidate["key"],
        "base": untrained["key"],
        "champion": champion["key"] if champion else None,
        "champion_version": in_use.version if in_use else None,
        "against_base": compare(store, candidate, untrained),
        "against_champion": compare(store, candidate, champion) if champion else None,
        "traps": [trap.to_dict() for trap in traps],
        "problems": problems,
    }
    store.put(results.verdict_path(language, ref), json.dumps(verdict).encode(), overwrite=True)
    return verdict


def _champion_report(
    store: Store,
    language: Language,
    champion: Model | None,
    clips: PreparedClips,
    config: EvaluationConfig,
    cache: Path,
    tick: Tick | None,
) -> tuple[dict[str, Any] | None, list[str]]:
    """The champion on these clips, or why it cannot take part."""
    if champion is None:
        return None, []
    try:
        known = _known_report(store, language, champion, clips, config)
        if known is not None:
            return known, []
        folder = store.download(champion, cache / f"{champion.name}-{champion.version}")
        return evaluate(store, language, load_model(str(folder)), clips, config, tick=tick), []
    except Unavailable:
        raise  # it can take part, in a moment
    except (SpeechError, StoreError, ValueError) as error:
        return None, [f"the champion, version {champion.version}, could not be compared: {error}"]


def _known_report(
    store: Store, language: Language, champion: Model, clips: PreparedClips, config: EvaluationConfig
) -> dict[str, Any] | None:
    """The report that the champion was registered with, if it is of these clips: the model need not be
    loaded."""
    try:
        found = results.report(store, language, champion.info["evaluation"])
    except NotFound:
        return None
    wanted = {
        "language": language.code,
        "set": clips.set_id,
        "split": "test",
        "normaliser": normaliser.VERSION,
        "config": asdict(config),
    }
    return found if {name: found[name] for name in wanted} == wanted else None
