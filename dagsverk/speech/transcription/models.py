"""The model that a transcription is asked to use: the champion of the store, or one by name. Light."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dagsverk.speech.cache import cache_folder
from dagsverk.speech.config import published_model
from dagsverk.speech.languages import Language
from dagsverk.speech.serving.champions import load_champion
from dagsverk.store import Store
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


def champion(store: Store, language: Language) -> Loaded:
    """The language's model in use. Raises NoSpeechModel before the first promotion; StoreError."""
    loaded = load_champion(store, language, cache_folder())
    return Loaded(loaded.transcriber, loaded.model.name, loaded.model.version)


def by_name(source: str, language: Language) -> Loaded:
    """A Whisper by its name on the Hugging Face Hub, or a folder with one; no store is asked.

    Raises: ValueError if that is no name; ModelError if there is no such model, or it does not know the
        language; ModelUnavailable if the hub is not reached.
    """
    published_model(source)
    from dagsverk.speech.serving.torch_engine import load_engine  # torch: on first use
    from dagsverk.speech.serving.transcriber import Transcriber

    place, name = _place(source), last_part(source)
    engine = load_engine(place, name, language=language.code)
    return Loaded(Transcriber(engine, language.code, can_translate=_translates(place)), name)


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
