"""Whisper's own weights on human voices: what fine-tuning makes of them, in which mode, at which cost.

Run from the root, with a transformers folder of Whisper's weights, and a folder of prompts with a folder for
each language (it/ en/ fr/ es/ ru/: recordings, and metadata.jsonl with file and text):

    hf download openai/whisper-base --local-dir whisper-base
    python benchmarks/get_prompts.py prompts
    export DAGSVERK_TEST_WHISPER=$PWD/whisper-base DAGSVERK_TEST_PROMPTS=$PWD/prompts  (--weights, --prompts)
    python benchmarks/bench_real.py run --out O
    python benchmarks/bench_real.py table --out O [--against tuned]

Without arguments it does both in a temporary folder, or says what it lacks.

Each language is split by what is said: no text of test (20 %) or dev (8 %) is in train. Arms (`--arms`):
    base            as published, nothing tuned
    tuned           the product's defaults
    full-windows    every clip padded to 30 s, as many clips in a step as a step of `tuned` has: about twelve
                    times as dear, so give it few steps; against `tuned` after as many steps, and against
                    `tuned` after as much time
    and those of `real_runs.ARMS`, one change to the defaults each

Each is scored on test in both modes, at true length and in windows of 30 s, by the product's evaluation; its
interval comes from resampling sentences. Each run is a process of its own, its result a JSON file that is
written when it is there: what is there already is not done again, and a killed run goes on from its newest
checkpoint. Processor seconds and peak memory are those of the process.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

Result: TypeAlias = dict[str, Any]
LANGUAGES = ("it", "en", "fr", "es", "ru")
BASE, FULL = "base", "full-windows"
ROWS = ("clip_id", "text", "speaker", "duration_s", "hypothesis", "finished")


def name_of(arguments: argparse.Namespace, language: str, arm: str, seed: int) -> str:
    """Of a run's result; all that it depends on is in it, but for weights and prompts."""
    if arm == BASE:
        return f"{language}-{BASE}-split{arguments.split_seed}"
    split, precision = arguments.split_seed, arguments.precision
    return f"{language}-{arm}-{arguments.steps}-seed{seed}-split{split}-{precision}"


def run_one(arguments: argparse.Namespace) -> Result:
    """One language, arm and seed, in this process."""
    import real_runs as runs

    from dagsverk.speech.model.models import load_model
    from dagsverk.speech.training.examples import Examples
    from dagsverk.store import open_store

    (language,), (arm_name,), (seed,) = arguments.languages, arguments.arms, arguments.seeds
    store = open_store(str(arguments.out / "store"))
    weights = str(arguments.weights)
    set_id = runs.prepare(store, arguments.prompts / language, language, weights, arguments.split_seed)
    clips = runs.clips_of(store, set_id)
    about: dict[str, Any] = {"language": language, "arm": arm_name, "seed": seed, "set": set_id}
    slacks = [0.1]
    if arm_name == BASE:
        model = load_model(weights)
        about["steps"] = 0
    else:
        arm = runs.ARMS[arm_name]
        config = runs.configured(
            arm, weights, steps=arguments.steps, seed=seed, precision=arguments.precision
        )
        if arm_name == FULL:
            config = runs.like_clips_per_step(store, set_id, config)
        slacks += [config.slack_s] if config.slack_s != slacks[0] else []
        tuned = runs.tune(store, set_id, language, arm, config, arguments.out)
        model = runs.load_tuned(store, arm, tuned.ref)
        about |= {"steps": arguments.steps, "config": config.to_dict(), **asdict(tuned)}
        if not arguments.keep:
            runs.forget(store, tuned.ref)
    examples = Examples(clips, model.tokenizer)
    modes: dict[str, Any] = {}
    if arm_name != BASE:
        about["test_losses"], about["test_tokens"] = runs.losses(model, examples)
    for mode, slack_s in itertools.product(arguments.modes, slacks):
        full = runs.MODES[mode]
        if full and slack_s != slacks[0]:
            continue
        scored = runs.score(model, clips, full=full, slack_s=slack_s, bf16=arguments.score_in_bf16)
        label = mode if slack_s == slacks[0] else f"{mode}, slack {slack_s:g} s"
        modes[label] = {
            "wer": asdict(scored.scores.wer),
            "cer": asdict(scored.scores.cer),
            "words": scored.scores.words,
            "loops": scored.loops,
            "cpu_s": scored.cpu_s,
            "rows": scored.rows[list(ROWS)].to_dict("list"),
        }
        print(f"{arm_name} {language} {label}: WER {100 * (scored.scores.wer.value or 0):.1f} %", flush=True)
    return {**about, "modes": modes, "peak_mib": runs.peak_mib()}


def run(arguments: argparse.Namespace, words: Sequence[str]) -> int:
    """All that is asked for and not there yet, one process after another. Returns how many failed."""
    results = arguments.out / "results"
    results.mkdir(parents=True, exist_ok=True)
    failed = 0
    for arm, seed, language in itertools.product(arguments.arms, arguments.seeds, arguments.languages):
        file = results / f"{name_of(arguments, language, arm, seed)}.json"
        if file.exists():
            continue
        own = ["--languages", language, "--arms", arm, "--seeds", str(seed), "--one", str(file)]
        environment = {
            **os.environ,
            "DAGSVERK_CACHE": str(arguments.out / "cache"),
            "PYTHONPATH": os.pathsep.join((str(Path.cwd()), str(Path(__file__).parent))),
            "OMP_NUM_THREADS": str(arguments.threads),
        }
        began = time.perf_counter()
        done = subprocess.run([sys.executable, __file__, *words, *own], env=environment, check=False)
        failed += done.returncode != 0
        print(f"{file.stem}: {done.returncode}, {time.perf_counter() - began:.0f} s", flush=True)
    return failed


