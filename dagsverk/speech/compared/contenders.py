"""A contender by its description -> what writes down a clip, ready. Light until one is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dagsverk import threads
from dagsverk.cache import cache_folder
from dagsverk.speech import exports
from dagsverk.speech.audio.samples import Audio
from dagsverk.speech.compared import program
from dagsverk.speech.compared.config import Contender, digest, settings_of
from dagsverk.speech.errors import ModelError, SpeechError
from dagsverk.speech.languages import Language, token_code
from dagsverk.speech.runs import run_config
from dagsverk.speech.serving import before_training, champions
from dagsverk.store import Model, NotFound, Store
from dagsverk.words import last_part

if TYPE_CHECKING:
    from dagsverk.speech.serving.transcriber import Transcriber

NO_FASTER_WHISPER = (
    "faster-whisper is not installed where this runs: pip install -c constraints.txt -e '.[faster-whisper]'; "
    "or let it answer OpenAI's route elsewhere, and compare with kind program"
)
PUBLISHED = '{"kind": "published", "model": "openai/whisper-tiny"}'
Write = Callable[[Audio, bytes], str]  # samples at 16 kHz, and the same as a WAV file


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A contender that is ready. `key`: of its answers, another one when it may write something else."""

    name: str  # for people
    detail: str
    key: str
    write: Write = field(repr=False)
    version: int | None = None
    elsewhere: bool = False  # its work is another program's


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What a contender was trained on: a set of this store; or why that is not known."""

    set: str | None = None
    why: str = ""


def version_of(store: Store, language: Language, contender: Contender) -> Model | None:
    """The version of the store that is meant, or whose model before training is; None: of no version.

    Raises: NoSpeechModel, NotFound.
    """
    if contender.kind not in ("champion", "version", "before"):
        return None
    if contender.version is None:
        return champions.promoted(store, language)
    return store.model(language.model_name, contender.version)


def learnt(store: Store, language: Language, contender: Contender) -> Learnt:
    """The set that it was trained on, by its lineage."""
    version = version_of(store, language, contender)
    if contender.kind in ("champion", "version") and version is not None and version.info.get("run"):
        try:
            return Learnt(set=run_config(store, str(version.info["run"])).set_id)
        except (NotFound, SpeechError) as error:
            return Learnt(why=f"the run of version {version.version} is not there any more: {error}")
    return Learnt(why="what it was trained on is not known here, these clips may be among it")


def refuse_absent(store: Store, language: Language, contender: Contender) -> None:
    """Before the other one has worked for hours: what is surely not there.

    Raises: NoSpeechModel, NotFound of the store; NoModelBefore; ModelError where the library is not
        installed.
    """
    version = version_of(store, language, contender)
    if version is not None and contender.form in exports.FORMS:
        champions.export_of(store, language, version, contender.form)
    if contender.runs_on == "faster-whisper" and find_spec("faster_whisper") is None:
        raise ModelError(NO_FASTER_WHISPER)
    if contender.kind == "before" and version is not None and not before_training.was_tuned(version):
        raise before_training.NoModelBefore(
            f"version {version.version} of {language.title} was not trained from another model, so none was "
            f"before it; name another second one, such as --param 'second={PUBLISHED}'"
        )


@contextmanager
def opened(store: Store, language: Language, contender: Contender) -> Iterator[Opened]:
    """The contender, loaded, while it is needed.

    Raises: NoSpeechModel, NotFound, StoreError of the store; ModelError, ModelUnavailable of the model.
    """
    if contender.kind == "program":
        with program.asked(contender, token_code(language.code)) as asked:
            yield Opened(
                name=f"{contender.model} at {asked.host}",
                detail=f"a program, {contender.at_once} at a time",
                key=digest(language.code, settings_of(contender)),
                write=lambda _, wav: asked.write(wav),
                elsewhere=True,
            )
        return
    try:
        if contender.kind == "published":
            yield _published(language, contender)
        elif contender.kind == "before":
            yield from _before(store, language, contender)
        else:
            yield _of_store(store, language, contender)
    finally:
        threads.give_back_memory()


def _of_store(store: Store, language: Language, contender: Contender) -> Opened:
    version = version_of(store, language, contender)
    if version is None:
        raise ValueError(f"{contender.kind} is of no store")
    cache = cache_folder()
    if contender.form == "served":
        transcriber = champions.load_version(store, language, version, cache)
        detail = "as it is served on this machine"
    else:
        form, windows = contender.form, contender.windows
        transcriber = champions.load_form(store, language, version, cache, form, windows)
        mode = {"full": ", in 30 s windows", "true_length": ", at true length"}.get(windows or "", "")
        detail = f"its weights by torch{mode}" if form == "weights" else f"its export in {form}"
    name = f"{version.name} {version.version}"
    beside = {**settings_of(contender), "kind": "version", "version": version.version}
    return Opened(
        name=name if contender.form == "served" else f"{name}, {contender.form}",
        detail=detail,
        key=digest(language.code, sorted(version.files.items()), beside, _engine(transcriber)),
        write=_by(transcriber),
        version=version.version,
    )


def _before(store: Store, language: Language, contender: Contender) -> Iterator[Opened]:
    version = version_of(store, language, contender)
    if version is None:
        raise ValueError(f"{contender.kind} is of no store")
    weights = run_config(store, str(version.info["run"])).fingerprint if version.info.get("run") else ""
    with before_training.model_before(store, language, version, cache_folder()) as before:
        yield Opened(
            name=f"{before_training.name_before(version)}, before training",
            detail=f"the model that version {version.version} was trained from, as published",
            key=digest(language.code, weights, contender.edition, "before", _engine(before.transcriber)),
            write=_by(before.transcriber),
        )


def _published(language: Language, contender: Contender) -> Opened:
    name = last_part(contender.model)
    if contender.runs_on == "own":
        from dagsverk.speech.transcription.models import by_name

        loaded = by_name(contender.model, language)
        write, detail = _by(loaded.transcriber), "as published, by our own decoding"
        engine = _engine(loaded.transcriber)
    elif contender.runs_on == "transformers":
        from dagsverk.speech.compared.others import by_transformers

        write, engine = by_transformers(contender.model, token_code(language.code))
        detail = f"as published, by {engine}"
    else:
        from dagsverk.speech.compared.others import by_faster_whisper

        write, engine = by_faster_whisper(contender.model, token_code(language.code))
        detail = f"as published, by {engine}"
    return Opened(
        name=name if contender.runs_on == "own" else f"{name} by {contender.runs_on}",
        detail=detail,
        key=digest(language.code, settings_of(contender), _weights(contender.model), engine),
        write=write,
    )


def _by(transcriber: Transcriber) -> Write:
    return lambda samples, _: " ".join(transcriber.transcribe(samples).text.split())


def _engine(transcriber: Transcriber) -> str:
    """What runs it: another one may write something else."""
    return transcriber.runs_on


def _weights(model: str) -> list[list[object]]:
    """Of a folder: its large files with their content; a hub's name stands for itself."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return []
    return [
        [file.name, file.stat().st_size, _sha256(file)]
        for file in sorted(folder.iterdir())
        if file.is_file() and file.suffix in (".safetensors", ".bin", ".json")
    ]


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def silent(seconds: float) -> Audio:
    """Nothing, for a model to warm up on."""
    return np.zeros(round(16_000 * seconds), np.float32)
