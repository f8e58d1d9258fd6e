"""What hardware allows: arithmetic and bytes of a model's work, and what a device does of them in a second.

Light: no torch until a device is asked.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

# Dense bf16 FLOP/s (T4: fp16) and bytes/s of memory, by the makers' data sheets (SXM if there are several).
CARDS = {
    "H200": (989e12, 4.8e12),
    "H100": (989e12, 3.35e12),
    "A100": (312e12, 2.0e12),
    "L4": (121e12, 0.3e12),
    "T4": (65e12, 0.32e12),
}
ADAMW_BYTES = 28  # a weight: its value, gradient and two moments read, three of them written, in fp32
PASS_BYTES = 14  # a weight: read and cast to bf16, read forward and backward, its gradient written in fp32
WAYS = 3  # forward and backward against forward


@dataclass(frozen=True)
class Work:
    """Multiplications and additions of a forward pass over one clip, by part of the model."""

    convolutions: float
    encoder: float
    decoder: float  # with the logits

    @property
    def whole(self) -> float:
        return self.convolutions + self.encoder + self.decoder


def forward_flops(config: Any, frames: int, tokens: int, targets: int | None = None) -> Work:
    """FLOP of one clip: two per multiplication of matrices; what is done value by value is left out.

    Args:
        config: a WhisperConfig.
        frames: of log-mel that the encoder is given.
        tokens: that the decoder reads.
        targets: places that logits are made for; None: all.
    """
    d, positions = config.d_model, (frames + 1) // 2
    convolutions = 3 * d * (config.num_mel_bins * frames + d * positions)
    a_layer = positions * (4 * d * d + 2 * d * config.encoder_ffn_dim) + 2 * positions * positions * d
    own = tokens * (6 * d * d + 2 * d * config.decoder_ffn_dim) + 2 * tokens * tokens * d
    crossed = 2 * positions * d * d + 2 * tokens * positions * d
    logits = (tokens if targets is None else targets) * d * config.vocab_size
    decoder = config.decoder_layers * (own + crossed) + logits
    return Work(2.0 * convolutions, 2.0 * config.encoder_layers * a_layer, 2.0 * decoder)


def training_flops(config: Any, frames: int, tokens: int) -> float:
    """Of a step over one clip, forward and backward."""
    return WAYS * forward_flops(config, frames, tokens).whole


def step_bytes(weights: int) -> float:
    """Bytes that a step moves for its weights alone, however large the batch."""
    return float(weights * (ADAMW_BYTES + PASS_BYTES))


def decoding_s(config: Any, frames: int, tokens: int, clips: int, batches: int, card: Card) -> float:
    """The least seconds in which clips can be decoded: arithmetic of the encoder, bytes of the decoder.

    Each token reads the decoder's weights once for a batch, and the clip's keys and values, in bf16.
    """
    d, positions = config.d_model, (frames + 1) // 2
    work = forward_flops(config, frames, tokens)
    a_layer = 8 * d * d + 2 * d * config.decoder_ffn_dim
    weights = config.decoder_layers * a_layer + d * config.vocab_size
    read = 2 * tokens * (weights * batches + clips * 2 * positions * d * config.decoder_layers)
    encoded_s = clips * (work.convolutions + work.encoder) / card.flops_per_s
    return encoded_s + max(clips * work.decoder / card.flops_per_s, read / card.bytes_per_s)


@dataclass(frozen=True)
class Card:
    """What a device does at best."""

    name: str
    flops_per_s: float
    bytes_per_s: float


def card(*, bf16: bool = False) -> Card:
    """This machine's GPU, by its data sheet; without one its processor, by what it does of large products.

    Args: bf16: what a processor is measured in; else fp32.
    """
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        known = next((limits for part, limits in CARDS.items() if part in name), (float("nan"),) * 2)
        return Card(name, *known)
    a = torch.randn(1024, 1024).to(torch.bfloat16 if bf16 else torch.float32)
    b, c = torch.zeros(2, 2**25)
    products = _best(lambda: a @ a)
    copies = _best(lambda: c.copy_(b))
    return Card(f"CPU, {torch.get_num_threads()} threads", 2 * 1024**3 / products, 8 * len(b) / copies)


def _best(work: Any) -> float:
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def memory_gb() -> float:
    """The most that this process held: of the GPU's memory, else of main memory."""
    import resource

    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
