"""Which language is spoken, of those that somebody can write down.

Asked is a model as published, if one was adopted: it was taught to tell languages apart. A tuned model calls
much of what it hears its own language, so without such a one each champion writes down the beginning, and the
one that is surest of its text is right. Measured: docs/decisions/0045-which-language-is-spoken.md. Light.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from dagsverk.speech.audio.samples import Audio, SamplesFile
from dagsverk.speech.errors import AudioError
from dagsverk.speech.languages import LANGUAGES, Language
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.serving import windows
from dagsverk.speech.serving.champions import Writer, how_to_get, in_use, refuse_without, stock
from dagsverk.speech.serving.transcriber import BLOCK_S, Transcriber, Turn, checked
from dagsverk.store import Store
from dagsverk.turns import Check

Load: TypeAlias = Callable[[Writer], Transcriber]

SPEECH_S = 30.0  # that is listened to
NEAR_S = 600.0  # of a recording, in which speech is looked for first
ENOUGH_S = 5.0  # of speech, without which no language is believed that has no model of its own
SURE, UNLIKELY = 0.7, 0.25  # shares of such a language, and of the likeliest one that has a model
LEAST_SHARE, NOTHING_WRITTEN = 1e-6, -10.0
SHOWN, DOUBT = 3, 0.2  # languages that are told of; the share from which on another one is
NO_MODEL = "no model of its language"  # why a recording is refused


def detected(
    store: Store, load: Load, samples: SamplesFile, check: Check, turn: Turn
) -> tuple[Language, Mapping[str, float]]:
    """The language of a recording, and how likely each is, the likeliest first; no shares where nothing is
    said.

    Raises: NoSpeechModel; AudioError if it is surely a language that no model writes; what `check` raises.
    """
    refuse_without(store, None)
    champions = sorted(in_use(store), key=lambda one: one.owner.is_borrowed)  # a token's own language first
    audio = first_speech(samples, check)
    if not len(audio):
        return champions[0].language, {}
    published = stock(store)
    shares: Mapping[str, float] = {}
    if published is not None:
        shares = load(published).languages(audio, check=check, turn=turn)
        likeliest = max(champions, key=lambda one: shares.get(one.owner.token, 0.0)).language
    else:
        answers = [_asked(load(one), one, audio, check, turn, alone=len(champions) == 1) for one in champions]
        likeliest, shares, _ = max(answers, key=lambda answer: answer[-1])
    top, share = next(iter(shares.items()), ("", 0.0))
    surely = share >= SURE and shares.get(likeliest.token, 0.0) < UNLIKELY
    if top == likeliest.token or not surely or len(audio) / windows.SAMPLE_RATE_HZ < ENOUGH_S:
        return likeliest, _first(shares, likeliest)
    if published is None:
        raise AudioError(NO_MODEL, _refusal(LANGUAGES[top], share))
    return LANGUAGES[top], _first(shares, LANGUAGES[top])


def first_speech(samples: SamplesFile, check: Check) -> Audio:
    """The first `SPEECH_S` in which something is said, its pauses left out; empty where nothing is said."""
    for most in (round(NEAR_S / BLOCK_S), None):
        blocks = itertools.islice(samples.blocks(BLOCK_S), most)
        planned = windows.plan(*windows.levels(checked(blocks, check)), longest_s=SPEECH_S / 2)
        if planned:
            lengths_s = itertools.accumulate(one.end_s - one.start_s for one in planned)
            first = [one for one, at_s in zip(planned, lengths_s, strict=True) if at_s <= SPEECH_S]
            taken = windows.take(checked(samples.blocks(BLOCK_S), check), first)
            return np.concatenate([audio for _, audio in taken])
    return np.zeros(0, np.float32)


def _asked(
    model: Transcriber, champion: Writer, audio: Audio, check: Check, turn: Turn, *, alone: bool
) -> tuple[Language, Mapping[str, float], float]:
    """A tuned model's language, its shares, and how sure it is: of the language, and of what it writes."""
    shares = model.languages(audio, check=check, turn=turn)
    sureness = math.log(max(shares.get(champion.owner.token, 0.0), LEAST_SHARE))
    if not alone:
        segments = model.transcribe(audio, check=check, turn=turn).segments
        written = [one.mean_log_probability for one in segments] or [NOTHING_WRITTEN]
        sureness += sum(written) / len(written)
    return champion.language, shares, sureness


def _first(shares: Mapping[str, float], chosen: Language) -> dict[str, float]:
    """The likeliest few, and the one that is chosen, by their codes."""
    few = dict(itertools.islice(shares.items(), SHOWN))
    return few | {chosen.token: shares.get(chosen.token, 0.0)}


def taken_for(language: Language, likely: Mapping[str, float]) -> str:
    """A sentence on what was chosen, and how sure it is."""
    if not likely:
        return f"Nothing is said in it, so no language was told; it was taken for {language.title}."
    share = likely.get(language.token, 0.0)
    others = [code for code in likely if code != language.token and likely[code] >= DOUBT]
    doubt = f"; it may be {language_of(others[0]).title} ({likely[others[0]]:.0%})" if others else ""
    return f"Its language was not named: it was taken for {language.title} ({share:.0%}){doubt}."


def _refusal(spoken: Language, share: float) -> str:
    return (
        f"{spoken.title} is spoken in it ({share:.0%}), and no {spoken.title} model is in use; "
        f"{how_to_get(spoken)}. If it is another language, name it"
    )
