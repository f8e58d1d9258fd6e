"""The champion of each language, fetched and loaded once per version. Light until one is loaded."""

from __future__ import annotations

import hashlib
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from dagsverk.speech.errors import ModelError
from dagsverk.speech.languages import Language
from dagsverk.store import Conflict, Model, NotFound, Store, StoreError

if TYPE_CHECKING:
    from dagsverk.speech.serving.transcriber import Transcriber

SETTINGS = ("translates", "longest_s")  # of a version, that its transcriber depends on besides its files

_Identity: TypeAlias = tuple[str, int, list[object]]  # what its files hold, version, settings


class NoSpeechModel(NotFound):
    """No model of this language has been promoted yet; the message says how to get one."""


@dataclass(frozen=True)
class Champion:
    """The version in use, ready to transcribe."""

    model: Model
    transcriber: Transcriber


def speech_command(language: Language) -> str:
    """The command that trains a language's first champion."""
    return f"prefect deployment run speech-day/{language.name}"


def adopt_command(language: Language) -> str:
    """The command that puts a published model to use, untrained."""
    return f"prefect deployment run speech-adopt/{language.name} --param model=openai/whisper-small"


def promoted(store: Store, language: Language) -> Model:
    """The champion's record. Raises NoSpeechModel before the first promotion."""
    model = store.champion(language.model_name)
    if model is None:
        raise NoSpeechModel(f"no {language.title} model is in use yet; train one: {speech_command(language)}")
    return model


def is_loaded(language: Language, model: Model) -> bool:
    """Whether `load_champion` answers at once."""
    held = _loaded.get(language.code)
    return held is not None and held[0] == _identity(model)


def load_champion(store: Store, language: Language, cache: Path) -> Champion:
    """The champion of a language; its files are fetched once per version, and it is held in memory.

    Args: cache: a folder for the models' files.
    Raises: NoSpeechModel before the first promotion; StoreError if its files are not whole or no model.
    """
    model = promoted(store, language)
    identity = _identity(model)
    with _lock:
        held = _loaded.get(language.code)
        if held is None or held[0] != identity:
            folder = _fetch(
                store, model, cache / "models" / f"{model.name}-{model.version}-{_content(model)}"
            )
            held = identity, _opened(folder, model, language)
            _loaded[language.code] = held  # the one before is let go
        return Champion(model, held[1])


_loaded: dict[str, tuple[_Identity, Transcriber]] = {}  # by language: which one, and it
_lock = threading.Lock()


def _identity(model: Model) -> _Identity:
    return _content(model), model.version, [model.info.get(name) for name in SETTINGS]


def _content(model: Model) -> str:
    return hashlib.sha256(repr(sorted(model.files.items())).encode()).hexdigest()[:16]


def _opened(folder: Path, model: Model, language: Language) -> Transcriber:
    from dagsverk.speech.serving import windows  # scipy, then torch: on first use
    from dagsverk.speech.serving.torch_engine import load_engine
    from dagsverk.speech.serving.transcriber import Transcriber

    try:
        engine = load_engine(folder, f"{model.name} {model.version}", language=language.code)
    except ModelError as error:
        raise StoreError(f"version {model.version} of {language.title} cannot be used: {error}") from error
    return Transcriber(
        engine,
        language.code,
        can_translate=bool(model.info.get("translates")),
        longest_s=float(model.info.get("longest_s", windows.LONGEST_S)),
    )


def _fetch(store: Store, model: Model, folder: Path) -> Path:
    try:
        return store.download(model, folder)
    except Conflict:  # what is in the cache was changed
        shutil.rmtree(folder)
    except OSError:  # another process put the same files there at the same moment
        if not folder.is_dir():
            raise
    return store.download(model, folder)
