"""A look at dev while training: what the model writes by itself, and its loss when it is led."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator

from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.evaluation.scoring import count_errors, word_errors
from dagsverk.speech.features.prepared import PreparedClips
from dagsverk.speech.model.decoding import decode_texts
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.training.batches import Sampler
from dagsverk.speech.training.examples import Examples
from dagsverk.speech.training.learner import Learner

DECODE_BATCH_S = 240.0


@dataclass(frozen=True)
class Look:
    """What dev shows after a step. Rates are in [0, inf), NaN if there is nothing to score."""

    dev_loss: float  # nats per token
    dev_wer: float  # normalised
    dev_cer: float

    def rank(self) -> tuple[float, float]:
        """Less is better: by WER, of equals by loss."""
        return (math.inf if math.isnan(self.dev_wer) else self.dev_wer, self.dev_loss)


def draw_dev(clips: PreparedClips, count: int, seed: int) -> list[int]:
    """The same `count` clips at every look, ascending; all, if there are no more."""
    order = sorted(
        range(len(clips)),
        key=lambda i: hashlib.sha256(f"{seed} {clips.rows['id'].iat[i]}".encode()).digest(),
    )
    return sorted(order[:count])


def look(
    learner: Learner, speaker: SpeechModel, dev: Examples, config: FinetuneConfig, accelerator: Accelerator
) -> Look:
    """Loss and error rates on the dev clips; the processes share them. The model learns nothing."""
    sums = torch.tensor(
        [*_loss(learner, dev, config, accelerator), *_errors(speaker, dev, config, accelerator)],
        dtype=torch.float64,
        device=accelerator.device,
    )
    loss, tokens, errors, words, wrong, characters = accelerator.reduce(sums, reduction="sum").tolist()
    return Look(_ratio(loss, tokens), _ratio(errors, words), _ratio(wrong, characters))


def _loss(
    learner: Learner, dev: Examples, config: FinetuneConfig, accelerator: Accelerator
) -> tuple[float, float]:
    """This process's share of the loss, and of the tokens. Teacher-forced."""
    assert config.batch_s is not None  # noqa: S101  filled in by `resolve`
    sampler = _sampler(dev, config, config.batch_s)
    total, tokens = 0.0, 0
    learner.eval()
    with torch.no_grad(), accelerator.autocast():
        for (batch,) in sampler.epoch(0)[accelerator.process_index :: accelerator.num_processes]:
            example = dev.batch(batch, slack_s=config.slack_s).to(accelerator.device)
            total += float(learner(example))
            tokens += len(example.targets)
    learner.train()
    return total, tokens


def _errors(
    speaker: SpeechModel, dev: Examples, config: FinetuneConfig, accelerator: Accelerator
) -> tuple[int, int, int, int]:
    """This process's share of wrong words, words, wrong characters, characters."""
    mine = dev.rows.iloc[accelerator.process_index :: accelerator.num_processes]
    heard = decode_texts(
        speaker,
        [dev.clips.mel(int(index)) for index in mine.index],
        [dev.clips.floor(int(index)) for index in mine.index],
        language=dev.clips.language,
        batch_s=DECODE_BATCH_S,
        slack_s=config.slack_s,
        full_windows=config.windows == "full",
    )
    counts = count_errors(mine["text"].tolist(), heard, dev.clips.language)
    return (
        int(word_errors(counts).sum()),
        int(counts["words"].sum()),
        int(counts["character_errors"].sum()),
        int(counts["characters"].sum()),
    )


def _sampler(dev: Examples, config: FinetuneConfig, batch_s: float) -> Sampler:
    full = 1.0 if config.windows == "full" else 0.0
    return Sampler(np.asarray(dev.frames), batch_s, config.slack_s, full, seed=0)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
