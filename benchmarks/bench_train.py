"""Fine-tuning against the usual recipe: clips per second, waste, memory, use of the hardware.

Run from the root: python benchmarks/bench_train.py [--model-config nano] [--steps 12] [--clips 300]

"recipe" is what the public examples do: every clip padded to 30 s by the feature extractor, float32 features
in Arrow, 16 clips to a batch whatever their length, gradient checkpointing, `Seq2SeqTrainer`. "ours" is `fit`
on the shards that our preparation makes of the same clips; its batches hold `--batch-s` seconds of audio, or
what fits on a GPU. The same model (random weights, so no download), clips and device, each in the precision
that it takes by itself (bf16 on GPUs that have it; see --precision), each in a process of its own, one after
the other. The first two steps of each do not count, on a GPU the first twenty.

The clips are noise; their lengths are drawn from a lognormal with the mean of Common Voice 11 (sv-SE 3.96 s,
it 5.36 s) and sigma 0.35; a clip has 3.5 tokens a second.

computed/needed: frames that went through the encoder, and those that the clips have.
FLOP/s: what the model needs for the frames and tokens that were computed, forward and backward (three times
forward; what checkpointing repeats is not counted), per second; % of peak: of the GPU's dense bf16 peak, or
of this CPU's own matrix product in the run's precision, measured. "encoder alone" is thus the encoder's MFU.
floor: clips a second if the frames and tokens that the clips have ran at that peak, and nothing else took
time; bytes: ms a step for moving weights, gradients and the optimiser's memory alone, at the card's rate.
--profile: three more steps of ours under the profiler: kernels a step, and where the device's time goes.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from floors import card, forward_flops, memory_gb, step_bytes, training_flops
from training_meters import PROFILED, Enough, Meter, Profiled, uncounted
from training_noise import RATE_HZ, TOKENS_PER_S, Noise, lay_out

from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.speech.model.encoder import encode
from dagsverk.speech.model.models import load_model
from dagsverk.speech.runs import run_config
from dagsverk.speech.training.batches import Position, frames_ratio
from dagsverk.speech.training.examples import Examples
from dagsverk.speech.training.fit import fit
from dagsverk.speech.training.loop import make_sampler
from dagsverk.speech.training.progress import Quiet
from dagsverk.store import Store, open_store

RECIPE_BATCH = 16
COMPILED = "ours, compiled"
CPU_BATCH_S = 64.0

Figures = dict[str, float]


def run_ours(folder: Path, asked: argparse.Namespace) -> Figures:
    """`fit`, left after so many steps."""
    meter = Meter(asked.steps, [])
    profiled = Profiled(meter)

    class Ticking(Quiet):
        def step(self, *_: float) -> None:
            profiled.step() if asked.profile else meter.tick()

    store = open_store(str(folder / "store"))
    set_id = (folder / "set").read_text()
    others = _runs(store)
    steps = 100 * asked.steps
    config = FinetuneConfig(
        model=str(folder / "model"),
        steps=steps,
        batch_s=asked.batch_s,
        precision=asked.precision,
        spec_augment=None if asked.augment else False,
        evaluate_every=steps,
        checkpoint_every=steps,
        processes=1,
        compile=asked.side == COMPILED,
    )
    with contextlib.suppress(Enough):
        fit(store, set_id, "sv", config, Ticking())
    (run,) = _runs(store) - others
    made = run_config(store, run).finetune
    return {**_counted(folder, store, set_id, made, asked.steps), **_of(meter, made.precision == "bf16")}


def _counted(folder: Path, store: Store, set_id: str, made: FinetuneConfig, steps: int) -> Figures:
    """What the steps that count had to do."""
    start = load_model(str(folder / "model"))
    train = Examples(open_prepared(store, set_id, ("train",), folder / "cache"), start.tokenizer)
    sampler = make_sampler(train, made)
    plan = sampler.steps(Position(), 1)
    taken = [next(plan)[0] for _ in range(steps)][uncounted() :]
    work = needed = 0.0
    batches = list(itertools.chain(*taken))
    for batch in batches:
        tokens = train.targets(batch) // len(batch.clips) + 2
        work += len(batch.clips) * training_flops(start.model.config, sampler.padded(batch), tokens)
        needed += sum(training_flops(start.model.config, int(train.frames[i]), tokens) for i in batch.clips)
    return {
        "clips": sum(len(batch.clips) for batch in batches),
        "ratio": frames_ratio(sampler, batches),
        "flops": work,
        "needed_flops": needed,
        "batch_s": float(made.batch_s or 0),
        "weights": start.model.num_parameters(),
    }


def _of(meter: Meter, bf16: bool) -> Figures:
    limits = card(bf16=bf16)
    return {
        "seconds": meter.seconds(),
        "steps": meter.steps - uncounted(),
        "memory_gb": memory_gb(),
        "peak": limits.flops_per_s,
        "peak_bytes": limits.bytes_per_s,
        "bf16": bf16,
    }


def _runs(store: Store) -> set[str]:
    return {path.split("/")[3] for path in store.list("speech/swedish/runs")}


def run_recipe(folder: Path, asked: argparse.Namespace) -> Figures:
    """`Seq2SeqTrainer`, set up as in the public examples, for so many steps."""
    from transformers import Seq2SeqTrainer, TrainerCallback

    start = load_model(str(folder / "model"))
    wanted = [clip for clip in Noise(asked.clips, asked.mean_s).listing().clips if clip.split == "train"]
    wanted = wanted[: asked.steps * RECIPE_BATCH]
    rows, collate = _recipe_rows(folder, start, wanted)
    meter = Meter(asked.steps, [])

    class Ticking(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            meter.tick()

    trainer = Seq2SeqTrainer(
        args=_recipe_settings(folder, asked.steps),
        model=start.model,
        train_dataset=rows,
        data_collator=collate,
        callbacks=[Ticking()],
    )
    with contextlib.suppress(Enough):
        trainer.train()
    clips = (asked.steps - uncounted()) * RECIPE_BATCH
    mean_s = float(np.mean([int(clip.audio) / RATE_HZ for clip in wanted]))
    tokens = round(mean_s * TOKENS_PER_S) + 4
    own = [training_flops(start.model.config, round(int(clip.audio) / 160), tokens) for clip in wanted]
    return {
        "clips": clips,
        "ratio": 30 / mean_s,
        "flops": clips * training_flops(start.model.config, 3000, tokens),
        "needed_flops": clips * float(np.mean(own)),
        "batch_s": 30.0 * RECIPE_BATCH,
        "weights": start.model.num_parameters(),
        **_of(meter, torch.cuda.is_available()),
    }


def _recipe_rows(folder: Path, start: Any, wanted: Sequence[Any]) -> tuple[Any, Callable[..., Any]]:
    """The clips as Arrow of padded float32, and what makes batches of them."""
    import datasets
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=start.n_mels)  # type: ignore[no-untyped-call]

    def prepare(row: dict[str, Any]) -> dict[str, Any]:
        clip = wanted[row["place"]]
        noise = np.random.default_rng(int(clip.audio)).normal(0, 0.1, int(clip.audio))
        features = extractor(noise, sampling_rate=RATE_HZ).input_features[0]
        return {"input_features": features, "labels": start.tokenizer(clip.text).input_ids}

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        features = [{"input_features": row["input_features"]} for row in rows]
        labels = start.tokenizer.pad([{"input_ids": row["labels"]} for row in rows], return_tensors="pt")
        masked = labels["input_ids"].masked_fill(labels.attention_mask.ne(1), -100)
        return {**extractor.pad(features, return_tensors="pt"), "labels": masked[:, 1:]}

    rows = datasets.Dataset.from_dict({"place": list(range(len(wanted)))})
    rows = rows.map(prepare, remove_columns=["place"], cache_file_name=str(folder / "recipe.arrow"))
    return rows, collate


def _recipe_settings(folder: Path, steps: int) -> Any:
    from transformers import Seq2SeqTrainingArguments

    return Seq2SeqTrainingArguments(
        output_dir=str(folder / "recipe"),
        per_device_train_batch_size=RECIPE_BATCH,
        gradient_accumulation_steps=1,
        learning_rate=1e-5,
        warmup_steps=500,
        max_steps=steps,
        gradient_checkpointing=True,
        bf16=torch.cuda.is_available(),
        eval_strategy="no",
        save_strategy="no",
        predict_with_generate=True,
        report_to=[],
        logging_steps=25,
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )


def run_encoder(folder: Path, asked: argparse.Namespace) -> Figures:
    """Our encoder alone, forward and backward, on clips of the mean length."""
    cuda = torch.cuda.is_available()
    device, bf16 = torch.device("cuda" if cuda else "cpu"), cuda or asked.precision == "bf16"
    model: Any = load_model(str(folder / "model")).model.to(device).train()
    frames = 2 * round(50 * asked.mean_s)
    count = max(1, round((asked.batch_s or 1920.0) * 100 / frames))
    mels = torch.randn(count, model.config.num_mel_bins, frames, device=device)
    meter = Meter(max(uncounted() + 3, asked.steps), [])
    with contextlib.suppress(Enough):
        while True:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                encode(model, mels).float().mean().backward()
            model.zero_grad()
            meter.tick()
    work = forward_flops(model.config, frames, 0)
    clips = (meter.steps - uncounted()) * count
    flops = 3 * clips * (work.convolutions + work.encoder)
    return {
        "clips": clips,
        "ratio": 1.0,
        "flops": flops,
        "needed_flops": flops,
        "batch_s": count * frames / 100,
        "weights": sum(weight.numel() for weight in model.get_encoder().parameters()),
        **_of(meter, bf16),
    }


SIDES: dict[str, Callable[[Path, argparse.Namespace], Figures]] = {
    "ours": run_ours,
    "recipe": run_recipe,
    "encoder alone": run_encoder,
    COMPILED: run_ours,  # last: it takes longest to begin, and figures are kept as they come
}


def measure(side: str, folder: Path, words: Sequence[str]) -> Figures | str:
    """One side, in a process of its own; why not, if that ended badly, for want of memory say."""
    command = [sys.executable, __file__, *words, "--side", side, "--folder", str(folder)]
    environment = {**os.environ, "DAGSVERK_CACHE": str(folder / "cache"), "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    sys.stderr.write(done.stderr)
    if done.returncode:
        last_words = done.stderr.strip().splitlines() or ["no word"]
        return f"ended with {done.returncode}: {last_words[-1][:300]}"
    *lines, last = done.stdout.splitlines()
    print("\n".join(line for line in lines if line.startswith(PROFILED)))
    figures: Figures = json.loads(last)
    return figures


def show(by_side: dict[str, Figures | str]) -> None:
    """The table of the sides."""
    print(f"{'':16}{'clips/s':>9}{'floor':>9}{'computed/needed':>17}{'memory GB':>11}{'GFLOP/s':>10}"
          f"{'% of peak':>11}{'batch s':>9}{'ms/step':>9}{'bytes, ms':>11}")  # fmt: skip
    for side, one in by_side.items():
        if isinstance(one, str):
            print(f"{side:16} {one}")
            continue
        speed, floor = one["flops"] / one["seconds"], one["peak"] * one["clips"] / one["needed_flops"]
        print(f"{side:16}{one['clips'] / one['seconds']:9.1f}{floor:9.0f}{one['ratio']:17.3f}"
              f"{one['memory_gb']:11.2f}{speed / 1e9:10.1f}{100 * speed / one['peak']:11.1f}"
              f"{one['batch_s']:9.0f}{1e3 * one['seconds'] / one['steps']:9.1f}"
              f"{1e3 * step_bytes(int(one['weights'])) / one['peak_bytes']:11.2f}")  # fmt: skip
    ours, recipe = by_side.get("ours"), by_side.get("recipe")
    if isinstance(ours, dict) and isinstance(recipe, dict):
        ratio = ours["clips"] / ours["seconds"] / (recipe["clips"] / recipe["seconds"])
        print(f"ours / recipe: {ratio:.1f} times the clips per second")


def keep(path: Path | None, asked: argparse.Namespace, name: str, sides: dict[str, Figures | str]) -> None:
    """The figures so far, in JSON; a part that is stopped leaves what it had."""
    if path is None:
        return
    about = {"model": asked.model_config, "mean_s": asked.mean_s, "steps": asked.steps}
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps({"device": name, **about, "sides": sides}, indent=1))
    unfinished.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model-config", default="nano", help="nano, tiny, base, small, …")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--mean-s", type=float, default=3.96)
    parser.add_argument("--batch-s", type=float, help="of ours; default: 64 on a CPU, on a GPU what fits")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"), help="of ours")
    parser.add_argument("--augment", action="store_true", help="ours with SpecAugment, as is its default")
    parser.add_argument("--compile", action="store_true", help="ours, compiled, too; on a GPU it is anyhow")
    parser.add_argument("--profile", action="store_true", help="where the device's time goes")
    parser.add_argument("--json", type=Path, help="keep the figures here, too")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--sides", nargs="*", choices=list(SIDES), help="default: all")
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if asked.steps <= uncounted():
        parser.error(f"--steps: want more than {uncounted()}, the first {uncounted()} do not count")
    cuda = torch.cuda.is_available()
    if asked.batch_s is None and not cuda:
        asked.batch_s = CPU_BATCH_S
    if asked.side:
        print(json.dumps(SIDES[asked.side](asked.folder, asked)))
        return
    sides = [side for side in SIDES if side != COMPILED or asked.compile or cuda]
    name = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    by_side: dict[str, Figures | str] = {}
    with tempfile.TemporaryDirectory(prefix="bench-train-") as temporary:
        lay_out(Path(temporary), asked.model_config, asked.clips, asked.mean_s)
        for side in asked.sides or sides:
            by_side[side] = measure(side, Path(temporary), sys.argv[1:])
            keep(asked.json, asked, name, by_side)
    print(f"{asked.model_config} on {name}; mean clip {asked.mean_s} s; {asked.steps} steps each")
    show(by_side)
    if not any(isinstance(one, dict) for one in by_side.values()):
        raise SystemExit("no side came to its end")


if __name__ == "__main__":
    main()
