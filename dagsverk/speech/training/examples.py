"""Prepared clips as the model is taught them: labels, and batches of tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dagsverk.speech.config import MAX_LABEL_TOKENS, MEL_FRAMES_PER_S
from dagsverk.speech.corpora.corpus import RejectedClip
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.features import log_mel
from dagsverk.speech.features.log_mel import QuantisedMel
from dagsverk.speech.features.prepared import PreparedClips
from dagsverk.speech.model.encoder import padded_frames
from dagsverk.speech.model.tokens import end_id, labels
from dagsverk.speech.training.augmentation import cover, draw_masks
from dagsverk.speech.training.batches import Batch

# The decoder is told the task and that there are no timestamps; it has nothing to learn from them. It goes on
# learning to name the language, as in Whisper's own training, so that detecting languages still works.
UNLEARNT = (1, 2)  # places of the prompt's tokens for task and timestamps, after the start


@dataclass(frozen=True)
class Example:
    """A batch as tensors, where the model is."""

    mels: torch.Tensor  # float32 (batch, n_mels, frames)
    tokens: torch.Tensor  # int64 (batch, tokens): what the decoder reads
    places: torch.Tensor  # int64 (targets,): where in `tokens`, flattened, it has something to learn
    targets: torch.Tensor  # int64 (targets,): the tokens that follow there


@dataclass(frozen=True)
class StoredBatch:
    """A batch as it is read: spectra in the 8 bits they are stored in, a quarter of what floats would be."""

    levels: torch.Tensor  # uint8 (batch, frames, n_mels); 0 is a clip's silence, and what it is padded with
    scale: torch.Tensor  # float32 (2, batch): what a level is worth, and what level 0 is
    masks: tuple[torch.Tensor, ...]  # of SpecAugment: bool (batch, n_mels) and (batch, frames), or none
    tokens: torch.Tensor
    places: torch.Tensor
    targets: torch.Tensor

    def to(self, device: torch.device) -> Example:
        """The batch on a device, where its spectra are made; copied so that a GPU waits for nothing."""

        def sent(tensor: torch.Tensor) -> torch.Tensor:
            if device.type != "cuda":
                return tensor.to(device)
            return tensor.pin_memory().to(device, non_blocking=True)

        step, low = sent(self.scale)[:, :, None, None]
        mels = sent(self.levels).float().mul_(step).add_(low).transpose(1, 2)
        if self.masks:
            mels = cover(mels, *map(sent, self.masks))
        return Example(mels, sent(self.tokens), sent(self.places), sent(self.targets))


class Examples:
    """The clips of a split with their labels. Clips whose label the decoder cannot hold are set aside.

    Args:
        chosen: rows of `clips` that are used; None: all.
        translate_share: of the clips with a translation; in each epoch so many are taught to translate.
    Raises: SpeechError if no clip is left.
    """

    pools: tuple[int, ...] = ()  # of a mixture: how many clips are the run's own, and of each other language

    def __init__(
        self,
        clips: PreparedClips,
        tokenizer: Any,
        *,
        chosen: Sequence[int] | None = None,
        translate_share: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.clips = clips
        self._end = end_id(tokenizer)
        self._share, self._seed = translate_share, seed
        rows = clips.rows if chosen is None else clips.rows.iloc[list(chosen)]
        transcripts = labels(tokenizer, clips.language, "transcribe", rows["text"].tolist())
        self.set_aside = [
            RejectedClip(
                clip=clip, reason="text too long", detail=f"{len(label)} tokens, at most {MAX_LABEL_TOKENS}"
            )
            for clip, label in zip(rows["id"], transcripts, strict=True)
            if len(label) > MAX_LABEL_TOKENS
        ]
        fits = [place for place, label in enumerate(transcripts) if len(label) <= MAX_LABEL_TOKENS]
        if not fits:
            raise SpeechError(
                f"no clip of {clips.set_id} can be used: {len(self.set_aside)} have texts longer than "
                f"{MAX_LABEL_TOKENS} tokens; prepare a set that has clips of this split"
            )
        self.rows = rows.iloc[fits]
        self._transcripts = [transcripts[place] for place in fits]
        self._translations = self._translation_labels(tokenizer) if translate_share else {}
        self.frames: NDArray[np.int64] = self.rows["frames"].to_numpy(dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def label(self, place: int, epoch: int) -> list[int]:
        """Prompt, text and end of a clip, by its place among these examples."""
        translation = self._translations.get(place)
        if translation is not None and self._draw(place, epoch) < self._share:
            return translation
        return self._transcripts[place]

    def counted(self, places: NDArray[np.int64]) -> tuple[int, ...]:
        """How many of these are of each of its pools."""
        ends = np.cumsum(self.pools or (len(self),))
        counts = np.bincount(np.searchsorted(ends, places, side="right"), minlength=len(ends))
        return tuple(int(count) for count in counts)

    def targets(self, batch: Batch) -> int:
        """How many tokens a batch teaches."""
        return sum(len(self.label(int(place), batch.epoch)) - 1 - len(UNLEARNT) for place in batch.clips)

    def batch(self, batch: Batch, *, slack_s: float, mask: torch.Generator | None = None) -> StoredBatch:
        """The tensors of a batch. Args: mask: chance for SpecAugment; None: none."""
        places = [int(place) for place in batch.clips]
        clips = [self.quantised(place) for place in places]
        levels = _padded(
            [own for own, _ in clips], slack_frames=round(slack_s * MEL_FRAMES_PER_S), full=batch.full
        )
        masks: tuple[torch.Tensor, ...] = ()
        if mask is not None:
            frames = torch.from_numpy(self.frames[batch.clips])
            masks = draw_masks(frames, levels.shape[2], levels.shape[1], mask)
        scale = np.array([log_mel.scale(peak) for _, peak in clips], dtype=np.float32).T
        labelled = to_tensors([self.label(place, batch.epoch) for place in places], self._end)
        return StoredBatch(levels, torch.from_numpy(np.ascontiguousarray(scale)), masks, *labelled)

    def quantised(self, place: int) -> tuple[QuantisedMel, float]:
        """The spectrum of a clip in 8 bits and its loudest value, by its place among these examples."""
        return self.clips.quantised(int(self.rows.index[place]))

    def _translation_labels(self, tokenizer: Any) -> dict[int, list[int]]:
        texts = dict(enumerate(self.rows["translation"].fillna("")))
        translated = [place for place, text in texts.items() if text]
        made = labels(tokenizer, self.clips.language, "translate", [texts[place] for place in translated])
        return {
            place: label
            for place, label in zip(translated, made, strict=True)
            if len(label) <= MAX_LABEL_TOKENS
        }

    def _draw(self, place: int, epoch: int) -> float:
        """A number in [0, 1) that depends on seed, epoch and clip alone."""
        digest = hashlib.sha256(f"{self._seed} {epoch} {self.rows['id'].iat[place]}".encode()).digest()
        return int.from_bytes(digest[:6]) / 2**48


def _padded(clips: Sequence[QuantisedMel], *, slack_frames: int, full: bool) -> torch.Tensor:
    """Spectra of 8 bits as one batch, each padded with its own silence, as `collate` does with floats."""
    length = padded_frames(max(map(len, clips)), slack_frames=slack_frames, full=full)
    batch = np.zeros((len(clips), length, clips[0].shape[1]), dtype=np.uint8)
    for row, own in zip(batch, clips, strict=True):
        row[: len(own)] = own[:length]
    return torch.from_numpy(batch)


def to_tensors(batch: Sequence[Sequence[int]], end: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the decoder reads, (batch, tokens); where it has something to learn, flattened; and what."""
    length = max(len(label) for label in batch) - 1
    tokens = np.full((len(batch), length), end, dtype=np.int64)
    learnt = np.zeros((len(batch), length), dtype=bool)
    following = np.zeros((len(batch), length), dtype=np.int64)
    for row, label in enumerate(batch):
        count = len(label) - 1
        tokens[row, :count] = label[:-1]
        following[row, :count] = label[1:]
        learnt[row, :count] = True
    learnt[:, list(UNLEARNT)] = False
    places = np.flatnonzero(learnt)
    return torch.from_numpy(tokens), torch.from_numpy(places), torch.from_numpy(following.reshape(-1)[places])
