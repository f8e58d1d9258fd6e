"""Near-duplicates: planted ones that are told, others that are called so, and what looking takes.

python -m benchmarks.bench_near texts FILE      one text a line
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import time
from pathlib import Path

from dagsverk.speech.corpora.near_texts import Near
from dagsverk.speech.corpora.overlap import sentence_key

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("texts",))
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    texts(arguments.file)


if __name__ == "__main__":
    main()
