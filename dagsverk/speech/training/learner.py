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
from transformers import WhisperForConditionalGeneration

from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.model.encoder import encode
from dagsverk.speech.training.examples import Example

LORA_DROPOUT = 0.05
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
        """The loss in nats, summed over what the batch teaches. Logits are made for these tokens only."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen):
            encoded = encode(self.model, example.mels)
        decoded = self.model.model.decoder(
            input_ids=example.tokens, encoder_hidden_states=encoded, use_cache=False
        ).last_hidden_state
        logits = self.model.proj_out(decoded.flatten(0, 1).index_select(0, example.places))
        return functional.cross_entropy(
            logits.float(), example.targets, reduction="sum", label_smoothing=self._smoothing
        )


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
