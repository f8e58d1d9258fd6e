"""Which language is spoken, of those that somebody can write down.

Asked is a model as published, if one was adopted: it was taught to tell languages apart. A tuned model calls
much of what it hears its own language, so without such a one each champion writes down the beginning, and the
one that is surest of its text is right. Measured: docs/decisions/0045-which-language-is-spoken.md. Light.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
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
NEAR = (("no", "nn"), ("hr", "bs", "sr"), ("id", "ms"))  # languages that are taken for each other
LEAST_SHARE, NOTHING_WRITTEN = 1e-6, -10.0
SHOWN, DOUBT = 3, 0.2  # languages that are told of; the share from which on another one is
NO_MODEL = "no model of its language"  # why a recording is refused


@dataclass(frozen=True)
class Detected:
    """A recording's language.

    `likely`: how likely each language is, the likeliest few and the one that is chosen; only of a model that
    was taught to tell them apart. `note`: what was chosen, in a sentence.
    """

    language: Language
    likely: Mapping[str, float]
    note: str


def detected(store: Store, load: Load, samples: SamplesFile, check: Check, turn: Turn) -> Detected:
    """The language of a recording that nobody names.

    Raises: NoSpeechModel; AudioError if it is surely a language that no model writes; what `check` raises.
    """
    refuse_without(store, None)
    champions = sorted(in_use(store), key=lambda one: one.owner.is_borrowed)  # a token's own language first
    audio = first_speech(samples, check)
    published = stock(store)
    if not len(audio):
        return _nothing_said(champions[0].language)
    if published is None:
        answers = [_asked(load(one), one, audio, check, turn, alone=len(champions) == 1) for one in champions]
        language, shares, _ = max(answers, key=lambda answer: answer[-1])
        if _is_another(language, shares, audio):
            raise AudioError(NO_MODEL, _refusal(*next(iter(shares.items()))))
        return Detected(language, {}, _taken_unsurely(language, alone=len(champions) == 1))
    shares = load(published).languages(audio, check=check, turn=turn)
    if not shares:
        return _nothing_said(champions[0].language)
    tokens = {one.owner.token for one in champions}
    language = max(champions, key=lambda one: share_of(shares, one.owner.token, tokens)).language
    if _is_another(language, shares, audio):
        language = LANGUAGES[next(iter(shares))]
    return _taken(language, shares)


def _nothing_said(language: Language) -> Detected:
    note = f"Nothing is said in it, so no language was told; it was taken for {language.title}."
    return Detected(language, {}, note)


def told_by(model: Transcriber, samples: SamplesFile, check: Check) -> Detected:
    """The language of a recording, of all that a model as published knows."""
    audio = first_speech(samples, check)
    shares = model.languages(audio, check=check) if len(audio) else {}
    if not shares:
        return _nothing_said(LANGUAGES["en"])
    return _taken(LANGUAGES[next(iter(shares))], shares)


def share_of(shares: Mapping[str, float], token: str, tokens: Collection[str] = ()) -> float:
    """How likely a language is, or one that is written alike and has no model (`tokens` have one)."""
    near = next((group for group in NEAR if token in group), ())
    return shares.get(token, 0.0) + sum(shares.get(code, 0.0) for code in near if code not in tokens)


def _is_another(language: Language, shares: Mapping[str, float], audio: Audio) -> bool:
    """Whether the likeliest language is surely spoken, and surely not the one that has a model."""
    top, share = next(iter(shares.items()), ("", 0.0))
    sure = share >= SURE and share_of(shares, language.token, {language.token}) < UNLIKELY
    return top != language.token and sure and len(audio) >= ENOUGH_S * windows.SAMPLE_RATE_HZ


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


def _taken(language: Language, shares: Mapping[str, float]) -> Detected:
    """With what was chosen, how sure that is, and what else it may be."""
    likely = dict(itertools.islice(shares.items(), SHOWN))
    share = likely[language.token] = shares.get(language.token, 0.0)
    others = [code for code in likely if code != language.token and likely[code] >= DOUBT]
    doubt = f"; it may be {language_of(others[0]).title} ({likely[others[0]]:.0%})" if others else ""
    note = f"Its language was not named: it was taken for {language.title} ({share:.0%}){doubt}."
    return Detected(language, likely, note)


def _taken_unsurely(language: Language, *, alone: bool) -> str:
    why = "the only one with a model" if alone else "by the models in use"
    return (
        f"Its language was not named: it was taken for {language.title}, {why}. Tuned models take much for "
        "their own language; a published Whisper, adopted for any language, would tell better."
    )


def _refusal(code: str, share: float) -> str:
    spoken = LANGUAGES[code]
    return (
        f"{spoken.title} is spoken in it ({share:.0%}), and no {spoken.title} model is in use; "
        f"{how_to_get(spoken)}. If it is another language, name it"
    )
