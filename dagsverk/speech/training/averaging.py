"""The mean of what a run learnt and the model that it started from, weight by weight.

Source: Wortsman et al. 2021, "Robust fine-tuning of zero-shot models" (WiSE-FT).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

SHARES = (0.5, 0.75)  # of the tuned weights, besides all of them; less leaves a model without true length
_LORA_INPUT, _LORA_OUTPUT = "lora_A", "lora_B"  # of an adapter, whose product is added to a base weight


def start_of(weights: Mapping[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    """Copies in main memory of the weights that learn, before they have learnt anything."""
    return {
        name: weight.detach().to("cpu", copy=True)
        for name, weight in weights.items()
        if _LORA_INPUT not in name and _LORA_OUTPUT not in name
    }


def average(weights: Mapping[str, nn.Parameter], start: Mapping[str, torch.Tensor], share: float) -> None:
    """Leave `share` of what the weights learnt, and `1 - share` of where they started. Of LoRA: of what is
    added to the weights beside it."""
    if share == 1:
        return
    with torch.no_grad():
        for name, weight in weights.items():
            if name in start:
                began = start[name].to(weight.device)
                weight.copy_(began + share * (weight - began))
            elif _LORA_OUTPUT in name:
                weight.mul_(share)


def choose_share(dev_wer: Mapping[float, float]) -> float:
    """The least share of what was learnt with which dev is not written worse than with all of it.

    Args: dev_wer: by share, that of 1 among them. NaN, nothing to score: chooses nothing.
    """
    return min(share for share, wer in dev_wer.items() if share == 1 or wer <= dev_wer[1.0])
