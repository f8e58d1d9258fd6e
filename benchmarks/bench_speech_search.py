"""A search for settings of fine-tuning on real weights and voices, without Prefect: its cost and its verdict.

    python -m benchmarks.bench_speech_search --store STORE --set SET --language it --model FOLDER --steps 96

It may be killed and started again: it goes on, as the flow does. It prints the report, and how well the order
of the trials after the first stage agrees with the order after the second and, with --ranks, after the whole.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scipy.stats import kendalltau

from dagsverk.cache import cache_folder
from dagsverk.speech import runs, searching
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.languages import Language
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.search import conclusion, space, study
from dagsverk.speech.search.training import train
from dagsverk.speech.searched_words import searched_words
from dagsverk.speech.searching import SEEDS, Plan, Result, SpeechSearchConfig, Training, training_of
from dagsverk.speech.training.progress import quiet
from dagsverk.store import Store, open_store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--store", required=True)
    parser.add_argument("--set", required=True, help="a prepared set of it")
    parser.add_argument("--language", default="it")
    parser.add_argument("--model", required=True, help="a folder of weights, or nano")
    parser.add_argument("--steps", type=int, default=96, help="of a full run")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--dev-clips", type=int, default=500)
    parser.add_argument("--ranks", type=int, default=0, help="trials that are trained whole")
    given = parser.parse_args()
    store, of = open_store(given.store), language_of(given.language)
    asked = FinetuneConfig(
        model=given.model, steps=given.steps, precision="bf16", replay_share=0.0, dev_clips=given.dev_clips
    )
    config = SpeechSearchConfig(trials=given.trials)
    plan = plan_of(store, of, given.set, asked, config)
    search(store, of, plan, config)
    report = conclusion.conclude(store, of, plan, config)
    print(searched_words(report))
    ranks(store, of, plan, config, given.ranks)


def plan_of(
    store: Store, of: Language, set_id: str, asked: FinetuneConfig, config: SpeechSearchConfig
) -> Plan:
    name = searching.plan_name(set_id, asked, config.seed)
    begun = Training(search=name, set=set_id, settings=asked, until=0)
    made = runs.run_config(store, train(store, of, begun, cache_folder(), quiet).run)
    settings = space.start_of(made.finetune)
    return Plan(
        search=name, language=of.code, set=set_id, asked=asked, settings=settings, model=made.fingerprint
    )


def search(store: Store, of: Language, plan: Plan, config: SpeechSearchConfig) -> None:
    for number in range(config.trials):
        settings = study.draw(plan, config, number)
        searching.keep_settings(store, of, plan.search, number, settings)
        result = trained(store, of, plan, number, 0)
        study.tell(plan, number, result)
        print(number, searching.changes(settings, plan.settings), said(result), flush=True)
    made = conclusion.trials(store, of, plan, config.trials)
    for trial in conclusion.promoted(made, config.promoted):
        print(trial.number, said(trained(store, of, plan, trial.number, 1)), flush=True)
    going_on = conclusion.promoted(conclusion.trials(store, of, plan, config.trials), config.promoted)
    best = conclusion.best_of(going_on)
    for seed in range(SEEDS):
        for number in [] if best is None else [0, best.number]:
            result = trained(store, of, plan, number, conclusion.WHOLE, seed)
            rate = sum(result.errors) / max(1, sum(result.words))
            print(number, "whole, seed", seed, said(result), f"test WER {rate:.3f}", flush=True)


def ranks(store: Store, of: Language, plan: Plan, config: SpeechSearchConfig, whole: int) -> None:
    """Kendall's tau of the orders."""
    made = conclusion.trials(store, of, plan, config.trials)
    both = [t for t in made if t.loss(1) < float("inf")]
    print("first and second stage", tau([t.loss(0) for t in both], [t.loss(1) for t in both]))
    order = sorted(made, key=lambda t: t.loss(0))
    some = order[:: max(1, len(order) // whole)] if whole else []
    ends = [trained(store, of, plan, t.number, conclusion.WHOLE).dev_loss or float("inf") for t in some]
    print("first stage and whole", tau([t.loss(0) for t in some], ends))


def tau(first: Sequence[float], second: Sequence[float]) -> str:
    if len(first) < 3:
        return f"{len(first)} trials: too few"
    return f"tau {kendalltau(first, second).statistic:+.2f} of {len(first)} trials"


def trained(store: Store, of: Language, plan: Plan, number: int, stage: int, seed: int = 0) -> Result:
    settings = searching.kept_settings(store, of, plan.search, number)
    return train(store, of, training_of(plan, settings, stage, seed), cache_folder(), quiet)


def said(result: Result) -> str:
    return result.reason or f"step {result.step}, loss {result.dev_loss:.3f}, {result.seconds:.0f} s"


if __name__ == "__main__":
    main()