def read_results(folder: Path) -> list[Result]:
    """All results below `folder`, by name."""
    return [json.loads(file.read_text()) for file in sorted((folder / "results").glob("*.json"))]


def rows_of(result: Result, mode: str) -> pd.DataFrame:
    """Its clips with the product's counts."""
    import real_runs as runs

    return runs.scored_rows(pd.DataFrame(result["modes"][mode]["rows"]), result["language"])


def table(arguments: argparse.Namespace) -> None:
    """Each result in a line of Markdown; and arms against one, all languages and seeds together."""
    results = read_results(arguments.out)
    print("| language | arm | steps | seed | mode | WER % | CER % | loops | s a step | s of scoring | MiB |")
    print("| --- | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for one in results:
        for mode, scores in one["modes"].items():
            wer, cer = (_percent(scores[rate]) for rate in ("wer", "cer"))
            about = " | ".join(str(one[name]) for name in ("language", "arm", "steps", "seed"))
            cost = f"{one.get('step_cpu_s', 0):.2f} | {scores['cpu_s']:.0f} | {one['peak_mib']:.0f}"
            print(f"| {about} | {mode} | {wer} | {cer} | {scores['loops']} | {cost} |")
    if arguments.against:
        compare_all(results, arguments.against)


def compare_all(results: Sequence[Result], against: str) -> None:
    """Arms minus the one they are set against, after as many steps, on the same languages and seeds.

    Capped: a clip counts at most as many wrong words as it has. Loss: nats a token, led by the text.
    """
    by_key = {(one["arm"], one["steps"], one["seed"], one["language"], one["set"]): one for one in results}
    print(f"\n| arm, against {against} | steps | languages | WER, points | capped | CER, points | loss |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    pairs = sorted({(one["arm"], one["steps"]) for one in results if one["arm"] not in (BASE, against)})
    for arm, steps in pairs:
        mine = [key for key in by_key if key[:2] == (arm, steps)]
        both = [key for key in mine if (against, *key[1:]) in by_key]
        if both:
            first = [by_key[key] for key in both]
            second = [by_key[(against, *key[1:])] for key in both]
            _compare(arm, steps, first, second)


def _compare(arm: str, steps: int, first: Sequence[Result], second: Sequence[Result]) -> None:
    import real_runs as runs

    languages = " ".join(f"{one['language']}{one['seed'] or ''}" for one in first)
    both = set.intersection(*(set(one["modes"]) for one in (*first, *second)))
    for mode in sorted(both):
        sides = [[rows_of(one, mode) for one in side] for side in (first, second)]
        difference = runs.paired(*sides)
        few_loops = runs.paired(*([runs.capped(rows) for rows in side] for side in sides))
        rates = (difference.wer, few_loops.wer, difference.cer)
        wer, capped, cer = (_percent(asdict(rate)) for rate in rates)
        loss = runs.paired_loss(first, second)
        print(f"| {arm}, {mode} | {steps} | {languages} | {wer} | {capped} | {cer} | {loss} |")


def _percent(interval: dict[str, Any]) -> str:
    value, low, high = (interval[name] for name in ("value", "low", "high"))
    if value is None:
        return "–"
    limits = f" [{100 * low:.1f}, {100 * high:.1f}]" if low is not None else ""
    return f"{100 * value:.1f}{limits}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("act", choices=("run", "table", "both"), nargs="?", default="both")
    parser.add_argument("--weights", type=Path, default=_place("WHISPER"), help="a transformers folder")
    parser.add_argument("--prompts", type=Path, default=_place("PROMPTS"), help="with a folder per language")
    parser.add_argument("--out", type=Path, help="store, cache and results; default: a temporary folder")
    parser.add_argument("--languages", nargs="+", default=list(LANGUAGES), help="(%(default)s)")
    parser.add_argument("--arms", nargs="+", default=[BASE, "tuned"], help="(%(default)s)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of training (%(default)s)")
    parser.add_argument("--split-seed", type=int, default=0, help="of the split by text (%(default)s)")
    parser.add_argument("--steps", type=int, default=150, help="(%(default)s)")
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp32"), help="(%(default)s)")
    parser.add_argument("--modes", nargs="+", default=["true_length", "windows"], help="scored (%(default)s)")
    parser.add_argument("--score-in-bf16", action="store_true", help="decode in bf16, as on a GPU")
    parser.add_argument("--threads", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep checkpoints, near a gigabyte a run")
    parser.add_argument("--against", default="tuned", help="arm that others are compared with (%(default)s)")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parser.parse_args(words)
    if arguments.act != "table" and not (arguments.weights and arguments.prompts):
        print("skipped: want DAGSVERK_TEST_WHISPER and DAGSVERK_TEST_PROMPTS, or --weights and --prompts")
        return 0
    if arguments.one:
        result = run_one(arguments)
        unfinished = arguments.one.with_suffix(".part")
        unfinished.write_text(json.dumps(result))
        unfinished.rename(arguments.one)
        return 0
    if arguments.out:
        return _act(arguments, words)
    with tempfile.TemporaryDirectory(prefix="bench-real-") as folder:
        arguments.out = Path(folder)
        return _act(arguments, [*words, "--out", folder])


def _act(arguments: argparse.Namespace, words: Sequence[str]) -> int:
    failed = run(arguments, words) if arguments.act != "table" else 0
    if arguments.act != "run":
        table(arguments)
    return 1 if failed else 0


def _place(name: str) -> Path | None:
    value = os.environ.get(f"DAGSVERK_TEST_{name}")
    return Path(value) if value else None


if __name__ == "__main__":
    sys.exit(main())
