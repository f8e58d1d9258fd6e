"""How likely a model finds texts for a clip: teacher-forced losses, several for one pass of the encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from dagsverk.speech.config import MAX_LABEL_TOKENS, MEL_FRAMES_PER_S
from dagsverk.speech.features.prepared import PreparedClips
from dagsverk.speech.model.decoding import encoder_states
from dagsverk.speech.model.lengths import alike_batches, grid_frames
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.model.precision import evaluating
from dagsverk.speech.model.tokens import labels
from dagsverk.turns import Check, go_on

PROMPT = 4  # tokens that tell language and task: given, never asked for
ROWS = 64  # texts that are read at once


@dataclass(frozen=True)
class Led:
    """What a model makes of a text, when it is led through it."""

    tokens: int  # the end is one of them
    mean: float  # loss in nats a token
    worst: float  # of the least likely token

    @property
    def total(self) -> float:
        return self.mean * self.tokens


def lead(
    model: SpeechModel,
    clips: PreparedClips,
    texts: Sequence[Sequence[str]],
    *,
    full_windows: bool,
    batch_s: float = 120.0,
    slack_s: float = 0.1,
    check: Check = go_on,
    tick: Callable[[int], None] = lambda _: None,
) -> list[list[Led | None]]:
    """The losses of some texts for each clip.

    Args:
        texts: of each clip, in the order of `clips`.
        full_windows: whether clips are padded to 30 s.
        tick: told how many clips are done.
    Returns: as `texts`; None of a text that the decoder cannot hold.
    """
    slack_frames = round(slack_s * MEL_FRAMES_PER_S)
    padded = [grid_frames(int(count), slack_frames, full=full_windows) for count in clips.rows["frames"]]
    made: list[list[Led | None]] = [[] for _ in texts]
    with evaluating(model.model) as network:
        for batch in alike_batches(padded, batch_s * MEL_FRAMES_PER_S):
            check()
            states = encoder_states(network, _Lazy(clips.mel), _Lazy(clips.floor), padded, batch)
            own = [labels(model.tokenizer, clips.language, "transcribe", texts[i]) for i in batch]
            for i, some in zip(batch, _led(network, states, own), strict=True):
                made[i] = some
            tick(len(batch))
    return made


class _Lazy(Sequence):  # type: ignore[type-arg]
    """What is made when it is asked for."""

    def __init__(self, make: Callable[[int], object]) -> None:
        self._make = make

    def __getitem__(self, place):  # type: ignore[no-untyped-def]
        return self._make(place)

    def __len__(self) -> int:
        return 0


def _led(
    network: torch.nn.Module, states: Sequence[torch.Tensor], texts: Sequence[Sequence[Sequence[int]]]
) -> list[list[Led | None]]:
    """Of each clip, of each of its labels."""
    jobs = [
        (clip, place)
        for clip, own in enumerate(texts)
        for place, label in enumerate(own)
        if len(label) <= MAX_LABEL_TOKENS
    ]
    jobs.sort(key=lambda job: (len(states[job[0]]), len(texts[job[0]][job[1]])))
    made: list[list[Led | None]] = [[None] * len(own) for own in texts]
    for rows in _alike(jobs, states):
        chosen = [list(texts[clip][place]) for clip, place in rows]
        encoded = torch.stack([states[clip] for clip, _ in rows])
        for (clip, place), led in zip(rows, _losses(network, encoded, chosen), strict=True):
            made[clip][place] = led
    return made


def _alike(jobs: Sequence[tuple[int, int]], states: Sequence[torch.Tensor]) -> list[list[tuple[int, int]]]:
    """Those whose states are of one length, some at a time."""
    groups: list[list[tuple[int, int]]] = []
    for job in jobs:
        last = groups[-1] if groups else None
        if last and len(last) < ROWS and len(states[last[0][0]]) == len(states[job[0]]):
            last.append(job)
        else:
            groups.append([job])
    return groups


def _losses(network: torch.nn.Module, encoded: torch.Tensor, texts: Sequence[Sequence[int]]) -> list[Led]:
    """Args: encoded: (texts, positions, d_model)."""
    model: object = network
    device = encoded.device
    tokens = pad_sequence([torch.tensor(label[:-1]) for label in texts], batch_first=True).to(device)
    targets = pad_sequence([torch.tensor(label[1:]) for label in texts], batch_first=True).to(device)
    hidden = model.model.decoder(  # type: ignore[attr-defined]
        input_ids=tokens, encoder_hidden_states=encoded, use_cache=False
    ).last_hidden_state[:, PROMPT - 1 :]
    made = []
    for row, target, label in zip(hidden, targets[:, PROMPT - 1 :], texts, strict=True):
        count = len(label) - PROMPT
        logits = model.proj_out(row[:count]).float()  # type: ignore[attr-defined]
        losses = functional.cross_entropy(logits, target[:count], reduction="none").cpu().numpy()
        made.append(Led(tokens=count, mean=float(np.mean(losses)), worst=float(np.max(losses))))
    return made
