"""SpecAugment: training spectra with a few bands of time and of frequency blanked out.

Source: Park et al. 2019, "SpecAugment", policy LibriSpeech Basic with p = 0.2, without time warping.
"""

from __future__ import annotations

import torch

MASKS = 2  # of each kind
MAX_BAND_SHARE = 27 / 80  # of the mel bins that one mask covers at most
MAX_TIME_SHARE = 0.1  # of a clip that one mask covers at most
MAX_TIME_FRAMES = 100


def mask_spectra(mels: torch.Tensor, frames: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The batch with MASKS random bands of frequency and of time of every clip set to the clip's mean.

    Args:
        mels: (batch, n_mels, frames), padded.
        frames: (batch,), how many of each clip's frames are not padding; time masks lie in these.
        generator: the only source of chance.
    Returns: a new tensor of the same shape.
    """
    return cover(mels, *draw_masks(frames, mels.shape[1], mels.shape[2], generator))


def draw_masks(
    frames: torch.Tensor, n_mels: int, length: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """What is covered of each clip: (batch, n_mels) of its bands, and (batch, length) of its time."""
    bins = torch.full((len(frames),), n_mels)
    bands = _bands(bins, torch.full((len(frames),), round(MAX_BAND_SHARE * n_mels)), n_mels, generator)
    widest = torch.clamp((frames * MAX_TIME_SHARE).long(), max=MAX_TIME_FRAMES)
    return bands, _bands(frames, widest, length, generator)


def cover(mels: torch.Tensor, bands: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """The batch with these bands and times set to each clip's mean; on the device that all are on."""
    covered = bands[:, :, None] | times[:, None, :]
    return torch.where(covered, mels.mean(dim=(1, 2), keepdim=True), mels)


def _bands(
    lengths: torch.Tensor, widest: torch.Tensor, size: int, generator: torch.Generator
) -> torch.Tensor:
    """(batch, size), True in MASKS random intervals of each row, at most `widest` wide, within its length."""
    draw = torch.rand((2, len(lengths), MASKS), generator=generator)
    width = (draw[0] * (widest[:, None] + 1)).long()
    start = (draw[1] * (lengths[:, None] - width + 1)).long()
    place = torch.arange(size)
    inside = (place >= start[:, :, None]) & (place < (start + width)[:, :, None])
    return inside.any(dim=1)
