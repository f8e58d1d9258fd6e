"""The model that a transcription is asked to use: the champion of the store, or one by name. Light."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from dagsverk.cache import cache_folder
from dagsverk.speech.audio.samples import SamplesFile
from dagsverk.speech.config import published_model
from dagsverk.speech.languages import LANGUAGES, Language
from dagsverk.speech.model.decoded import Task
from dagsverk.speech.serving.champions import (
    Writer,
    load,
    load_champion,
    refuse_without,
    translator,
    writer_of,
)
from dagsverk.speech.serving.detection import detected, told_by
from dagsverk.store import Store
from dagsverk.turns import go_on
from dagsverk.words import last_part

if TYPE_CHECKING:
    from dagsverk.speech.serving.transcriber import Transcriber


@dataclass(frozen=True)
class Loaded:
    """A model that is ready. `version` is None for one that is not of the store."""

    transcriber: Transcriber
    name: str
    version: int | None = None

    @property
    def called(self) -> str:
        """For people: "whisper_italian 3", "openai/whisper-small"."""
        return self.name if self.version is None else f"{self.name} {self.version}"


# A decoded recording -> its model, and what is to be said of the choice.
Choose: TypeAlias = Callable[[SamplesFile], tuple[Loaded, tuple[str, ...]]]


def champion(store: Store, language: Language) -> Loaded:
    """The language's model in use. Raises NoSpeechModel before the first promotion; StoreError."""
    loaded = load_champion(store, language, cache_folder())
    return Loaded(loaded.transcriber, loaded.model.name, loaded.model.version)


def chosen(store: Store, language: Language | None, task: Task = "transcribe") -> Choose:
    """What writes down a language; None: that of each recording. Raises NoSpeechModel; StoreError.

    English that the model cannot write is by a published one, if one was adopted.
    """

    def ready(writer: Writer) -> Transcriber:
        return load(store, writer, cache_folder()).transcriber

    def loaded(writer: Writer) -> tuple[Loaded, tuple[str, ...]]:
        own = Loaded(ready(writer), writer.model.name, writer.model.version)
        needs_other = task == "translate" and not own.transcriber.can_translate
        other = translator(store, writer.language) if needs_other else None
        if other is None:
            return own, writer.notes
        published = load(store, other, cache_folder(), beside=True).transcriber
        english = Loaded(published, other.model.name, other.model.version)
        return english, (f"The English is by {english.called} as published: {own.called} cannot.",)

    if language is not None:
        same = loaded(writer_of(store, language))
        return lambda _: same
    refuse_without(store, None)

    def of_recording(samples: SamplesFile) -> tuple[Loaded, tuple[str, ...]]:
        spoken = detected(store, ready, samples, go_on, nullcontext)
        model, notes = loaded(writer_of(store, spoken.language))
        return model, (spoken.note, *notes)

    return of_recording


def chosen_by_name(source: str, language: Language | None) -> Choose:
    """A Whisper by its name, see `by_name`, for a language; None: for that of each recording."""
    loaded = by_name(source, language or LANGUAGES["en"])
    if language is not None:
        return lambda _: (loaded, ())

    def of_recording(samples: SamplesFile) -> tuple[Loaded, tuple[str, ...]]:
        spoken = told_by(loaded.transcriber, samples, go_on)
        return replace(loaded, transcriber=loaded.transcriber.of(spoken.language.code)), (spoken.note,)

    return of_recording


def by_name(source: str, language: Language) -> Loaded:
    """A Whisper by its name on the Hugging Face Hub, or a folder with one; no store is asked.

    Raises: ValueError if that is no name; ModelError if there is no such model, or it does not know the
        language; ModelUnavailable if the hub is not reached.
    """
    published_model(source)
    from dagsverk.speech.serving.torch_engine import load_engine  # torch: on first use
    from dagsverk.speech.serving.transcriber import Transcriber
    from dagsverk.speech.serving.voice_activity import voice_check

    place, name = _place(source), last_part(source)
    engine = load_engine(place, name, language=language.code)
    transcriber = Transcriber(
        engine, language.code, can_translate=_translates(place), has_voice=voice_check()
    )
    return Loaded(transcriber, name)


@functools.lru_cache(maxsize=1)
def named(source: str, language: Language) -> Loaded:
    """The same, held in memory for the next recording. Not for two threads at a time."""
    return by_name(source, language)


def _place(source: str) -> Path:
    """A folder by its whole path, so that nobody takes it for a name; else the name."""
    path = Path(source).expanduser()
    return path.absolute() if path.is_dir() or source.startswith((".", "~")) else path


def _translates(place: Path) -> bool:
    """Whether it may have been taught to: turbo, whose decoder is shallower than its encoder, was not."""
    from transformers import AutoConfig

    layers = AutoConfig.from_pretrained(str(place))
    return bool(layers.decoder_layers == layers.encoder_layers)
