"""Who becomes champion: one rule, its decision in words and numbers. Light: loads no learning library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

RULE = (
    "A candidate becomes champion if no trap that refuses has caught it, and if its word error rate on the "
    "test clips is lower than that of the model it was trained from, and than the champion's where there is "
    "one, by more than chance explains: the whole 95 % interval of the paired difference, speakers being "
    "drawn, is below 0."
)
FEW_SPEAKERS = 5
GAP_GROWTH = 0.01  # of word error rate: a group that falls behind by more is named


@dataclass(frozen=True)
class Decision:
    """What the gate said, why, and from which numbers."""

    promoted: bool
    reason: str  # one sentence with numbers
    rule: str
    numbers: Mapping[str, float | None]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """In JSON types."""
        return {**asdict(self), "warnings": list(self.warnings)}


def decide(
    candidate: Mapping[str, Any],
    base: Mapping[str, Any],
    champion: Mapping[str, Any] | None,
    *,
    against_base: Mapping[str, Any],
    against_champion: Mapping[str, Any] | None,
    traps: Sequence[Mapping[str, Any]] = (),
    problems: Sequence[str] = (),
) -> Decision:
    """Apply RULE.

    Args:
        candidate, base, champion: reports of `evaluation.evaluate` on the same set; `champion` is None before
            the first promotion, and where it could not be compared (`problems` says why).
        against_base, against_champion: `comparison.compare` of the candidate with each.
        traps: see `traps`; a failed one with `refuses` refuses, any other failed one is a warning.
        problems: sentences that are passed on as warnings.
    Raises: ValueError when a comparison is not of these reports.
    """
    _check_pair(against_base, candidate, base)
    if champion is not None:
        _check_pair(against_champion, candidate, champion)
    caught = [trap["detail"] for trap in traps if not trap["passed"] and trap["refuses"]]
    refusals = [
        f"a check failed: {'; '.join(caught)}" if caught else None,
        _refusal(candidate, base, against_base, "the model it was trained from"),
        _refusal(candidate, champion, against_champion, "the champion") if champion is not None else None,
    ]
    refusal = next((words for words in refusals if words), None)
    return Decision(
        promoted=refusal is None,
        reason=f"Not promoted: {refusal}."
        if refusal
        else _praise(candidate, base, champion, against_champion),
        rule=RULE,
        numbers=_numbers(candidate, base, champion, against_base, against_champion),
        warnings=(*_warnings(candidate, against_base, traps), *problems),
    )


def percent(interval: Mapping[str, Any]) -> str:
    """ "8.1 % (6.6 to 9.7)"; "8.1 % (no interval)"."""
    if interval["value"] is None:
        return "nothing to score"
    ends = (
        "no interval"
        if interval["low"] is None
        else f"{_points(interval['low'])} to {_points(interval['high'])}"
    )
    return f"{_points(interval['value'])} % ({ends})"


def _points(rate: float) -> str:
    return f"{100 * rate:.1f}"


def _wer(report: Mapping[str, Any]) -> Mapping[str, Any]:
    wer: Mapping[str, Any] = report["scores"]["normalised"]["wer"]
    return wer


def _refusal(
    candidate: Mapping[str, Any], other: Mapping[str, Any], comparison: Mapping[str, Any] | None, name: str
) -> str | None:
    gain = comparison["wer"] if comparison else {"value": None, "high": None}
    if gain["value"] is None:
        return "there was nothing to score in the test clips"
    stands = f"its word error rate is {percent(_wer(candidate))}, that of {name} {percent(_wer(other))}"
    if gain["high"] is None:
        return (
            f"{stands}, and with one speaker in the test clips nobody can say how far chance goes; add "
            "voices, or leave the speaker unnamed to have each clip count by itself"
        )
    if gain["high"] < 0:
        return None
    return f"{stands}; the difference {_difference(gain)} is not below 0 beyond chance"


def _praise(
    candidate: Mapping[str, Any],
    base: Mapping[str, Any],
    champion: Mapping[str, Any] | None,
    against_champion: Mapping[str, Any] | None,
) -> str:
    said = f"{candidate['clips']} test clips of {voices(candidate)}"
    won = (
        f"Promoted: word error rate {percent(_wer(candidate))} on {said}, against {percent(_wer(base))} of "
        "the model it was trained from"
    )
    if champion is None or against_champion is None:
        return f"{won}; no champion to compare it with."
    return (
        f"{won} and {percent(_wer(champion))} of the champion on the same clips, a difference of "
        f"{_difference(against_champion['wer'])}."
    )


def _difference(gain: Mapping[str, Any]) -> str:
    ends = "" if gain["low"] is None else f" ({100 * gain['low']:+.1f} to {100 * gain['high']:+.1f})"
    return f"{100 * gain['value']:+.1f} points{ends}"


def voices(report: Mapping[str, Any]) -> str:
    """ "18 voices"; clips whose speaker is not known are said so."""
    known, unknown = report["speakers"], report["clips_without_speaker"]
    if not known:
        return "unnamed speakers"
    also = f" and {unknown} clips of unnamed speakers" if unknown else ""
    return f"{known} voice{'s' if known > 1 else ''}{also}"


def _warnings(
    candidate: Mapping[str, Any], against_base: Mapping[str, Any], traps: Sequence[Mapping[str, Any]]
) -> list[str]:
    found = [f"{trap['name']}: {trap['detail']}" for trap in traps if not trap["passed"]]
    if candidate["cut"]:
        found.append(f"the test clips are a cut: {cut_words(candidate)}")
    if not candidate["clips_without_speaker"] and candidate["speakers"] < FEW_SPEAKERS:
        found.append(f"only {voices(candidate)} in the test clips: intervals are wide, and about these alone")
    for group in against_base["groups"]:
        change = group["gap_change"]
        if change["low"] is not None and change["low"] > 0 and change["value"] > GAP_GROWTH:
            found.append(
                f"{group['by']} {group['value']} falls further behind the others than before training, by "
                f"{_difference(change)}"
            )
    return found


def cut_words(report: Mapping[str, Any]) -> str:
    """What is said wherever a score of a cut test set is shown. Args: report: of a cut split."""
    return f"{report['cut']['clips']} of {report['cut']['of']} clips, drawn by speaker"


def _numbers(
    candidate: Mapping[str, Any],
    base: Mapping[str, Any],
    champion: Mapping[str, Any] | None,
    against_base: Mapping[str, Any],
    against_champion: Mapping[str, Any] | None,
) -> dict[str, float | None]:
    numbers: dict[str, float | None] = {"clips": candidate["clips"], "speakers": candidate["speakers"]}
    for name, report in (("", candidate), ("base_", base), ("champion_", champion)):
        if report is not None:
            wer = _wer(report)
            numbers |= {
                f"{name}wer": wer["value"],
                f"{name}wer_low": wer["low"],
                f"{name}wer_high": wer["high"],
            }
    for name, comparison in (("base", against_base), ("champion", against_champion)):
        if comparison is not None:
            gain = comparison["wer"]
            numbers |= {f"against_{name}_{part}": gain[part] for part in ("value", "low", "high", "p")}
    return numbers


def _check_pair(
    comparison: Mapping[str, Any] | None, candidate: Mapping[str, Any], other: Mapping[str, Any]
) -> None:
    keys = (comparison["first"], comparison["second"]) if comparison else None
    if keys != (candidate["key"], other["key"]):
        raise ValueError(f"want a comparison of {candidate['key']} with {other['key']}, got one of {keys}")
