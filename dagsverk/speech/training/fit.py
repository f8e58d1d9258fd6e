"""Fine-tuning: prepared clips -> the best checkpoint of a run, which goes on exactly where it was stopped.

    fit                 the run, from its newest whole checkpoint on; its steps are in `loop`
    load_checkpoint     what it made, ready to speak

Chance in a step comes from (seed, step), and the batches from (seed, epoch). So a run that is killed at any
line and started again ends with the same weights: bit by bit on a CPU in fp32 with as many threads, and as
nearly as a GPU repeats its sums elsewhere.
"""

from __future__ import annotations

import argparse
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

from dagsverk import threads
from dagsverk.cache import cache_folder
from dagsverk.records import encode
from dagsverk.speech import runs
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import Interrupted, ModelError, SpeechError
from dagsverk.speech.features.prepared import draw, open_prepared
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.model.models import SpeechModel, load_model
from dagsverk.speech.runs import CheckpointRef, RunConfig, run_config, run_id
from dagsverk.speech.training import checkpoints, launching, mixing, own_english, replay
from dagsverk.speech.training.averaging import average, start_of
from dagsverk.speech.training.defaults import find_batch_s, is_small, resolve
from dagsverk.speech.training.examples import Examples
from dagsverk.speech.training.launching import Request
from dagsverk.speech.training.learner import make_learner, merge_adapters, trained
from dagsverk.speech.training.loop import Inputs, Loop, make_sampler
from dagsverk.speech.training.memory_fit import step_fits
from dagsverk.speech.training.progress import Progress, quiet
from dagsverk.speech.training.stopping import repeatable, stop_requests
from dagsverk.speech.training.subset import part_of
from dagsverk.store import Conflict, Store
from dagsverk.turns import Check
from dagsverk.version import package_version

PATIENCE = timedelta(hours=2)  # with the other processes of a run

logger = logging.getLogger(__name__)


def fit(
    store: Store,
    set_id: str,
    language: str,
    config: FinetuneConfig,
    progress: Progress = quiet,
    *,
    until: int | None = None,
    search: str = "",
) -> CheckpointRef:
    """Fine-tune a model on a set's train clips; the best checkpoint by WER on its dev clips.

    A run is named by what it depends on: asked for again it goes on from its newest whole checkpoint, and a
    finished one is left alone. With several GPUs (or `config.processes`) so many processes share it; under
    `torchrun` or `accelerate launch` this is one of them.
    Args:
        language: Whisper's code, that of the set.
        until: a step with a checkpoint, after which the run pauses; it goes on when it is asked for more.
        search: for which it is made; the pages leave such runs out.
    Raises: Interrupted after SIGTERM, when a checkpoint is saved; ModelError; DamagedShard; NotFound;
        Untrainable if the loss is no number any more, or memory does not suffice.
    """
    request = Request(
        store=store.url,
        set_id=set_id,
        language=language_of(language).code,
        config=config,
        until=until,
        search=search,
    )
    processes = config.processes or max(1, torch.cuda.device_count())
    if processes > 1 and "RANK" not in os.environ:
        return launching.launch(request, processes, progress)
    with stop_requests() as stop:
        try:
            return _take_part(store, request, progress, stop)
        finally:
            AcceleratorState._reset_state(reset_partial_state="RANK" not in os.environ)


def load_checkpoint(store: Store, ref: CheckpointRef, cache: Path) -> SpeechModel:
    """The model of a checkpoint, ready to speak; LoRA is merged into its weights.

    The best one of a finished run is averaged with its base as dev chose, if its configuration asks for that.

    Raises: NotFound; SpeechError if the checkpoint is damaged; ModelError if the model that it started from
    cannot be had any more.
    """
    config = run_config(store, ref.run).finetune
    model = base_model(store, ref.run)
    learner = make_learner(model.model, replace(config, compile=False, gradient_checkpointing=False))
    weights, share = trained(learner), runs.tuned_share(store, ref)
    start = start_of(weights) if share < 1 else {}
    checkpoints.load_weights(checkpoints.whole(store, ref.run, ref.step, cache)[checkpoints.MODEL], weights)
    average(weights, start, share)
    merge_adapters(model.model)
    model.model.requires_grad_(False)
    named = replace(model, name=f"{model.name}, fine-tuned: {ref.run} after step {ref.step}")
    return named.served(config.windows)


def base_model(store: Store, run: str) -> SpeechModel:
    """The model that a run started from. Raises ModelError if that name means another one by now."""
    settings = run_config(store, run)
    config = settings.finetune
    model = load_model(config.model, language=settings.language, seed=config.seed)
    if model.fingerprint() != settings.fingerprint:
        raise ModelError(
            f"{config.model} is not the model any more that {run} started from: its weights have "
            "another SHA-256; bring the old one back, or start a new run"
        )
    return model


