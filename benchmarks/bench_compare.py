"""How often a comparison says "better" where nothing is, and where something is.

    python benchmarks/bench_compare.py speech --first ROWS.parquet --second ROWS.parquet
    python benchmarks/bench_compare.py tables
    python benchmarks/bench_compare.py rows

speech: rows that comparisons of a store keep (speech/LANGUAGE/comparisons/rows/). Clips are drawn from them
and dealt out to voices. A clip's two sets of errors are swapped at random: then the two are alike on every
voice, and err as models do. Then wrong words are added to one of them, so many in a hundred as it is to be
worse; where voices differ, some more or fewer for each voice (2 points as a standard deviation; where it is
to be no worse, the two are then alike on average over voices and not on each).
tables: one model class on Titanic, twice, with other seeds and folds; and two classes, one of them better.
rows: what two classes say of Titanic's rows, out of fold; rows are drawn, and the two swapped at random in
each: they are alike, as two may be of which one is somebody's table, without folds.
"""

import argparse
import time

import numpy as np
import pandas as pd

from dagsverk.speech.compared.paired import paired
from dagsverk.tabular.compared import ALPHA, CompareRowsConfig
from dagsverk.tabular.config import EvaluationConfig
from dagsverk.tabular.evaluation import in_fixed_order
from dagsverk.tabular.features import model_inputs, validate
from dagsverk.tabular.models import fit
from dagsverk.tabular.recipes import recipe
from dagsverk.tabular.refitting import refitted
from dagsverk.tabular.row_tests import change, changes, mcnemar, over_folds
from dagsverk.tabular.sources import read_source
from dagsverk.tabular.system import load_system
from dagsverk.tabular.tables import HISTORIC

NO_GROUP = 10**9
VOICES = ((1, 60), (1, 240), (3, 120), (6, 240), (20, 400), (100, 1000))  # and clips in all
UNEVEN = ((6, 240), (20, 400))  # where one voice has half of the clips
POINTS = (0, 1, 2, 5)  # of a hundred words, that the second is worse by
APART = 0.02  # standard deviation of that over voices
SWAPPED = ["substitutions", "deletions", "insertions", "character_errors", "hits"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", choices=("speech", "tables", "rows"))
    parser.add_argument("--first")
    parser.add_argument("--second")
    parser.add_argument("--times", type=int, default=1000)
    asked = parser.parse_args()
    started = time.perf_counter()
    parts = {"speech": lambda: speech(asked), "tables": lambda: tables(asked.times)}
    parts.get(asked.part, lambda: rows(asked.times))()
    print(f"{time.perf_counter() - started:.0f} s")


def speech(asked):
    one = pd.read_parquet(asked.first)
    two = pd.read_parquet(asked.second).set_index("clip_id").loc[one["clip_id"]].reset_index()
    shares = " | ".join(f"{points} worse" if points else "alike" for points in POINTS)
    print(f"| voices | clips | voices differ | {shares} |\n|{' ---: |' * (3 + len(POINTS))}")
    for voices, clips, first in [*((*pair, 0.0) for pair in VOICES), *((*pair, 0.5) for pair in UNEVEN)]:
        for apart in (0.0, APART) if voices > 1 else (0.0,):
            cells = [cell(one, two, (voices, clips, first), points, apart, asked.times) for points in POINTS]
            words = f"{voices}, half of one" if first else f"{voices}"
            print(f"| {words} | {clips} | {'yes' if apart else 'no'} | {' | '.join(cells)} |", flush=True)


def cell(one, two, of, points, apart, times):
    """How often a difference is called, in the right direction and in the wrong one."""
    generator, better, worse = np.random.default_rng(7), 0, 0
    for _ in range(times if points == 0 else max(100, times // 4)):
        outcome = drawn(one, two, of, points / 100, apart, generator).outcome
        better, worse = better + (outcome < 0), worse + (outcome > 0)
    count = times if points == 0 else max(100, times // 4)
    if points == 0:
        return f"{(better + worse) / count:.1%}"
    return f"{better / count:.0%}" + (f", wrongly {worse / count:.1%}" if worse else "")


def drawn(one, two, of, worse, apart, generator):
    """A comparison of which the truth is known."""
    voices, clips, first = of
    places, voice = generator.integers(0, len(one), clips), generator.integers(0, voices, clips)
    voice[generator.random(clips) < first] = 0
    a, b = (
        side.iloc[places].assign(clip_id=np.arange(clips).astype(str), speaker=[f"voice {v}" for v in voice])
        for side in (one, two)
    )
    a, b = a.reset_index(drop=True), b.reset_index(drop=True)
    turned = generator.random(clips) < 0.5
    a.loc[turned, SWAPPED], b.loc[turned, SWAPPED] = b.loc[turned, SWAPPED], a.loc[turned, SWAPPED].copy()
    share = (worse + apart * generator.standard_normal(voices))[voice]
    more = generator.binomial(a["words"], np.minimum(1, np.abs(share)))
    for side, mine in ((b, share > 0), (a, share < 0)):
        side["substitutions"] += np.where(mine, more, 0)
    return paired(a, b, resamples=500, min_group_clips=NO_GROUP, examples=0)


def titanic():
    """What refits a class of models in folds of Titanic's rows, and the rows' identities."""
    system = load_system("titanic")
    read = validate(system, read_source(system), pd.Timestamp.now("UTC")).rows.assign(origin=HISTORIC)
    rows = in_fixed_order(read).reset_index(drop=True)
    inputs, labels = model_inputs(system, rows), rows[system.label.name].to_numpy(dtype=object)
    every = np.ones(len(rows), bool)

    def judged(name, seed, **parameters):
        classifier = fit(system, recipe(name, **parameters), inputs, labels, seed)
        protocol = EvaluationConfig(folds=5, repeats=1, seed=seed)
        return refitted(system, rows, classifier, protocol, every, lambda _: None)

    return judged, list(rows["row_id"].astype(str))


def rows(times):
    judged, _ = titanic()
    one, two = judged("hist_gradient_boosting", 1), judged("knn", 1, n_neighbors=15)
    print("| rows | measure | by the interval alone | by flipping signs, too |\n| ---: | --- | ---: | ---: |")
    for count in (10, 20, 40, 100, 891):
        for name in ("accuracy", "log_loss"):
            apart = one.metric(name) - two.metric(name)
            generator, alone, both = np.random.default_rng(7), 0, 0
            for _ in range(times):
                drawn = generator.choice(apart, count) * generator.choice((-1.0, 1.0), count)
                found = change(drawn, range(count), CompareRowsConfig(resamples=400))
                beyond = found.high < 0 or found.low > 0
                alone, both = alone + beyond, both + (beyond and found.p < ALPHA)
            print(f"| {count} | {name} | {alone / times:.1%} | {both / times:.1%} |", flush=True)


def tables(times):
    judged, things = titanic()
    config = CompareRowsConfig(resamples=1000)

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
