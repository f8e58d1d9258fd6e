"""The steps that write down a folder of recordings: list, write down, add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect import task

from dagsverk.speech.languages import Language
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.transcription.config import TranscriptionConfig
from dagsverk.speech.transcription.pseudo_config import PseudoLabelConfig, summary
from dagsverk.speech.transcription.results import Portion
from dagsverk.store import Store
from tasks import show_transcription as show
from tasks.logs import now_and_then, say
from tasks.policies import REPEATABLE
from tasks.stores import open_store

if TYPE_CHECKING:
    from dagsverk.speech.transcription.models import Loaded


@dataclass(frozen=True)
class RecordingWork:
    """A plan's path, and the recordings that wait, in groups for one task each. "": no source is named."""

    plan: str
    groups: list[list[int]]


@task(name="list-recordings", task_run_name="list recordings {language}", **REPEATABLE)
def list_recordings(language: str, transcription: TranscriptionConfig) -> RecordingWork:
    """Safe to repeat: it only reads, and a plan is named by its content."""
    from dagsverk.speech.transcription import work

    if not transcription.source:
        say("no source is named, so nothing is written down: give the deployment a folder or an s3:// prefix")
        return RecordingWork("", [])
    store, of = open_store(), language_of(language)
    path, made = work.plan(store, of, transcription, _model_key(store, of, transcription))
    groups = work.portions(made, transcription.portion)
    there = f"{len(made.recordings)} recordings are there, {made.other_files} other files"
    say(there, f"{len(made.waiting)} are to be written down")
    return RecordingWork(path, groups)


@task(name="transcribe-recordings", task_run_name="transcribe {language}", **REPEATABLE)
def transcribe_recordings(
    numbers: list[int], plan: str, language: str, transcription: TranscriptionConfig
) -> Portion:
    """Safe to repeat: each recording is kept as soon as it is done, and one that is kept is left alone."""
    from dagsverk.speech.transcription import work

    store, of = open_store(), language_of(language)
    made = work.load_plan(store, plan)
    load = _loader(store, of, transcription)
    done = work.write_all(store, of, made, numbers, transcription, load=load, tell=now_and_then())
    minutes = f"{done.audio_s / 60:.1f} min of audio in {done.took_s:.0f} s of the model"
    say(f"wrote down {done.written} of {len(numbers)} recordings, {minutes}", f"{done.failed} could not be")
    return done


@task(name="add-up-transcriptions", task_run_name="add up {language}", **REPEATABLE)
def add_up(language: str, plan: str, done: list[Portion], transcription: TranscriptionConfig) -> str:
    """Safe to repeat: it reads what is kept and replaces its report."""
    from dagsverk.speech.transcription import adding_up, work

    if not plan:
        return "no source is named"
    store, of = open_store(), language_of(language)
    made = work.load_plan(store, plan)
    report = adding_up.complete(store, of, made, transcription, done)
    show.transcribed(of, report)
    line = adding_up.summary(report)
    say(line)
    work.refuse_none(done, report.failed)
    work.refuse_denied(made)
    return line


@task(name="select-pseudo-labels", task_run_name="select pseudo-labels {language}", **REPEATABLE)
def select_pseudo_labels(language: str, plan: str, second: str, config: PseudoLabelConfig) -> str:
    """Safe to repeat: clips are written under names of their own, their table last, the report replaced."""
    from dagsverk.speech.transcription import pseudo_labels, spoken_language, work

    if not plan:
        return "no source is named"
    store, of = open_store(), language_of(language)
    first = work.load_plan(store, plan)
    other = work.load_plan(store, second) if second else None
    tell = spoken_language.teller(store, of, config)
    made = pseudo_labels.select(store, of, first, other, config, tell)
    show.pseudo_labels(of, made)
    line = summary(made)
    say(f"wrote clips and texts to {config.output}", line)
    return line


def _model_key(store: Store, language: Language, transcription: TranscriptionConfig) -> str:
    from dagsverk.speech.serving.champions import promoted
    from dagsverk.speech.transcription.results import model_key
    from dagsverk.words import last_part

    if transcription.model:
        return model_key(last_part(transcription.model), None)
    champion = promoted(store, language)
    return model_key(champion.name, champion.version)


def _loader(store: Store, language: Language, transcription: TranscriptionConfig) -> Callable[[], Loaded]:
    from dagsverk.speech.transcription import models

    if transcription.model:
        return lambda: models.named(transcription.model, language)
    return lambda: models.champion(store, language)
