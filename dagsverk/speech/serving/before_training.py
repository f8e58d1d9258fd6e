"""The model that a version was trained from, to write down the same recording. Light until it is asked.

It is had from the store, where any version has its weights (`speech-adopt` puts it there), else from where
training took it: a folder, or the hub's cache. One is held at a time, and let go after a while.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dagsverk import threads
from dagsverk.speech.config import NANO
from dagsverk.speech.errors import ModelError, SpeechError
from dagsverk.speech.languages import Language
from dagsverk.speech.runs import run_config
from dagsverk.speech.serving.champions import load_version
from dagsverk.store import Model, NotFound, Store
from dagsverk.words import last_part

if TYPE_CHECKING:
    from dagsverk.speech.serving.transcriber import Transcriber

IDLE_S = 300.0  # after the last recording
NOT_REGISTERED = 0  # the version of a model that is not in the store


class NoModelBefore(ModelError):
    """The model before training cannot be had; the message says why, and the next move."""


@dataclass(frozen=True)
class Before:
    """The model before a version's training, ready to transcribe."""

    model: Model  # its record; `NOT_REGISTERED` in its stead
    transcriber: Transcriber


def was_tuned(model: Model) -> bool:
    """Whether a version was trained from a model that knew anything: nano starts from nothing."""
    return bool(model.info.get("run")) and _source(model) != NANO


def name_before(model: Model) -> str:
    """What the model before training is called: a hub name, or a folder's last part."""
    return last_part(_source(model))


def _source(model: Model) -> str:
    return str(model.info.get("base_model") or NANO)


def is_loaded(store: Store, version: Model) -> bool:
    """Whether `model_before` gives it at once."""
    return _slot.key == _key(store, version)


@contextmanager
def model_before(store: Store, language: Language, version: Model, cache: Path) -> Iterator[Before]:
    """The model that a version was trained from, while it is needed.

    Raises: NoModelBefore; StoreError if a version of the store that holds it is not whole.
    """
    before = _slot.take(store, language, version, cache)
    try:
        yield before
    finally:
        _slot.give_back()


_Key = tuple[str, str, int]


def _key(store: Store, version: Model) -> _Key:
    return store.url, version.name, version.version


class _Slot:
    """Where the one is held, and how many are at work with it or with one before it."""

    def __init__(self) -> None:
        self.key: _Key | None = None
        self._before: Before | None = None
        self._users = 0
        self._idle: threading.Timer | None = None
        self._lock = threading.Lock()

    def take(self, store: Store, language: Language, version: Model, cache: Path) -> Before:
        key = _key(store, version)
        with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            before = self._before
            if before is None or self.key != key:
                self.key = self._before = before = None  # let go before another one is loaded
                before = _load(store, language, version, cache)
                self.key, self._before = key, before
            self._users += 1
            return before

    def give_back(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._idle = threading.Timer(IDLE_S, self._let_go)
                self._idle.daemon = True
                self._idle.start()

    def _let_go(self) -> None:
        with self._lock:
            if self._users:
                return
            self.key = self._before = None
        threads.give_back_memory()


_slot = _Slot()


def _load(store: Store, language: Language, version: Model, cache: Path) -> Before:
    if not was_tuned(version):
        raise NoModelBefore(
            f"version {version.version} of {language.title} was not trained from another model"
        )
    weights = _weights_before(store, version)
    registered = next(_with_weights(store, language, weights), None)
    if registered is None:
        return _from_training(language, version, weights)
    return Before(registered, load_version(store, language, _cut_alike(registered, version), cache))


def _weights_before(store: Store, version: Model) -> str:
    """Their SHA-256, as the training noted it."""
    try:
        return run_config(store, str(version.info["run"])).fingerprint
    except (NotFound, SpeechError) as error:
        raise NoModelBefore(
            f"which weights version {version.version} was trained from is not known: {error}; the next "
            "training notes it anew"
        ) from error


def _with_weights(store: Store, language: Language, weights: str) -> Iterator[Model]:
    """Versions that are these weights, of this language first: another one's differ in nothing else."""
    others = [name for name in store.model_names() if name.startswith("whisper_")]
    for name in dict.fromkeys([language.model_name, *others]):
        for model in reversed(store.models(name)):
            lineage = model.info.get("lineage")
            if isinstance(lineage, dict) and lineage.get("weights") == weights:
                yield model


def _cut_alike(model: Model, version: Model) -> Model:
    """The record, for windows as long as the version's: both are given the same stretches of a recording."""
    info = {name: value for name, value in model.info.items() if name != "longest_s"}
    with suppress(KeyError):
        info["longest_s"] = version.info["longest_s"]
    return replace(model, info=info)


def _from_training(language: Language, version: Model, weights: str) -> Before:
    """From the folder, or the hub's cache, that training took it from; only if it is still the same."""
    from dagsverk.speech.model.models import load_model  # torch: on first use
    from dagsverk.speech.serving.champions import transcriber_of
    from dagsverk.speech.serving.torch_engine import engine_of

    name = name_before(version)
    try:
        model = load_model(_source(version), language=language.code)
    except ModelError as error:
        raise NoModelBefore(
            f"{name}, from which version {version.version} was trained, is not in the store and not on this "
            f"machine; {_how(language, version)}"
        ) from error
    if model.fingerprint() != weights:
        raise NoModelBefore(
            f"{name} on this machine is not the model any more that version {version.version} was trained "
            f"from: its weights have another SHA-256; bring the old one back; {_how(language, version)}"
        )
    model.name = name
    record = replace(
        version, name=name, version=NOT_REGISTERED, metrics={}, description=f"{name} as training took it",
        info=_cut_alike(replace(version, info={}), version).info, files={},
    )  # fmt: skip
    return Before(record, transcriber_of(engine_of(model), record, language))


def _how(language: Language, version: Model) -> str:
    """The command that puts it into the store."""
    source, name = _source(version), name_before(version)
    given = source if source == name else f"FOLDER (that of {name}, on the worker's machine)"
    command = f"prefect deployment run speech-adopt/{language.name} --param model={given}"
    return f"{command} puts it into the store, beside the model in use"
