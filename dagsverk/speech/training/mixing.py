"""Clips of other sets of the language in a run's batches: by weight, and never what dev or test hold.

    open_mixed     the train clips of each set that may be learnt from, and what was left out, counted
    of_epoch       how many of each an epoch draws

Which ones follows from seed and epoch: see `batches`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dagsverk.cache import cache_folder
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.corpora.overlap import sentence_key
from dagsverk.speech.errors import ModelError, SpeechError
from dagsverk.speech.features import shards
from dagsverk.speech.features.prepared import PreparedClips, open_prepared
from dagsverk.speech.features.shards import Manifest
from dagsverk.speech.mixtures import MixedSet
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.training.examples import Examples
from dagsverk.store import NotFound, Store

HELD_OUT_VOICE = "speaker in dev or test"
HELD_OUT_RECORDING = "recording in dev or test"
AGAIN = "recording among the run's own"
PRINTED_FRAMES = 64  # at either end: with the length and the loudest value enough to tell a sound
TWICE = "recording in another set of the mixture"


@dataclass(frozen=True)
class Mixed:
    """One other set, opened."""

    examples: Examples
    about: MixedSet


def open_mixed(
    store: Store, config: FinetuneConfig, own_examples: Examples, model: SpeechModel
) -> list[Mixed]:
    """Train clips of each set of the mixture, without those that may not be learnt from.

    Args: own_examples: the run's.
    Raises: SpeechError if a set is gone, is the run's own, or has nothing to learn from; ModelError if the
        model cannot read it, or it is of another language; DamagedShard.
    """
    if not config.mixture:
        return []
    set_id, language = own_examples.clips.set_id, own_examples.clips.language
    own = open_prepared(store, set_id, ("train",), cache_folder())
    held_out = open_prepared(store, set_id, ("dev", "test"), cache_folder())
    sieve = _Sieve(own, held_out)
    opened = []
    for one in config.mixture:
        about = _about(store, one.set, set_id, language, model)
        clips = open_prepared(store, one.set, ("train",), cache_folder(), copies=True)
        chosen, left_out = sieve.pick(clips)
        if not chosen:
            raise SpeechError(
                f"no train clip of {one.set} can be mixed in: {_counted(left_out)}; leave it out of mixture"
            )
        examples = Examples(
            clips,
            model.tokenizer,
            chosen=chosen,
            translate_share=config.translate_share,
            seed=config.seed,
        )
        left_out.update(clip.reason for clip in examples.set_aside)
        mixed = MixedSet(
            set=one.set,
            corpus=about.corpus,
            clips=len(examples),
            of_epoch=one.of_epoch(len(own_examples), len(examples)),
            left_out=dict(sorted(left_out.items())),
            held_out_sentences=sieve.held_out_sentences(examples.rows["text"].tolist()),
        )
        opened.append(Mixed(examples, mixed))
    return opened


def of_epoch(config: FinetuneConfig, pools: Sequence[int]) -> tuple[int, ...]:
    """How many clips of each set of the mixture an epoch draws. Args: pools: sizes: the run's own, theirs."""
    own, *others = pools or (0,)
    return tuple(one.of_epoch(own, size) for one, size in zip(config.mixture, others, strict=False))


def _about(store: Store, mixed: str, set_id: str, language: str, model: SpeechModel) -> Manifest:
    if mixed == set_id:
        raise SpeechError(f"mixture names {mixed}, the set that is trained on anyway; leave it out")
    try:
        about = shards.manifest(store, mixed)
    except NotFound as error:
        raise SpeechError(
            f"the run draws from {mixed}, and {store.url} has no such complete set (any more); prepare the "
            "same corpus again, or start another run whose mixture names sets that are there"
        ) from error
    if about.language != language:
        raise ModelError(
            f"{mixed} cannot be mixed in: it is of language {about.language}, trained is {language}; sets of "
            "other languages are named in replay_sets"
        )
    if about.n_mels != model.n_mels:
        raise ModelError(
            f"{mixed} cannot be mixed in: it has {about.n_mels} mel bins, {model.name} hears {model.n_mels}; "
            f"prepare its corpus with n_mels {model.n_mels}"
        )
    return about


class _Sieve:
    """Tells which clips may be learnt from: no voice and no recording of dev and test, no recording twice."""

    def __init__(self, own: PreparedClips, held_out: PreparedClips) -> None:
        self._voices = set(held_out.rows["speaker"]) - {""}
        self._sentences = {sentence_key(text) for text in held_out.rows["text"]}
        self._seen = dict.fromkeys(_prints(held_out), HELD_OUT_RECORDING)
        self._seen = {**dict.fromkeys(_prints(own), AGAIN), **self._seen}

    def pick(self, clips: PreparedClips) -> tuple[list[int], Counter[str]]:
        """The places of clips that may be learnt from, and why others may not. Copies go with their clip."""
        gone: Counter[str] = Counter()
        chosen, left_out = [], dict[str, str]()
        columns = (clips.rows[name].tolist() for name in ("id", "speaker", "is_copy"))
        for place, (clip, voice, is_copy, print_) in enumerate(zip(*columns, _prints(clips), strict=True)):
            why = HELD_OUT_VOICE if voice in self._voices else self._seen.get(print_)
            if is_copy:
                why = left_out.get(clip.rpartition("#")[0])
            if why is None:
                chosen.append(place)
                continue
            left_out[clip] = why
            gone[why] += 1
        self._seen |= {print_: TWICE for print_ in _prints(clips) if print_ not in self._seen}
        return chosen, gone

    def held_out_sentences(self, texts: Sequence[str]) -> int:
        return sum(sentence_key(text) in self._sentences for text in texts)


def _prints(clips: PreparedClips) -> Iterator[bytes]:
    """The same for the same sound, whatever file it came from."""
    for place in range(len(clips)):
        levels, peak = clips.quantised(place)
        digest = hashlib.blake2b(np.array([peak, len(levels)], np.float32).tobytes(), digest_size=12)
        digest.update(levels[:PRINTED_FRAMES].tobytes())
        digest.update(levels[-PRINTED_FRAMES:].tobytes())
        yield digest.digest()


def _counted(left_out: Counter[str]) -> str:
    return ", ".join(f"{count} x {reason}" for reason, count in left_out.items()) or "it has none"
