"""Evaluation against the usual recipe: clips decoded per second; same model, clips and device, in one run.

Run from the root: python benchmarks/bench_evaluate.py [--model-config tiny] [--clips 24] [--mean-s 3.96]

"recipe" is `Seq2SeqTrainer` with `predict_with_generate`, as the public fine-tuning examples set it: every
clip padded to 30 s, batches of 8 in the order of the data set, the loss computed besides, fp32 (the trainer
does not generate in half precision). "recipe, tuned" is the same with batches of 64, and in bf16 on a GPU.
"ours" is `dagsverk.speech.decoding.decode`: true length, sorted, cached, greedy; bf16 on a GPU.

Weights are random, of a published size, so nothing is downloaded; what is said does not matter here. Such a
model does not stop by itself: special tokens, the one that ends a text among them, are given weights of zero,
so they are never the likeliest, and both sides say exactly --tokens tokens of every clip (a Swedish clip of
Common Voice has about so many). That all are equally long is kind to the recipe: it otherwise waits for the
longest of each batch, while ours lets finished clips go.

Lengths are drawn from a lognormal with the mean of Common Voice 11 (sv-SE 3.96 s, it 5.36 s) and sigma 0.35.
Features are computed before the clock runs, on both sides.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from floors import card
from torch.utils.data import Dataset
from transformers import GenerationConfig, Seq2SeqTrainer, Seq2SeqTrainingArguments

from dagsverk.speech.features import log_mel
from dagsverk.speech.model.decoding import decode
from dagsverk.speech.model.lengths import GRID_FRAMES
from dagsverk.speech.model.models import SpeechModel, random_model
from dagsverk.speech.model.precision import as_kept
from dagsverk.speech.model.tokens import BYTES, end_id, prompt

SIGMA = 0.35  # of the lengths' logarithm: nine in ten clips between 2.1 and 6.6 s
WINDOW_FRAMES = 3000
RECIPE_BATCH, TUNED_BATCH = 8, 64
PRECISIONS = ("fp32", "tf32", "bf16")


@dataclass(frozen=True)
class Measured:
    """One side's decoding of all clips."""

    name: str
    seconds: float
    cpu_s: float
    clips_per_s: float
    frames_per_needed: float  # encoder frames computed / frames of audio
    peak_gib: float | None  # of GPU memory


class Padded(Dataset[dict[str, Any]]):
    """Clips as the recipe stores them: 30 s of log-mel each, and labels."""

    def __init__(self, mels: Sequence[np.ndarray], labels: Sequence[int]) -> None:
        self.mels, self.labels = mels, labels

    def __len__(self) -> int:
        return len(self.mels)

    def __getitem__(self, place: int) -> dict[str, Any]:
        mel = self.mels[place]
        padded = np.full((mel.shape[1], WINDOW_FRAMES), log_mel.floor(float(mel.max())), np.float32)
        padded[:, : len(mel)] = mel.T
        return {"input_features": torch.from_numpy(padded), "labels": torch.tensor(self.labels)}


def draw_mels(count: int, mean_s: float, n_mels: int, seed: int) -> list[np.ndarray]:
    """Log-mels of noise, of lengths as in Common Voice."""
    chance = np.random.default_rng(seed)
    lengths_s = np.clip(chance.lognormal(np.log(mean_s) - SIGMA**2 / 2, SIGMA, count), 1, 15)
    return [
        log_mel.log_mel(chance.normal(0, 0.1, round(length_s * 16_000)).astype(np.float32), n_mels)
        for length_s in lengths_s
    ]


def endless_model(size: str) -> SpeechModel:
    """Random weights that say bytes, and never end a text."""
    model = random_model(size)
    with torch.no_grad():
        model.model.proj_out.weight[BYTES:] = 0
    model.model.generation_config = GenerationConfig.from_dict(
        {**model.model.generation_config.to_dict(), "language": "sv", "task": "transcribe"}
    )
    return model


def run_ours(
    model: SpeechModel, mels: Sequence[np.ndarray], tokens: int, batch_s: float
) -> list[tuple[int, ...]]:
    """The tokens of each clip."""
    floors = [log_mel.floor(float(mel.max())) for mel in mels]
    decoded = decode(model, mels, floors, language="sv", batch_s=batch_s, max_tokens=[tokens] * len(mels))
    assert all(len(clip.tokens) == tokens for clip in decoded)
    return [tuple(clip.tokens) for clip in decoded]