def _take_part(store: Store, request: Request, progress: Progress, stop: threading.Event) -> CheckpointRef:
    """Train, alone or as one of several processes."""
    on_cpu = not torch.cuda.is_available()
    process = PartialState(cpu=on_cpu, **({"timeout": PATIENCE} if "RANK" in os.environ else {}))
    of = language_of(request.language)
    model = load_model(request.config.model, language=of.code, seed=request.config.seed)
    fingerprint = model.fingerprint()
    config = replay.fill_in(store, request.config, request.set_id, of, model, fingerprint)
    request = replace(request, config=config)
    run = run_id(fingerprint, request.set_id, config, of)
    if best := runs.finished(store, run):
        return best
    inputs = _inputs(store, request, run, model, process, lambda: _unless(stop, run))
    folder = runs.run_folder(run)
    if process.is_main_process and f"{folder}/config.json" not in store.list(folder):
        settings = _settings(run, fingerprint, config, inputs, process)
        _begin(store, replace(settings, search=request.search))
    process.wait_for_everyone()
    settings = run_config(store, run)
    if settings.threads > threads.allowed():
        logger.warning("%s began with %d threads, more than the cores that it has now", run, settings.threads)
    with repeatable(settings.threads) if on_cpu else nullcontext():
        return Loop(store, settings, inputs, progress, stop, request.until).run()


def _unless(stop: threading.Event, run: str) -> None:
    """Raises Interrupted when the process was told to stop."""
    if stop.is_set():
        raise Interrupted(f"{run} was told to stop before its first step; start it again")


def _inputs(
    store: Store, request: Request, run: str, model: SpeechModel, process: PartialState, check: Check
) -> Inputs:
    """The model made ready to learn, and the clips of the set."""
    config = request.config
    train, dev = (
        open_prepared(store, request.set_id, (split,), cache_folder(), copies=True)
        for split in ("train", "dev")
    )
    train = part_of(train, config)
    if train.language != request.language:
        raise SpeechError(
            f"{request.set_id} is of language {train.language}, asked to train {request.language}; name "
            "another set"
        )
    if train.n_mels != model.n_mels:
        raise ModelError(
            f"{model.name} hears {model.n_mels} mel bins, {request.set_id} has {train.n_mels}; prepare a set "
            f"with n_mels {model.n_mels}, or take another model (large-v3 and turbo: 128, all others: 80)"
        )
    model.model.to(process.device)
    share, seed = config.translate_share, config.seed
    if config.own_english_share:
        with process.main_process_first():
            train, share = own_english.taught(store, run, train, model, config, check)
    train_examples = Examples(train, model.tokenizer, translate_share=share, seed=seed)
    mixed = mixing.open_mixed(store, config, train_examples, model)
    others = replay.open_replayed(store, config, language_of(request.language), model)
    if mixed or others:
        train_examples = replay.Mixture(train_examples, [*(one.examples for one in mixed), *others])
    dev_examples = Examples(dev, model.tokenizer, chosen=draw(dev, config.dev_clips, seed))
    about = tuple(one.about for one in mixed)
    return Inputs(model, make_learner(model.model, config), train_examples, dev_examples, about)


def _settings(
    run: str, fingerprint: str, config: FinetuneConfig, inputs: Inputs, process: PartialState
) -> RunConfig:
    """What the run is made with, nothing left open; it keeps to that from now on."""
    train, dev, network = inputs.train, inputs.dev, inputs.learner.model
    chosen = resolve(
        config,
        network.config,
        clips_s=make_sampler(train, config).seconds(),
        processes=process.num_processes,
        cuda=process.device.type == "cuda",
        largest_batch_s=lambda bound: _largest_batch_s(config, inputs, process.device, bound),
    )
    return RunConfig(
        run=run,
        language=train.clips.language,
        set_id=train.clips.set_id,
        fingerprint=fingerprint,
        finetune=chosen,
        groups_per_step=chosen.accumulate * process.num_processes,
        # nano is too small to share: on two threads it is slower wherever another process wants a core
        threads=1 if is_small(network.config) else threads.given(),
        clips=train.pools[0] if train.pools else len(train),
        copies=int(train.clips.rows["is_copy"].sum()),
        replayed=dict(zip(config.replay_sets, train.pools[1 + len(inputs.mixed) :], strict=True)),
        mixed=inputs.mixed,
        dev_clips=len(dev),
        set_aside=dict(Counter(clip.reason for clip in (*train.set_aside, *dev.set_aside))),
        version=package_version(),
    )


def _begin(store: Store, settings: RunConfig) -> None:
    """Write down what the run is made with."""
    try:
        store.put(f"{runs.run_folder(settings.run)}/config.json", encode(settings.to_dict()))
    except Conflict:
        logger.info("%s was begun elsewhere in this moment; going on with its settings", settings.run)


def _largest_batch_s(config: FinetuneConfig, inputs: Inputs, device: torch.device, bound: float) -> float:
    bf16 = config.precision != "fp32" and torch.cuda.is_bf16_supported()

    def fits(batch_s: float) -> bool:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            sampler = make_sampler(inputs.train, replace(config, batch_s=batch_s))
            return step_fits(inputs.learner, inputs.train, sampler, device)

    return find_batch_s(fits, bound)


def main() -> None:
    """One of several processes of a run; started by `launching`, `torchrun` or `accelerate launch`."""
    parser = argparse.ArgumentParser(prog="python -m dagsverk.speech.training.fit", description=main.__doc__)
    parser.add_argument("request", type=Path, help="what to train, as `launching` wrote it")
    launching.take_part(parser.parse_args().request, fit)


if __name__ == "__main__":
    main()
