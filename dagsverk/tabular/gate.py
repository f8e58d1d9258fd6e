"""Who becomes champion: one rule, its decision in words and numbers. Light: loads no learning library."""

from __future__ import annotations

from collections.abc import Sequence

from dagsverk.promotion import Decision
from dagsverk.tabular.scores import Difference, Scores, compare

RULE = (
    "A candidate becomes champion if all checks pass; its cross-validated log-loss is lower, by at least "
    "the stated gain, than that of always naming the commonest class in its share; its accuracy is not so "
    "high that a leak is likelier than skill; and, where there is a champion, its log-loss is lower by at "
    "least the same gain than the champion's on the same folds, the champion's recipe being fitted in each "
    "fold on only those rows that it was trained on."
)


def decide(
    candidate: Scores,
    champion: Scores | None,
    *,
    leak_accuracy: float = 1.0,
    min_gain: float = 0.001,
    failed_checks: Sequence[str] = (),
) -> Decision:
    """Apply RULE.

    Args: champion: the present champion scored on the candidate's folds (`training.champion_scores`),
            None before the first promotion.
        leak_accuracy: `System.leak_accuracy`; a candidate above it is refused. Who knows better raises it.
        min_gain: log-loss in nats.
        failed_checks: sentences, of checks that the caller made and that failed.
    Raises: ValueError when the two were scored on different folds.
    """
    accuracy, baseline = candidate.metrics["accuracy"].mean, candidate.baseline["log_loss"]
    gain = compare(champion, candidate) if champion else None
    leaks = accuracy > leak_accuracy
    leak = f"accuracy {accuracy:.3f} is above {leak_accuracy:g}: a likely leak of the outcome into the inputs"
    refusals = [
        (bool(failed_checks), f"a check failed: {'; '.join(failed_checks)}"),
        (leaks, f"{leak}; raise leak_accuracy of {candidate.system} if it is real"),
        (
            not _gains(baseline - candidate.log_loss, min_gain),
            f"its log-loss {candidate.log_loss:.4f} does not beat {baseline:.4f}, which always naming the "
            f"commonest class has, by {min_gain:g}",
        ),
        (gain is not None and not _gains(gain.mean, min_gain), _against(champion, candidate, gain, min_gain)),
    ]
    refusal = next((words for refused, words in refusals if refused), None)
    name = _name(candidate)
    return Decision(
        promoted=refusal is None,
        reason=f"{name} is not promoted: {refusal}." if refusal else _praise(candidate, champion, gain),
        rule=RULE,
        numbers=_numbers(candidate, gain, min_gain, leak_accuracy),
        warnings=(f"{name}: {leak}.",) if leaks else (),
    )


def _gains(difference: float, min_gain: float) -> bool:
    """Equal models never replace each other, even where no margin is asked."""
    return difference > 0 and difference >= min_gain


def _name(scores: Scores) -> str:
    return f"{scores.model_class} (calibrated)" if scores.calibrated else scores.model_class


def _praise(candidate: Scores, champion: Scores | None, gain: Difference | None) -> str:
    won = f"{_name(candidate)} becomes champion: log-loss {candidate.log_loss:.4f} on {candidate.rows} rows"
    if champion is None or gain is None:
        baseline = candidate.baseline["log_loss"]
        return f"{won} against {baseline:.4f} of the commonest class; no champion to compare it with."
    return (
        f"{won}, lower by {gain.mean:.4f} ({gain.low:.4f} to {gain.high:.4f}) than the champion's "
        f"{champion.log_loss:.4f} ({_name(champion)}) on the same folds."
    )


def _against(champion: Scores | None, candidate: Scores, gain: Difference | None, min_gain: float) -> str:
    if champion is None or gain is None:
        return ""
    return (
        f"its log-loss {candidate.log_loss:.4f} is not lower than the champion's {champion.log_loss:.4f} "
        f"({_name(champion)}) on the same folds by at least {min_gain:g}"
    )


def _numbers(
    candidate: Scores, gain: Difference | None, min_gain: float, leak_accuracy: float
) -> dict[str, float]:
    log_loss = candidate.metrics["log_loss"]
    numbers = {
        "log_loss": log_loss.mean,
        "log_loss_low": log_loss.low,
        "log_loss_high": log_loss.high,
        "accuracy": candidate.metrics["accuracy"].mean,
        "baseline_log_loss": candidate.baseline["log_loss"],
        "min_gain": min_gain,
        "leak_accuracy": leak_accuracy,
        "rows": float(candidate.rows),
    }
    if gain is None:
        return numbers
    champions = {"champion_log_loss": log_loss.mean + gain.mean, "gain": gain.mean}
    return {**numbers, **champions, "gain_low": gain.low, "gain_high": gain.high}
