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

GROWTH = 32  # tokens; room for texts is added as they get longer, few use all that they may


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
        watched: heads of cross-attention, (layer, head), whose attention is kept in `attention`.
    """

    def __init__(
        self,
        model: WhisperForConditionalGeneration,
        states: Sequence[torch.Tensor],
        watched: Sequence[tuple[int, int]] = (),
    ) -> None:
        decoder = model.model.decoder
        self._embed = decoder.embed_tokens
        self._positions = decoder.embed_positions.weight
        self._norm = decoder.layer_norm
        self._project = model.proj_out
        padded = torch.nn.utils.rnn.pad_sequence(list(states), batch_first=True)
        self._lengths = [len(state) for state in states]
        self._audio_mask = _mask(self._lengths, padded.device)
        self._written = 0
        self._layers = [_remember(layer, padded) for layer in decoder.layers]
        self._watched = [[head for at, head in watched if at == place] for place in range(len(self._layers))]
        self.attention: list[
            torch.Tensor
        ] = []  # of the tokens read last: float32 (rows, heads, n, positions)

    def read(self, tokens: torch.Tensor) -> torch.Tensor:
        """Take in each row's next tokens, (rows, n); n > 1 only at the beginning.

        Returns: for each of them what `logits` makes the next token's of, (rows, n, d_model).
        Raises: ValueError if there are more than the decoder has positions for.
        """
        end = self._written + tokens.shape[1]
        if end > len(self._positions):
            raise ValueError(f"the decoder holds {len(self._positions)} tokens, asked for {end}")
        hidden = self._embed(tokens) + self._positions[self._written : end]
        self.attention = []
        for layer, watched in zip(self._layers, self._watched, strict=True):
            hidden = hidden + self._attend_to_text(layer, hidden, end)
            if watched:
                self.attention.append(self._attention(layer, hidden, watched))
            hidden = hidden + self._attend_to_audio(layer, hidden)
            modules = layer.modules
            widened = modules.activation_fn(modules.fc1(modules.final_layer_norm(hidden)))
            hidden = hidden + modules.fc2(widened)
        self._written = end
        normalised: torch.Tensor = self._norm(hidden)
        return normalised

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Of one place in each row, (rows, d_model): float32 (rows, vocabulary)."""
        logits: torch.Tensor = self._project(hidden).float()
        return logits

    def take(self, rows: Sequence[int]) -> None:
        """Go on with copies of these rows, in this order: equally many for each clip, clip by clip."""
        if list(rows) == list(range(len(self._layers[0].keys))):
            return
        index = torch.tensor(rows, device=self._positions.device)
        for layer in self._layers:
            layer.keys = layer.keys[:, :, : self._written].index_select(0, index)
            layer.values = layer.values[:, :, : self._written].index_select(0, index)

    def keep(self, clips: Sequence[int]) -> None:
        """Go on with these clips only, by their present place, and all their rows."""
        rows_per_clip = len(self._layers[0].keys) // len(self._lengths)
        self.take([clip * rows_per_clip + beam for clip in clips for beam in range(rows_per_clip)])
        self._lengths = [self._lengths[clip] for clip in clips]
        index = torch.tensor(clips, device=self._positions.device)
        for layer in self._layers:
            layer.audio_keys = layer.audio_keys.index_select(0, index)
            layer.audio_values = layer.audio_values.index_select(0, index)
        self._audio_mask = _mask(self._lengths, self._positions.device)

    def _attend_to_text(self, layer: _Layer, hidden: torch.Tensor, end: int) -> torch.Tensor:
        attention = layer.modules.self_attn
        normed = layer.modules.self_attn_layer_norm(hidden)
        if end > layer.keys.shape[2]:
            room = (0, 0, 0, max(GROWTH, end - layer.keys.shape[2]))
            layer.keys, layer.values = functional.pad(layer.keys, room), functional.pad(layer.values, room)
        layer.keys[:, :, self._written : end] = _heads(attention, attention.k_proj(normed))
        layer.values[:, :, self._written : end] = _heads(attention, attention.v_proj(normed))
        several = hidden.shape[1] > 1  # the prompt: each token sees those before it
        return _attend(attention, normed, layer.keys[:, :, :end], layer.values[:, :, :end], is_causal=several)

    def _attend_to_audio(self, layer: _Layer, hidden: torch.Tensor) -> torch.Tensor:
        normed = layer.modules.encoder_attn_layer_norm(hidden)
        by_clip = normed.view(len(layer.audio_keys), -1, normed.shape[-1])  # a clip's beams ask side by side
        longest = max(self._lengths)  # of those that are still there
        keys, values = layer.audio_keys[:, :, :longest], layer.audio_values[:, :, :longest]
        attended = _attend(layer.modules.encoder_attn, by_clip, keys, values, mask=self._audio_mask)
        return attended.view_as(hidden)

    def _attention(self, layer: _Layer, hidden: torch.Tensor, heads: Sequence[int]) -> torch.Tensor:
        """What these heads attend to in the audio, in float32."""
        attention = layer.modules.encoder_attn
        normed = layer.modules.encoder_attn_layer_norm(hidden)
        query = _heads(attention, attention.q_proj(normed) * attention.scaling)[:, list(heads)]
        keys = layer.audio_keys[:, list(heads)].repeat_interleave(len(query) // len(layer.audio_keys), dim=0)
        scores = query.float() @ keys.float().transpose(2, 3)
        if self._audio_mask is not None:
            scores = scores.masked_fill(~self._audio_mask, -torch.inf)
        return scores.softmax(-1)


def _remember(layer: WhisperDecoderLayer, states: torch.Tensor) -> _Layer:
    attention = layer.encoder_attn
    nothing = states.new_zeros(len(states), attention.num_heads, 0, attention.head_dim)
    return _Layer(
        layer,
        _heads(attention, attention.k_proj(states)).contiguous(),
        _heads(attention, attention.v_proj(states)).contiguous(),
        nothing,
        nothing,
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


def _mask(lengths: Sequence[int], device: torch.device) -> torch.Tensor | None:
    """(clips, 1, 1, positions of the longest), True where a clip has audio; None if all are equally long."""
    if min(lengths) == max(lengths):
        return None
    held = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return held[:, None, None].to(device)
