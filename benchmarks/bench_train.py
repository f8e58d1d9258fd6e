"""Fine-tuning against the usual recipe: clips per second, waste, memory, use of the hardware.

Run from the root: python benchmarks/bench_train.py [--model-config nano] [--steps 12] [--clips 300]

"recipe" is what the public examples do: every clip padded to 30 s by the feature extractor, float32 features
in Arrow, 16 clips to a batch whatever their length, gradient checkpointing, `Seq2SeqTrainer`. "ours" is `fit`
on the shards that our preparation makes of the same clips; its batches hold `--batch-s` seconds of audio, or
what fits on a GPU. The same model (random weights, so no download), clips, device and precision
(bf16 on GPUs that have it), each in a process of its own, one after the other. The first two steps of each do
not count.

The clips are noise; their lengths are drawn from a lognormal with the mean of Common Voice 11 (sv-SE 3.96 s,
it 5.36 s) and sigma 0.35; a clip has 3.5 tokens a second.

computed/needed: frames that went through the encoder, and those that the clips have.
FLOP/s: what the model needs for the frames and tokens that were computed, forward and backward (three times
forward; what checkpointing repeats is not counted), per second; % of peak: of the GPU's dense bf16 peak, or
of this CPU's own fp32 matrix product, measured.
floor: clips a second if the frames and tokens that the clips have ran at that peak, and nothing else took
time.
--profile: three more steps of ours under the profiler: kernels a step, and where the device's time goes.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import (
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    WhisperConfig,
    WhisperFeatureExtractor,
)

from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.config import FinetuneConfig, PrepareConfig
from dagsverk.speech.corpora.corpus import Clip, Listing, RejectedClip
from dagsverk.speech.features import preparation
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.speech.model.encoder import encode
from dagsverk.speech.model.models import load_model, random_model, save_model_folder
from dagsverk.speech.runs import run_config
from dagsverk.speech.training.batches import Position, frames_ratio
from dagsverk.speech.training.examples import Examples
from dagsverk.speech.training.fit import fit
from dagsverk.speech.training.loop import make_sampler
from dagsverk.speech.training.progress import Quiet
from dagsverk.store import Store, open_store

RATE_HZ = 16_000
SIGMA = 0.35
TOKENS_PER_S = 3.5
RECIPE_BATCH = 16
UNCOUNTED = 2  # steps: memory is laid out, kernels are chosen
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L4": 121e12, "T4": 65e12}  # dense bf16 (T4: fp16)


COMPILED = "ours, compiled"
PROFILED = "profile:"
PROFILED_STEPS = 3


class Enough(BaseException):
    """The steps that were asked for are done."""


@dataclass
class Noise:
    """A corpus of noise with lengths as in Common Voice; the last two clips are dev and test."""

    count: int
    mean_s: float
    name: str = "bench"
    sequential: bool = False

    def listing(self) -> Listing:
        chance = np.random.default_rng(0)
        drawn = chance.lognormal(np.log(self.mean_s) - SIGMA**2 / 2, SIGMA, self.count)
        lengths = np.clip(drawn, 1, 15)
        splits = ["train"] * (self.count - 2) + ["dev", "test"]
        clips = [
            Clip(
                id=f"clip-{i}",
                audio=str(round(length * RATE_HZ)),
                text="".join(chance.choice(list("abcdefgh"), round(length * TOKENS_PER_S))),
                language="sv",
                split=split,  # type: ignore[arg-type]
                speaker=split,
            )
            for i, (length, split) in enumerate(zip(lengths, splits, strict=True))
        ]
        digest = hashlib.sha256(f"{self.count} {self.mean_s}".encode()).hexdigest()
        return Listing(clips=clips, rejected=[], fingerprint=digest)

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        for clip in clips:
            chance = np.random.default_rng(int(clip.audio))
            yield clip, encode_wav(chance.normal(0, 0.1, int(clip.audio)).astype(np.float32))


@dataclass
class Meter:
    """When steps ended."""

    steps: int
    ends: list[float]

    def tick(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        if len(self.ends) == self.steps:
            raise Enough

    def seconds(self) -> float:
        return self.ends[-1] - self.ends[UNCOUNTED - 1]


class Profiled:
    """After the steps that are timed: a few under the profiler, then the end."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.profiler: torch.profiler.profile | None = None
        self.steps = 0

    def step(self) -> None:
        if self.profiler is None:
            activities = [torch.profiler.ProfilerActivity.CPU]
            activities += [torch.profiler.ProfilerActivity.CUDA] if torch.cuda.is_available() else []
            self.profiler = torch.profiler.profile(activities=activities)
            self.profiler.start()
            return
        self.steps += 1
        if self.steps == PROFILED_STEPS:
            self.profiler.stop()
            self._report(self.profiler)
            self.meter.tick()

    def _report(self, profiler: torch.profiler.profile) -> None:
        cuda = torch.cuda.is_available()
        events = profiler.key_averages()
        field = "self_device_time_total" if cuda else "self_cpu_time_total"
        total = sum(getattr(event, field) for event in events) or 1
        calls = sum(event.count for event in events if getattr(event, field) > 0) / PROFILED_STEPS
        what = "kernels and copies" if cuda else "operators"
        print(f"{PROFILED} {calls:,.0f} {what} and {total / PROFILED_STEPS / 1e3:,.1f} ms a step")
        for event in sorted(events, key=lambda one: -getattr(one, field))[:15]:
            share = 100 * getattr(event, field) / total
            print(f"{PROFILED} {share:5.1f} %  {event.count / PROFILED_STEPS:7.1f} a step  {event.key[:90]}")


