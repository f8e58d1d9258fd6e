"""What a Whisper forgets while it is tuned on one language, and what helps against it.

Run from the root, with a transformers folder of Whisper's weights, and a folder of prompts with a folder for
each language (it/ en/ fr/ es/ ru/: recordings, and metadata.jsonl with file and text):

    python benchmarks/bench_forgetting.py --weights folder --prompts folder --out O
        [--arms plain replay-0.2] [--language it] [--steps 60] [--rate 1e-4] [--clips 32]

Each arm is a run of the product's `fit` with a change to its settings; what is there in O already is not done
again, and a killed run goes on. Tuned and untuned languages are scored on the same `--clips` test clips in
both modes, windows of 30 s and true length; no text of test is in train. English from the tuned language is
compared with what the base wrote of the same clips in 30 s windows: chrF, so 100 is the very same.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import real_runs as runs
import torch

from dagsverk.cache import cache_folder
from dagsverk.speech.evaluation.chrf import chrf, chrf_counts
from dagsverk.speech.evaluation.scoring import NORMALISED, count_errors, total
from dagsverk.speech.features.prepared import PreparedClips, draw
from dagsverk.speech.model.decoded import Task
from dagsverk.speech.model.decoding import decode
from dagsverk.speech.model.models import SpeechModel, load_model
from dagsverk.speech.runs import CheckpointRef
from dagsverk.speech.serving.repetition import loops
from dagsverk.speech.training.averaging import average, start_of
from dagsverk.speech.training.fit import load_checkpoint
from dagsverk.store import Store, open_store

Measure: TypeAlias = Callable[[SpeechModel], dict[str, Any]]

LANGUAGES = ("it", "en", "fr", "es", "ru")
MODES = {"windows": True, "true length": False}
ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "replay-0.1": {"replay_share": 0.1},
    "replay-0.2": {"replay_share": 0.2},
    "own-english-0.2": {"own_english_share": 0.2},
    "lora": {"lora_rank": 32},
    "freeze-encoder": {"freeze_encoder": True},
}
MEANS = (0.5, 0.75)  # of the plain arm's weights; the rest is the base's


def main() -> None:
    arguments = _arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("DAGSVERK_CACHE", str(arguments.out / "cache"))
    torch.set_num_threads(arguments.threads)
    store = open_store(str(arguments.out / "store"))
    weights = str(arguments.weights)
    sets = {
        code: runs.prepare(store, arguments.prompts / code, code, weights)
        for code in dict.fromkeys((arguments.language, *arguments.languages))
    }
    clips = {code: runs.clips_of(store, set_id) for code, set_id in sets.items()}
    ours = clips[arguments.language]
    english = _kept(
        arguments.out / f"base-english-{arguments.language}-{arguments.clips}.json",
        lambda: {"texts": _texts(load_model(weights), ours, arguments.clips, "windows", "translate")},
    )["texts"]

    def measure(model: SpeechModel) -> dict[str, Any]:
        return _measure(model, clips, arguments.language, english, arguments.clips)

    results = {"base": _kept(_file(arguments, "base"), lambda: measure(load_model(weights)))}
    for arm in arguments.arms:
        results |= _run(arguments, store, sets, arm, measure)
    _print(results, arguments)


def _run(
    arguments: argparse.Namespace, store: Store, sets: Mapping[str, str], arm: str, measure: Measure
) -> dict[str, Any]:
    """The results of an arm, and of its means with the base where they are asked for."""
    changes = dict(ARMS[arm])
    if changes.get("replay_share"):
        changes["replay_sets"] = tuple(sets[code] for code in sets if code != arguments.language)
    rate = arguments.rate * (10 if changes.get("lora_rank") else 1)
    config = runs.configured(
        runs.Arm({**changes, "learning_rate": rate}),
        str(arguments.weights),
        steps=arguments.steps,
        seed=arguments.seed,
        precision=arguments.precision,
    )
    wanted = [(arm, 1.0)] + [(f"{arm}, {share:g} of it", share) for share in MEANS if arm == "plain"]
    results, ref = {}, None
    for name, share in wanted:

        def measured(share: float = share) -> dict[str, Any]:
            nonlocal ref
            ref = ref or runs.fitting.fit(store, sets[arguments.language], arguments.language, config)
            return measure(_mean(store, ref, share))

        results[name] = _kept(_file(arguments, name), measured)
    if ref is not None:
        runs.forget(store, ref)
    return results


def _mean(store: Store, ref: CheckpointRef, share: float) -> SpeechModel:
    model = load_checkpoint(store, ref, cache_folder())
    base = runs.fitting.base_model(store, ref.run)
    average(dict(model.model.named_parameters()), start_of(dict(base.model.named_parameters())), share)
    return model


def _measure(
    model: SpeechModel, clips: Mapping[str, PreparedClips], tuned: str, english: Sequence[str], count: int
) -> dict[str, Any]:
    """Word error rates by language and mode, and the English, in per cent."""
    began, found = time.process_time(), dict[str, Any]()
    for mode in MODES:
        for code, of in clips.items():
            texts = _texts(model, of, count, mode)
            references = [of.rows["text"].iat[place] for place in draw(of, count, 0)]
            rates = total(count_errors(references, texts, code, (NORMALISED,)))
            found[f"{code}, {mode}"] = 100 * rates.wer
        texts = _texts(model, clips[tuned], count, mode, "translate")
        found[f"English, {mode}"] = 100 * float(chrf(chrf_counts(texts, english).sum(axis=0)))
        found[f"loops in English, {mode}"] = sum(map(loops, texts))
    return {**found, "cpu_s": time.process_time() - began}


def _texts(
    model: SpeechModel, clips: PreparedClips, count: int, mode: str, task: Task = "transcribe"
) -> list[str]:
    """Of the same `count` clips each time."""
    chosen = draw(clips, count, 0)
    decoded = decode(
        model,
        [clips.mel(place) for place in chosen],
        [clips.floor(place) for place in chosen],
        language=clips.language,
        task=task,
        full_windows=MODES[mode],
    )
    return [one.text for one in decoded]


def _kept(file: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a file holds; made and written if there is none."""
    if not file.exists():
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(make(), ensure_ascii=False), encoding="utf-8")
        temporary.replace(file)
    read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return read


