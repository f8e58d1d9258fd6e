"""The worst clips of an evaluation, kept so that people can hear them. Never fails an evaluation."""

from __future__ import annotations

from dagsverk.records import write
from dagsverk.speech.audio.samples import Audio
from dagsverk.speech.audio.sandbox import CLIPS
from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.corpora.corpus import Clip, Corpus, RejectedClip, Split
from dagsverk.speech.errors import AudioError, SpeechError
from dagsverk.speech.evaluation.report import EvaluationReport, KeptAudio, WorstClip
from dagsverk.speech.features.cutting import Cut, cut
from dagsverk.speech.languages import Language
from dagsverk.speech.results import evaluation_folder
from dagsverk.store import Store

LONGEST_S = 30.0  # that a model hears


def keep_audio(store: Store, language: Language, report: EvaluationReport, corpus: Corpus) -> KeptAudio:
    """Keep the audio of the report's worst clips as small WAV artefacts; replaces what was kept before.

    A corpus that this machine cannot reach only makes them missing.
    """
    root = evaluation_folder(language, report.key)
    clips = [_clip(language, clip, report.split) for clip in report.worst]
    ranks = {clip.id: rank for rank, clip in enumerate(clips)}
    sounds: dict[str, str] = {}
    missing: dict[str, str] = {}
    why = f"{corpus.name} does not have it"
    try:
        for clip, audio in cut(corpus.read(clips), LONGEST_S) if clips else ():
            try:
                wav = encode_wav(_samples(clip, audio))
            except AudioError as error:
                missing[clip.id] = str(error)
                continue
            path = f"{root}/audio/{ranks[clip.id]}.wav"
            store.put(path, wav, overwrite=True)
            sounds[clip.id] = path
    except (SpeechError, OSError) as error:
        why = f"{corpus.name} cannot be read here: {error}"
    kept = KeptAudio(
        clips=sounds,
        missing={clip.id: missing.get(clip.id, why) for clip in clips if clip.id not in sounds},
    )
    write(store, f"{root}/audio.json", kept)
    return kept


def _clip(language: Language, clip: WorstClip, split: Split) -> Clip:
    return Clip(
        id=clip.clip,
        audio=clip.audio,
        text=clip.text,
        language=language.code,
        split=split,
        speaker=clip.speaker or "",
        duration_s=clip.duration_s,
    )


def _samples(clip: Clip, audio: Cut) -> Audio:
    if isinstance(audio, RejectedClip):
        raise AudioError(audio.reason, audio.detail)
    if isinstance(audio, bytes):
        return CLIPS.read_samples(audio, max_s=LONGEST_S, language=clip.language)
    return audio
