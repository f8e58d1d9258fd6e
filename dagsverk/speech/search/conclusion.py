"""What a search came to: who goes on, who is compared at the end, and whether it is better beyond chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from dagsverk.speech import runs
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.evaluation.bootstrap import CONFIDENCE, bootstrap
from dagsverk.speech.evaluation.report import Interval
from dagsverk.speech.languages import Language
from dagsverk.speech.search.study import importances
from dagsverk.speech.searching import (
    SEEDS,
    STAGES,
    Plan,
    Result,
    SearchedSpeech,
    SpeechCost,
    SpeechSearchConfig,
    changes,
    kept_result,
    kept_settings,
    training_of,
)
from dagsverk.speech.training import checkpoints
from dagsverk.store import NotFound, Store

RESAMPLES = 2000
WHOLE = len(STAGES)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """A trial and what is there of it, stage by stage."""

    number: int
    settings: FinetuneConfig
    results: tuple[Result | None, ...]

    def loss(self, stage: int) -> float:
        """On dev, after a stage; infinite where there is none."""
        result = self.results[stage]
        return math.inf if result is None or result.dev_loss is None else result.dev_loss


def trials(store: Store, of: Language, plan: Plan, count: int, *, there: bool = False) -> list[Trial]:
    """The first trials of a search, with what they came to so far.

    Args: there: those that are drawn already; else a missing one raises NotFound.
    """
    made = []
    for number in range(count):
        try:
            settings = kept_settings(store, of, plan.search, number)
        except NotFound:
            if there:
                break
            raise
        stages = (kept_result(store, of, training_of(plan, settings, i)) for i in range(WHOLE))
        made.append(Trial(number, settings, tuple(stages)))
    return made


def promoted(made: Sequence[Trial], count: int) -> list[Trial]:
    """The best after the first stage, and the default: it always goes on, to be compared with.

    Raises SpeechError if the default cannot be trained.
    """
    default = made[0]
    if not math.isfinite(default.loss(0)):
        reason = default.results[0].reason if default.results[0] else "it was not trained"
        raise SpeechError(f"the default of the search has no loss on dev to compare with: {reason}")
    others = sorted((t for t in made[1:] if math.isfinite(t.loss(0))), key=lambda t: t.loss(0))
    return [default, *others[: count - 1]]


def best_of(going_on: Sequence[Trial]) -> Trial | None:
    """The best after the second stage; None if that is the default, or nothing else came so far."""
    best = min(going_on, key=lambda t: t.loss(1))
    return None if best.number == 0 or not math.isfinite(best.loss(1)) else best


def conclude(store: Store, of: Language, plan: Plan, config: SpeechSearchConfig) -> SearchedSpeech:
    """The report of a search whose trainings have all ended. Raises SpeechError if one is missing."""
    made = trials(store, of, plan, config.trials)
    going_on = promoted(made, config.promoted)
    best, default = best_of(going_on), made[0].settings
    pairs = [default] if best is None else [default, best.settings]
    finals = [] if best is None else [_whole(store, of, plan, each) for each in pairs]
    trouble = "; ".join(dict.fromkeys(r.reason for r in finals[1] if r.reason)) if finals else ""
    compared = _compared(finals) if finals and not trouble else {"trouble": trouble}
    first = made[0].results[0]
    assert first is not None  # noqa: S101  `promoted` has looked
    return SearchedSpeech(
        search=plan.search,
        language=of.code,
        set=plan.set,
        model=plan.model,
        trials=config.trials,
        steps=default.steps or 0,
        default=default,
        best=best.settings if best else None,
        changes=changes(best.settings, default) if best else {},
        dev=tuple((t.number, _or_none(t.loss(0)), _or_none(t.loss(1))) for t in made),
        dev_clips=runs.run_config(store, first.run).dev_clips,
        importances=importances(plan, config.trials),
        cost=_cost(made, going_on, pairs, finals, _dropped(store, made)),
        **compared,
    )


def _or_none(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


def _whole(store: Store, of: Language, plan: Plan, settings: FinetuneConfig) -> list[Result]:
    """The whole trainings with these settings, one per seed."""
    results = [kept_result(store, of, training_of(plan, settings, WHOLE, seed)) for seed in range(SEEDS)]
    whole = [result for result in results if result is not None]
    if len(whole) < SEEDS:
        raise SpeechError(
            f"{SEEDS - len(whole)} of the {SEEDS} whole trainings of {plan.search} are missing: run the "
            "search again, it goes on"
        )
    reasons = [result.reason for result in whole if result.reason]
    if reasons and settings == plan.settings:
        raise SpeechError(f"the default of the search could not be trained whole: {reasons[0]}")
    return whole


def _compared(finals: Sequence[Sequence[Result]]) -> dict[str, object]:
    """Both settings on the same test clips."""
    first = finals[0][0]
    words = np.array(first.words, dtype=np.float64)
    sides = [np.array([result.errors for result in side], dtype=np.float64) for side in finals]
    rates = [side.sum(axis=1) / words.sum() if words.sum() else np.full(SEEDS, np.nan) for side in sides]
    gain = difference(sides[0], sides[1], words, first.speakers)
    capped = [np.minimum(side, words) for side in sides]
    return {
        "default_wer": _or_none(float(rates[0].mean())),
        "best_wer": _or_none(float(rates[1].mean())),
        "by_seed": tuple((float(a), float(b)) for a, b in zip(*rates, strict=True)) if words.sum() else (),
        "gain": gain,
        "capped": difference(capped[0], capped[1], words, first.speakers),
        "better": gain.low is not None and gain.low > 0,
        "test_clips": len(words),
    }


def difference(default: Floats, best: Floats, words: Floats, speakers: Sequence[str]) -> Interval:
    """WER of the default minus that of the best, with an interval for other speakers and other seeds.

    Two chances, both in the interval: which clips are in the test set (a bootstrap over speakers, in pairs,
    of the mean over the seeds), and which seeds were drawn (the spread of each side's WER). Their variances
    add up; the degrees of freedom are Welch and Satterthwaite's.
    Args: default, best: (seeds, clips), wrong words. words: (clips,), of the references.
    Returns: no limits where there are fewer than two speakers.
    """
    sums = bootstrap(
        np.column_stack([default.mean(axis=0), best.mean(axis=0), words]),
        speakers,
        resamples=RESAMPLES,
        seed=0,
    )
    clips = sums.difference((0, 2), (1, 2))
    if clips.value is None or clips.low is None or clips.high is None:
        return Interval(clips.value)
    voices = int(sums.speakers[2])
    half = (clips.high - clips.low) / 2
    parts = [((half / _quantile(voices - 1)) ** 2, voices - 1)]
    for side in (default, best):
        rates = side.sum(axis=1) / words.sum()
        parts.append((float(rates.var(ddof=1)) / len(rates), len(rates) - 1))
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return clips
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    error = math.sqrt(variance)
    half = _quantile(freedom) * error
    p = 2 * float(stdtr(freedom, -abs(clips.value) / error))
    return Interval(clips.value, clips.value - half, clips.value + half, p)


def _quantile(freedom: float) -> float:
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _dropped(store: Store, made: Sequence[Trial]) -> int:
    """Trials whose checkpoints are gone."""
    runs_of = {r.run for t in made for r in t.results if r is not None and r.run}
    return sum(not checkpoints.steps(store, run) for run in runs_of)


def _cost(
    made: Sequence[Trial],
    going_on: Sequence[Trial],
    pairs: Sequence[FinetuneConfig],
    finals: Sequence[Sequence[Result]],
    dropped: int,
) -> SpeechCost:
    """Steps as a multiple of a full run: each counts as the share of its own run that it is."""
    every = [result for t in made for result in t.results if result is not None]
    before = sum(_share(t) for t in going_on if t.settings in pairs)
    whole = [result for side in finals for result in side]
    failed = [t for t in made if any(r is not None and r.reason for r in t.results)]
    lost = [t for t in made if any(r is not None and r.lost for r in t.results)]
    reasons = dict.fromkeys(r.reason for r in every if r.reason)
    return SpeechCost(
        trials_steps=sum(_share(t) for t in made),
        finals_steps=max(0.0, len(whole) - before),
        seconds=sum(result.seconds for result in [*every, *whole]),
        finished=sum(math.isfinite(t.loss(0)) for t in made),
        promoted=sum(math.isfinite(t.loss(1)) for t in made),
        failed=len(failed) - len(lost),
        lost=len(lost),
        dropped=dropped,
        reasons=tuple(reasons),
    )


def _share(of: Trial) -> float:
    """Of its own full run, as far as it came."""
    return max((r.steps for r in of.results if r is not None), default=0) / (of.settings.steps or 1)
