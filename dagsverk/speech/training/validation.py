"""A validation on dev while training: what the model writes by itself, and its loss when it is led."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator

from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.evaluation.scoring import NORMALISED, count_errors, word_errors
from dagsverk.speech.model.decoding import decode
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.runs import ValidationPoint
from dagsverk.speech.training.batches import Sampler
from dagsverk.speech.training.examples import Examples
from dagsverk.speech.training.learner import Learner

DECODE_BATCH_S = 240.0


@dataclass(frozen=True)
class Validation:
    """What dev shows after a step. Rates are in [0, inf), NaN if there is nothing to score."""

    dev_loss: float  # nats per token
    dev_wer: float  # normalised
    dev_cer: float

    def rank(self) -> tuple[float, float]:
        """Less is better: by WER, of equals by loss."""
        return (math.inf if math.isnan(self.dev_wer) else self.dev_wer, self.dev_loss)

    def point(self, step: int) -> ValidationPoint:
        """Its point on the run's curve."""
        values = {name: None if math.isnan(value) else value for name, value in vars(self).items()}
        return ValidationPoint(step=step, **values)


@dataclass(frozen=True)
class Validator:
    """Validates a model that is being trained; the processes of the run share the clips.

    Args:
        model: the one that learns, in a form that decodes.
        dev: the clips.
        config: without gaps.
    """

    learner: Learner
    model: SpeechModel
    dev: Examples
    config: FinetuneConfig
    accelerator: Accelerator

    def validate(self) -> Validation:
        """Loss and error rates over all processes. The model learns nothing."""
        sums = torch.tensor(
            [*self._loss(), *self._errors()], dtype=torch.float64, device=self.accelerator.device
        )
        loss, tokens, errors, words, wrong, characters = self.accelerator.reduce(
            sums, reduction="sum"
        ).tolist()
        return Validation(_ratio(loss, tokens), _ratio(errors, words), _ratio(wrong, characters))

    def _loss(self) -> tuple[float, int]:
        """This process's share of the loss, and of the tokens. Teacher-forced."""
        total, tokens = 0.0, 0
        self.learner.eval()
        with torch.no_grad(), self.accelerator.autocast():
            for (batch,) in self._sampler().epoch(0)[self._first :: self._processes]:
                example = self.dev.batch(batch, slack_s=self.config.slack_s).to(self.accelerator.device)
                total += float(self.learner(example))
                tokens += len(example.targets)
        self.learner.train()
        return total, tokens

    def _errors(self) -> tuple[int, int, int, int]:
        """This process's share of wrong words, words, wrong characters, characters."""
        rows = self.dev.rows.iloc[self._first :: self._processes]
        decoded = decode(
            self.model,
            [self.dev.clips.mel(int(index)) for index in rows.index],
            [self.dev.clips.floor(int(index)) for index in rows.index],
            language=self.dev.clips.language,
            batch_s=DECODE_BATCH_S,
            slack_s=self.config.slack_s,
            full_windows=self.config.windows == "full",
        )
        references, hypotheses = rows["text"].tolist(), [one.text for one in decoded]
        counts = count_errors(references, hypotheses, self.dev.clips.language, (NORMALISED,))
        return (
            int(word_errors(counts).sum()),
            int(counts["words"].sum()),
            int(counts["character_errors"].sum()),
            int(counts["characters"].sum()),
        )

    def _sampler(self) -> Sampler:
        assert self.config.batch_s is not None  # noqa: S101  filled in by `resolve`
        full = 1.0 if self.config.windows == "full" else 0.0
        return Sampler(np.asarray(self.dev.frames), self.config.batch_s, self.config.slack_s, full, seed=0)

    @property
    def _first(self) -> int:
        return int(self.accelerator.process_index)

    @property
    def _processes(self) -> int:
        return int(self.accelerator.num_processes)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