def flops(config: WhisperConfig, frames: int, tokens: int) -> float:
    """Of a forward and a backward pass over one clip: two per multiplication, three times forward."""
    d, ffn, n = config.d_model, config.encoder_ffn_dim, (frames + 1) // 2
    convolutions = 3 * d * (config.num_mel_bins * frames + d * n)
    encoder = config.encoder_layers * (n * (4 * d * d + 2 * d * ffn) + 2 * n * n * d)
    own = tokens * (6 * d * d + 2 * d * config.decoder_ffn_dim) + 2 * tokens * tokens * d
    crossed = 2 * n * d * d + 2 * tokens * n * d
    decoder = config.decoder_layers * (own + crossed) + tokens * d * config.vocab_size
    return 3 * 2.0 * (convolutions + encoder + decoder)


def peak(device: torch.device) -> float:
    """FLOP/s that the hardware does at best."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return next((value for part, value in PEAKS.items() if part in name), float("nan"))
    a = torch.randn(1024, 1024)
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        _ = a @ a
        best = max(best, 2 * 1024**3 / (time.perf_counter() - began))
    return best


def memory_gb(device: torch.device) -> float:
    """The most that this process held: of the GPU's memory, else of main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def run_ours(folder: Path, arguments: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """`fit`, left after so many steps."""
    meter = Meter(arguments.steps, [])

    class Ticking(Quiet):
        def step(self, *_: float) -> None:
            if len(meter.ends) + 1 < meter.steps or not arguments.profile:
                meter.tick()
            else:
                profiled.step()

    profiled = Profiled(meter)
    store = open_store(str(folder / "store"))
    set_id = (folder / "set").read_text()
    others = _runs(store)
    steps = 100 * arguments.steps
    config = FinetuneConfig(
        model=str(folder / "model"),
        steps=steps,
        batch_s=arguments.batch_s,
        spec_augment=False,
        evaluate_every=steps,
        checkpoint_every=steps,
        processes=1,
        compile=arguments.side == COMPILED,
    )
    with contextlib.suppress(Enough):
        fit(store, set_id, "sv", config, Ticking())
    (run,) = _runs(store) - others
    made = run_config(store, run).finetune
    start = load_model(str(folder / "model"))
    train = Examples(open_prepared(store, set_id, ("train",), folder / "cache"), start.tokenizer)
    sampler = make_sampler(train, made)
    plan = sampler.steps(Position(), 1)
    steps_taken = [next(plan)[0] for _ in range(arguments.steps)][UNCOUNTED:]
    counted = list(itertools.chain(*steps_taken))
    work = needed = 0.0
    for batch in counted:
        tokens = train.targets(batch) // len(batch.clips) + 2
        work += len(batch.clips) * flops(start.model.config, sampler.padded(batch), tokens)
        needed += sum(flops(start.model.config, int(train.frames[clip]), tokens) for clip in batch.clips)
    clips = sum(len(batch.clips) for batch in counted)
    return {
        "clips": clips,
        "seconds": meter.seconds(),
        "ratio": frames_ratio(sampler, counted),
        "flops": work,
        "needed_flops": needed,
        "memory_gb": memory_gb(device),
        "batch_s": float(made.batch_s or 0),
    }