@contextlib.contextmanager
def precision(model: SpeechModel, name: str) -> Iterator[None]:
    """Meanwhile the model's sums are made in fp32, in fp32 with TF32 products, or in bf16."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    if name == "bf16":
        torch.nn.Module.to(model.model, torch.bfloat16)
    try:
        with as_kept():  # else `decode` casts to what the device is made for
            yield
    finally:
        torch.set_float32_matmul_precision(before)
        torch.nn.Module.to(model.model, torch.float32)


def run_recipe(model: SpeechModel, mels: Sequence[np.ndarray], tokens: int, batch: int, folder: str) -> None:
    start = prompt(model.tokenizer, "sv")
    clips = Padded(mels, [*start, *range(tokens)])
    settings = Seq2SeqTrainingArguments(
        output_dir=folder,
        per_device_eval_batch_size=batch,
        predict_with_generate=True,
        use_cpu=not torch.cuda.is_available(),
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Seq2SeqTrainer(
        model=model.model,
        args=settings,
        data_collator=lambda rows: {
            name: torch.stack([row[name] for row in rows]).to(
                model.model.dtype if name == "input_features" else torch.long
            )
            for name in rows[0]
        },
    )
    predicted = np.asarray(trainer.predict(clips, max_new_tokens=tokens).predictions)
    counts = np.sum(predicted != end_id(model.tokenizer), axis=1)  # the end is also the padding
    assert np.isin(counts, [tokens, tokens + len(start)]).all()


def measure(
    name: str, work: Callable[[Sequence[np.ndarray]], None], mels: Sequence[np.ndarray], computed: int
) -> Measured:
    work(mels[:2])  # warm
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    begun, cpu_begun = time.perf_counter(), time.process_time()
    work(mels)
    if cuda:
        torch.cuda.synchronize()
    seconds, cpu_s = time.perf_counter() - begun, time.process_time() - cpu_begun
    peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else None
    needed = sum(len(mel) for mel in mels)
    return Measured(name, seconds, cpu_s, len(mels) / seconds, computed / needed, peak)


def show(rows: Sequence[Measured], clips: int, audio_s: float) -> None:
    names = f"{'clips/s':>9}{'ratio':>7}{'audio s/s':>11}{'CPU s/clip':>12}{'ratio':>7}{'frames':>8}"
    print(f"\n{'':<16}{names}{'GPU GiB':>9}")
    recipe = rows[0]
    for row in rows:
        peak = f"{row.peak_gib:.1f}" if row.peak_gib is not None else "-"
        print(
            f"{row.name:<16}{row.clips_per_s:>9.2f}{row.clips_per_s / recipe.clips_per_s:>7.1f}"
            f"{audio_s / row.seconds:>11.1f}{row.cpu_s / clips:>12.3f}{recipe.cpu_s / row.cpu_s:>7.1f}"
            f"{row.frames_per_needed:>8.2f}{peak:>9}"
        )
    print("frames: those the encoder computes / those of the audio; on a busy machine look at CPU seconds")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Evaluation against the usual recipe.")
    parser.add_argument("--model-config", default="tiny", help="nano, tiny, base, small, ...")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--mean-s", type=float, default=3.96)
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--batch-s", type=float, default=240.0, help="seconds of audio in one of our batches")
    parser.add_argument("--tuned", action="store_true", help="also the recipe, tuned")
    parser.add_argument("--alone", action="store_true", help="ours without the recipe")
    parser.add_argument("--precisions", action="store_true", help="ours in all; on a GPU it is anyhow")
    parser.add_argument("--json", type=Path, help="keep the figures here, too")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    model = endless_model(asked.model_config)
    if torch.cuda.is_available():
        torch.nn.Module.to(model.model, "cuda")
    mels = draw_mels(asked.clips, asked.mean_s, model.n_mels, asked.seed)
    lengths = np.array([len(mel) for mel in mels])
    cuda = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"{asked.model_config} ({model.model.num_parameters() / 1e6:.0f} M weights), {asked.clips} clips of "
        f"{lengths.mean() / 100:.2f} s, {asked.tokens} tokens each, {device}, torch {torch.__version__}"
    )
    said: dict[str, list[tuple[int, ...]]] = {}

    def ours(name: str) -> Measured:
        def work(some: Sequence[np.ndarray]) -> None:
            said[name] = run_ours(model, some, asked.tokens, asked.batch_s)

        with precision(model, name):
            return measure(f"ours, {name}", work, mels, exact)

    full = WINDOW_FRAMES * len(mels)
    exact = int(np.sum(GRID_FRAMES * np.ceil((lengths + 10) / GRID_FRAMES)))
    with tempfile.TemporaryDirectory(prefix="dagsverk-") as folder:
        rows = [ours(name) for name in (PRECISIONS if cuda or asked.precisions else PRECISIONS[:1])]
        if not asked.alone:
            plain = measure(
                "recipe", lambda some: run_recipe(model, some, asked.tokens, RECIPE_BATCH, folder), mels, full
            )
            rows.insert(0, plain)
        if asked.tuned and not asked.alone:
            if cuda:
                torch.nn.Module.to(model.model, torch.bfloat16)
            tuned = measure(
                "recipe, tuned",
                lambda some: run_recipe(model, some, asked.tokens, TUNED_BATCH, folder),
                mels,
                full,
            )
            rows.insert(1, tuned)
    show(rows, len(mels), lengths.sum() / 100)
    agreed = {name: agreement(said["fp32"], tokens) for name, tokens in said.items()}
    for name, share in agreed.items():
        print(
            f"{name}: {100 * share:.2f} % of the tokens are those of fp32 (random weights: the hardest case)"
        )
    if asked.json:
        limits = card(bf16=cuda)
        about = {"device": device, "model": asked.model_config, "config": model.model.config.to_dict()}
        about |= {name: vars(asked)[name] for name in ("clips", "mean_s", "tokens", "batch_s")}
        about |= {"peak": limits.flops_per_s, "peak_bytes": limits.bytes_per_s, "agreement": agreed}
        about["sides"] = {row.name: vars(row) for row in rows}
        asked.json.write_text(json.dumps(about, indent=1))


def agreement(one: Sequence[Sequence[int]], other: Sequence[Sequence[int]]) -> float:
    """The share of tokens that are equal, place by place."""
    pairs = [(a, b) for clip, its in zip(one, other, strict=True) for a, b in zip(clip, its, strict=True)]
    return sum(a == b for a, b in pairs) / max(1, len(pairs))


if __name__ == "__main__":
    main()
