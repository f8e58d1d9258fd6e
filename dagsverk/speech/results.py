"""What the store holds about speech, for pages and summaries. Light: loads no learning library.

Layout, below the artefact folder speech/<language name>/:
    runs/<run>/…                        fine-tuning runs, see `training`
    transcripts/<key>.parquet           what a model heard in a set
    evaluations/<key>/report.json       see `report`; written last, so what has one is whole
    evaluations/<key>/audio.json        which of the worst clips can be played, see `playback`
    verdicts/<run>-<step>.json          a checkpoint against base model and champion, see `judging`
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dagsverk.speech.languages import LANGUAGES, Language
from dagsverk.speech.runs import CheckpointRef
from dagsverk.store import Model, NotFound, Store

_BY_NAME = {language.name: language for language in LANGUAGES.values()}


def folder(language: Language) -> str:
    """The artefact folder of a language."""
    return f"speech/{language.name}"


def evaluation_folder(language: Language, key: str) -> str:
    """The artefact folder of one evaluation."""
    return f"{folder(language)}/evaluations/{key}"


def speech_languages(store: Store) -> list[Language]:
    """Languages that the store holds shards, runs or evaluations of, by name."""
    names = {path.split("/")[1] for path in store.list("speech") if path.count("/") > 1}
    return [_BY_NAME[name] for name in sorted(names) if name in _BY_NAME]


def results_version(store: Store, language: Language) -> str:
    """Changes when a run, its curve, an evaluation, a verdict or a promotion does. Cheap: a listing, few
    reads."""
    paths = [path for path in store.list(folder(language)) if "/shards/" not in path]
    curves = [_read(store, path) for path in paths if path.endswith("/curve.json")]
    in_use = store.champion(language.model_name)
    state = json.dumps([paths, in_use.version if in_use else 0]).encode()
    return hashlib.sha256(b"\0".join([state, *curves])).hexdigest()[:16]


def runs(store: Store, language: Language) -> list[dict[str, Any]]:
    """Fine-tuning runs: {"run", "config", "curve", "checkpoints"}; the one that went on last comes last."""
    root = f"{folder(language)}/runs/"
    paths = [path.removeprefix(root) for path in store.list(root.removesuffix("/"))]
    found = []
    for run in sorted({path.split("/")[0] for path in paths}):
        inside = [path.removeprefix(f"{run}/") for path in paths if path.startswith(f"{run}/")]
        steps = {path.split("/")[1] for path in inside if path.startswith("checkpoints/")}
        found.append(
            {
                "run": run,
                "config": _loaded(store, f"{root}{run}/config.json", {}),
                "curve": _loaded(store, f"{root}{run}/curve.json", []),
                "checkpoints": sorted(int(step) for step in steps if step.isdigit()),
            }
        )
    return found


def report(store: Store, language: Language, key: str) -> dict[str, Any]:
    """One evaluation's report. Raises NotFound."""
    found: dict[str, Any] = json.loads(store.get(f"{evaluation_folder(language, key)}/report.json"))
    return found


def reports(store: Store, language: Language) -> list[dict[str, Any]]:
    """All evaluations of the language, oldest first."""
    paths = store.list(f"{folder(language)}/evaluations")
    found = [json.loads(store.get(path)) for path in paths if path.endswith("/report.json")]
    return sorted(found, key=lambda one: str(one["at"]))


def clip_rows(store: Store, report: Mapping[str, Any]) -> pd.DataFrame:
    """What was heard in each clip of a report, and its counts of errors."""
    return pd.read_parquet(io.BytesIO(store.get(report["rows"])))


def worst_clips(store: Store, language: Language, report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The report's worst clips, each with "sound": the artefact to play, or None and "why_silent"."""
    kept = _loaded(store, f"{evaluation_folder(language, report['key'])}/audio.json", {})
    sounds, missing = kept.get("clips", {}), kept.get("missing", {})
    not_kept = "its audio was not kept"
    return [
        {
            **clip,
            "sound": sounds.get(clip["clip"]),
            "why_silent": None if clip["clip"] in sounds else missing.get(clip["clip"], not_kept),
        }
        for clip in report["worst"]
    ]


def verdict_path(language: Language, ref: CheckpointRef) -> str:
    """The artefact of a checkpoint's verdict."""
    return f"{folder(language)}/verdicts/{ref.run}-{ref.step}.json"


def verdicts(store: Store, language: Language) -> list[dict[str, Any]]:
    """Of every checkpoint that was judged, oldest first."""
    found = [json.loads(store.get(path)) for path in store.list(f"{folder(language)}/verdicts")]
    return sorted(found, key=lambda one: str(one["at"]))


def champion(store: Store, language: Language) -> Model | None:
    """The version in use, None before the first promotion."""
    return store.champion(language.model_name)


def promotions(store: Store, language: Language) -> list[Mapping[str, Any]]:
    """All promotions, oldest first: {"version", "promoted_at", "reason"}."""
    return store.champions(language.model_name)


def _loaded(store: Store, path: str, default: Any) -> Any:
    found = _read(store, path)
    return json.loads(found) if found else default


def _read(store: Store, path: str) -> bytes:
    try:
        return store.get(path)
    except NotFound:
        return b""
