"""The champion of each language, fetched and loaded once per version. Light until one is loaded."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import tempfile
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from dagsverk import threads
from dagsverk.speech import exports
from dagsverk.speech.errors import ModelError
from dagsverk.speech.exports import Exported
from dagsverk.speech.languages import Language
from dagsverk.store import Conflict, Model, NotFound, Store, StoreError

if TYPE_CHECKING:
    from dagsverk.speech.serving.engine import Engine
    from dagsverk.speech.serving.transcriber import Transcriber

log = logging.getLogger(__name__)

SERVED = "int8"  # float16 is computed in fp32 on a processor: slower than torch; it is for GPUs elsewhere
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
    return held is not None and held.identity == _identity(model)


def load_champion(store: Store, language: Language, cache: Path) -> Champion:
    """The champion of a language; its files are fetched once per version, and it is held in memory.

    Args: cache: a folder for the models' files.
    Raises: NoSpeechModel before the first promotion; StoreError if its files are not whole or no model.
    """
    model = promoted(store, language)
    identity = _identity(model)
    with _lock:
        held = _loaded.get(language.code)
        if held is None or held.identity != identity:
            held = _load(store, language, model, cache, _converted(store, language, model))
        elif not held.sha256 and (form := _converted(store, language, model)) and form.sha256 not in _broken:
            held = _load(store, language, model, cache, form)  # exported since
        _loaded[language.code] = held  # the one before is let go
        return Champion(model, held.transcriber)


def load_version(store: Store, language: Language, model: Model, cache: Path) -> Transcriber:
    """A version that need not be in use, nor of this language; not held. Raises StoreError."""
    own = model.name == language.model_name
    return _load(
        store, language, model, cache, _converted(store, language, model) if own else None
    ).transcriber


@dataclass(frozen=True)
class _Held:
    """A champion in memory."""

    identity: _Identity
    sha256: str  # of the archive that it runs from; "": from its own weights
    transcriber: Transcriber


_loaded: dict[str, _Held] = {}  # by language
_broken: set[str] = set()  # SHA-256 of archives that could not be used
_lock = threading.Lock()


def _converted(store: Store, language: Language, model: Model) -> Exported | None:
    """The form that this machine is better served from than from the weights by torch; None: by torch."""
    made = exports.kept(store, language, model)
    best = next((one for one in made.published if one.form == SERVED), None) if made else None
    return None if best is None or _has_gpu() else best


def _has_gpu() -> bool:
    """There torch is served; on a processor int8 is faster, whatever torch can use: see decision 38."""
    threads.prepare_environment()  # before the library reads how its threads wait
    try:
        import ctranslate2
    except ImportError:  # the next step says what is missing
        return False
    return bool(ctranslate2.get_cuda_device_count())


def _load(store: Store, language: Language, model: Model, cache: Path, form: Exported | None) -> _Held:
    """From its export where there is one that can be used, else from its own weights, by torch."""
    identity, name = _identity(model), f"{model.name} {model.version}"
    if form is not None and form.sha256 not in _broken:
        from dagsverk.speech.serving import ctranslate_engine

        try:
            folder = _unpacked(store, form, cache)
            engine = ctranslate_engine.load_engine(folder, name, language=language.code)
            return _Held(identity, form.sha256, transcriber_of(engine, model, language))
        except (ModelError, NotFound, zipfile.BadZipFile, _Damaged) as error:
            log.warning("%s is served by torch, for its export cannot be used: %s", name, error)
            _broken.add(form.sha256)
    folder = _fetch(store, model, cache / "models" / f"{model.name}-{model.version}-{_content(model)}")
    return _Held(identity, "", transcriber_of(_by_torch(folder, name, model, language), model, language))


def _identity(model: Model) -> _Identity:
    return _content(model), model.version, [model.info.get(name) for name in SETTINGS]


def _content(model: Model) -> str:
    return hashlib.sha256(repr(sorted(model.files.items())).encode()).hexdigest()[:16]


def _by_torch(folder: Path, name: str, model: Model, language: Language) -> Engine:
    from dagsverk.speech.serving.torch_engine import load_engine  # torch: on first use

    try:
        return load_engine(folder, name, language=language.code)
    except ModelError as error:
        raise StoreError(f"version {model.version} of {language.title} cannot be used: {error}") from error


def transcriber_of(engine: Engine, model: Model, language: Language) -> Transcriber:
    """What transcribes by an engine, as a version's record says."""
    from dagsverk.speech.serving import windows  # scipy: on first use
    from dagsverk.speech.serving.transcriber import Transcriber

    return Transcriber(
        engine,
        language.code,
        can_translate=bool(model.info.get("translates")),
        longest_s=float(model.info.get("longest_s", windows.LONGEST_S)),
    )


class _Damaged(Exception):
    """An archive is not the one that was written."""


def _unpacked(store: Store, form: Exported, cache: Path) -> Path:
    """The folder of an archive, below the cache: named by its content, there whole or not at all."""
    target = cache / "exports" / form.sha256
    if not target.is_dir():
        archive = store.fetch(form.path, cache)
        with archive.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 != form.sha256:
            raise _Damaged(f"the archive {form.path} in {store.url} is damaged: export the version again")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpacking-") as path:
            with zipfile.ZipFile(archive) as files:
                files.extractall(path)
            (made,) = Path(path).iterdir()
            with contextlib.suppress(OSError):  # another process was first
                made.rename(target)
    if not target.is_dir():
        raise _Damaged(f"cannot unpack {form.path} to {target}")
    return target


def _fetch(store: Store, model: Model, folder: Path) -> Path:
    try:
        return store.download(model, folder)
    except Conflict:  # what is in the cache was changed
        shutil.rmtree(folder)
    except OSError:  # another process put the same files there at the same moment
        if not folder.is_dir():
            raise
    return store.download(model, folder)
