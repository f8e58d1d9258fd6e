"""What learns: the model as it is trained, its loss, its optimiser, and the rate at which it learns."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import WhisperForConditionalGeneration
from transformers.models.whisper.modeling_whisper import WhisperDecoder

from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.model.encoder import encode
from dagsverk.speech.training.examples import Example

LORA_DROPOUT = 0.05
LOGITS_AT_ONCE = 2048  # tokens: 425 MB in fp32; a step of more makes them again, part by part, going backward
ADAM_BETAS = (0.9, 0.98)  # as Whisper was trained
UNDECAYED = re.compile(r"bias$|norm|embed")  # pulling these to zero only harms


class Learner(nn.Module):
    """A Whisper and its loss, in one forward, as wrappers for several processes want it."""

    def __init__(self, model: WhisperForConditionalGeneration, config: FinetuneConfig) -> None:
        super().__init__()
        self.model = model
        self._smoothing = config.label_smoothing
        self._frozen = config.freeze_encoder

    def forward(self, example: Example) -> torch.Tensor:
        """The loss in nats, summed over what the batch teaches.

        Logits are made for these tokens only, and of many never for all at once: over 51,866 tokens they and
        their gradients would be the largest thing in memory.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen):
            encoded = encode(self.model, example.mels)
        decoded = read(self.model.model.decoder, example.tokens, encoded)
        states = decoded.flatten(0, 1).index_select(0, example.places)
        if len(states) <= LOGITS_AT_ONCE:
            return self._loss(states, example.targets)
        pieces = (torch.split(tensor, LOGITS_AT_ONCE) for tensor in (states, example.targets))
        return torch.stack([self._loss_again(*piece) for piece in zip(*pieces, strict=True)]).sum()

    def _loss_again(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """`_loss`, whose logits are not kept for going backward but made again."""
        loss: torch.Tensor = checkpoint(
            self._loss, states, targets, use_reentrant=False, preserve_rng_state=False
        )
        return loss

    def _loss(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = self.model.proj_out(states)
        return functional.cross_entropy(
            logits.float(), targets, reduction="sum", label_smoothing=self._smoothing
        )


def read(decoder: WhisperDecoder, tokens: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
    """What the decoder makes of tokens, (batch, tokens, d_model), each seeing those before it and the clip.

    The library's own forward, without its search for texts packed behind each other: its answer is waited
    for, so a GPU would run out of work in the middle of every step.
    """
    hidden = decoder.embed_tokens(tokens) + decoder.embed_positions.weight[: tokens.shape[1]]
    hidden = functional.dropout(hidden, p=decoder.dropout, training=decoder.training)
    for layer in decoder.layers:
        hidden = layer(
            hidden, None, encoded, use_cache=False
        )  # no mask: causal by itself, and so the fastest
    normalised: torch.Tensor = decoder.layer_norm(hidden)
    return normalised


def make_learner(model: WhisperForConditionalGeneration, config: FinetuneConfig) -> Learner:
    """The model made ready to learn as the configuration says; changes it in place."""
    network: Any = model
    network.requires_grad_(True)
    network.get_encoder().embed_positions.requires_grad_(False)  # sinusoids, never learnt
    if config.freeze_encoder:
        network.get_encoder().requires_grad_(False)
    if config.lora_rank:
        _add_adapters(network, config)
    if config.gradient_checkpointing:
        older = network.gradient_checkpointing_enable  # renamed within transformers 5
        getattr(network, "activation_checkpointing_enable", older)({"use_reentrant": False})
    if config.compile:
        for layer in (*network.get_encoder().layers, *network.model.decoder.layers):
            layer.compile(dynamic=True)  # one layer's code serves all, of any length
    return Learner(network, config)


def trained(learner: Learner) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name; tied ones once."""
    return {name: weight for name, weight in learner.model.named_parameters() if weight.requires_grad}


def make_optimiser(weights: dict[str, nn.Parameter], config: FinetuneConfig) -> torch.optim.AdamW:
    """AdamW in one fused pass; norms, biases and embeddings do not decay."""
    decayed = [weight for name, weight in weights.items() if not UNDECAYED.search(name)]
    others = [weight for name, weight in weights.items() if UNDECAYED.search(name)]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=ADAM_BETAS, fused=True)


def take_step(optimiser: torch.optim.AdamW, figures: torch.Tensor, rate: float) -> list[float]:
    """Move the weights at this rate and forget their gradients, unless a figure is no number.

    Then nothing changes, neither weights nor what the optimiser remembers. That is decided where the figures
    are: a GPU is given the whole step before this process waits for what it came to, and has work meanwhile.
    Returns: the figures.
    """
    seen, there = figures, None
    if figures.is_cuda:
        seen = torch.empty_like(figures, device="cpu", pin_memory=True)
        seen.copy_(figures, non_blocking=True)
        there = torch.cuda.Event()  # type: ignore[no-untyped-call]
        there.record()
    for group in optimiser.param_groups:
        group["lr"] = rate
    # what torch's own scaler of gradients sets: a fused optimiser leaves out a step for which it is 1
    optimiser.found_inf = (~figures.isfinite().all()).float()  # type: ignore[attr-defined]
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    if there is not None:
        there.synchronize()
    values: list[float] = seen.tolist()
    return values


def learning_rate(step: int, config: FinetuneConfig) -> float:
    """The rate of a step, counted from 0: rises over the warm-up, then decays to 0 just after the last step.

    Takes a configuration without gaps. A function of the step alone, so there is no schedule to save.
    """
    assert config.steps is not None and config.learning_rate is not None  # noqa: S101  filled in by `resolve`
    warmup = round(config.warmup_share * config.steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    left = (config.steps - step) / max(1, config.steps - warmup)
    if config.decay == "linear":
        return config.learning_rate * left
    if config.decay == "cosine":
        return config.learning_rate * (1 - math.cos(math.pi * left)) / 2
    return config.learning_rate


def merge_adapters(model: WhisperForConditionalGeneration) -> None:
    """Add what LoRA learnt to the weights that it stood beside, and remove it; nothing, if there is none."""
    network: Any = model
    for name, module in list(network.named_modules()):
        if isinstance(module, LoraLinear):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, module.get_base_layer())


def _add_adapters(network: Any, config: FinetuneConfig) -> None:
    """LoRA beside the queries and values of all attention, as its authors advise; all else is frozen."""
    where = "decoder" if config.freeze_encoder else "(encoder|decoder)"
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=2 * config.lora_rank,
        lora_dropout=LORA_DROPOUT,
        target_modules=rf"model\.{where}\.layers\..*\.(q_proj|v_proj)",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        inject_adapter_in_model(lora, network)
    for name, weight in network.named_parameters():
        weight.requires_grad_("lora_" in name)
