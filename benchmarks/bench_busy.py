"""The same work beside busy neighbours: as libraries set their threads by themselves, and as ours do it.

Run from the root: python benchmarks/bench_busy.py [--model FOLDER] [--neighbours 0 1 2 4] [--seconds 5]

Neighbours are processes that only compute, on the same cores. "libraries": as many threads as there are
cores, which spin while they wait. "all cores": the same, but waiting threads sleep. "ours": asleep, and as
many as the product would take, asked before each batch (decoding) or once (training). Each way works in a
process of its own; of two turns the better counts. --niceness -15 (as root) keeps others out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dagsverk import threads

WAYS = ("libraries", "all cores", "ours")
WORK = ("log-mel", "decoding", "training")
CLIP_S, BATCH, TOKENS = 4, 4, 12
BUSY = "while True: pass"


def log_mels(way: str, _model: str) -> Callable[[], int]:
    """Spectra of clips of 4 s."""
    import numpy as np
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    from dagsverk.speech.features import log_mel

    clip = np.random.default_rng(0).normal(0, 0.1, CLIP_S * log_mel.SAMPLE_RATE_HZ).astype(np.float32)
    log_mel.log_mel(clip)
    if way != "ours":
        ThreadpoolController().select(internal_api="openblas").limit(limits=threads.allowed())

    def work() -> int:
        log_mel.log_mel(clip)
        return 1

    return work


def decoded(way: str, name: str) -> Callable[[], int]:
    """Batches of clips, as pages and evaluation decode them; so many tokens each."""
    import numpy as np
    import torch

    from dagsverk.speech.features import log_mel
    from dagsverk.speech.model import decoding, models

    model = models.load_model(name) if Path(name).is_dir() else models.random_model(name)
    chance = np.random.default_rng(0)
    clips = chance.normal(0, 0.1, (BATCH, CLIP_S * log_mel.SAMPLE_RATE_HZ)).astype(np.float32)
    mels = [log_mel.log_mel(clip, model.n_mels) for clip in clips]
    floors = [log_mel.floor(float(mel.max())) for mel in mels]

    def work() -> int:
        if way == "ours":
            torch.set_num_threads(threads.given())
        decoding.decode(model, mels, floors, language="en", max_tokens=[TOKENS] * BATCH)
        return BATCH

    return work


def trained(way: str, name: str) -> Callable[[], int]:
    """Steps: forwards and backwards through a model."""
    import torch

    from dagsverk.speech.model import models

    loaded = models.load_model(name) if Path(name).is_dir() else models.random_model(name)
    network = loaded.model.train()
    torch.manual_seed(0)
    spectra = torch.randn(1, loaded.n_mels, 3000)
    labels = torch.randint(0, 200, (1, 32))
    if way == "ours":
        torch.set_num_threads(threads.given())

    def work() -> int:
        network(input_features=spectra, labels=labels).loss.backward()
        network.zero_grad()
        return 1

    return work


MAKERS = dict(zip(WORK, (log_mels, decoded, trained), strict=True))


def rate(work: Callable[[], int], seconds: float) -> float:
    """Clips or steps per second of wall time, for so long or three times."""
    work()
    done, start, times = 0, time.perf_counter(), 0
    while times < 3 or time.perf_counter() - start < seconds:
        done, times = done + work(), times + 1
    return done / (time.perf_counter() - start)


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Processes that take all they get."""
    started = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def measured(work: str, way: str, asked: argparse.Namespace) -> float:
    """Its rate in a new process."""
    ours = {**threads.ASLEEP, **threads.KEEP_MEMORY}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment.pop("OMP_NUM_THREADS", None)
    if way != "libraries":
        environment |= threads.ASLEEP
    if way == "ours":
        environment |= threads.KEEP_MEMORY
    command = [sys.executable, __file__, "--one", work, way, "--model", asked.model]
    command += ["--seconds", str(asked.seconds)]
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(told.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny", help="a size with random weights, or a folder")
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--work", nargs="+", default=list(WORK), choices=WORK)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--niceness", type=int, default=0)
    parser.add_argument("--one", nargs=2, metavar=("WORK", "WAY"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        work, way = asked.one
        print(rate(MAKERS[work](way, asked.model), asked.seconds))
        return
    os.nice(asked.niceness)
    print(f"{threads.allowed()} cores, {asked.model}; per second of wall time\n")
    print(f"| work | neighbours | {' | '.join(WAYS)} | ours / libraries |")
    print("| --- |" + " ---: |" * (len(WAYS) + 2))
    for work in asked.work:
        for count in asked.neighbours:
            with neighbours(count):
                rates = [max(measured(work, way, asked) for _ in range(2)) for way in WAYS]
            each = " | ".join(f"{one:.2f}" for one in rates)
            print(f"| {work} | {count} | {each} | {rates[-1] / rates[0]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
