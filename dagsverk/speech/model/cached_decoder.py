"""Whisper's decoder one token at a time: keys and values are kept, cross-attention's are computed once.

The library's modules and weights, without its machinery around each token. Every clip attends to exactly its
own encoder positions, so what a batch holds besides does not change what is said of a clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import WhisperForConditionalGeneration
from transformers.models.whisper.modeling_whisper import WhisperAttention, WhisperDecoderLayer


@dataclass
class _Layer:
    """A layer and what it remembers. Keys and values: (clips or rows, heads, positions, width of a head)."""

    modules: WhisperDecoderLayer
    audio_keys: torch.Tensor
    audio_values: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor


class CachedDecoder:
    """The decoder over a batch of clips. Begins with one row per clip; `take` makes several for beams.

    Args:
        states: the encoder's output for each clip, (positions, d_model), at its own length.
        capacity: tokens that a row may hold, prompt included; at most the decoder's positions.
    """

    def __init__(
        self, model: WhisperForConditionalGeneration, states: Sequence[torch.Tensor], *, capacity: int
    ) -> None:
        decoder = model.model.decoder
        if capacity > decoder.max_target_positions:
            raise ValueError(f"the decoder holds {decoder.max_target_positions} tokens, asked for {capacity}")
        self._embed = decoder.embed_tokens
        self._positions = decoder.embed_positions.weight
        self._norm = decoder.layer_norm
        self._project = model.proj_out
        padded = torch.nn.utils.rnn.pad_sequence(list(states), batch_first=True)
        self._audio_mask = _mask([len(state) for state in states], padded)
        self._written = 0
        self._layers = [_remember(layer, padded, capacity) for layer in decoder.layers]

    def read(self, tokens: torch.Tensor) -> torch.Tensor:
        """Take in each row's next tokens, (rows, n); n > 1 only at the beginning.

        Returns: the logits of the token that follows each of them, float32 (rows, n, vocabulary).
        """
        end = self._written + tokens.shape[1]
        hidden = self._embed(tokens) + self._positions[self._written : end]
        for layer in self._layers:
            hidden = hidden + self._attend_to_text(layer, hidden, end)
            hidden = hidden + self._attend_to_audio(layer, hidden)
            modules = layer.modules
            widened = modules.activation_fn(modules.fc1(modules.final_layer_norm(hidden)))
            hidden = hidden + modules.fc2(widened)
        self._written = end
        logits: torch.Tensor = self._project(self._norm(hidden)).float()
        return logits

    def take(self, rows: Sequence[int]) -> None:
        """Go on with copies of these rows, in this order: equally many for each clip, clip by clip."""
        index = torch.tensor(rows, device=self._positions.device)
        for layer in self._layers:
            layer.keys = layer.keys.index_select(0, index)
            layer.values = layer.values.index_select(0, index)

    def keep(self, clips: Sequence[int]) -> None:
        """Go on with these clips only, by their present place, and all their rows."""
        held = len(self._layers[0].audio_keys)
        rows_per_clip = len(self._layers[0].keys) // held
        self.take([clip * rows_per_clip + beam for clip in clips for beam in range(rows_per_clip)])
        index = torch.tensor(clips, device=self._positions.device)
        if self._audio_mask is not None:
            self._audio_mask = self._audio_mask.index_select(0, index)
        for layer in self._layers:
            layer.audio_keys = layer.audio_keys.index_select(0, index)
            layer.audio_values = layer.audio_values.index_select(0, index)

    def _attend_to_text(self, layer: _Layer, hidden: torch.Tensor, end: int) -> torch.Tensor:
        attention = layer.modules.self_attn
        normed = layer.modules.self_attn_layer_norm(hidden)
        layer.keys[:, :, self._written : end] = _heads(attention, attention.k_proj(normed))
        layer.values[:, :, self._written : end] = _heads(attention, attention.v_proj(normed))
        several = hidden.shape[1] > 1  # the prompt: each token sees those before it
        return _attend(attention, normed, layer.keys[:, :, :end], layer.values[:, :, :end], is_causal=several)

    def _attend_to_audio(self, layer: _Layer, hidden: torch.Tensor) -> torch.Tensor:
        normed = layer.modules.encoder_attn_layer_norm(hidden)
        by_clip = normed.view(len(layer.audio_keys), -1, normed.shape[-1])  # a clip's beams ask side by side
        return _attend(
            layer.modules.encoder_attn, by_clip, layer.audio_keys, layer.audio_values, mask=self._audio_mask
        ).view_as(hidden)


def _remember(layer: WhisperDecoderLayer, states: torch.Tensor, capacity: int) -> _Layer:
    attention = layer.encoder_attn
    shape = (len(states), attention.num_heads, capacity, attention.head_dim)
    return _Layer(
        layer,
        _heads(attention, attention.k_proj(states)).contiguous(),
        _heads(attention, attention.v_proj(states)).contiguous(),
        states.new_zeros(shape),
        states.new_zeros(shape),
    )


def _attend(
    attention: WhisperAttention,
    hidden: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    *,
    mask: torch.Tensor | None = None,
    is_causal: bool = False,
) -> torch.Tensor:
    # the query is scaled, not the product: the library's order, to which rounding is sensitive
    query = _heads(attention, attention.q_proj(hidden) * attention.scaling)
    attended = functional.scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, is_causal=is_causal, scale=1.0
    )
    joined: torch.Tensor = attention.out_proj(attended.transpose(1, 2).flatten(2))
    return joined


def _heads(attention: WhisperAttention, hidden: torch.Tensor) -> torch.Tensor:
    """(rows, n, d_model) as (rows, heads, n, width of a head)."""
    return hidden.view(*hidden.shape[:2], attention.num_heads, attention.head_dim).transpose(1, 2)


def _mask(lengths: Sequence[int], padded: torch.Tensor) -> torch.Tensor | None:
    """(clips, 1, 1, positions), True where a clip has audio; None if all are equally long."""
    if min(lengths) == padded.shape[1]:
        return None
    held = torch.arange(padded.shape[1]) < torch.tensor(lengths)[:, None]
    return held[:, None, None].to(padded.device)
