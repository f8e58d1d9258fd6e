"""One step of training in several forms, each in a process of its own: processor seconds, memory, bytes sent.

Run from the root: PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/bench_step.py [--batch-s 30]

"before" is the step as it was: the library's own forward of the decoder, logits of all tokens at once, fp32,
figures waited for before the optimiser moves. The others are the step as it is, in fp32 and in bf16. "many
tokens" has clips of text alone, so that logits are all that matters: as a step of an hour of speech has them.
Random weights; clips of --mean-s seconds, 3.5 tokens a second. The best of --rounds steps after one that does
not count; on a busy machine processor seconds say more than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from floors import memory_gb, training_flops
from torch.nn import functional
from training_noise import TOKENS_PER_S

from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.model.encoder import encode
from dagsverk.speech.model.models import random_model
from dagsverk.speech.training import learner as learning
from dagsverk.speech.training.examples import Example, to_tensors
from dagsverk.speech.training.learner import Learner, make_learner, make_optimiser, take_step, trained

PROMPT, END = [257, 272, 359, 363], 256  # of the byte tokenizer
SIDES = ("before", "now, fp32", "now, bf16", "many tokens, before", "many tokens, now")


class Before(Learner):
    """The loss as it was made: the library's forward, and all logits at once."""

    def forward(self, example: Example) -> torch.Tensor:
        encoded = encode(self.model, example.mels)
        decoded = self.model.model.decoder(
            input_ids=example.tokens, encoder_hidden_states=encoded, use_cache=False
        ).last_hidden_state
        logits = self.model.proj_out(decoded.flatten(0, 1).index_select(0, example.places))
        return functional.cross_entropy(logits.float(), example.targets, reduction="sum")


def draw(asked: argparse.Namespace, many: bool) -> Example:
    """A batch of noise."""
    chance = np.random.default_rng(0)
    frames = 20 if many else 2 * round(50 * asked.mean_s)
    count = asked.texts if many else max(1, round(asked.batch_s / asked.mean_s))
    length = 128 if many else round(asked.mean_s * TOKENS_PER_S)
    labels = [[*PROMPT, *chance.integers(0, 250, length).tolist(), END] for _ in range(count)]
    mels = torch.randn(count, 80, frames, generator=torch.Generator().manual_seed(0))
    return Example(mels, *to_tensors(labels, END))


def run(side: str, asked: argparse.Namespace) -> dict[str, Any]:
    """A side, in this process."""
    many, before = side.startswith("many"), side.endswith("before")
    model = random_model(asked.model_config)
    config = FinetuneConfig(learning_rate=1e-5, steps=100)
    learner = make_learner(model.model, config).train()
    if before:
        learner.__class__ = Before
    weights = trained(learner)
    optimiser = make_optimiser(weights, config)
    example = draw(asked, many)
    bf16 = side.endswith("bf16")
    started_gb = memory_gb()

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            loss = learner(example)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        return take_step(optimiser, torch.stack([loss.detach(), norm]), 1e-5)[0]

    first = step()
    return {
        "cpu_s": min(_cpu_s(step) for _ in range(asked.rounds)),
        "added_gb": memory_gb() - started_gb,
        "loss": first,
        "clips": len(example.mels),
        "targets": len(example.targets),
        "flops": len(example.mels)
        * training_flops(model.model.config, example.mels.shape[2], example.tokens.shape[1]),
    }


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model-config", default="base")
    parser.add_argument("--batch-s", type=float, default=30.0)
    parser.add_argument("--mean-s", type=float, default=3.96)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=learning.LOGITS_AT_ONCE, help="tokens (%(default)s)")
    parser.add_argument(
        "--texts", type=int, default=16, help="of 128 tokens, where there are many (%(default)s)"
    )
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    learning.LOGITS_AT_ONCE = asked.at_once
    if asked.side:
        print(json.dumps(run(asked.side, asked)))
        return
    print(f"{asked.model_config}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("| step | clips | tokens taught | loss | processor s | GFLOP/s | memory added, GB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for side in asked.sides:
        command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        told = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        one = json.loads(told.splitlines()[-1])
        print(
            f"| {side} | {one['clips']} | {one['targets']} | {one['loss']:.4f} | {one['cpu_s']:.2f} "
            f"| {one['flops'] / one['cpu_s'] / 1e9:.0f} | {one['added_gb']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
