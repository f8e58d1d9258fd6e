"""Near-duplicates: planted ones that are told, others that are called so, and what looking takes.

python -m benchmarks.bench_near texts FILE      one text a line
python -m benchmarks.bench_near rows            Titanic, Iris and systems of table_systems
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import re
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd

from dagsverk.speech.corpora.near_texts import Near
from dagsverk.speech.corpora.overlap import sentence_key
from dagsverk.tabular.features import model_inputs, validate
from dagsverk.tabular.near_equal import twins
from dagsverk.tabular.sources import read_source
from dagsverk.tabular.system import System, load_system

PLANTED = 300  # of each kind


def _words_changed(text: str, chance: random.Random, count: int) -> str:
    words = text.split()
    for place in sorted(chance.sample(range(len(words)), count), reverse=True):
        kind = chance.choice(("other", "less", "more"))
        words[place : place + (kind != "more")] = [] if kind == "less" else [chance.choice(STRANGE)]
    return " ".join(words)


def _misspelt(text: str, chance: random.Random, count: int) -> str:
    letters = list(text)
    for _ in range(count):
        vowels = [at for at, c in enumerate(letters) if c in "aeiou"]
        doubled = [at for at, c in enumerate(letters) if c in "lmnrst"]
        if chance.random() < 0.5 and vowels:
            at = chance.choice(vowels)
            letters[at] = chance.choice("aeiouáéíóú")
        elif doubled:
            at = chance.choice(doubled)
            letters[at] *= 2
    return "".join(letters)


def _shuffled(text: str, chance: random.Random) -> str:
    words = text.split()
    chance.shuffle(words)
    return " ".join(words)


STRANGE = ("zephyr", "quixotic", "marmalade", "obelisk", "tangerine")
KINDS = {
    "one word": lambda text, chance: _words_changed(text, chance, 1),
    "two letters misspelt": lambda text, chance: _misspelt(text, chance, 2),
    "case, marks and spaces": lambda text, _: re.sub(r"[ ,]+", "  ", text).upper() + " ...!",
    "a space less": lambda text, _: text.replace(" ", "", 1),
    "not: three words": lambda text, chance: _words_changed(text, chance, 3),
    "not: its words in another order": _shuffled,
    "not: the first half": lambda text, _: text[: len(text) // 2],
}


def texts(file: Path) -> None:
    listed = [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    once = list({sentence_key(text): text for text in listed}.values())
    start = time.process_time()
    near = Near(once)
    built = time.process_time() - start
    before = near.before()
    cpu_s = time.process_time() - start
    pairs = [(once[one], text) for one, text in zip(before, once, strict=True) if one is not None]
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    about = {"texts": len(once), "words": sum(len(text.split()) for text in once), "near": len(pairs)}
    print(json.dumps(about | {"index_cpu_s": built, "all_cpu_s": cpu_s, "process_mib": mib}))
    for one, other in random.Random(0).sample(pairs, min(40, len(pairs))):
        print(f"  {one[:90]} ~ {other[:90]}")
    chance = random.Random(1)
    long = [text for text in once if 8 <= len(text.split()) <= 20]
    for kind, change in KINDS.items():
        chosen = chance.sample(long, min(PLANTED, len(long)))
        rest = Near([text for text in once if text not in set(chosen)])
        changed = [change(text, chance) for text in chosen]
        own = Near(chosen).of(changed)
        hits = sum(one is not None for one in own)
        right = sum(one == place for place, one in enumerate(own))
        others = sum(one is not None for one in rest.of(changed))
        row = {"kind": kind, "of": len(chosen), "near": hits, "to_its_own": right, "near_to_others": others}
        print(json.dumps(row))


SYSTEMS = ("titanic", "iris", "wine", "breast_cancer", "digits", "rare", "wide")


def _table(name: str) -> tuple[System, pd.DataFrame]:
    own = name in ("titanic", "iris")
    system: System = (
        load_system(name) if own else importlib.import_module(f"benchmarks.table_systems.{name}").SYSTEM
    )
    rows = validate(system, read_source(system), pd.Timestamp("2026-01-01", tz="UTC")).rows
    return system, model_inputs(system, rows[rows[system.label.name].notna()]).reset_index(drop=True)


def _rounded(system: System, rows: pd.DataFrame, share: float, chance: np.random.Generator) -> pd.DataFrame:
    """A share of the numbers with three digits."""
    made = rows.copy()
    for column in system.columns:
        if column.kind == "number":
            short = [float(f"{value:.3g}") for value in rows[column.name]]
            made[column.name] = np.where(chance.random(len(rows)) < share, short, rows[column.name])
    return made


def rows() -> None:
    for name in SYSTEMS:
        system, table = _table(name)
        start = time.process_time()
        plain = twins(system, table)
        cpu_s = time.process_time() - start
        about = {"table": name, "rows": len(table), "equal": plain.equal, "as_one": plain.rows}
        print(json.dumps(about | {"cpu_s": round(cpu_s, 2)}))
        chance = np.random.default_rng(0)
        chosen = chance.choice(len(table), max(5, len(table) // 20), replace=False)
        for share in (0.0, 0.5, 1.0):
            copies = _rounded(system, table.iloc[chosen], share, chance)
            both = pd.concat([table, copies], ignore_index=True)
            for column in system.columns:
                if column.kind == "category":
                    both[column.name] = pd.Categorical(both[column.name], categories=list(column.categories))
            start = time.process_time()
            of = {place: n for n, one in enumerate(twins(system, both).groups) for place in one}
            cpu_s = time.process_time() - start
            pairs = list(zip(chosen.tolist(), range(len(table), len(both)), strict=True))
            right = sum(of.get(one, -1) == of.get(other, -2) for one, other in pairs)
            row = {"rounded_share": share, "planted": len(pairs), "seen": right}
            print(json.dumps(row | {"as_one": len(of), "cpu_s": round(cpu_s, 2)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("texts", "rows"))
    parser.add_argument("file", type=Path, nargs="?")
    arguments = parser.parse_args()
    if arguments.what == "rows":
        rows()
    elif arguments.file is None:
        parser.error("want a file with one text a line")
    else:
        texts(arguments.file)


if __name__ == "__main__":
    main()
