"""The day of a spoken language: corpus -> features -> fine-tuned Whisper -> scores, perhaps a champion."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from prefect import flow
from pydantic import AfterValidator, Field

from dagsverk.form import NOT_BLANK
from dagsverk.speech.config import (
    CorpusConfig,
    EvaluationConfig,
    FinetuneConfig,
    PrepareConfig,
    published_model,
)
from dagsverk.speech.languages import BORROWED, LANGUAGES, known_language
from dagsverk.speech.learning_curve import SpeechCurveConfig
from dagsverk.speech.runs import CheckpointRef
from dagsverk.speech.transcription.config import TranscriptionConfig
from dagsverk.speech.transcription.pseudo_config import PseudoLabelConfig
from dagsverk.store import ModelRef
from tasks import labels
from tasks import speech as tasks
from tasks import speech_learning_curve as curves
from tasks import transcription as transcribing
from tasks.children import cancel_children
from tasks.runners import side_by_side
from tasks.runs import one_at_a_time, speech_run_name
from tasks.speech import language_name

LanguageCode = Annotated[  # a code of Whisper's, or a language of its own under the token of one: rm_as_it
    str,
    AfterValidator(known_language),
    Field(json_schema_extra={"anyOf": [{"enum": sorted(LANGUAGES)}, {"pattern": BORROWED}]}),
]
PublishedModel = Annotated[
    str, AfterValidator(published_model), Field(json_schema_extra={"pattern": NOT_BLANK})
]


@flow(name="speech-features", flow_run_name=speech_run_name, task_runner=side_by_side())
def speech_features(
    language: LanguageCode,
    corpus: CorpusConfig = CorpusConfig(),
    preparation: PrepareConfig = PrepareConfig(),
) -> str:
    """Recordings -> checked clips as shards of 8-bit log-mel, bad ones set aside; the manifest comes last.

    Args:
        language: Whisper's code, such as sv; rm_as_it teaches rm under the token of it.
        corpus: Where the recordings are: Common Voice, a Hugging Face data set, a folder, our own voices.
        preparation: What is checked, and how features are kept.
    """
    with one_at_a_time(language_name(language), "speech"):
        work = tasks.list_clips(language, corpus, preparation)
        shards = tasks.prepare_shards.map(work.groups, work.set_id, language, corpus)
        shards.result()
        whole = tasks.complete_shards(language, work.set_id, wait_for=shards)
        return labels.mend_clips(language, whole)


@flow(name="speech-training", flow_run_name=speech_run_name)
def speech_training(language: LanguageCode, finetune: FinetuneConfig = FinetuneConfig()) -> CheckpointRef:
    """The newest clips -> a fine-tuned Whisper, its best checkpoint chosen on dev; goes on after any crash.

    Args:
        language: Whisper's code, such as sv; rm_as_it teaches rm under the token of it.
        finetune: Which model, how long, how. Empty fields: what suits the model and the device.
    """
    with one_at_a_time(language_name(language), "speech"):
        clips = labels.mend_clips(language, tasks.newest_clips(language))
        return tasks.finetune(language, clips, finetune)


@flow(name="speech-evaluation", flow_run_name=speech_run_name)
def speech_evaluation(
    language: LanguageCode,
    evaluation: EvaluationConfig = EvaluationConfig(),
    corpus: CorpusConfig = CorpusConfig(),
) -> ModelRef:
    """The newest training -> scored on test beside its base and the champion -> registered, perhaps champion.

    Args:
        language: Whisper's code, such as sv; rm_as_it teaches rm under the token of it.
        evaluation: How scores and their intervals are made.
        corpus: Where the recordings of the worst clips are read again, to be heard on the page.
    """
    with one_at_a_time(language_name(language), "speech"):
        checkpoint = tasks.newest_checkpoint(language)
        verdict = tasks.score_checkpoint(language, checkpoint, evaluation)
        tasks.keep_worst_clips(language, verdict, corpus)
        registered = tasks.register(language, checkpoint, verdict)
        tasks.export_registered(language, registered)
        return registered


@flow(name="speech-learning-curve", flow_run_name=speech_run_name)
def speech_learning_curve(language: LanguageCode, config: SpeechCurveConfig = SpeechCurveConfig()) -> str:
    """The newest clips -> trainings on parts of them -> a report: what more of them would bring.

    It changes no model. A repeat goes on with what is done, in the middle of a training, too.

    Args:
        language: Whisper's code, such as sv; rm_as_it teaches rm under the token of it.
        config: How a training is made, which parts, how many of each.
    """
    with one_at_a_time(f"learning-curve-{language_name(language)}", "speech"):
        plan = curves.plan_speech_curve(tasks.newest_clips(language), config)
        whole = [curves.speech_point(language, config, plan, part) for part in plan.whole]
        parts = [curves.speech_point(language, config, plan, part, whole[0]) for part in plan.parts]
        return curves.conclude_speech_curve(language, config, plan, [*whole, *parts])


@flow(name="speech-day", flow_run_name=speech_run_name, on_cancellation=[cancel_children])
def speech_day(
    language: LanguageCode,
    corpus: CorpusConfig = CorpusConfig(),
    preparation: PrepareConfig = PrepareConfig(),
    finetune: FinetuneConfig = FinetuneConfig(),
    evaluation: EvaluationConfig = EvaluationConfig(),
) -> list[str]:
    """Features, training, evaluation: each a run of its own deployment, on the pool that suits it.

    Args:
        language: Whisper's code, such as sv; rm_as_it teaches rm under the token of it.
        corpus: Where the recordings are: Common Voice, a Hugging Face data set, a folder, our own voices.
        preparation: What is checked, and how features are kept.
        finetune: Which model, how long, how. Empty fields: what suits the model and the device.
        evaluation: How scores and their intervals are made.
    """
    name = language_name(language)
    prepared = {"corpus": asdict(corpus), "preparation": asdict(preparation)}
    scored = {"evaluation": asdict(evaluation), "corpus": asdict(corpus)}
    features = tasks.run_part(f"speech-features/{name}", prepared)
    training = tasks.run_part(f"speech-training/{name}", {"finetune": asdict(finetune)}, wait_for=[features])
    scores = tasks.run_part(f"speech-evaluation/{name}", scored, wait_for=[training])
    return [features, training, scores]


@flow(name="speech-adopt", flow_run_name=speech_run_name)
def speech_adopt(language: LanguageCode, model: PublishedModel = "openai/whisper-small") -> ModelRef:
    """A published Whisper as it is -> a version of the language; in use at once if there was none.

    Args:
        language: Whisper's code, such as sv; rm_as_it teaches rm under the token of it.
        model: A hub name, or a folder with a model that `transformers` loads.
    """
    with one_at_a_time(language_name(language), "speech"):
        adopted = tasks.adopt(language, model)
        tasks.export_registered(language, adopted)
        return adopted


@flow(name="speech-transcription", flow_run_name=speech_run_name, task_runner=side_by_side())
def speech_transcription(
    language: LanguageCode, transcription: TranscriptionConfig = TranscriptionConfig()
) -> str:
    """A folder or prefix of recordings -> the text of each in the store, once; failures with their reason.

    Args:
        language: Whisper's code of what is spoken, such as sv.
        transcription: Where the recordings are, which model writes them down, where else texts go.
    """
    with one_at_a_time(f"transcription-{language_name(language)}", "speech"):
        work = transcribing.list_recordings(language, transcription)
        done = transcribing.transcribe_recordings.map(work.groups, work.plan, language, transcription)
        return transcribing.add_up(language, work.plan, done.result(), transcription, wait_for=done)


@flow(name="speech-labels", flow_run_name=speech_run_name)
def speech_labels(language: LanguageCode, corpus: CorpusConfig = CorpusConfig()) -> int:
    """The newest clips, as decided so far, + champion -> texts that may be wrong, each with its recording.

    Args:
        language: Whisper's code, such as sv; rm_as_it teaches rm under the token of it.
        corpus: Where the recordings are read again, to be heard on the page.
    """
    with one_at_a_time(language_name(language), "speech"):
        clips = labels.mend_clips(language, tasks.newest_clips(language))
        suspicious = labels.suspect_texts(language, clips)
        labels.keep_suspect_clips(language, corpus, wait_for=[suspicious])
        return suspicious


@flow(name="speech-pseudo-labels", flow_run_name=speech_run_name, task_runner=side_by_side())
def speech_pseudo_labels(language: LanguageCode, labels: PseudoLabelConfig = PseudoLabelConfig()) -> str:
    """Recordings without texts -> clips with texts that a model wrote, as far as they are good enough.

    Args:
        language: Whisper's code of what is spoken, such as sv.
        labels: Where the recordings are, which models write them down, and what is good enough.
    """
    first, second = labels.written_by(second=False), labels.written_by(second=True)
    with one_at_a_time(f"transcription-{language_name(language)}", "speech"):
        work = transcribing.list_recordings(language, first)
        done = transcribing.transcribe_recordings.map(work.groups, work.plan, language, first)
        done.result()
        again = transcribing.list_recordings(language, second, wait_for=done)
        checked = transcribing.transcribe_recordings.map(again.groups, again.plan, language, second)
        checked.result()
        return transcribing.select_pseudo_labels(language, work.plan, again.plan, labels, wait_for=checked)


@flow(name="speech-export", flow_run_name=speech_run_name)
def speech_export(language: LanguageCode) -> list[str]:
    """The version in use -> the forms of it that say what its weights say, each kept whole or not at all.

    Args:
        language: Whisper's code, such as sv; rm_as_it teaches rm under the token of it.
    """
    with one_at_a_time(language_name(language), "speech"):
        return tasks.export(language, tasks.champion(language))
