"""When each token of a text is spoken: cross-attention, and the cheapest way through it (DTW).

As openai/whisper, `timing.py`: the heads that follow the speech are named by the model's generation
configuration; a model without them is asked in all heads of the later half of its decoder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from dagsverk.speech.config import MEL_FRAMES_PER_S
from dagsverk.speech.model.cached_decoder import CachedDecoder
from dagsverk.speech.model.decoded import Task
from dagsverk.speech.model.decoding import States, encoder_states
from dagsverk.speech.model.lengths import alike_batches, grid_frames
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.model.precision import evaluating
from dagsverk.speech.model.tokens import end_id, prompt
from dagsverk.turns import Check, go_on

POSITIONS_PER_S = MEL_FRAMES_PER_S // 2
MEDIAN = 7  # positions over which attention is smoothed

Heads: TypeAlias = list[tuple[int, int]]  # layer, head


def alignment_heads(model: SpeechModel) -> tuple[Heads, bool]:
    """The heads to ask, and whether they are the model's own; else those of its decoder's later half."""
    config = model.model.config
    layers, heads = config.decoder_layers, config.decoder_attention_heads
    named = getattr(model.model.generation_config, "alignment_heads", None) or []
    own = [(int(layer), int(head)) for layer, head in named]
    if own and all(0 <= layer < layers and 0 <= head < heads for layer, head in own):
        return own, True
    return [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)], False


def token_times(
    model: SpeechModel,
    mels: Sequence[np.ndarray],
    floors: Sequence[float],
    tokens: Sequence[Sequence[int]],
    *,
    language: str,
    task: Task = "transcribe",
    batch_s: float = 240.0,
    slack_s: float = 0.1,
    full_windows: bool | None = None,
    states: States | None = None,
    check: Check = go_on,
) -> list[list[float]]:
    """When each token of each clip begins, and at last when the text ends: seconds, never falling.

    Args: as `decoding.decode`; tokens: that it wrote of each clip, without prompt and end.
    Returns: of each clip one more than it has tokens; none for a clip without tokens.
    """
    start, end = prompt(model.tokenizer, language, task), end_id(model.tokenizer)
    full = model.full_windows if full_windows is None else full_windows
    slack = round(slack_s * MEL_FRAMES_PER_S)
    spoken = [clip for clip, own in enumerate(tokens) if own]
    padded = [grid_frames(len(mels[clip]), slack, full=full) for clip in spoken]
    heads, _ = alignment_heads(model)
    room = model.model.config.max_target_positions - len(start) - 1
    times: list[list[float]] = [[] for _ in tokens]
    with evaluating(model.model) as network:
        quick = dataclasses.replace(model, model=network)
        for batch in alike_batches(padded, batch_s * MEL_FRAMES_PER_S):
            check()
            clips = [spoken[place] for place in batch]
            lengths = {spoken[place]: padded[place] for place in batch}
            own_lengths = [lengths.get(clip, 0) for clip in range(len(mels))]
            encoded = encoder_states(network, mels, floors, own_lengths, clips, states)
            rows = [[*start, *tokens[clip][:room], end] for clip in clips]
            for clip, weights in zip(clips, _attention(quick, encoded, rows, heads), strict=True):
                positions = (len(mels[clip]) + 1) // 2  # of the clip, not of what it is padded with
                # a token is chosen in the row of the one before it
                path = _starts(_smoothed(weights[:, :, :positions])[len(start) - 1 : -1])
                path += [path[-1]] * (len(tokens[clip]) + 1 - len(path))
                times[clip] = [place / POSITIONS_PER_S for place in path]
    return times


def _attention(
    model: SpeechModel, states: Sequence[torch.Tensor], rows: Sequence[Sequence[int]], heads: Heads
) -> list[NDArray[np.float32]]:
    """Of each row (heads, tokens, positions)."""
    network = model.model
    longest = max(map(len, rows))
    filled = [[*row, *[row[-1]] * (longest - len(row))] for row in rows]
    decoder = CachedDecoder(network, states, heads)
    decoder.read(torch.tensor(filled, device=network.device))
    seen = torch.cat(decoder.attention, dim=1).cpu().numpy()
    return [one[:, : len(row)] for one, row in zip(seen, rows, strict=True)]


def _smoothed(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """(heads, tokens, positions) as one score, (tokens, positions): each head's own scale does not count."""
    shares = weights / np.maximum(weights.sum(axis=2, keepdims=True), 1e-9)
    spread = shares.std(axis=1, keepdims=True)
    scaled = (shares - shares.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-9)
    width = min(MEDIAN, 2 * ((weights.shape[2] - 1) // 2) + 1)
    return np.asarray(median_filter(scaled, size=(1, 1, width), mode="reflect").mean(axis=0), np.float64)


def _starts(score: NDArray[np.float64]) -> list[int]:
    """The position at which each row begins on the best path from corner to corner: dynamic time warping.

    Cell by cell along the anti-diagonals, all of one at a time.
    """
    rows, columns = score.shape
    cost = np.full((rows + 1, columns + 1), np.inf)
    cost[0, 0] = 0.0
    step = np.zeros((rows + 1, columns + 1), np.int8)  # 0: both, 1: the row alone, 2: the position alone
    for total in range(2, rows + columns + 1):
        row = np.arange(max(1, total - columns), min(rows, total - 1) + 1)
        column = total - row
        ways = np.stack([cost[row - 1, column - 1], cost[row - 1, column], cost[row, column - 1]])
        best = ways.argmin(axis=0)
        cost[row, column] = ways[best, np.arange(len(row))] - score[row - 1, column - 1]
        step[row, column] = best
    starts = [0] * rows
    at_row, at_column = rows, columns
    while at_row > 0 and at_column > 0:
        starts[at_row - 1] = at_column - 1
        taken = int(step[at_row, at_column])
        at_row -= taken != 2
        at_column -= taken != 1
    return starts
