"""Clips of other languages in a run's batches, so that what the model knew of these is not forgotten.

    fill_in        which prepared sets of the store a run replays; decided once, and kept for its resumes
    open_replayed  some of their train clips
    Mixture        these beside the run's own clips, as one collection of examples

How many are drawn in an epoch, and which, follows from seed and epoch: see `batches`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from dagsverk import records
from dagsverk.cache import cache_folder
from dagsverk.speech import runs
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import ModelError, SpeechError
from dagsverk.speech.features import shards
from dagsverk.speech.features.log_mel import QuantisedMel
from dagsverk.speech.features.prepared import draw, open_prepared
from dagsverk.speech.features.shards import Manifest
from dagsverk.speech.languages import Language, language
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.model.tokens import prompt
from dagsverk.speech.results import speech_languages
from dagsverk.speech.training.defaults import REPLAY_SHARE, is_small
from dagsverk.speech.training.examples import Examples
from dagsverk.store import Conflict, NotFound, Store

MOST_CLIPS = 20_000  # of all replayed languages together that a run may draw from; a few MB of labels
SPOKEN = "spoken"  # the source of sets of synthetic voices: they would teach a published model worse speech

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """The sets that a run without a word about them replays; written once, so that a resume finds them."""

    sets: tuple[str, ...]


def fill_in(
    store: Store, config: FinetuneConfig, set_id: str, of: Language, model: SpeechModel, fingerprint: str
) -> FinetuneConfig:
    """The configuration with the sets that are replayed, and their share; no sets: a share of 0.

    Where no sets are named, the newest of every other language in the store are taken, by published models
    only, unless a share is asked for: what nano learns from nothing it cannot forget.
    Raises: SpeechError if a share is asked for and there are none.
    """
    share = config.replay_share
    if share == 0 or (share is None and not config.replay_sets and is_small(model.model.config)):
        return replace(config, replay_share=0.0)
    asked = runs.run_id(fingerprint, set_id, config, of)
    sets = config.replay_sets or _kept_choice(store, config, asked, of, model)
    if not sets:
        return replace(config, replay_share=0.0)
    return replace(config, replay_share=share or REPLAY_SHARE, replay_sets=tuple(sorted(sets)))


def open_replayed(store: Store, config: FinetuneConfig, of: Language, model: SpeechModel) -> list[Examples]:
    """Train clips of each replayed set, at most MOST_CLIPS in all. Takes a configuration that `fill_in` made.

    Raises: SpeechError if a set is gone or of this language; ModelError if the model cannot read it or does
        not know its language; DamagedShard.
    """
    most = MOST_CLIPS // max(1, len(config.replay_sets))
    opened = []
    for set_id in config.replay_sets:
        try:
            about = shards.manifest(store, set_id)
        except NotFound as error:
            raise SpeechError(
                f"the run replays clips of {set_id}, and {store.url} has no such set (any more); bring it "
                "back (prepare the same corpus again), or start another run: with replay_sets that are "
                "there, or replay_share 0"
            ) from error
        if why := _unfit(about, of, model):
            raise ModelError(f"{set_id} cannot be replayed: {why}; name other replay_sets, or none")
        clips = open_prepared(store, set_id, ("train",), cache_folder(), most_clips=most)
        opened.append(Examples(clips, model.tokenizer, chosen=draw(clips, most, config.seed)))
    return opened


def _kept_choice(
    store: Store, config: FinetuneConfig, asked: str, of: Language, model: SpeechModel
) -> tuple[str, ...]:
    """The sets that were chosen when this run was first asked for; else chosen now, and kept."""
    path = f"speech/{of.name}/replays/{asked}.json"
    try:
        return records.read(store, path, Choice).sets
    except NotFound:
        pass
    sets = () if _begun_without(store, asked) else tuple(_fitting(store, of, model))
    if config.replay_share and not sets:
        raise SpeechError(
            f"replay_share is {config.replay_share:g}, and {store.url} has no clips of another language that "
            f"{model.name} knows; prepare some (speech-features/english, say), or leave replay_share empty"
        )
    try:
        store.put(path, records.to_bytes(Choice(sets)))
    except Conflict:  # another process of the run was first
        return records.read(store, path, Choice).sets
    return sets


def _begun_without(store: Store, run: str) -> bool:
    """Whether a version that knew no replay began the run."""
    try:
        return runs.run_config(store, run).finetune.replay_share is None
    except NotFound:
        return False


def _fitting(store: Store, of: Language, model: SpeechModel) -> Iterator[str]:
    """The newest sets of other languages that suit; synthetic voices would teach worse speech."""
    for other in speech_languages(store):
        try:
            about = shards.manifest(store, shards.newest(store, other.code))
        except NotFound:
            continue
        except ValueError as error:  # of another format
            logger.warning("clips of %s are not replayed: %s", other.title, error)
            continue
        why = "its voices are synthetic" if about.source == SPOKEN else _unfit(about, of, model)
        if why is None:
            yield about.id
        elif other != of:
            logger.info("%s is not replayed: %s", about.id, why)


def _unfit(about: Manifest, of: Language, model: SpeechModel) -> str | None:
    """Why a set cannot be replayed beside a language; None: it can."""
    other = language(about.language)
    if other.token == of.token:
        return f"{other.title} is written under the same token as {of.title}, which is being trained"
    if other.is_borrowed:
        return f"{other.title} is none of the languages that {model.name} came with"
    if about.n_mels != model.n_mels:
        return f"it has {about.n_mels} mel bins, {model.name} hears {model.n_mels}"
    try:
        prompt(model.tokenizer, other.code)
    except ModelError as error:
        return str(error)
    return None


class Mixture(Examples):
    """A run's own examples, and behind them those of other languages."""

    def __init__(self, own: Examples, others: Sequence[Examples]) -> None:  # no labels of its own to make
        self.clips, self.set_aside = own.clips, own.set_aside
        self._end = own._end
        self._parts = [own, *others]
        sizes = [len(part) for part in self._parts]
        self._first = np.cumsum([0, *sizes])
        ids = [own.rows["id"], *(f"{one.clips.set_id}/" + one.rows["id"] for one in others)]
        self.rows = pd.DataFrame({"id": pd.concat(ids, ignore_index=True)})
        self.frames = np.concatenate([part.frames for part in self._parts])
        self.pools = tuple(sizes)

    def label(self, place: int, epoch: int) -> list[int]:
        part, within = self._of(place)
        return part.label(within, epoch)

    def quantised(self, place: int) -> tuple[QuantisedMel, float]:
        part, within = self._of(place)
        return part.quantised(within)

    def _of(self, place: int) -> tuple[Examples, int]:
        part = int(np.searchsorted(self._first, place, side="right")) - 1
        return self._parts[part], place - int(self._first[part])
