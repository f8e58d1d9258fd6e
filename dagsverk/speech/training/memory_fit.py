"""Whether a batch fits into a GPU's memory: one throw-away step with the worst batches of its size."""

from __future__ import annotations

import itertools

import torch

from dagsverk.speech.training.batches import Sampler
from dagsverk.speech.training.examples import Examples, StoredBatch
from dagsverk.speech.training.learner import Learner, trained


def step_fits(learner: Learner, examples: Examples, sampler: Sampler, device: torch.device) -> bool:
    """Try forward and backward on the batches with most frames and with most tokens.

    Beside them lies as much as the optimiser will hold. Weights stay as they are.
    """
    held: list[torch.Tensor] = []
    try:
        held += [torch.empty_like(w) for w in trained(learner).values() for _ in ("mean", "square")]
        for example in _worst(examples, sampler):
            learner(example.to(device)).backward()
    except torch.OutOfMemoryError:
        return False
    else:
        return True
    finally:
        held.clear()
        learner.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _worst(examples: Examples, sampler: Sampler) -> list[StoredBatch]:
    batches = list(itertools.chain(*sampler.epoch(0)))
    most_frames = max(batches, key=lambda batch: len(batch.clips) * sampler.padded(batch))
    most_tokens = max(
        batches, key=lambda batch: len(batch.clips) * max(len(examples.label(int(c), 0)) for c in batch.clips)
    )
    return [examples.batch(batch, slack_s=sampler.slack_s) for batch in (most_frames, most_tokens)]