def _file(arguments: argparse.Namespace, name: str) -> Path:
    run = "" if name == "base" else f"-{arguments.steps}-{arguments.rate:g}-{arguments.seed}"
    named = name.replace(", ", "-").replace(" ", "-")
    return Path(arguments.out / f"{arguments.language}-{named}{run}-{arguments.clips}.json")


def _print(results: Mapping[str, Mapping[str, Any]], arguments: argparse.Namespace) -> None:
    codes = list(dict.fromkeys((arguments.language, *arguments.languages)))
    for mode in MODES:
        print(
            f"\n{mode}: WER in %, and chrF of English from {arguments.language} (100: what the base wrote)\n"
        )
        print(f"| | {' | '.join(codes)} | English |")
        print("| --- |" + " ---: |" * (len(codes) + 1))
        for name, one in results.items():
            cells = [f"{one[f'{what}, {mode}']:.1f}" for what in (*codes, "English")]
            print(f"| {name} | {' | '.join(cells)} |")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--weights", type=Path, default=os.environ.get("DAGSVERK_TEST_WHISPER"))
    add("--prompts", type=Path, default=os.environ.get("DAGSVERK_TEST_PROMPTS"))
    add("--out", type=Path, required=True)
    add("--arms", nargs="+", choices=ARMS, default=["plain", "replay-0.2", "lora"])
    add("--language", choices=LANGUAGES, default="it", help="that is tuned")
    add("--languages", nargs="+", choices=LANGUAGES, default=list(LANGUAGES), help="that are scored")
    add("--steps", type=int, default=60)
    add("--rate", type=float, default=1e-4, help="of learning, at its peak; LoRA's is ten times that")
    add("--seed", type=int, default=0)
    add("--clips", type=int, default=32, help="of each language that are scored")
    add("--precision", choices=["fp32", "bf16"], default="bf16")
    add("--threads", type=int, default=1)
    arguments = parser.parse_args()
    for name, variable in (("weights", "DAGSVERK_TEST_WHISPER"), ("prompts", "DAGSVERK_TEST_PROMPTS")):
        folder = getattr(arguments, name)
        if folder is None or not folder.is_dir():
            raise SystemExit(f"--{name} (or {variable}) must name a folder, got {folder}")
    return arguments


if __name__ == "__main__":
    main()
