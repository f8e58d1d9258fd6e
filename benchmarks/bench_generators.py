"""The generators side by side: how real their rows look, and how many they draw in a second.

    python benchmarks/bench_generators.py
    python benchmarks/bench_generators.py --systems titanic --methods cart copula --n 2000
    python benchmarks/bench_generators.py --peer copulas    # where that package is installed

Peers: `copulas` and `sdv` are under the Business Source License 1.1, which is no open-source licence. They
are no dependency of this project; this script uses one only when its user has installed it: read its terms.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from dagsverk.tabular import generators, quality
from dagsverk.tabular.days import METHODS
from dagsverk.tabular.features import validate
from dagsverk.tabular.sources import read_source
from dagsverk.tabular.system import System, load_system

Fit = Callable[[System, pd.DataFrame, int], Callable[[int, int], pd.DataFrame]]  # -> draw(n, seed)
GAP = "?"  # what a peer sees in an empty cell of a category


class Peer:
    """A peer behind the call that `quality.measure_with` makes."""

    def __init__(self, system: System, rows: pd.DataFrame, fit: Fit, seed: int) -> None:
        self.system, self.draw_rows = system, fit(system, rows, seed)

    def draw(self, rng: np.random.Generator, n: int) -> pd.DataFrame:
        """n rows of inputs and label."""
        return tidy(self.system, self.draw_rows(n, int(rng.integers(2**31))))


def tidy(system: System, rows: pd.DataFrame) -> pd.DataFrame:
    """A peer's rows with our types: gaps back to None, whole numbers whole, limits kept."""
    cells: dict[str, Any] = {}
    for column in (*system.columns, system.label):
        values = rows[column.name]
        if column.kind == "category":
            cells[column.name] = values.astype(object).where(values.isin(column.categories), None)
        else:
            numbers = values.astype(float).clip(column.minimum, column.maximum)
            cells[column.name] = numbers.round() if column.kind == "integer" else numbers
    return pd.DataFrame(cells)[lambda frame: frame[system.label.name].notna()].reset_index(drop=True)


def fit_copulas(system: System, rows: pd.DataFrame, seed: int) -> Callable[[int, int], pd.DataFrame]:
    """One Gaussian copula over all columns, categories as codes and gaps as the median."""
    from copulas.multivariate import GaussianMultivariate
    from copulas.univariate import BetaUnivariate

    coded = rows.copy()
    columns = [c for c in (*system.columns, system.label) if c.kind == "category"]
    for column in columns:
        coded[column.name] = pd.Categorical(rows[column.name], categories=column.categories).codes
    model = GaussianMultivariate(
        distribution=BetaUnivariate, random_state=seed
    )  # as SDV; its own search is slow
    model.fit(coded.astype(float).fillna(coded.median()))

    def draw(n: int, seed: int) -> pd.DataFrame:
        model.set_random_state(seed)
        drawn = model.sample(n)
        for column in columns:
            words = np.array([*column.categories, None], dtype=object)
            codes = drawn[column.name].round().clip(0, len(column.categories) - 1).astype(int)
            drawn[column.name] = words[codes]
        return drawn

    return draw


def fit_sdv(system: System, rows: pd.DataFrame, _seed: int) -> Callable[[int, int], pd.DataFrame]:
    """SDV's Gaussian copula with its own defaults. It draws from one fixed stream, whatever the seed."""
    from sdv.metadata import Metadata
    from sdv.single_table import GaussianCopulaSynthesizer

    table = rows.copy()
    for column in (*system.columns, system.label):
        if column.kind == "category":
            table[column.name] = table[column.name].fillna(GAP)
    metadata = Metadata()
    metadata.add_table(system.name)
    for column in (*system.columns, system.label):
        kind = "categorical" if column.kind == "category" else "numerical"
        metadata.add_column(column.name, system.name, sdtype=kind)
    synthesizer = GaussianCopulaSynthesizer(metadata)
    synthesizer.fit({system.name: table})
    return lambda n, _: synthesizer.sample(n)[system.name]


PEERS: dict[str, Fit] = {"copulas": fit_copulas, "sdv": fit_sdv}


def facts(system: System) -> pd.DataFrame:
    rows = validate(system, read_source(system), pd.Timestamp.now("UTC")).rows
    return rows[[*system.inputs, system.label.name]]


def speed(draw: Callable[[int], pd.DataFrame], rows: int, repeats: int = 3) -> float:
    """Rows a second, the best of a few runs."""
    times_s = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        draw(rows)
        times_s.append(time.perf_counter() - start_s)
    return rows / min(times_s)


def report(name: str, measured: quality.Quality, fit_s: float, rows_per_s: float) -> None:
    print(
        f"{name:18} {measured.c2st_auc:.3f} ± {measured.c2st_auc_se:.3f}  {measured.tstr_accuracy:.3f}"
        f"  {measured.trtr_accuracy:.3f}  {measured.live_accuracy:.3f}  {measured.copies_share:6.1%}"
        f"  {measured.real_copies_share:6.1%}  {fit_s * 1000:7.0f}  {rows_per_s:11,.0f}",
        flush=True,
    )


def header(system: System, rows: int, args: argparse.Namespace) -> None:
    print(f"\n{system.title}: {rows} real rows, {args.n} drawn a fold, seed {args.seed}")
    print(
        f"{'method':18} {'C2ST':13}  {'TSTR':5}  {'TRTR':5}  {'live':5}  {'copies':6}  {'real':>6}"
        f"  {'fit ms':>7}  {'rows/s':>11}"
    )


def bench(name: str, fit: Callable[[pd.DataFrame], Any], system: System, args: argparse.Namespace) -> None:
    """One line: quality on held-out rows, time to fit, rows a second."""
    rows = facts(system)
    measured = quality.measure_with(system, rows, fit, name=name, n=args.n, seed=args.seed)
    start_s = time.perf_counter()
    generator = fit(rows)
    fit_s = time.perf_counter() - start_s
    rng = np.random.default_rng(args.seed)
    report(name, measured, fit_s, speed(lambda n: generator.draw(rng, n), args.speed_rows))


def bench_peer(name: str, system: System, args: argparse.Namespace) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        print(f"{name} is not installed in this environment: skipped (licence: see the top of this file)")
        return
    label = f"{name} {importlib.metadata.version(name)}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each fold repeats the peer's advice
        bench(label, lambda rows: Peer(system, rows, PEERS[name], args.seed), system, args)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--systems", nargs="+", default=["titanic", "iris"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--peer", nargs="*", default=[], choices=sorted(PEERS))
    parser.add_argument("--n", type=int, default=2000, help="rows drawn in each fold")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--speed-rows", type=int, default=100_000)
    args = parser.parse_args()
    for system in map(load_system, args.systems):
        header(system, len(facts(system)), args)
        for method in args.methods:
            bench(
                method, lambda rows, m=method, s=system: generators.fit(s, rows, m, args.seed), system, args
            )
        for peer in args.peer:
            bench_peer(peer, system, args)


if __name__ == "__main__":
    main()
