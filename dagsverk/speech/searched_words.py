"""What a search for settings of fine-tuning came to, in Markdown. Light: loads no learning library."""

from __future__ import annotations

import json

from dagsverk.speech.evaluation.report import Interval
from dagsverk.speech.searching import SEEDS, SearchedSpeech, SpeechCost
from dagsverk.words import counted, mattered_words, number, table


def searched_words(report: SearchedSpeech) -> str:
    """The verdict, the scores, what to write down, what mattered, what it cost."""
    pieces = [f"**{'Better' if report.better else 'Not shown to be better'}.** {report.verdict}"]
    if report.best is not None:
        pieces.append(table(("measure", "default", "searched", "gain (above 0 is better)"), rows(report)))
        use = "To use it" if report.better else "What it was, in"
        pieces.append(f"{use} `finetune`: `{settings_words(report)}`")
    pieces += [
        f"Dev's loss after the first and the second stage, by trial (0 is the default): {dev_words(report)}.",
        f"What mattered to dev after the first stage (PED-ANOVA): {mattered_words(report.importances)}.",
        f"Cost: {cost_words(report.cost)}.",
        *(f"- could not be trained: {reason}" for reason in report.cost.reasons),
        "Nothing was promoted or changed by this search.",
    ]
    return "\n\n".join(pieces)


def rows(report: SearchedSpeech) -> list[tuple[str, ...]]:
    """Of the table: rates of test, in points."""
    seeds = [" / ".join(f"{100 * each[i]:.1f}" for each in report.by_seed) for i in (0, 1)]
    means = [_points(report.default_wer), _points(report.best_wer)]
    return [
        (f"WER, mean of {SEEDS} seeds", *means, gain_words(report.gain)),
        ("WER by seed", seeds[0], seeds[1], ""),
        ("WER, at most one error per word of a clip", "", "", gain_words(report.capped)),
    ]


def gain_words(gain: Interval) -> str:
    """In points of WER."""
    if gain.value is None:
        return "not measured"
    if gain.low is None or gain.high is None:
        return f"{100 * gain.value:+.1f} (no interval)"
    return f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"


def settings_words(report: SearchedSpeech) -> str:
    """What to write in `finetune`, as JSON."""
    return json.dumps(dict(report.changes), sort_keys=True)


def dev_words(report: SearchedSpeech) -> str:
    """The trials that came furthest first."""
    order = sorted(report.dev, key=lambda one: (one[2] is None, one[2] or 0.0, one[1] is None, one[1] or 0.0))
    return ", ".join(f"{n}: {_loss(first)}" + _then(last) for n, first, last in order)


def cost_words(cost: SpeechCost) -> str:
    """In full runs and seconds, and what became of the trials."""
    return (
        f"trials {cost.trials_steps:.2f} times one full run, the comparison at the end "
        f"{cost.finals_steps:.2f} times more; {number(round(cost.seconds))} s of training and scoring; "
        f"{counted(cost.finished, 'trial')} scored, {cost.promoted} went on, {cost.failed} could not be "
        f"trained, {cost.lost} lost; checkpoints of {counted(cost.dropped, 'trial')} removed"
    )


def _points(rate: float | None) -> str:
    return "not measured" if rate is None else f"{100 * rate:.1f} %"


def _then(loss: float | None) -> str:
    return "" if loss is None else f" → {loss:.3f}"


def _loss(loss: float | None) -> str:
    return "none" if loss is None else f"{loss:.3f}"
