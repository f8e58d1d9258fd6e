"""Who becomes champion: one rule, its decision in words and numbers. Light: loads no learning library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from dagsverk.promotion import Decision
from dagsverk.speech.evaluation.modes import NAMES
from dagsverk.speech.evaluation.report import Check, Comparison, Cut, EvaluationReport, Interval, TwoModes
from dagsverk.words import NOTHING, counted, number, percent_interval
from dagsverk.words import difference as difference_words
from dagsverk.words import voices as voices_of

RULE = (
    "A candidate becomes champion if no check that refuses has failed, and if its word error rate on the "
    "test clips is lower than that of the model it was trained from, and than the champion's where there is "
    "one, by more than chance explains: the whole 95 % interval of the paired difference, speakers being "
    "drawn, is below 0. It is judged, and served, in the better of two modes: clips at their true length, or "
    "each padded to 30 s; where chance explains what is between them at true length, which is many times "
    "faster. A mode in which it is worse than the model it was trained from by more than chance explains is "
    "refused."
)
FEW_SPEAKERS = 5
GAP_GROWTH = 0.01  # of word error rate: a group that falls behind by more is named


def decide(
    candidate: EvaluationReport,
    base: EvaluationReport,
    champion: EvaluationReport | None,
    *,
    against_base: Comparison,
    against_champion: Comparison | None,
    checks: Sequence[Check] = (),
    problems: Sequence[str] = (),
    modes: TwoModes | None = None,
) -> Decision:
    """Apply RULE.

    Args:
        candidate, base, champion: reports of `evaluation.evaluate` on the same set; `champion` is None before
            the first promotion, and where it could not be compared (`problems` says why).
        against_base, against_champion: `comparison.compare` of the candidate with each.
        checks: see `sanity_checks`; a failed one with `refuses` refuses, any other failed one is a warning.
        problems: sentences that are passed on as warnings.
        modes: the candidate in both modes; its report is that of the one that it is served in.
    Raises: ValueError when a comparison or the mode is not of these reports.
    """
    _check_pair(against_base, candidate, base)
    if champion is not None:
        _check_pair(against_champion, candidate, champion)
    if modes is not None and modes.scores[modes.served].report != candidate.key:
        raise ValueError(f"want the report of the mode that it is served in, got {candidate.key}")
    refusing = [check.detail for check in checks if not check.passed and check.refuses]
    refusals = [
        f"a check failed: {'; '.join(refusing)}" if refusing else None,
        _refusal(candidate, base, against_base, "the model it was trained from"),
        _refusal(candidate, champion, against_champion, "the champion") if champion is not None else None,
    ]
    refusal = next((words for words in refusals if words), None)
    return Decision(
        promoted=refusal is None,
        reason=(
            f"Not promoted: {refusal}." if refusal else _praise(candidate, base, champion, against_champion)
        )
        + (f" {_in_mode(modes)}" if modes is not None and modes.left_out is None else ""),
        rule=RULE,
        numbers={
            **_numbers(candidate, base, champion, against_base, against_champion),
            **(_mode_numbers(modes) if modes is not None else {}),
        },
        warnings=(
            *_warnings(candidate, against_base, checks),
            *problems,
            *(_mode_warnings(modes) if modes is not None else ()),
        ),
    )


def _in_mode(modes: TwoModes) -> str:
    """In which mode it is served, and why, as a sentence."""
    return f"{modes.reason[:1].upper()}{modes.reason[1:]}."


def _mode_warnings(modes: TwoModes) -> Iterator[str]:
    for mode, score in modes.scores.items():
        if score.refused is not None and mode != modes.served:
            yield f"it must not be used {NAMES[mode]}: {score.refused}"


def _mode_numbers(modes: TwoModes) -> dict[str, float | None]:
    numbers: dict[str, float | None] = {}
    for mode, score in modes.scores.items():
        numbers |= {f"{mode}_wer": score.wer.value, f"{mode}_refused": float(score.refused is not None)}
    if modes.difference is not None:
        between = asdict(modes.difference)
        numbers |= {f"between_modes_{part}": value for part, value in between.items()}
    return numbers


def percent(interval: Interval) -> str:
    """ "8.1 % (6.6 to 9.7)"; "8.1 % (no interval)"."""
    return percent_interval(interval.value, interval.low, interval.high)


def _wer(report: EvaluationReport) -> Interval:
    return report.scores.normalised.wer


def _refusal(
    candidate: EvaluationReport, other: EvaluationReport, comparison: Comparison | None, name: str
) -> str | None:
    if comparison is None or comparison.wer.value is None:
        return "there was nothing to score in the test clips"
    gain = comparison.wer
    stands = f"its word error rate is {percent(_wer(candidate))}, that of {name} {percent(_wer(other))}"
    if gain.high is None:
        return (
            f"{stands}, and with one speaker in the test clips nobody can say how far chance goes; add "
            "voices, or leave the speaker unnamed to have each clip count by itself"
        )
    if gain.high < 0:
        return None
    return f"{stands}; the difference {difference(gain)} is not below 0 beyond chance"


def _praise(
    candidate: EvaluationReport,
    base: EvaluationReport,
    champion: EvaluationReport | None,
    against_champion: Comparison | None,
) -> str:
    clips = f"{counted(candidate.clips, 'test clip')} of {voices(candidate)}"
    won = (
        f"Promoted: word error rate {percent(_wer(candidate))} on {clips}, against {percent(_wer(base))} of "
        "the model it was trained from"
    )
    if champion is None or against_champion is None:
        return f"{won}; no champion to compare it with."
    return (
        f"{won} and {percent(_wer(champion))} of the champion on the same clips, a difference of "
        f"{difference(against_champion.wer)}."
    )


def difference(gain: Interval) -> str:
    """ "-1.2 points (-3.4 to +1.0)"; "nothing to score"."""
    if gain.value is None:
        return NOTHING
    return difference_words(gain.value, gain.low, gain.high)


def voices(report: EvaluationReport) -> str:
    """ "18 voices"; clips whose speaker is not named are said so."""
    return voices_of(report.speakers, report.clips_without_speaker)


def _warnings(
    candidate: EvaluationReport, against_base: Comparison, checks: Sequence[Check]
) -> Iterator[str]:
    yield from (f"{check.name}: {check.detail}" for check in checks if not check.passed)
    if candidate.cut:
        yield f"the test clips are a cut: {cut_words(candidate.cut, candidate)}"
    yield from unseen_words(candidate)
    if not candidate.clips_without_speaker and candidate.speakers < FEW_SPEAKERS:
        yield f"only {voices(candidate)} in the test clips: intervals are wide, and about these alone"
    for group in against_base.groups:
        change = group.gap_change
        if (
            change.value is not None
            and change.low is not None
            and change.low > 0
            and change.value > GAP_GROWTH
        ):
            yield (
                f"{group.by} {group.value} falls further behind the others than before training, by "
                f"{difference(change)}"
            )


def unseen_words(report: EvaluationReport) -> Iterator[str]:
    """What is said where sentences of the test are read in training, too; nothing where none is."""
    unseen = report.unseen
    if unseen is None or unseen.clips == unseen.of:
        return
    seen = f"{number(unseen.of - unseen.clips)} of {counted(unseen.of, 'test clip')}"
    if unseen.wer is None:
        yield (
            "every sentence of the test clips is read in training, too, or nearly: "
            "nothing is known of new sentences"
        )
        return
    yield (
        f"sentences of {seen} are read in training, too, or nearly; on the others the word error rate is "
        f"{percent(unseen.wer)}"
    )


def cut_words(cut: Cut, report: EvaluationReport) -> str:
    """What is said of a cut test set wherever its scores are shown: "72 of 300 clips, drawn by speaker".

    Clips whose speaker is not named count as a speaker each, so of those it is not said.
    """
    drawn = ", drawn by speaker" if report.speakers and not report.clips_without_speaker else ""
    return f"{number(cut.clips)} of {number(cut.of)} clips{drawn}"


def _numbers(
    candidate: EvaluationReport,
    base: EvaluationReport,
    champion: EvaluationReport | None,
    against_base: Comparison,
    against_champion: Comparison | None,
) -> dict[str, float | None]:
    numbers: dict[str, float | None] = {"clips": candidate.clips, "speakers": candidate.speakers}
    for name, report in (("", candidate), ("base_", base), ("champion_", champion)):
        if report is not None:
            wer = _wer(report)
            numbers |= {f"{name}wer": wer.value, f"{name}wer_low": wer.low, f"{name}wer_high": wer.high}
    for name, comparison in (("base", against_base), ("champion", against_champion)):
        if comparison is not None:
            numbers |= {f"against_{name}_{part}": value for part, value in asdict(comparison.wer).items()}
    return numbers


def _check_pair(comparison: Comparison | None, candidate: EvaluationReport, other: EvaluationReport) -> None:
    keys = (comparison.first, comparison.second) if comparison else None
    if keys != (candidate.key, other.key):
        raise ValueError(f"want a comparison of {candidate.key} with {other.key}, got one of {keys}")
