"""What suits a model, its clips and a device, where people left it open; and the largest batch that fits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from transformers import WhisperConfig

from dagsverk.speech.config import NANO, FinetuneConfig
from dagsverk.speech.errors import Untrainable

# By d_model. Source: the rates Whisper was trained with; its authors advise a 40th of them for fine-tuning.
_PUBLISHED_RATES = {384: 3.75e-5, 512: 2.5e-5, 768: 1.25e-5, 1024: 6.25e-6, 1280: 5e-6}
_LORA_FACTOR = 10  # adapters want about ten times the rate
_EPOCHS = 5
_MAX_STEPS = 4000
_VALIDATIONS = 8
_MAX_STEPS_UNSAVED = 500

# Found by experiment with the spoken corpus: 3000 clips of 1.9 s, so batches of about sixteen.
_NANO_STEPS = 1500
_NANO_LEARNING_RATE = 6e-3
_NANO_BATCH_S = 32.0
_NANO_VALIDATIONS = 5

REPLAY_SHARE = 0.2  # of an epoch's clips, where the store has other languages; as measured, see decision 34
FULL_WINDOW_SHARE = 0.01
CPU_BATCH_S = 60.0
LEAST_BATCH_S = 30.0  # one window
MOST_BATCH_S = 1920.0  # 64 windows: beyond, a step learns no more, and there are too few of them
LEAST_BATCHES_PER_EPOCH = 200
FILLED = 0.9  # of what just fits: allocators want room
_REFINEMENTS = 3


def is_small(model: WhisperConfig) -> bool:
    """Whether it is of nano's kind: trained from scratch, not by Whisper's authors."""
    return int(model.d_model) < min(_PUBLISHED_RATES)


def resolve(
    config: FinetuneConfig,
    model: WhisperConfig,
    *,
    clips_s: float,
    processes: int,
    cuda: bool,
    largest_batch_s: Callable[[float], float],
) -> FinetuneConfig:
    """The configuration with nothing left open.

    Args:
        clips_s: seconds of audio to train on.
        processes: how many train together.
        cuda: whether on GPUs.
        largest_batch_s: asked, on a GPU, for the largest batch that fits and is no larger than its argument.
    """
    small = is_small(model)
    batch_s = config.batch_s
    if batch_s is None and small:
        batch_s = _NANO_BATCH_S
    if batch_s is None:
        bound = clips_s / LEAST_BATCHES_PER_EPOCH / (config.accumulate * processes)
        bound = min(MOST_BATCH_S, max(LEAST_BATCH_S, bound))
        batch_s = largest_batch_s(bound) if cuda else min(CPU_BATCH_S, bound)
    a_step_s = batch_s * config.accumulate * processes
    fitting = min(_MAX_STEPS, max(1, math.ceil(_EPOCHS * clips_s / a_step_s)))
    steps = config.steps or (_NANO_STEPS if small else fitting)
    validations = _NANO_VALIDATIONS if small else _VALIDATIONS
    evaluate_every = config.evaluate_every or math.ceil(steps / validations)
    bf16 = cuda and torch.cuda.is_bf16_supported()
    return replace(
        config,
        batch_s=batch_s,
        steps=steps,
        learning_rate=config.learning_rate or default_learning_rate(config, model),
        full_window_share=full_window_share(config),
        precision=config.precision if config.precision != "auto" else "bf16" if bf16 else "fp32",
        spec_augment=not small if config.spec_augment is None else config.spec_augment,
        processes=processes,
        evaluate_every=evaluate_every,
        checkpoint_every=config.checkpoint_every or min(evaluate_every, _MAX_STEPS_UNSAVED),
    )


def full_window_share(config: FinetuneConfig) -> float:
    """Of clips given as full 30 s windows: all, those that were asked for, or what suits the model.

    nano's clips last two seconds: one full window among a hundred of them would cost two thirds more time.
    """
    if config.windows == "full":
        return 1.0
    if config.full_window_share is not None:
        return config.full_window_share
    return 0.0 if config.model == NANO else FULL_WINDOW_SHARE


def default_learning_rate(config: FinetuneConfig, model: WhisperConfig) -> float:
    if is_small(model):
        return _NANO_LEARNING_RATE
    nearest = min(_PUBLISHED_RATES, key=lambda width: abs(width - int(model.d_model)))
    return _PUBLISHED_RATES[nearest] * (_LORA_FACTOR if config.lora_rank else 1)


def find_batch_s(fits: Callable[[float], bool], bound: float) -> float:
    """The largest batch, in seconds of audio, that fits, and a tenth less: memory is never the same twice.

    Args:
        fits: tries a batch of so many seconds.
        bound: no larger ones are tried.
    Raises: Untrainable if not even one window fits.
    """
    good, bad = 0.0, math.inf
    trial = LEAST_BATCH_S
    while bad == math.inf and good < bound:
        trial = min(bound, trial)
        good, bad = (trial, bad) if fits(trial) else (good, trial)
        trial *= 2
    if good == 0:
        raise Untrainable(
            f"not even {LEAST_BATCH_S:g} s of audio fit into the GPU's memory; take a smaller model, LoRA "
            "(lora_rank 32), gradient_checkpointing, or a GPU with more memory"
        )
    if bad == math.inf:
        return good
    for _ in range(_REFINEMENTS):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return max(LEAST_BATCH_S, FILLED * good)