def _runs(store: Store) -> set[str]:
    return {path.split("/")[3] for path in store.list("speech/swedish/runs")}


def run_recipe(folder: Path, arguments: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """`Seq2SeqTrainer`, set up as in the public examples, for so many steps."""
    start = load_model(str(folder / "model"))
    corpus = Noise(arguments.clips, arguments.mean_s)
    extractor = WhisperFeatureExtractor(feature_size=start.n_mels)  # type: ignore[no-untyped-call]
    wanted = [clip for clip in corpus.listing().clips if clip.split == "train"]
    wanted = wanted[: arguments.steps * RECIPE_BATCH]

    def prepare(row: dict[str, Any]) -> dict[str, Any]:
        clip = wanted[row["place"]]
        noise = np.random.default_rng(int(clip.audio)).normal(0, 0.1, int(clip.audio))
        features = extractor(noise, sampling_rate=RATE_HZ).input_features[0]
        return {"input_features": features, "labels": start.tokenizer(clip.text).input_ids}

    rows = datasets.Dataset.from_dict({"place": list(range(len(wanted)))})
    rows = rows.map(prepare, remove_columns=["place"], cache_file_name=str(folder / "recipe.arrow"))
    meter = Meter(arguments.steps, [])

    class Ticking(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            meter.tick()

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = extractor.pad(
            [{"input_features": row["input_features"]} for row in rows], return_tensors="pt"
        )
        labels = start.tokenizer.pad([{"input_ids": row["labels"]} for row in rows], return_tensors="pt")
        masked = labels["input_ids"].masked_fill(labels.attention_mask.ne(1), -100)
        return {**batch, "labels": masked[:, 1:]}

    settings = Seq2SeqTrainingArguments(
        output_dir=str(folder / "recipe"),
        per_device_train_batch_size=RECIPE_BATCH,
        gradient_accumulation_steps=1,
        learning_rate=1e-5,
        warmup_steps=500,
        max_steps=arguments.steps,
        gradient_checkpointing=True,
        bf16=device.type == "cuda",
        eval_strategy="no",
        save_strategy="no",
        predict_with_generate=True,
        report_to=[],
        logging_steps=25,
        disable_tqdm=True,
        use_cpu=device.type == "cpu",
    )
    trainer = Seq2SeqTrainer(
        args=settings,
        model=start.model,
        train_dataset=rows,
        data_collator=collate,
        callbacks=[Ticking()],
    )
    with contextlib.suppress(Enough):
        trainer.train()
    clips = (arguments.steps - UNCOUNTED) * RECIPE_BATCH
    needed = np.mean([int(clip.audio) / RATE_HZ for clip in wanted])
    tokens = round(float(needed) * TOKENS_PER_S) + 4
    own = np.mean([flops(start.model.config, round(int(clip.audio) / 160), tokens) for clip in wanted])
    return {
        "clips": clips,
        "seconds": meter.seconds(),
        "ratio": 30 / float(needed),
        "flops": clips * flops(start.model.config, 3000, tokens),
        "needed_flops": clips * float(own),
        "memory_gb": memory_gb(device),
        "batch_s": 30.0 * RECIPE_BATCH,
    }


def run_encoder(folder: Path, arguments: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """Our encoder alone, forward and backward, on clips of the mean length."""
    model: Any = load_model(str(folder / "model")).model.to(device).train()
    frames = 2 * round(50 * arguments.mean_s)
    count = max(1, round((arguments.batch_s or 1920.0) * 100 / frames))
    mels = torch.randn(count, model.config.num_mel_bins, frames, device=device)
    meter = Meter(max(UNCOUNTED + 3, arguments.steps), [])
    try:
        while True:
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                encode(model, mels).float().mean().backward()
            model.zero_grad()
            meter.tick()
    except Enough:
        pass
    steps = len(meter.ends) - UNCOUNTED
    encoder_only = WhisperConfig(**{**model.config.to_dict(), "decoder_layers": 0})
    work = steps * count * flops(encoder_only, frames, 0)
    return {"clips": steps * count, "seconds": meter.seconds(), "ratio": 1.0, "flops": work,
            "needed_flops": work, "memory_gb": memory_gb(device),
            "batch_s": count * frames / 100}  # fmt: skip


SIDES: dict[str, Callable[[Path, argparse.Namespace, torch.device], dict[str, float]]] = {
    "recipe": run_recipe,
    "ours": run_ours,
    COMPILED: run_ours,
    "encoder alone": run_encoder,
}


def lay_out(folder: Path, arguments: argparse.Namespace) -> None:
    """The model, and the prepared set of ours."""
    model = random_model(arguments.model_config)
    save_model_folder(model, folder / "model", language="sv")
    corpus, store = Noise(arguments.clips, arguments.mean_s), open_store(str(folder / "store"))
    settings = PrepareConfig(n_mels=model.n_mels)  # type: ignore[arg-type]
    set_id = preparation.plan(store, corpus, "sv", settings, "bench")
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    preparation.complete(store, set_id)
    (folder / "set").write_text(set_id)


def measure(side: str, folder: Path, words: Sequence[str]) -> dict[str, float] | None:
    """One side, in a process of its own; None if that ended badly, for want of memory say."""
    command = [sys.executable, __file__, *words, "--side", side, "--folder", str(folder)]
    environment = {**os.environ, "DAGSVERK_CACHE": str(folder / "cache"), "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"{side}: ended with {done.returncode}, see above")
        return None
    *lines, last = done.stdout.splitlines()
    print("\n".join(line for line in lines if line.startswith(PROFILED)))
    measured: dict[str, float] = json.loads(last)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model-config", default="nano", help="nano, tiny, base, small, …")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--mean-s", type=float, default=3.96)
    parser.add_argument("--batch-s", type=float, help="of ours; default: 64 on a CPU, on a GPU what fits")
    parser.add_argument("--compile", action="store_true", help="ours, compiled, too; on a GPU it is anyhow")
    parser.add_argument("--profile", action="store_true", help="where the device's time goes")
    parser.add_argument("--json", type=Path, help="keep the figures here, too")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if arguments.batch_s is None and device.type == "cpu":
        arguments.batch_s = 64.0
    if arguments.side:
        measured = SIDES[arguments.side](arguments.folder, arguments, device)
        print(json.dumps({**measured, "peak": peak(device)}))
        return
    with tempfile.TemporaryDirectory(prefix="bench-train-") as temporary:
        lay_out(Path(temporary), arguments)
        compiled = arguments.compile or device.type == "cuda"
        wanted = [side for side in SIDES if side != COMPILED or compiled]
        measured_by = {side: measure(side, Path(temporary), sys.argv[1:]) for side in wanted}
    by_side = {side: one for side, one in measured_by.items() if one is not None}
    name = (
        torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    )
    print(f"{arguments.model_config} on {name}; mean clip {arguments.mean_s} s; {arguments.steps} steps each")
    print(f"{'':16}{'clips/s':>9}{'floor':>9}{'computed/needed':>17}{'memory GB':>11}{'GFLOP/s':>10}"
          f"{'% of peak':>11}{'batch s':>9}")  # fmt: skip
    for side, one in by_side.items():
        speed, floor = one["flops"] / one["seconds"], one["peak"] * one["clips"] / one["needed_flops"]
        print(f"{side:16}{one['clips'] / one['seconds']:9.1f}{floor:9.0f}{one['ratio']:17.3f}"
              f"{one['memory_gb']:11.2f}{speed / 1e9:10.1f}{100 * speed / one['peak']:11.1f}"
              f"{one['batch_s']:9.0f}")  # fmt: skip
    if {"ours", "recipe"} <= set(by_side):
        ours, recipe = (by_side[side]["clips"] / by_side[side]["seconds"] for side in ("ours", "recipe"))
        print(f"ours / recipe: {ours / recipe:.1f} times the clips per second")
    if arguments.json:
        about = {"model": arguments.model_config, "mean_s": arguments.mean_s, "steps": arguments.steps}
        arguments.json.write_text(json.dumps({"device": name, **about, "sides": by_side}, indent=1))


if __name__ == "__main__":
    main()
