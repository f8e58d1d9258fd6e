"""The data's side, on Whisper's own weights and human voices: what changed copies do to scores.

Run from the root, with a transformers folder of Whisper's weights and prompts, as `bench_real.py` takes them:

    export DAGSVERK_TEST_WHISPER=$PWD/whisper-base DAGSVERK_TEST_PROMPTS=$PWD/prompts  (--weights, --prompts)
    python benchmarks/bench_data.py augment --out O     # the test clean and degraded

Each result is a line of O/augment.jsonl; a killed run goes on from its newest checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import real_runs as runs

from dagsverk.speech.audio import distortions, sandbox
from dagsverk.speech.audio.samples import Audio
from dagsverk.speech.augmented import AugmentConfig
from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.corpora.folder import FolderCorpus
from dagsverk.speech.corpora.places import LocalPlace
from dagsverk.speech.features import log_mel, preparation
from dagsverk.speech.features.prepared import PreparedClips
from dagsverk.speech.model.decoding import decode
from dagsverk.speech.model.models import SpeechModel
from dagsverk.store import Store, open_store

COPIES: dict[str, AugmentConfig | None] = {
    "plain": None,
    "speed": AugmentConfig(copies=2, speeds=(0.9, 1.1)),
    "noise and room": AugmentConfig(copies=2, noise_share=0.7, room_share=0.5, snr_db=(3, 20)),
    "all": AugmentConfig(
        copies=2, speeds=(0.9, 1.1), noise_share=0.5, room_share=0.4, telephone_share=0.3, snr_db=(3, 20)
    ),
}


def _noisy(audio: Audio, chance: np.random.Generator) -> Audio:
    noise = distortions.coloured_noise(len(audio), 1.0, chance)
    return distortions.with_noise(audio, noise, 5.0)


DEGRADED: Mapping[str, Callable[[Audio, np.random.Generator], Audio]] = {
    "clean": lambda audio, _: audio,
    "telephone": lambda audio, _: distortions.over_telephone(audio),
    "pink noise 5 dB": _noisy,
    # rooms that no training is given: its rooms have the numbers 0 to 31
    "room": lambda audio, chance: distortions.in_room(
        audio, distortions.made_room(1000 + int(chance.integers(50)))
    ),
}


def prompts(arguments: argparse.Namespace) -> runs.Prompts:
    folder = LocalPlace(arguments.prompts / arguments.language)
    return runs.Prompts(FolderCorpus(folder, arguments.language), arguments.split_seed)


def prepared(store: Store, arguments: argparse.Namespace, augment: AugmentConfig | None) -> tuple[str, float]:
    """A set, and the processor seconds that it took."""
    corpus, began = prompts(arguments), time.process_time()
    config = PrepareConfig(tokenizer=str(arguments.weights), augment=augment)
    set_id = preparation.plan(store, corpus, arguments.language, config, "prompts")
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    preparation.complete(store, set_id)
    return set_id, time.process_time() - began


def degraded_test(arguments: argparse.Namespace, clips: PreparedClips) -> dict[str, list[log_mel.Mel]]:
    """The spectra of the same clips, as they come and degraded."""
    corpus, made = prompts(arguments), {name: {} for name in DEGRADED}
    wanted = {clip.id: clip for clip in corpus.listing().clips if clip.id in set(clips.rows["id"])}
    for clip, content in corpus.read(list(wanted.values())):
        audio = sandbox.CLIPS.read_samples(content, max_s=30.0)
        for name, change in DEGRADED.items():
            chance = np.random.default_rng(list(f"{name} {clip.id}".encode()))
            made[name][clip.id] = log_mel.log_mel(change(audio, chance))
    return {name: [mels[clip] for clip in clips.rows["id"]] for name, mels in made.items()}


def scored(model: SpeechModel, clips: PreparedClips, mels: list[log_mel.Mel]) -> runs.pd.DataFrame:
    decoded = decode(
        model,
        mels,
        [log_mel.floor(float(mel.max())) for mel in mels],
        language=clips.language,
        full_windows=model.full_windows,
        batch_s=240.0,
    )
    table = clips.rows[["text", "speaker", "duration_s"]].assign(
        clip_id=clips.rows["id"],
        hypothesis=[one.text for one in decoded],
        finished=[one.finished for one in decoded],
    )
    return runs.scored_rows(table, clips.language)


def augment(arguments: argparse.Namespace) -> None:
    store = open_store(str(arguments.out / "store"))
    plain, _ = prepared(store, arguments, None)
    clips = runs.clips_of(store, plain)
    mels = degraded_test(arguments, clips)
    for name in arguments.arms or COPIES:
        set_id, cpu_s = prepared(store, arguments, COPIES[name])
        config = runs.configured(
            runs.Arm(),
            str(arguments.weights),
            steps=arguments.steps,
            seed=arguments.seed,
            precision=arguments.precision,
        )
        tuned = runs.tune(store, set_id, arguments.language, runs.Arm(), config, arguments.out)
        model = runs.load_tuned(store, runs.Arm(), tuned.ref)
        tables = {test: scored(model, clips, of_test) for test, of_test in mels.items()}
        for test, rows in tables.items():
            rows.to_parquet(arguments.out / f"{name}-{test}-{arguments.seed}.parquet")
        for test, rows in tables.items():
            about = runs.describe(rows, runs.RESAMPLES).scores.normalised.wer
            kept = arguments.out / f"plain-{test}-{arguments.seed}.parquet"
            against = runs.paired([rows], [runs.pd.read_parquet(kept)]) if kept.exists() else None
            result = {
                "arm": name,
                "seed": arguments.seed,
                "steps": arguments.steps,
                "test": test,
                "clips": len(rows),
                "wer": about.value,
                "low": about.low,
                "high": about.high,
                "against_plain": None if against is None else asdict(against),
                "preparation_cpu_s": cpu_s,
                "step_cpu_s": tuned.step_cpu_s,
            }
            print(json.dumps(result), flush=True)
            with (arguments.out / "augment.jsonl").open("a") as file:
                file.write(json.dumps(result) + "\n")
        runs.forget(store, tuned.ref)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("augment",))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=os.environ.get("DAGSVERK_TEST_WHISPER"))
    parser.add_argument("--prompts", type=Path, default=os.environ.get("DAGSVERK_TEST_PROMPTS"))
    parser.add_argument("--language", default="it")
    parser.add_argument("--arms", nargs="*")
    parser.add_argument("--steps", type=int, default=90)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split-seed", type=int, default=0)
    parser.add_argument("--precision", default="bf16")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("DAGSVERK_CACHE", str(arguments.out / "cache"))
    {"augment": augment}[arguments.what](arguments)


if __name__ == "__main__":
    main()
