"""What a search may set of a fine-tuning: ranges around what suits the model's size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optuna.trial import Trial

from dagsverk.speech.config import NANO, FinetuneConfig
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.searching import LEAST_STEPS, PARTS

# The rate is drawn as a multiple of the one of the model's width. In three languages the best place was
# between once and twice it, half and four times were worse (decision 31); adapters want ten times as much.
RATE_FACTORS = (0.25, 4.0)
LORA_RATE = 10.0
WEIGHT_DECAYS = (1e-4, 0.3)
WARMUPS = (0.0, 0.2)
RANKS = (8, 16, 32, 64)
FULL_WINDOWS = (0.0, 0.01, 0.03)  # a window costs as much as ten clips of 3 s
BATCHES = (0.5, 1.0, 2.0)  # of the default's audio in a step; steps are as many fewer or more
ALL, DECODER, LORA = "all", "decoder", "lora"


def start_of(resolved: FinetuneConfig) -> FinetuneConfig:
    """The default as a trial: as the trainer filled it in, with a validation after each part.

    Raises SpeechError if there are too few steps to cut into parts.
    """
    steps = resolved.steps or 0
    if steps < LEAST_STEPS:
        raise SpeechError(
            f"a search pauses trainings after an eighth of their steps, and wants {LEAST_STEPS} or more; "
            f"got {steps}: give finetune more steps"
        )
    return in_parts(resolved)


def in_parts(settings: FinetuneConfig) -> FinetuneConfig:
    """With a validation and a checkpoint after each part, of which the newest is kept."""
    part = max(1, (settings.steps or 0) // PARTS)
    return replace(settings, evaluate_every=part, checkpoint_every=part, keep_checkpoints=1)


def is_nano(of: FinetuneConfig) -> bool:
    """Whether it learns from nothing, so that there is nothing to leave as it is."""
    return of.model == NANO


def default_parameters(default: FinetuneConfig) -> dict[str, Any]:
    """The default as the parameters of a trial, as near as the space has them: the sampler learns of it."""
    kind = LORA if default.lora_rank else DECODER if default.freeze_encoder else ALL
    parameters: dict[str, Any] = {
        "rate_factor": 1.0,
        "weight_decay": min(max(default.weight_decay, WEIGHT_DECAYS[0]), WEIGHT_DECAYS[1]),
        "warmup_share": min(max(default.warmup_share, WARMUPS[0]), WARMUPS[1]),
        "spec_augment": bool(default.spec_augment),
        "batch_factor": 1.0,
    }
    if not is_nano(default):
        if _kind_is_free(default):
            parameters["trained"] = kind
        if _kind_is_free(default) and kind == LORA:
            parameters["lora_rank"] = default.lora_rank
        if default.windows == "true_length":
            parameters["full_window_share"] = default.full_window_share or 0.0
    return parameters


def suggested(trial: Trial, default: FinetuneConfig) -> FinetuneConfig:
    """Settings, as the trial's sampler draws them. Steps follow the batch: a run is of as much audio."""
    factor = trial.suggest_float("rate_factor", *RATE_FACTORS, log=True)
    drawn: dict[str, Any] = {
        "weight_decay": trial.suggest_float("weight_decay", *WEIGHT_DECAYS, log=True),
        "warmup_share": trial.suggest_float("warmup_share", *WARMUPS),
        "spec_augment": bool(trial.suggest_categorical("spec_augment", (True, False))),
    }
    rate = default.learning_rate or 0.0
    if not is_nano(default):
        kind, rate = _kind(trial, default, rate)
        drawn |= kind
        if default.windows == "true_length":
            shares = tuple(sorted({*FULL_WINDOWS, default.full_window_share or 0.0}))
            drawn["full_window_share"] = trial.suggest_categorical("full_window_share", shares)
    drawn |= _batch(float(trial.suggest_categorical("batch_factor", BATCHES)), default)
    drawn["learning_rate"] = _short(min(0.1, rate * factor))
    return in_parts(replace(default, **_shortened(drawn)))


def _kind(trial: Trial, default: FinetuneConfig, rate: float) -> tuple[Mapping[str, Any], float]:
    """What is trained, and the rate that suits it."""
    if not _kind_is_free(default):
        return {}, rate
    full_rate = rate / LORA_RATE if default.lora_rank else rate
    chosen = str(trial.suggest_categorical("trained", (ALL, DECODER, LORA)))
    if chosen != LORA:
        return {"freeze_encoder": chosen == DECODER, "lora_rank": 0}, full_rate
    ranks = tuple(sorted({*RANKS, default.lora_rank} - {0}))
    rank = int(trial.suggest_categorical("lora_rank", ranks))
    return {"freeze_encoder": False, "lora_rank": rank}, full_rate * LORA_RATE


def _kind_is_free(default: FinetuneConfig) -> bool:
    """Whoever asks for adapters beside a frozen encoder is short of memory: that stays."""
    return not (default.freeze_encoder and default.lora_rank)


def _batch(factor: float, default: FinetuneConfig) -> dict[str, Any]:
    """More audio in a step by more batches, never by a larger one: what fits into memory still does."""
    steps = max(PARTS, math.floor((default.steps or 0) / factor))
    if factor > 1:
        return {"accumulate": round(default.accumulate * factor), "steps": steps}
    return {"batch_s": (default.batch_s or 0.0) * factor, "steps": steps}


def _shortened(drawn: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _short(value) if isinstance(value, float) else value for name, value in drawn.items()}


def _short(value: float) -> float:
    """Three digits say it: people copy these numbers."""
    return float(f"{value:.3g}")
