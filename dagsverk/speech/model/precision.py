"""What is computed in where nothing is learnt: bf16 on devices made for it, else as the weights are kept.

Measured on human voices: docs/decisions/0037-whose-decoding.md.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import torch
from torch import nn
from transformers import WhisperForConditionalGeneration

Precision = Literal["fp32", "bf16"]

LEAST_WIDTH = 384  # of the published models; nano gains nothing on a processor, and speaks the same on all

_as_kept = ContextVar("as_kept", default=False)


def precision(model: WhisperForConditionalGeneration, device: torch.device | None = None) -> Precision:
    """What the model is decoded in, on this device (default: where it is)."""
    return "bf16" if model.dtype == torch.bfloat16 or wants_bf16(model, device) else "fp32"


def wants_bf16(model: WhisperForConditionalGeneration, device: torch.device | None = None) -> bool:
    """Whether it is kept in fp32 and the device is faster in bf16."""
    kind = (device or model.device).type
    if model.dtype != torch.float32 or _as_kept.get():
        return False
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return kind == "cpu" and model.config.d_model >= LEAST_WIDTH and _processor_multiplies_bf16()


@contextmanager
def as_kept() -> Iterator[None]:
    """Meanwhile nothing is cast: for measurements of fp32 itself."""
    before = _as_kept.set(True)
    try:
        yield
    finally:
        _as_kept.reset(before)


@contextmanager
def evaluating(model: WhisperForConditionalGeneration) -> Iterator[WhisperForConditionalGeneration]:
    """The model without dropout and gradients, in the device's precision; itself is left as it was."""
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.inference_mode():
            network = _in_bf16(model) if wants_bf16(model) else model
            network.train(False)
            yield network
    finally:
        for module, training in modes.items():
            module.training = training


@functools.cache
def _processor_multiplies_bf16() -> bool:
    """Whole tiles at a time (AMX). Processors without it were not measured, and stay in fp32."""
    capabilities: Any = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.8 cannot be asked
    built_for_it: Any = torch.backends.mkldnn.is_available  # the library's carries no types
    return bool(capabilities.get("amx_bf16") and built_for_it())


def _in_bf16(model: WhisperForConditionalGeneration) -> WhisperForConditionalGeneration:
    """A copy; each weight is cast as it is copied, so a second copy in fp32 never exists."""
    cast: dict[int, object] = {}
    for weight in model.parameters():
        cast[id(weight)] = nn.Parameter(weight.detach().to(torch.bfloat16), requires_grad=False)
    copied: WhisperForConditionalGeneration = copy.deepcopy(model, cast)
    return copied
