"""Clips at true length or padded to 30 s: in which of the two modes a model is served. Light.

Every published Whisper was trained on 30 s windows; one that is fine-tuned at true length is many times
faster there, and may have lost the windows, or never found its feet without them. So both are scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dagsverk.speech.config import Windows
from dagsverk.speech.evaluation.report import (
    Check,
    Comparison,
    EvaluationReport,
    Interval,
    ModeScore,
    TwoModes,
)
from dagsverk.words import difference as difference_words
from dagsverk.words import percent_interval

TRUE_LENGTH: Windows = "true_length"
FULL: Windows = "full"
OTHER: Mapping[Windows, Windows] = {TRUE_LENGTH: FULL, FULL: TRUE_LENGTH}
NAMES: Mapping[Windows, str] = {TRUE_LENGTH: "at true length", FULL: "in 30 s windows"}
NOT_OF_NANO = (
    "{} it was not scored: it learnt from nothing, {} alone, has no habit of anything else, and is never "
    "served otherwise"
)


def mode_score(
    report: EvaluationReport, base: EvaluationReport, against_base: Comparison, checks: Sequence[Check]
) -> ModeScore:
    """A candidate in one mode, from its report there.

    Args:
        base: the report of the model that it was trained from, in that model's own mode.
        against_base: of the two.
        checks: what was looked for in the candidate in this mode.
    """
    scores = report.scores.normalised
    return ModeScore(
        report=report.key,
        clips=report.clips,
        cut=report.cut,
        wer=scores.wer,
        cer=scores.cer,
        against_base=against_base.wer,
        decoding=report.decoding,
        refused=refusal(scores.wer, base.scores.normalised.wer, against_base.wer, checks),
    )


def refusal(wer: Interval, base: Interval, against_base: Interval, checks: Sequence[Check]) -> str | None:
    """Why a model must not be served in a mode: what it says is worse there than before training.

    Where no interval can be had, a higher rate is enough: nobody can say that it is chance.
    """
    failed = [check.detail for check in checks if not check.passed and check.refuses]
    if failed:
        return f"a check failed: {'; '.join(failed)}"
    if not _is_above_0(against_base):
        return None
    return (
        f"its word error rate is {_percent(wer)} there, that of the model it was trained from "
        f"{_percent(base)}; the difference {_difference(against_base)} is more than chance explains"
    )


def choose(
    scores: Mapping[Windows, ModeScore], difference: Interval | None, trained: Windows, left_out: str | None
) -> TwoModes:
    """The mode to serve a model in, and why.

    One that is refused gives way to one that is not. Else the better one: 30 s windows if they are better by
    more than chance explains, and otherwise true length, because it is many times faster.

    Args:
        scores: of one mode or both.
        difference: word error rate at true length minus in full windows, on the same clips; of both modes.
        trained: the mode that it was trained for; served where there is nothing to tell the two apart.
        left_out: why only one was scored.
    """
    if difference is None:
        (served,) = scores
        return TwoModes(
            served=served, reason=left_out or "", scores=scores, difference=None, left_out=left_out
        )
    allowed = [mode for mode in (TRUE_LENGTH, FULL) if scores[mode].refused is None]
    if len(allowed) == 1:
        (served,) = allowed
        reason = f"served {NAMES[served]}, for {NAMES[OTHER[served]]} it is refused: "
        reason += scores[OTHER[served]].refused or ""
    else:
        served, reason = _better(scores, difference, trained)
    return TwoModes(served=served, reason=reason, scores=scores, difference=difference)


def _better(
    scores: Mapping[Windows, ModeScore], difference: Interval, trained: Windows
) -> tuple[Windows, str]:
    if difference.value is None:
        return trained, f"served {NAMES[trained]}, as it was trained: there was nothing to score"
    served = FULL if _is_above_0(difference) else TRUE_LENGTH
    stands = f"served {NAMES[served]}: word error rate {_percent(scores[served].wer)}, "
    stands += f"{NAMES[OTHER[served]]} {_percent(scores[OTHER[served]].wer)}"
    less_other = difference if served == TRUE_LENGTH else _negative(difference)
    words = f"the difference {_difference(less_other)}"
    if difference.low is None or difference.high is None:
        return served, f"{stands}; nobody can say how far chance goes in {words}"
    if served == FULL or difference.high < 0:
        return served, f"{stands}; {words} is more than chance explains"
    return served, f"{stands}; chance explains {words}, and true length is many times faster"


def _is_above_0(difference: Interval) -> bool:
    """Beyond chance, where anyone can say how far that goes."""
    return (
        difference.value is not None and (difference.value if difference.low is None else difference.low) > 0
    )


def _negative(one: Interval) -> Interval:
    low, high = (None if end is None else -end for end in (one.high, one.low))
    return Interval(None if one.value is None else -one.value, low, high, one.p)


def _percent(wer: Interval) -> str:
    return percent_interval(wer.value, wer.low, wer.high)


def _difference(one: Interval) -> str:
    return difference_words(one.value or 0.0, one.low, one.high)
