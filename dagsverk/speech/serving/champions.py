"""Which version writes down a language: its champion, else a published model that is in use for another one.

Each is fetched and loaded once. Light until one is loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import tempfile
import threading
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from dagsverk import threads
from dagsverk.speech import exports
from dagsverk.speech.config import Windows
from dagsverk.speech.errors import ModelError
from dagsverk.speech.exports import Exported
from dagsverk.speech.languages import Language
from dagsverk.speech.languages import language as language_of
from dagsverk.store import Conflict, Model, NotFound, Store, StoreError
from dagsverk.words import last_part

if TYPE_CHECKING:
    from dagsverk.speech.serving.engine import Engine
    from dagsverk.speech.serving.transcriber import Transcriber

log = logging.getLogger(__name__)

SERVED = "int8"  # float16 is computed in fp32 on a processor: slower than torch; it is for GPUs elsewhere
DEPLOYED = ("sv", "it")  # languages with entries in prefect.yaml
STOCK = "stock"  # where a published model is held that is no champion
SETTINGS = ("translates", "longest_s")  # of a version, that its transcriber depends on besides its files

_Identity: TypeAlias = tuple[str, str, int, list[object]]  # name, what its files hold, version, settings


class NoSpeechModel(NotFound):
    """No model of this language has been promoted yet; the message says how to get one."""


@dataclass(frozen=True)
class Writer:
    """Which version writes down a language."""

    language: Language  # that it writes
    model: Model
    owner: Language  # under whose name it is registered

    @property
    def is_own(self) -> bool:
        """Whether it is a model of that language; else it is one as published, in use for another."""
        return self.owner == self.language

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence, where the model is not of the language."""
        if self.is_own:
            return ()
        name = name_as_published(self.model)
        return (f"{self.language.title} has no model of its own: {name} as published wrote it.",)


@dataclass(frozen=True)
class Champion:
    """The version in use, ready to transcribe."""

    model: Model
    transcriber: Transcriber


def speech_command(language: Language) -> str:
    """The command that trains a language's first champion."""
    return f"prefect deployment run speech-day/{language.name}"


def adopt_command(language: Language) -> str:
    """The command that puts a published model to use, untrained; any deployment of the flow can."""
    has_one = language.code in DEPLOYED
    of = language.name if has_one else f"{language_of(DEPLOYED[-1]).name} --param language={language.code}"
    return f"prefect deployment run speech-adopt/{of} --param model=openai/whisper-small"


def how_to_get(language: Language) -> str:
    """Both ways to a model of a language, in words."""
    adopt = f"have a published Whisper listen as it is: {adopt_command(language)}"
    if language.code in DEPLOYED:
        return f"train one: {speech_command(language)}; or {adopt}"
    return f"{adopt}; or train one: docs/how-to/speech.md says how under 'Another language'"


def promoted(store: Store, language: Language) -> Model:
    """The champion's record. Raises NoSpeechModel before the first promotion."""
    model = store.champion(language.model_name)
    if model is None:
        raise no_model(language)
    return model


def no_model(language: Language) -> NoSpeechModel:
    return NoSpeechModel(f"no {language.title} model is in use yet; {how_to_get(language)}")


def in_use(store: Store) -> list[Writer]:
    """The champions, by the names of their models."""
    models = [(owner, store.champion(owner.model_name)) for owner in owners(store)]
    return [Writer(owner, model, owner) for owner, model in models if model is not None]


def owners(store: Store) -> list[Language]:
    """Languages of which there are models, in use or not."""
    return [owner for name in sorted(store.model_names()) if (owner := _owner(name)) is not None]


def _owner(model_name: str) -> Language | None:
    try:
        owner = language_of(model_name.removeprefix("whisper_"))
    except ValueError:  # a model of another kind
        return None
    return owner if owner.model_name == model_name else None


def stock(store: Store) -> Writer | None:
    """A model as published, which knows all of Whisper's languages: of those in use the newest, else of those
    that are kept. None if none was adopted."""
    return max(_as_published(store), key=lambda one: one.model.created, default=None)


def translator(store: Store, language: Language) -> Writer | None:
    """A model as published that writes this language in English, as `stock` chooses. None if none does."""
    able = [one for one in _as_published(store) if one.model.info.get("translates")]
    newest = max(able, key=lambda one: one.model.created, default=None)
    return None if newest is None or language.is_borrowed else replace(newest, language=language)


def _as_published(store: Store) -> list[Writer]:
    """Those in use; if there are none, those that are kept."""
    champions = in_use(store)
    return [one for one in champions if _is_published(one.model)] or [
        Writer(one.owner, model, one.owner)
        for one in champions
        for model in store.models(one.model.name)
        if _is_published(model)
    ]


def name_as_published(model: Model) -> str:
    """What a model that was adopted is called elsewhere: a hub name's or a folder's last part."""
    return last_part(model.info.get("base_model") or model.name)


