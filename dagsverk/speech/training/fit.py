"""Fine-tuning: prepared clips -> the best checkpoint of a run, which goes on exactly where it was stopped.

    fit                 the run, from its newest whole checkpoint on; its steps are in `loop`
    load_checkpoint     what it made, ready to speak

Chance in a step comes from (seed, step), and the batches from (seed, epoch). So a run that is killed at any
line and started again ends with the same weights: bit by bit on a CPU in fp32 with as many threads, and as
nearly as a GPU repeats its sums elsewhere.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import threading
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState

from dagsverk.speech import runs
from dagsverk.speech.cache import cache_folder
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import ModelError, SpeechError
from dagsverk.speech.features.prepared import PreparedClips, open_prepared
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.model.encoder import FRAMES_PER_S
from dagsverk.speech.model.models import SpeechModel, load_model
from dagsverk.speech.runs import CheckpointRef, RunConfig, curve, run_config, run_id
from dagsverk.speech.training import checkpoints, launching
from dagsverk.speech.training.defaults import find_batch_s, is_small, resolve
from dagsverk.speech.training.examples import Examples
from dagsverk.speech.training.learner import Learner, make_learner, merge_adapters, trained
from dagsverk.speech.training.loop import Loop, make_sampler
from dagsverk.speech.training.memory_fit import step_fits
from dagsverk.speech.training.progress import Progress, quiet
from dagsverk.speech.training.stopping import repeatable, stop_requests
from dagsverk.speech.training.validation import draw_dev
from dagsverk.store import Conflict, Store
from dagsverk.version import package_version

__all__ = ["CheckpointRef", "base_model", "curve", "fit", "load_checkpoint", "run_config", "run_id"]

PATIENCE = timedelta(hours=2)  # with the other processes of a run

logger = logging.getLogger(__name__)


def fit(
    store: Store, set_id: str, language: str, config: FinetuneConfig, progress: Progress = quiet
) -> CheckpointRef:
    """Fine-tune a model on a set's train clips; the best checkpoint by WER on its dev clips.

    A run is named by what it depends on: asked for again it goes on from its newest whole checkpoint, and a
    finished one is left alone. With several GPUs (or `config.processes`) so many processes share it; under
    `torchrun` or `accelerate launch` this is one of them.
    Args: language: Whisper's code, that of the set.
    Raises: Interrupted after SIGTERM, when a checkpoint is saved; ModelError; DamagedShard; NotFound;
        SpeechError if the loss is no number any more, or memory does not suffice.
    """
    processes = config.processes or max(1, torch.cuda.device_count())
    if processes > 1 and "RANK" not in os.environ:
        return launching.launch(store.url, set_id, language, config, processes, progress)
    with stop_requests() as asked:
        try:
            return _join(store, set_id, language, config, progress, asked)
        finally:
            AcceleratorState._reset_state(reset_partial_state="RANK" not in os.environ)


def load_checkpoint(store: Store, ref: CheckpointRef, cache: Path) -> SpeechModel:
    """The model of a checkpoint, ready to speak; LoRA is merged into its weights.

    Raises: NotFound; SpeechError if the checkpoint is damaged; ModelError if the model that it started from
    cannot be had any more.
    """
    made = run_config(store, ref.run)
    found = base_model(store, ref.run)
    learner = make_learner(found.model, replace(made.finetune, compile=False, gradient_checkpointing=False))
    checkpoints.load_weights(
        checkpoints.whole(store, ref.run, ref.step, cache)[checkpoints.MODEL], trained(learner)
    )
    merge_adapters(found.model)
    found.model.requires_grad_(False)
    named = replace(found, name=f"{found.name}, fine-tuned: {ref.run} after step {ref.step}")
    return named.served(made.finetune.windows)


def base_model(store: Store, run: str) -> SpeechModel:
    """The model that a run started from. Raises ModelError if that name means another one by now."""
    made = run_config(store, run)
    found = load_model(made.finetune.model, language=made.language, seed=made.finetune.seed)
    if found.fingerprint() != made.fingerprint:
        raise ModelError(
            f"{made.finetune.model} is not the model any more that {run} started from: its weights have "
            "another SHA-256; bring the old one back, or start a new run"
        )
    return found


def _join(
    store: Store,
    set_id: str,
    language: str,
    config: FinetuneConfig,
    progress: Progress,
    asked: threading.Event,
) -> CheckpointRef:
    """Take part in the run, alone or as one of several processes."""
    on_cpu = not torch.cuda.is_available()
    process = PartialState(cpu=on_cpu, **({"timeout": PATIENCE} if "RANK" in os.environ else {}))
    known = language_of(language)
    start = load_model(config.model, language=known.code, seed=config.seed)
    fingerprint = start.fingerprint()
    run = run_id(fingerprint, set_id, config, known)
    if done := runs.finished(store, run):
        return done
    train_clips, dev_clips = _open(store, set_id, known.code, start)
    share, seed = config.translate_share, config.seed
    train = Examples(train_clips, start.tokenizer, translate_share=share, seed=seed)
    dev = Examples(dev_clips, start.tokenizer, chosen=draw_dev(dev_clips, config.dev_clips, seed))
    start.model.to(process.device)
    learner = make_learner(start.model, config)
    if process.is_main_process and f"{runs.run_folder(run)}/config.json" not in store.list(
        runs.run_folder(run)
    ):
        _settle(store, run, fingerprint, config, learner, train, dev, process)
    process.wait_for_everyone()
    made = run_config(store, run)
    if made.threads > (os.cpu_count() or 1):
        logger.warning("%s began with %d threads, more than this machine has cores", run, made.threads)
    with repeatable(made.threads) if on_cpu else nullcontext():
        return Loop(store, made, start, learner, train, dev, progress, asked).run()


def _open(store: Store, set_id: str, code: str, start: SpeechModel) -> tuple[PreparedClips, PreparedClips]:
    train, dev = (open_prepared(store, set_id, (split,), cache_folder()) for split in ("train", "dev"))
    if train.language != code:
        raise SpeechError(
            f"{set_id} is of language {train.language}, asked to train {code}; name another set"
        )
    if train.n_mels != start.n_mels:
        raise ModelError(
            f"{start.name} hears {start.n_mels} mel bins, {set_id} has {train.n_mels}; prepare a set with "
            f"n_mels {start.n_mels}, or take another model (large-v3 and turbo: 128, all others: 80)"
        )
    return train, dev


def _settle(
    store: Store,
    run: str,
    fingerprint: str,
    config: FinetuneConfig,
    learner: Learner,
    train: Examples,
    dev: Examples,
    process: PartialState,
) -> None:
    """Fill in what is open, and write down what the run is made with: it keeps to that from now on."""
    chosen = resolve(
        config,
        learner.model.config,
        clips_s=float(train.frames.sum()) / FRAMES_PER_S,
        processes=process.num_processes,
        cuda=process.device.type == "cuda",
        largest_batch_s=lambda bound: _largest_batch_s(config, learner, train, process.device, bound),
    )
    made = RunConfig(
        run=run,
        language=train.clips.language,
        set_id=train.clips.set_id,
        fingerprint=fingerprint,
        finetune=chosen,
        groups_per_step=chosen.accumulate * process.num_processes,
        # nano is too small to share: on two threads it is slower wherever another process wants a core
        threads=1 if is_small(learner.model.config) else torch.get_num_threads(),
        clips=len(train),
        dev_clips=len(dev),
        set_aside=dict(Counter(clip.reason for clip in (*train.set_aside, *dev.set_aside))),
        version=package_version(),
    )
    try:
        store.put(f"{runs.run_folder(run)}/config.json", json.dumps(made.to_dict(), indent=1).encode())
    except Conflict:
        logger.info("%s was begun elsewhere in this moment; going on with its settings", run)


def _largest_batch_s(
    config: FinetuneConfig, learner: Learner, train: Examples, device: torch.device, bound: float
) -> float:
    bf16 = config.precision != "fp32" and torch.cuda.is_bf16_supported()

    def fits(batch_s: float) -> bool:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return step_fits(learner, train, make_sampler(train, replace(config, batch_s=batch_s)), device)

    return find_batch_s(fits, bound)


def main() -> None:
    """One of several processes of a run; started by `launching`, `torchrun` or `accelerate launch`."""
    parser = argparse.ArgumentParser(prog="python -m dagsverk.speech.training", description=main.__doc__)
    parser.add_argument("request", type=Path, help="what to train, as `launching` wrote it")
    launching.take_part(parser.parse_args().request, fit)


if __name__ == "__main__":
    main()
