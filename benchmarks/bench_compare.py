"""How often a comparison says "better" where nothing is, and where something is.

    python benchmarks/bench_compare.py speech --first ROWS.parquet --second ROWS.parquet
    python benchmarks/bench_compare.py tables

speech: rows that comparisons of a store keep (speech/LANGUAGE/comparisons/rows/). Clips are drawn from them,
dealt out to so many voices, and a voice's two sets of errors are swapped at random: then neither model is
better, and the errors are as models make them. Without swapping, the first is as much better as it was.
tables: one model class on Titanic, twice, with other seeds and folds; and two classes, one of them better.
"""

import argparse
import time

import numpy as np
import pandas as pd

from dagsverk.speech.compared.paired import paired
from dagsverk.tabular.compared import CompareRowsConfig
from dagsverk.tabular.config import EvaluationConfig
from dagsverk.tabular.evaluation import in_fixed_order
from dagsverk.tabular.features import model_inputs, validate
from dagsverk.tabular.models import fit
from dagsverk.tabular.recipes import recipe
from dagsverk.tabular.refitting import refitted
from dagsverk.tabular.row_tests import changes, mcnemar, over_folds
from dagsverk.tabular.sources import read_source
from dagsverk.tabular.system import load_system
from dagsverk.tabular.tables import HISTORIC

NO_GROUP = 10**9
VOICES = ((0, 60), (0, 240), (2, 120), (3, 120), (5, 120), (10, 200), (20, 400))  # 0: not known; and clips
SWAPPED = [f"{form}{name}" for form in ("",) for name in (
    "substitutions", "deletions", "insertions", "character_errors", "hits")]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", choices=("speech", "tables"))
    parser.add_argument("--first")
    parser.add_argument("--second")
    parser.add_argument("--times", type=int, default=1000)
    asked = parser.parse_args()
    started = time.perf_counter()
    speech(asked) if asked.part == "speech" else tables(asked.times)
    print(f"{time.perf_counter() - started:.0f} s")


def speech(asked):
    one = pd.read_parquet(asked.first)
    two = pd.read_parquet(asked.second).set_index("clip_id").loc[one["clip_id"]].reset_index()
    print("| voices | clips | called better: nothing is | the first is better, as it was |")
    print("| ---: | ---: | ---: | ---: |")
    for voices, clips in VOICES:
        null = share(one, two, voices, clips, asked.times, swap=True)
        real = share(one, two, voices, clips, max(100, asked.times // 5), swap=False)
        print(f"| {voices or 'not known'} | {clips} | {null:.1%} | {real:.1%} |", flush=True)


def share(one, two, voices, clips, times, *, swap):
    generator, called = np.random.default_rng(7), 0
    for _ in range(times):
        places = generator.integers(0, len(one), clips)
        voice = generator.integers(0, voices, clips) if voices else np.arange(clips)
        names = [f"voice {v}" for v in voice] if voices else ""
        a, b = (
            side.iloc[places]
            .reset_index(drop=True)
            .assign(clip_id=np.arange(clips).astype(str), speaker=names)
            for side in (one, two)
        )
        if swap:
            turned = (generator.random(voice.max() + 1) < 0.5)[voice]
            mine, theirs = a.loc[turned, SWAPPED].copy(), b.loc[turned, SWAPPED].copy()
            a.loc[turned, SWAPPED], b.loc[turned, SWAPPED] = theirs, mine
        outcome = paired(a, b, resamples=500, min_group_clips=NO_GROUP, examples=0).outcome
        called += outcome != 0 if swap else outcome < 0
    return called / times


def tables(times):
    system = load_system("titanic")
    read = validate(system, read_source(system), pd.Timestamp.now("UTC")).rows.assign(origin=HISTORIC)
    rows = in_fixed_order(read).reset_index(drop=True)
    inputs, labels = model_inputs(system, rows), rows[system.label.name].to_numpy(dtype=object)
    every, things = np.ones(len(rows), bool), list(rows["row_id"].astype(str))
    config = CompareRowsConfig(resamples=1000)

    def judged(name, seed, **parameters):
        classifier = fit(system, recipe(name, **parameters), inputs, labels, seed)
        protocol = EvaluationConfig(folds=5, repeats=1, seed=seed)
        return refitted(system, rows, classifier, protocol, every, lambda _: None)

    count = max(10, times // 25)
    both = [judged("hist_gradient_boosting", seed) for seed in range(2 * count)]
    counts = {"rows": 0, "folds": 0, "verdict": 0, "McNemar": 0}
    for number in range(count):
        a, b = both[2 * number], both[2 * number + 1]
        over, folds = changes(a, b, things, config)["log_loss"], over_folds(a, b)["log_loss"]
        by_rows, by_folds = (c.high < 0 or c.low > 0 for c in (over, folds))
        counts["rows"] += by_rows
        counts["folds"] += by_folds
        counts["verdict"] += by_rows and by_folds
        counts["McNemar"] += mcnemar(a, b)[2] < 0.05
    print(
        f"same class, other seeds and folds, {count} pairs:",
        {k: f"{v / count:.1%}" for k, v in counts.items()},
    )
    better = 0
    for seed in range(10):
        a, b = both[seed], judged("knn", seed, n_neighbors=15)
        over, folds = changes(a, b, things, config)["log_loss"], over_folds(a, b)["log_loss"]
        better += over.high < 0 and folds.high < 0
    print(f"gradient boosting against 15 nearest neighbours: called better in {better} of 10")


if __name__ == "__main__":
    main()