def _is_published(model: Model) -> bool:
    return "adoption_key" in model.info


def writer_of(store: Store, language: Language) -> Writer:
    """Its champion, else the model as published that is in use for another language. Raises NoSpeechModel."""
    model = store.champion(language.model_name)
    if model is not None:
        return Writer(language, model, language)
    other = stock(store)
    if other is None or language.is_borrowed:  # of a borrowed one it was taught nothing
        raise no_model(language)
    return Writer(language, other.model, other.owner)


def refuse_without(store: Store, language: Language | None) -> None:
    """Raises NoSpeechModel if nothing writes down this language; None: any language."""
    if language is not None:
        writer_of(store, language)
    elif not in_use(store):
        ways = how_to_get(language_of(DEPLOYED[0]))
        raise NoSpeechModel(f"no model is in use yet, of any language; {ways}")


def is_loaded(model: Model) -> bool:
    """Whether `load` answers at once."""
    return any(held.identity == _identity(model) for held in _loaded.values())


def load_champion(store: Store, language: Language, cache: Path) -> Champion:
    """The champion of a language, as `load`. Raises NoSpeechModel before the first promotion."""
    return load(store, Writer(language, promoted(store, language), language), cache)


def load(store: Store, writer: Writer, cache: Path, *, beside: bool = False) -> Champion:
    """A version; its files are fetched once, and it is held in memory, one for each language.

    Args:
        cache: a folder for the models' files.
        beside: it works beside the champion, of its language even, and does not take its place.
    Raises: StoreError if its files are not whole or no model.
    """
    model, owner = writer.model, writer.owner
    identity = _identity(model)
    with _lock:
        place = next((place for place, one in _loaded.items() if one.identity == identity), "")
        place = place or (owner.code if writer.is_own and not beside else STOCK)
        held = _loaded.get(place)
        if held is None or held.identity != identity:
            held = _load(store, owner, model, cache, _converted(store, owner, model))
        elif not held.sha256 and (form := _converted(store, owner, model)) and form.sha256 not in _broken:
            held = _load(store, owner, model, cache, form)  # exported since
        _loaded[place] = held  # the one before is let go
        return Champion(model, held.transcriber.of(writer.language.code))


def load_version(store: Store, language: Language, model: Model, cache: Path) -> Transcriber:
    """A version that need not be in use, nor of this language; not held. Raises StoreError."""
    own = model.name == language.model_name
    return _load(
        store, language, model, cache, _converted(store, language, model) if own else None
    ).transcriber


def load_form(
    store: Store, language: Language, model: Model, cache: Path, form: str, windows: Windows | None = None
) -> Transcriber:
    """A version in one form: "weights" by torch, in the mode that is named, or an export; not held.

    Raises: NotFound if there is no such export; ModelError; StoreError.
    """
    name = f"{model.name} {model.version}"
    if form == "weights":
        from dagsverk.speech.serving.torch_engine import load_engine  # torch: on first use

        place = cache / "models" / f"{model.name}-{model.version}-{_content(model)}"
        folder = _fetch(store, model, place)
        engine: Engine = load_engine(folder, name, language=language.code, windows=windows)
        return transcriber_of(engine, model, language)
    export = export_of(store, language, model, form)
    from dagsverk.speech.serving import ctranslate_engine

    try:
        folder = _unpacked(store, export, cache)
    except (zipfile.BadZipFile, _Damaged) as error:
        raise StoreError(f"the export of {name} in {form} is damaged: {error}; export it again") from error
    return transcriber_of(
        ctranslate_engine.load_engine(folder, name, language=language.code), model, language
    )


def export_of(store: Store, language: Language, model: Model, form: str) -> Exported:
    """A version's export in a form. Raises NotFound if there is none, or it did not pass."""
    made, name = exports.kept(store, language, model), f"{model.name} {model.version}"
    export = next((one for one in made.forms if one.form == form), None) if made else None
    if export is None:
        raise NotFound(
            f"{name} has no export in {form}; make it: prefect deployment run speech-export/{language.name}"
        )
    if export.refused:
        raise NotFound(
            f"the export of {name} in {form} was not kept, for it does not say what the weights say: "
            f"{export.refused}; take its weights, or another form"
        )
    return export


@dataclass(frozen=True)
class _Held:
    """A champion in memory."""

    identity: _Identity
    sha256: str  # of the archive that it runs from; "": from its own weights
    transcriber: Transcriber


_loaded: dict[str, _Held] = {}  # by language; and STOCK
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
    return model.name, _content(model), model.version, [model.info.get(name) for name in SETTINGS]


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
    from dagsverk.speech.serving.voice_activity import voice_check

    return Transcriber(
        engine,
        language.code,
        can_translate=bool(model.info.get("translates")),
        longest_s=float(model.info.get("longest_s", windows.LONGEST_S)),
        has_voice=voice_check(),
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
