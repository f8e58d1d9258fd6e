"""What a model says when it is asked for timestamps: text between the times at which it begins and ends.

By Whisper's own rules (the library's): a text begins with a time, times come in pairs and never go back.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig
from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor

from dagsverk.speech.config import MEL_FRAMES_PER_S
from dagsverk.speech.model.cached_decoder import CachedDecoder
from dagsverk.speech.model.encoder import collate, encode, padded_frames
from dagsverk.speech.model.lengths import alike_batches, most_tokens
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.model.precision import evaluating
from dagsverk.speech.model.tokens import (
    NO_TIMESTAMPS,
    TIMESTAMP_STEP_S,
    TIMESTAMPS,
    decode_text,
    end_id,
    prompt,
)

_Config: Any = GenerationConfig
_Processor: Any = WhisperTimeStampLogitsProcessor  # the library's carry no types


@dataclass(frozen=True)
class Stamped:
    """What was written of a clip, and between which times."""

    text: str
    begins_s: tuple[float, ...]  # of each piece of the text
    ends_s: tuple[float, ...]  # one fewer where the last piece was left open
    whole: bool  # every piece stands between two times, and the model ended by itself

    @property
    def end_s(self) -> float | None:
        """Where the last piece ends; None for one that was left open, and where there is none."""
        return self.ends_s[-1] if self.whole and self.ends_s else None


def decode_with_timestamps(
    model: SpeechModel,
    mels: Sequence[np.ndarray],
    floors: Sequence[float],
    *,
    language: str,
    batch_s: float = 240.0,
    slack_s: float = 0.1,
) -> list[Stamped]:
    """The text of each clip with its times, greedy, in the order given; the clip as the model is used to it.

    Args: as `decoding.decode`.
    """
    start = prompt(model.tokenizer, language)[:-1]  # without <|notimestamps|>
    slack = round(slack_s * MEL_FRAMES_PER_S)
    lengths = [padded_frames(len(mel), slack_frames=slack, full=model.full_windows) for mel in mels]
    stamped: dict[int, Stamped] = {}
    with evaluating(model.model) as network:
        quick = dataclasses.replace(model, model=network)
        for batch in alike_batches(lengths, batch_s * MEL_FRAMES_PER_S):
            states: list[torch.Tensor] = []
            for i in batch:
                slack_frames = lengths[i] - len(mels[i])
                clip = collate([mels[i]], [floors[i]], slack_frames=slack_frames, full=model.full_windows)
                states += encode(network, clip.to(network.device, network.dtype)).unbind(0)
            frames = [len(mels[i]) for i in batch]
            for i, tokens in zip(batch, _written(quick, states, start, frames), strict=True):
                stamped[i] = read_stamps(model, tokens)
    return [stamped[i] for i in range(len(mels))]


def read_stamps(model: SpeechModel, tokens: Sequence[int]) -> Stamped:
    """Args: tokens: as written after the prompt, with the end if there was one."""
    first, end = _first_stamp(model), end_id(model.tokenizer)
    ended = end in tokens
    written = list(itertools.takewhile(lambda token: token != end, tokens))
    begins: list[float] = []
    ends: list[float] = []
    is_open, outside = False, False
    for token in written:
        if token < first:
            outside |= not is_open
            continue
        (ends if is_open else begins).append(round((token - first) * TIMESTAMP_STEP_S, 2))
        is_open = not is_open
    if is_open and written[-1] >= first:  # the time at which more would begin, and nothing did
        begins, is_open = begins[:-1], False
    text = decode_text(model.tokenizer, written).strip()
    return Stamped(text, tuple(begins), tuple(ends), whole=ended and not is_open and not outside)


def _first_stamp(model: SpeechModel) -> int:
    return int(model.tokenizer.convert_tokens_to_ids(NO_TIMESTAMPS)) + 1


def _written(
    model: SpeechModel, states: Sequence[torch.Tensor], start: Sequence[int], frames: Sequence[int]
) -> list[list[int]]:
    """The likeliest next token, again and again, until every clip has ended or is at its limit."""
    network, end, first = model.model, end_id(model.tokenizer), _first_stamp(model)
    room = network.config.max_target_positions - len(start)
    limits = [most_tokens(count, room) for count in frames]
    decoder = CachedDecoder(network, states)
    tokens = torch.tensor([list(start)] * len(states), device=network.device)
    about = _Config(no_timestamps_token_id=first - 1, eos_token_id=end, max_initial_timestamp_index=50)
    rules, forbidden = _Processor(about, begin_index=len(start)), _forbidden(model, first, end)
    over = torch.zeros(len(states), dtype=torch.bool, device=network.device)
    most = torch.tensor(limits, device=network.device)
    logits = decoder.logits(decoder.read(tokens)[:, -1])
    for count in range(1, max(limits) + 1):
        chosen = torch.where(over, end, rules(tokens, logits + forbidden).argmax(-1))
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        over |= (chosen == end) | (count >= most)
        if bool(over.all()):
            break
        logits = decoder.logits(decoder.read(chosen[:, None])[:, -1])
    written = tokens[:, len(start) :].tolist()
    return [row[:limit] for row, limit in zip(written, limits, strict=True)]


def _forbidden(model: SpeechModel, first: int, end: int) -> torch.Tensor:
    """Never written: special tokens, and ids without a token. Times come after the special tokens."""
    network = model.model
    mask = torch.zeros(network.config.vocab_size, device=network.device)
    mask[end + 1 : first] = -torch.inf
    mask[first + TIMESTAMPS :] = -torch.inf
    mask[list(network.generation_config.suppress_tokens or [])] = -torch.inf
    return mask
