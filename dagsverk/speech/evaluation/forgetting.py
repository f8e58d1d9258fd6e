"""What follows from `Retention`: whether English is offered, and checks. All limits stand here.

Light: loads no learning library.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dagsverk.speech.evaluation.report import (
    Check,
    Interval,
    OtherLanguage,
    Retention,
    Timestamps,
    Translation,
)
from dagsverk.speech.languages import language as language_of
from dagsverk.words import counted, difference, percent_interval

MOST_UNTRANSLATED = 0.05  # of clips, beyond the base's, that may have no English at all
MOST_MISSING = 0.25  # of clips, whatever the base does: more, and it does not translate
MOST_LOOPING = 0.01  # of clips, beyond the base's, of English and of every other language
MOST_CHRF_LOST = 0.05  # against the corpus' translations
LEAST_CHRF = 0.3  # against the corpus' translations, of a model that learnt to translate here
LEAST_AGREEMENT = 0.35  # chrF with the base's English; measured on prompts: 0.47 a human, 0.25 the transcript
MOST_WER_GAINED = 0.02  # of another language, before it is warned of
LEAST_WHOLE = 0.9  # of clips, of the share that the base had: times that can be used
MOST_END_SHIFT_S = 0.3  # median, from where the base heard the end

RULE = (
    "English is offered where test clips asked for it do not lose it by more than chance explains: the share "
    f"without any English rises by no more than {MOST_UNTRANSLATED:.0%} and stays below {MOST_MISSING:.0%}, "
    f"loops by no more than {MOST_LOOPING:.0%}, and chrF against the corpus' translations falls by no more "
    f"than {100 * MOST_CHRF_LOST:g} points, or, where it has none, chrF against the English before training "
    f"is at least {100 * LEAST_AGREEMENT:g}."
)


def knows_english(network: Any) -> bool:
    """Whether a published model was taught to translate: turbo, whose decoder is shallower than its encoder,
    was not. Args: network: its WhisperConfig."""
    return bool(network.decoder_layers == network.encoder_layers)


def english_holds(translation: Translation, *, able_before: bool = True) -> tuple[bool, str]:
    """Whether English is offered, and why, by RULE. Args: able_before: whether the base was to translate."""
    failures = list(_english_failures(translation, able_before))
    asked = f"of {counted(translation.clips, 'test clip')} that were asked for English"
    if failures:
        return False, f"{asked}, {' and '.join(failures)}"
    return True, f"{asked}, no more than chance explains was lost"


def _english_failures(of: Translation, able_before: bool) -> Iterator[str]:
    after, clips = of.after, of.clips
    looping = of.before.loops if able_before else 0
    missing = (after.spoken + after.empty) / clips
    if missing > MOST_MISSING or (able_before and risen(of.missing_change, MOST_UNTRANSLATED)):
        yield "too many stay untranslated"
    if (after.loops - looping) / clips > MOST_LOOPING:
        yield "too many loop"
    if not able_before:
        if after.chrf is not None and (after.chrf.value or 0.0) < LEAST_CHRF:
            yield "their English is not what the corpus has"
    elif of.change is not None and of.change.value is not None:
        if of.change.value < -MOST_CHRF_LOST and (of.change.high is None or of.change.high < 0):
            yield "their English is worse than before training"
    elif (of.agreement.value or 0.0) < LEAST_AGREEMENT:
        yield "their English is not what it was before training"


def english_words(of: Translation) -> str:
    """What was counted, in a sentence."""
    before, after, change = of.before, of.after, of.change
    score = ""
    if after.chrf is not None and before.chrf is not None and change is not None:
        score = (
            f"chrF {_points(after.chrf.value)} against the translations of {counted(of.references, 'clip')} "
            f"({_points(before.chrf.value)} before training, "
            f"{difference(change.value or 0.0, change.low, change.high)}), "
        )
    return (
        f"{after.spoken} of {counted(of.clips, 'text')} stay in the language spoken ({before.spoken} before "
        f"training), {after.empty} are empty ({before.empty}), {after.loops} loop ({before.loops}); {score}"
        f"chrF {_points(of.agreement.value)} against the English before training"
    )


def _points(value: float | None) -> str:
    return "not known" if value is None else f"{100 * value:.1f}"


def forgetting_checks(of: Retention | None, most_wer_gained: float | None) -> tuple[Check, ...]:
    """Args: most_wer_gained: of another language; beyond it no model is promoted. None: that is a warning."""
    if of is None:
        return ()
    checks = []
    if of.translation is not None:
        detail = f"{of.why}: {english_words(of.translation)}"
        checks.append(Check("English is kept", of.english, False, detail))
    if of.languages:
        checks.append(_languages_check(of.languages, most_wer_gained))
    if of.timestamps is not None:
        checks.append(_timestamps_check(of.timestamps))
    return tuple(checks)


def risen(change: Interval, limit: float) -> bool:
    """Whether it rose by more than the limit, and beyond chance where that can be told."""
    return change.value is not None and change.value > limit and (change.low is None or change.low > 0)


def _languages_check(languages: tuple[OtherLanguage, ...], most: float | None) -> Check:
    refused = [one for one in languages if most is not None and risen(one.change, most)]
    worse = [one for one in languages if risen(one.change, MOST_WER_GAINED) or _loops_more(one)]
    words = "; ".join(_language_words(one) for one in refused or worse or languages)
    return Check("other languages are kept", not (refused or worse), bool(refused), words)


def _loops_more(one: OtherLanguage) -> bool:
    """One loop makes a rate that chance can explain, and is none of chance."""
    return one.loops_after - one.loops_before > MOST_LOOPING * one.clips


def _language_words(one: OtherLanguage) -> str:
    before, after = (percent_interval(side.value, side.low, side.high) for side in (one.before, one.after))
    title = language_of(one.language).title
    loops = f", {counted(one.loops_after, 'clip')} in a loop" if one.loops_after else ""
    return f"{title}: {before} of {counted(one.words, 'word')} wrong before training, {after} after{loops}"


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
