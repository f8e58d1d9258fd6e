"""How nano begins: untaught, but already listening from left to right as it writes.

A small Whisper that is trained from scratch first has to find out that what is written next is what was said
next.
Here the decoder's positions have the sinusoids of the encoder's at the pace of speech, and queries and keys
of cross-attention begin alike, so that each token first attends to where it is likely said.
"""

from __future__ import annotations

import math
from typing import Any

import torch

INIT_STD = 0.05
EMBEDDING_STD = 0.05
PROMPT_TOKENS = 3  # before the first one that writes text
POSITIONS_PER_BYTE = 2.7  # of the encoder, 50 a second: how fast people speak
SHARPNESS = 2.0  # of the first attention


@torch.no_grad()
def begin(network: Any) -> None:
    """Set the weights that a fresh nano begins with; chance comes from torch's own generator."""
    encoder, decoder = network.model.encoder, network.model.decoder
    for layer in (encoder.conv1, encoder.conv2):  # sound keeps its strength on its way in
        layer.weight.normal_(0, math.sqrt(2 / (layer.in_channels * layer.kernel_size[0])))
    decoder.embed_tokens.weight.normal_(0, EMBEDDING_STD)
    count, width = decoder.embed_positions.weight.shape
    positions = (torch.arange(count) - PROMPT_TOKENS).clamp(min=0) * POSITIONS_PER_BYTE
    decoder.embed_positions.weight.copy_(_sinusoids(positions, width))
    for layer in decoder.layers:
        shared = torch.nn.init.orthogonal_(torch.empty(width, width)) * SHARPNESS
        layer.encoder_attn.q_proj.weight.copy_(shared)
        layer.encoder_attn.k_proj.weight.copy_(shared)
        layer.encoder_attn.q_proj.bias.zero_()


def _sinusoids(places: torch.Tensor, width: int) -> torch.Tensor:
    """(places, width): Whisper's encoding of positions, at places between them too."""
    step = math.log(10_000) / (width // 2 - 1)
    angles = places[:, None] * torch.exp(-step * torch.arange(width // 2))
    return torch.cat([angles.sin(), angles.cos()], dim=1)
