"""What the store holds about speech, for pages and summaries. Light: loads no learning library.

Layout, below the artefact folder speech/<language name>/:
    runs/<run>/…                        fine-tuning runs, see `training`
    transcripts/<key>.parquet           a model's hypotheses for the clips of a set
    evaluations/<key>/report.json       see `report`; written last, so what has one is whole
    evaluations/<key>/audio.json        which of the worst clips can be played, see `playback`
    verdicts/<run>-<step>.json          a checkpoint against base model and champion, see `assessment`
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass

import pandas as pd

from dagsverk.records import last_report, read
from dagsverk.speech import runs as run_records
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.evaluation.report import EvaluationReport, KeptAudio, PlayableClip, Verdict
from dagsverk.speech.languages import Language
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.runs import CheckpointRef, Curve, RunConfig
from dagsverk.store import NotFound, Store


@dataclass(frozen=True, kw_only=True)
class Run:
    """A fine-tuning run as the store has it."""

    run: str
    config: RunConfig | None  # None: not written yet, or by another version
    curve: Curve
    checkpoints: tuple[int, ...]  # steps, ascending


def folder(language: Language) -> str:
    """The artefact folder of a language."""
    return f"speech/{language.name}"


def evaluation_folder(language: Language, key: str) -> str:
    """The artefact folder of one evaluation."""
    return f"{folder(language)}/evaluations/{key}"


def speech_languages(store: Store) -> list[Language]:
    """Languages that the store holds shards, runs or evaluations of, by name."""
    names = {path.split("/")[1] for path in store.list("speech") if path.count("/") > 1}
    return [of for name in sorted(names) if (of := _named(name)) is not None]


def _named(name: str) -> Language | None:
    """The language of a folder; None for a folder of another kind."""
    try:
        of = language_of(name)
    except ValueError:
        return None
    return of if of.name == name else None


def results_version(store: Store, language: Language) -> str:
    """Changes when a run, its curve, an evaluation, a verdict or a promotion does. Cheap: a listing, few
    reads."""
    paths = [path for path in store.list(folder(language)) if "/shards/" not in path]
    curves = [_content(store, path) for path in paths if path.endswith("/curve.json")]
    in_use = store.champion(language.model_name)
    state = json.dumps([paths, in_use.version if in_use else 0]).encode()
    return hashlib.sha256(b"\0".join([state, *curves])).hexdigest()[:16]


def runs(store: Store, language: Language) -> list[Run]:
    """Fine-tuning runs, but for those of a learning curve (on a part of the clips) and of a search, unless it
    is the last training.
    """
    root = f"{folder(language)}/runs/"
    paths = [path.removeprefix(root) for path in store.list(root.removesuffix("/"))]
    listed = [_run(store, run, paths) for run in sorted({path.split("/")[0] for path in paths})]
    used = last_report(store, language.name, "training", CheckpointRef)
    return [run for run in listed if (used and run.run == used.run) or not _is_beside(run)]


def _is_beside(run: Run) -> bool:
    """Whether it was made to learn something of data or settings."""
    return run.config is not None and (run.config.search != "" or run.config.finetune.train_share < 1)


def _run(store: Store, run: str, paths: list[str]) -> Run:
    inside = [path.removeprefix(f"{run}/") for path in paths if path.startswith(f"{run}/")]
    steps = {path.split("/")[1] for path in inside if path.startswith("checkpoints/")}
    try:
        config = run_records.run_config(store, run)
    except (NotFound, SpeechError):
        config = None
    return Run(
        run=run,
        config=config,
        curve=run_records.curve(store, run),
        checkpoints=tuple(sorted(int(step) for step in steps if step.isdigit())),
    )


def report(store: Store, language: Language, key: str) -> EvaluationReport:
    """One evaluation's report. Raises NotFound."""
    return read(store, f"{evaluation_folder(language, key)}/report.json", EvaluationReport)


def reports(store: Store, language: Language) -> list[EvaluationReport]:
    """All evaluations of the language, oldest first."""
    paths = store.list(f"{folder(language)}/evaluations")
    listed = [read(store, path, EvaluationReport) for path in paths if path.endswith("/report.json")]
    return sorted(listed, key=lambda one: one.at)


def clip_rows(store: Store, report: EvaluationReport) -> pd.DataFrame:
    """The hypothesis for each clip of a report, and its counts of errors."""
    return pd.read_parquet(io.BytesIO(store.get(report.rows)))


def worst_clips(store: Store, language: Language, report: EvaluationReport) -> list[PlayableClip]:
    """The report's worst clips, each with the artefact to play, or why there is none."""
    try:
        kept = read(store, f"{evaluation_folder(language, report.key)}/audio.json", KeptAudio)
    except NotFound:
        kept = KeptAudio(clips={}, missing={})
    not_kept = "its audio was not kept"
    return [
        PlayableClip(
            **vars(clip),
            sound=kept.clips.get(clip.clip),
            why_silent=None if clip.clip in kept.clips else kept.missing.get(clip.clip, not_kept),
        )
        for clip in report.worst
    ]


def verdict_path(language: Language, ref: CheckpointRef) -> str:
    """The artefact of a checkpoint's verdict."""
    return f"{folder(language)}/verdicts/{ref.run}-{ref.step}.json"


def verdict(store: Store, path: str) -> Verdict:
    """The verdict at `verdict_path`. Raises NotFound."""
    return read(store, path, Verdict)


def verdicts(store: Store, language: Language) -> list[Verdict]:
    """Of every checkpoint that was scored, oldest first."""
    listed = [verdict(store, path) for path in store.list(f"{folder(language)}/verdicts")]
    return sorted(listed, key=lambda one: one.at)


def _content(store: Store, path: str) -> bytes:
    try:
        return store.get(path)
    except NotFound:
        return b""
