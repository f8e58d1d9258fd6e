"""Who becomes champion: one rule, its decision in words and numbers. Light: loads no learning library."""

from __future__ import annotations

from collections.abc import Sequence

from dagsverk.promotion import Decision
from dagsverk.tabular.measures import LOWER_IS_BETTER, WORDS, loss
from dagsverk.tabular.scores import Difference, Scores, compare

RULE = (
    "A candidate becomes champion if all checks pass; its cross-validated {measure} is {better}, by at least "
    "the stated gain, than that of always naming the commonest class in its share; its accuracy (its "
    "balanced accuracy, where always naming the commonest class is as right as that) is not so high that a "
    "leak is likelier than skill; and, where there is a champion, its {measure} is {better} by at least the "
    "same gain than the champion's on the same folds, the champion's recipe being fitted in each fold on "
    "only those rows that it was trained on."
)


def rule(measure: str) -> str:
    """The rule in words, for models that are chosen by this measure."""
    return RULE.format(measure=WORDS[measure], better=_better(measure))


def decide(
    candidate: Scores,
    champion: Scores | None,
    *,
    leak_accuracy: float = 1.0,
    min_gain: float = 0.001,
    failed_checks: Sequence[str] = (),
) -> Decision:
    """Apply the rule, by the measure that the candidate was chosen by.

    Args: champion: the present champion scored on the candidate's folds (`training.champion_scores`),
            None before the first promotion.
        leak_accuracy: `System.leak_accuracy`; a candidate above it is refused. Who knows better raises it.
        min_gain: of the measure; of log-loss in nats.
        failed_checks: sentences, of checks that the caller made and that failed.
    Raises: ValueError when the two were scored on different folds.
    """
    measure = candidate.measure
    word, better = WORDS[measure], _better(measure)
    baseline, gain = candidate.baseline[measure], _gain(candidate, champion)
    leak = _leak(candidate, leak_accuracy)
    refusals = [
        (bool(failed_checks), f"a check failed: {'; '.join(failed_checks)}"),
        (bool(leak), f"{leak}; raise leak_accuracy of {candidate.system} if it is real"),
        (
            not _gains(loss(measure, baseline) - candidate.loss, min_gain),
            f"its {word} {candidate.value:.4f} does not beat {baseline:.4f}, which always naming the "
            f"commonest class has, by {min_gain:g}",
        ),
        (
            gain is not None and not _gains(gain.mean, min_gain),
            f"its {word} {candidate.value:.4f} is not {better} than the champion's "
            f"{_value_of(champion, measure):.4f} ({_name(champion)}) on the same folds "
            f"by at least {min_gain:g}",
        ),
    ]
    refusal = next((words for refused, words in refusals if refused), None)
    name = _name(candidate)
    return Decision(
        promoted=refusal is None,
        reason=f"{name} is not promoted: {refusal}." if refusal else _praise(candidate, champion, gain),
        rule=rule(measure),
        numbers=_numbers(candidate, champion, gain, min_gain, leak_accuracy),
        warnings=(f"{name}: {leak}.",) if leak else (),
    )


def _better(measure: str) -> str:
    return "lower" if measure in LOWER_IS_BETTER else "higher"


def _gains(difference: float, min_gain: float) -> bool:
    """Equal models never replace each other, even where no margin is asked."""
    return difference > 0 and difference >= min_gain


def _gain(candidate: Scores, champion: Scores | None) -> Difference | None:
    """By how much the candidate is better, whichever way the measure is turned."""
    if champion is None:
        return None
    if candidate.measure in LOWER_IS_BETTER:
        return compare(champion, candidate, candidate.measure)
    return compare(candidate, champion, candidate.measure)


def _leak(candidate: Scores, leak_accuracy: float) -> str:
    """Why a leak is likely; empty: it is not.

    Where 99 rows in 100 have one outcome, an accuracy of 0.99 says nothing: the balanced accuracy does.
    """
    one_sided = candidate.baseline["accuracy"] >= leak_accuracy and "balanced_accuracy" in candidate.metrics
    name = "balanced_accuracy" if one_sided else "accuracy"
    value = candidate.metrics[name].mean
    if value <= leak_accuracy:
        return ""
    return (
        f"{WORDS[name]} {value:.3f} is above {leak_accuracy:g}: a likely leak of the outcome into the inputs"
    )


def _name(scores: Scores | None) -> str:
    if scores is None:
        return ""
    return f"{scores.model_class} (calibrated)" if scores.calibrated else scores.model_class


def _value_of(scores: Scores | None, measure: str) -> float:
    return float("nan") if scores is None else scores.metrics[measure].mean


def _praise(candidate: Scores, champion: Scores | None, gain: Difference | None) -> str:
    measure = candidate.measure
    value = f"{WORDS[measure]} {candidate.value:.4f}"
    won = f"{_name(candidate)} becomes champion: {value} on {candidate.rows} rows"
    if champion is None or gain is None:
        baseline = candidate.baseline[measure]
        return f"{won} against {baseline:.4f} of the commonest class; no champion to compare it with."
    return (
        f"{won}, {_better(measure)} by {gain.mean:.4f} ({gain.low:.4f} to {gain.high:.4f}) than the "
        f"champion's {_value_of(champion, measure):.4f} ({_name(champion)}) on the same folds."
    )


def _numbers(
    candidate: Scores,
    champion: Scores | None,
    gain: Difference | None,
    min_gain: float,
    leak_accuracy: float,
) -> dict[str, float]:
    numbers = {"accuracy": candidate.metrics["accuracy"].mean}
    for name in dict.fromkeys(("log_loss", candidate.measure)):
        metric = candidate.metrics[name]
        numbers |= {name: metric.mean, f"{name}_low": metric.low, f"{name}_high": metric.high}
        numbers[f"baseline_{name}"] = candidate.baseline[name]
    numbers |= {"min_gain": min_gain, "leak_accuracy": leak_accuracy, "rows": float(candidate.rows)}
    if gain is None or champion is None:
        return numbers
    champions = {f"champion_{candidate.measure}": _value_of(champion, candidate.measure), "gain": gain.mean}
    return {**numbers, **champions, "gain_low": gain.low, "gain_high": gain.high}
