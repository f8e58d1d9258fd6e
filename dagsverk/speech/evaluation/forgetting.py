"""What follows from `Retention`: whether English is offered, and checks. All limits stand here.

Light: loads no learning library.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dagsverk.speech.evaluation.report import (
    Check,
    English,
    OtherLanguage,
    Retention,
    Timestamps,
    Translation,
)
from dagsverk.speech.languages import language as language_of
from dagsverk.words import counted, difference, percent_interval

MOST_UNTRANSLATED = 0.05  # of clips, beyond the base's, that may stay in the language spoken, or empty
MOST_LOOPING = 0.02  # of clips, beyond those of the base
MOST_CHRF_LOST = 0.05  # against the corpus' translations
MOST_MISSING = 0.5  # of clips, whatever the base does: more, and it does not translate
LEAST_CHRF = 0.3  # against the corpus' translations, of a model that learnt to translate here
LEAST_AGREEMENT = 0.5  # chrF with the base's English, where the corpus has no translations
MOST_WER_GAINED = 0.02  # of another language, before it is warned of
LEAST_WHOLE = 0.9  # of clips, of the share that the base had: times that can be used
MOST_END_SHIFT_S = 0.3  # median, from where the base heard the end

RULE = (
    "English is offered where, of the test clips, no more than "
    f"{MOST_UNTRANSLATED:.0%} more than before training stay untranslated or empty, no more than "
    f"{MOST_LOOPING:.0%} more loop, and the English is as good: chrF against its translations in the corpus "
    f"no more than {100 * MOST_CHRF_LOST:g} points lower, or, where it has none, chrF of at least "
    f"{100 * LEAST_AGREEMENT:g} against the English of the model before training."
)


def knows_english(network: Any) -> bool:
    """Whether a published model was taught to translate: turbo, whose decoder is shallower than its encoder,
    was not. Args: network: its WhisperConfig."""
    return bool(network.decoder_layers == network.encoder_layers)


def english_holds(translation: Translation, *, able_before: bool = True) -> tuple[bool, str]:
    """Whether English is offered, and why, by RULE. Args: able_before: whether the base was to translate."""
    before, after, clips = translation.before, translation.after, translation.clips
    failures = list(_english_failures(translation, able_before))
    how = _how_good(translation)
    counts = (
        f"asked for English of {counted(clips, 'clip')}, {after.english} texts have common English words "
        f"({before.english} before training), {after.spoken} stay in the language spoken ({before.spoken}), "
        f"{after.empty} are empty ({before.empty}), {after.loops} loop ({before.loops}); {how}"
    )
    if failures:
        return False, f"English is not offered: {' and '.join(failures)}; {counts}"
    return True, f"English is offered: {counts}"


def _english_failures(of: Translation, able_before: bool) -> Iterator[str]:
    after, clips = of.after, of.clips
    missing, looping = (_missing(of.before), of.before.loops) if able_before else (0, 0)
    if (_missing(after) - missing) / clips > MOST_UNTRANSLATED or _missing(after) / clips > MOST_MISSING:
        yield "too many texts stay untranslated"
    if (after.loops - looping) / clips > MOST_LOOPING:
        yield "too many texts loop"
    if not able_before:
        if after.chrf is not None and (after.chrf.value or 0.0) < LEAST_CHRF:
            yield "it is not what the corpus has"
    elif of.change is not None and of.change.value is not None:
        if of.change.value < -MOST_CHRF_LOST:
            yield "it is worse than before"
    elif (of.agreement.value or 0.0) < LEAST_AGREEMENT:
        yield "it says something else than before"


def _missing(one: English) -> int:
    return one.spoken + one.empty


def _how_good(of: Translation) -> str:
    agreement = f"chrF {_points(of.agreement.value)} against the English before training"
    if of.after.chrf is None or of.before.chrf is None or of.change is None:
        return agreement
    change = of.change
    return (
        f"chrF {_points(of.after.chrf.value)} against the translations of {counted(of.references, 'clip')} "
        f"({_points(of.before.chrf.value)} before training, "
        f"{difference(change.value or 0.0, change.low, change.high)}), {agreement}"
    )


def _points(value: float | None) -> str:
    return "not known" if value is None else f"{100 * value:.1f}"


def forgetting_checks(of: Retention | None, most_wer_gained: float | None) -> tuple[Check, ...]:
    """Args: most_wer_gained: of another language; beyond it no model is promoted. None: that is a warning."""
    if of is None:
        return ()
    checks = []
    if of.translation is not None:
        checks.append(Check("English is kept", of.english, False, of.why))
    if of.languages:
        checks.append(_languages_check(of.languages, most_wer_gained))
    if of.timestamps is not None:
        checks.append(_timestamps_check(of.timestamps))
    return tuple(checks)


def gained(one: OtherLanguage, limit: float) -> bool:
    """Whether the word error rate rose by more than the limit, and beyond chance where that can be told."""
    change = one.change
    return change.value is not None and change.value > limit and (change.low is None or change.low > 0)


def _languages_check(languages: tuple[OtherLanguage, ...], most: float | None) -> Check:
    refused = [one for one in languages if most is not None and gained(one, most)]
    worse = [one for one in languages if gained(one, MOST_WER_GAINED)]
    words = "; ".join(_language_words(one) for one in refused or worse or languages)
    return Check("other languages are kept", not (refused or worse), bool(refused), words)


def _language_words(one: OtherLanguage) -> str:
    before, after = (percent_interval(side.value, side.low, side.high) for side in (one.before, one.after))
    title = language_of(one.language).title
    return f"{title}: {before} of {counted(one.words, 'word')} wrong before training, {after} after"


def _timestamps_check(times: Timestamps) -> Check:
    whole = times.after.within >= LEAST_WHOLE * times.before.within
    near = times.end_shift_s is not None and times.end_shift_s <= MOST_END_SHIFT_S
    shift = "there are no ends to compare"
    if times.end_shift_s is not None:
        shift = f"the ends differ by {times.end_shift_s:g} s (median)"
    words = (
        f"times of {times.after.within} of {counted(times.clips, 'clip')} are whole and within the clip "
        f"({times.before.within} before training); {shift}"
    )
    return Check("timestamps are kept", whole and near, False, words)
