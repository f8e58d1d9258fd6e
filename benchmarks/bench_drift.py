"""Which rule for input drift can be trusted: how often each cries wolf, and what each sees.

    python benchmarks/bench_drift.py [--windows 60] [--rows 14 30 90 180] [--peer]

Windows of Titanic rows are compared with the real passengers by four rules in the same run: ours (one test
per column, Holm-corrected), the same tests uncorrected, and the population stability index above 0.25 or 0.1
in any column. `--peer` adds Evidently's default rules, if this interpreter has it (`pip install evidently`,
in an environment of its own: it wants an older plotly; about 2 s per window and rule).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from dagsverk.tabular import generators
from dagsverk.tabular.drift import bin_counts, drift, value_counts
from dagsverk.tabular.system import System, load_system

Rule = Callable[[pd.DataFrame, pd.DataFrame], bool]
Pair = tuple[pd.DataFrame, pd.DataFrame]  # reference, window

CASES = {
    "none": "no drift: real passengers, set apart at random",
    "cart": "the default generator, made to look real",
    "columns": "every column drawn by itself",
    "shared_uniform": "one uniform number rolls all columns",
    "uniform": "every column even from least to greatest",
    "older": "real passengers, ten years older",
}


def passengers(system: System) -> pd.DataFrame:
    """The real rows, inputs and label, typed."""
    raw = system.read()
    typed = {
        c.name: raw[c.name] if c.kind == "category" else pd.to_numeric(raw[c.name]) for c in system.columns
    }
    return pd.DataFrame(
        typed | {system.label.name: raw[system.label.name].replace(dict(system.label.aliases))}
    )


def uniform(system: System, real: pd.DataFrame, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Each column even between its extremes."""
    drawn = {}
    for c in system.columns:
        if c.kind == "category":
            drawn[c.name] = rng.choice(c.categories, n)
        else:
            low, high = real[c.name].min(), real[c.name].max()
            drawn[c.name] = (
                rng.uniform(low, high, n) if c.kind == "number" else rng.integers(low, high + 1, n)
            )
    return pd.DataFrame(drawn)


def pairs(system: System, real: pd.DataFrame, case: str, n: int, *, count: int, seed: int) -> Iterator[Pair]:
    """(reference, window of n rows), `count` times."""
    rng = np.random.default_rng([seed, n, *case.encode()])
    generator = (
        generators.fit(system, real, case, seed) if case in ("cart", "columns", "shared_uniform") else None
    )
    for _ in range(count):
        order = rng.permutation(len(real))
        if generator is not None:
            yield real, generator.draw(rng, n)
        elif case == "uniform":
            yield real, uniform(system, real, n, rng)
        else:
            window = real.iloc[order[:n]]
            yield real.iloc[order[n:]], window.assign(age=window["age"] + (10 if case == "older" else 0))


def bare_psi(system: System, reference: pd.DataFrame, window: pd.DataFrame) -> float:
    """The greatest index of any column as it is commonly computed: tenths, empty shares raised to 0.0001."""
    greatest = 0.0
    for column in system.columns:
        sides = reference[column.name], window[column.name]
        if column.kind == "category":
            counts = value_counts(*sides)[1]
        else:
            counts = bin_counts(*(side.to_numpy(dtype=float) for side in sides))
        before, after = np.maximum(counts / counts.sum(axis=1, keepdims=True), 1e-4)
        greatest = max(greatest, float(((after - before) * np.log(after / before)).sum()))
    return greatest


def rules(system: System) -> dict[str, Rule]:
    return {
        "ours": lambda a, b: any(c.drifted for c in drift(system, a, b)),
        "uncorrected": lambda a, b: any((c.p_value or 0) <= 0.05 for c in drift(system, a, b)),
        "PSI > 0.25": lambda a, b: bare_psi(system, a, b) > 0.25,
        "PSI > 0.1": lambda a, b: bare_psi(system, a, b) > 0.1,
    }


def evidently_rules(system: System) -> dict[str, Rule]:
    """Evidently's default tests: any column, and its own verdict (half of the columns)."""
    os.environ["DO_NOT_TRACK"] = "1"  # before the import, or it reports its use
    from evidently import DataDefinition, Dataset, Report  # type: ignore[import-not-found,unused-ignore]
    from evidently.presets import DataDriftPreset  # type: ignore[import-not-found,unused-ignore]

    names = list(system.inputs)
    text = [c.name for c in system.columns if c.kind == "category"]
    definition = DataDefinition(
        numerical_columns=[n for n in names if n not in text], categorical_columns=text
    )

    def drifted_share(a: pd.DataFrame, b: pd.DataFrame) -> float:
        sides = [
            Dataset.from_pandas(x[names].reset_index(drop=True), data_definition=definition) for x in (b, a)
        ]
        metrics = Report([DataDriftPreset()]).run(*sides).dict()["metrics"]
        return float(next(m["value"]["share"] for m in metrics if "DriftedColumnsCount" in m["metric_name"]))

    return {
        "Evidently, any": lambda a, b: drifted_share(a, b) > 0,
        "Evidently, half": lambda a, b: drifted_share(a, b) >= 0.5,
    }


def measure(rule: Rule, windows: list[Pair]) -> tuple[float, float]:
    """(share of windows that raise an alarm, seconds per window)."""
    start_s = time.perf_counter()
    alarms = [rule(*pair) for pair in windows]
    return float(np.mean(alarms)), (time.perf_counter() - start_s) / len(windows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=int, default=60, help="windows per case and size")
    parser.add_argument("--rows", type=int, nargs="+", default=[14, 30, 90, 180], help="rows per window")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--peer", action="store_true", help="Evidently too")
    options = parser.parse_args()

    system = load_system("titanic")
    real = passengers(system)
    compared = rules(system) | (evidently_rules(system) if options.peer else {})
    spent_s = dict.fromkeys(compared, 0.0)
    print(f"share of {options.windows} windows that raise an alarm; {len(real)} real rows, 7 columns")
    print(f"{'case':<15}{'rows':>5}  " + "".join(f"{name:>17}" for name in compared))
    for case in options.cases:
        for n in options.rows:
            windows = list(pairs(system, real, case, n, count=options.windows, seed=options.seed))
            shares = {name: measure(rule, windows) for name, rule in compared.items()}
            spent_s = {name: spent_s[name] + shares[name][1] for name in compared}
            print(
                f"{case:<15}{n:>5}  " + "".join(f"{share:>17.3f}" for share, _ in shares.values()), flush=True
            )
    looks = len(options.cases) * len(options.rows)
    print(f"{'ms per window':<22}" + "".join(f"{spent_s[name] / looks * 1000:>17.1f}" for name in compared))
    print("\n".join(f"{name}: {CASES[name]}" for name in options.cases))


if __name__ == "__main__":
    main()
