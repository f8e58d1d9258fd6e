"""Whisper's encoder at the clip's true length: no 30 s of padding, positions cut to what there is.

The library's own forward insists on 3000 frames; this one runs the same modules with the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional
from transformers import WhisperForConditionalGeneration
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from dagsverk.speech.model.lengths import WINDOW_FRAMES


def encode(model: WhisperForConditionalGeneration, mels: torch.Tensor) -> torch.Tensor:
    """What the encoder makes of a batch of log-mels, at their common length.

    Args: mels: (batch, n_mels, frames), frames <= 3000 (of a published Whisper; else twice its positions).
    Returns: (batch, ceil(frames / 2), d_model). At 3000 frames equal to the library's own encoder.
    Raises: ValueError if there are more frames than positions.
    """
    return encode_with(model.get_encoder(), mels)


def encode_with(encoder: WhisperEncoder, mels: torch.Tensor) -> torch.Tensor:
    """`encode`, with the bare encoder."""
    positions = encoder.embed_positions.weight
    if (mels.shape[-1] + 1) // 2 > len(positions):
        raise ValueError(
            f"want at most {2 * len(positions)} frames, the encoder has positions for no more; "
            f"got {mels.shape[-1]}: cut the audio into windows of 30 s"
        )
    hidden = functional.gelu(encoder.conv1(mels.to(encoder.conv1.weight.dtype)))
    hidden = functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
    hidden = hidden + positions[: hidden.shape[1]]
    hidden = functional.dropout(hidden, p=encoder.dropout, training=encoder.training)
    for layer in encoder.layers:
        hidden = layer(hidden, None)
    normalised: torch.Tensor = encoder.layer_norm(hidden)
    return normalised


def collate(
    mels: Sequence[np.ndarray], floors: Sequence[float], *, slack_frames: int, full: bool = False
) -> torch.Tensor:
    """A batch of log-mels, each padded with its own silence.

    Args:
        mels: arrays (frames, n_mels), at least one.
        floors: the value of silence of each, in the same units.
        slack_frames: of silence after the longest, as far as the window allows; all get at least that.
        full: pad to the whole window of 30 s instead.
    Returns: float32 (batch, n_mels, frames); frames is even.
    """
    length = padded_frames(max(len(mel) for mel in mels), slack_frames=slack_frames, full=full)
    batch = np.empty((len(mels), length, mels[0].shape[1]), dtype=np.float32)
    for row, mel, floor in zip(batch, mels, floors, strict=True):
        row[: len(mel)] = mel[:length]
        row[len(mel) :] = floor
    return torch.from_numpy(batch).transpose(1, 2)


def padded_frames(frames: int, *, slack_frames: int, full: bool = False) -> int:
    """How many frames a batch has whose longest clip has `frames`: an even number, at most the window."""
    if full:
        return WINDOW_FRAMES
    return min(WINDOW_FRAMES, 2 * math.ceil((frames + slack_frames) / 2))
