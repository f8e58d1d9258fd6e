"""Hypotheses of clips: batched, at true length, cached, greedy or with beams.

The same clips give the same texts whatever else is in their batch: a clip is padded to a grid, not to its
neighbours, and attends to nothing else. Deterministic. In bf16, where the device is made for it
(`precision`), sums of another order are rounded otherwise: another size of batch may turn a near tie.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from transformers import WhisperForConditionalGeneration

from dagsverk.speech.config import MEL_FRAMES_PER_S
from dagsverk.speech.model.beam_search import Path, Rules, follow, search
from dagsverk.speech.model.cached_decoder import CachedDecoder
from dagsverk.speech.model.decoded import Decoded, Task
from dagsverk.speech.model.encoder import collate, encode
from dagsverk.speech.model.lengths import alike_batches, checked_frames, grid_frames, most_tokens
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.model.precision import evaluating
from dagsverk.speech.model.tokens import decode_text, end_id, language_ids, previous, prompt, special_ids
from dagsverk.turns import Check, go_on

States: TypeAlias = dict[int, torch.Tensor]  # the encoder's output, by the place of the clip


def decode(
    model: SpeechModel,
    mels: Sequence[np.ndarray],
    floors: Sequence[float],
    *,
    language: str,
    task: Task = "transcribe",
    beams: int = 1,
    batch_s: float = 240.0,
    slack_s: float = 0.1,
    full_windows: bool | None = None,
    frames: Sequence[int] | None = None,
    max_tokens: Sequence[int] | None = None,
    before: str = "",
    states: States | None = None,
    check: Check = go_on,
) -> list[Decoded]:
    """The hypothesis of each clip, in the order given.

    Args:
        mels: log-mels (frames, n_mels) of at most 30 s, as `dagsverk.speech.features.log_mel` makes them.
        floors: the value of silence of each.
        language: Whisper's code.
        beams: 1 is greedy.
        batch_s: seconds of audio, padding included, decoded at a time; a clip is never split.
        slack_s: of silence that every clip is given at least, up to 30 s in all.
        full_windows: pad every clip to 30 s; None: as the model was trained.
        frames: of each clip, if known; `mels` may then be lazy, each is read once, when its batch is due.
        max_tokens: of each clip; else TOKENS_PER_S of its duration, at least MIN_TOKENS, at most what the
            decoder holds.
        before: a text that is taken to come before every clip: its words and spelling are likelier then. Of
            a long one the end counts, up to half of what the decoder holds.
        states: of clips by their place, from an earlier call with the same clips; what is missing is added.
        check: asked again and again; what it raises ends the work.
    Raises: ValueError for beams < 1, or a clip that is empty, too long or of another number of mel bins.
    """
    if beams < 1:
        raise ValueError(f"beams must be 1 or more, got {beams}")
    earlier = previous(model.tokenizer, before, model.model.config.max_target_positions // 2)
    start = [*earlier, *prompt(model.tokenizer, language, task)]
    full = model.full_windows if full_windows is None else full_windows
    slack_frames = round(slack_s * MEL_FRAMES_PER_S)
    if frames is None:
        frames = [checked_frames(i, mel, model.n_mels) for i, mel in enumerate(mels)]
    padded = [grid_frames(count, slack_frames, full=full) for count in frames]
    room = model.model.config.max_target_positions - len(start)
    limits = [most_tokens(count, room) for count in frames]
    if max_tokens is not None:
        limits = [min(room, limit) for limit in max_tokens]
    decoded: dict[int, Decoded] = {}
    with evaluating(model.model) as network:
        rules = _rules(model, network)
        for batch in alike_batches(padded, batch_s * MEL_FRAMES_PER_S):
            encoded = encoder_states(network, mels, floors, padded, batch, states)
            own = [limits[i] for i in batch]
            paths, no_speech = _best_paths(network, encoded, start, len(earlier), rules, own, beams, check)
            for i, path, probability in zip(batch, paths, no_speech, strict=True):
                decoded[i] = _hypothesis(model, path, probability)
    return [decoded[i] for i in range(len(mels))]


def languages(
    model: SpeechModel,
    mels: Sequence[np.ndarray],
    floors: Sequence[float],
    *,
    batch_s: float = 240.0,
    slack_s: float = 0.1,
    full_windows: bool | None = None,
    check: Check = go_on,
) -> list[dict[str, float]]:
    """How likely each language that the model knows is spoken in each clip: Whisper's code -> [0, 1], the sum
    is 1.

    Args: as `decode`.
    """
    start = prompt(model.tokenizer, "en")[:1]
    ids = language_ids(model.tokenizer)
    full = model.full_windows if full_windows is None else full_windows
    slack_frames = round(slack_s * MEL_FRAMES_PER_S)
    padded = [
        grid_frames(checked_frames(i, mel, model.n_mels), slack_frames, full=full)
        for i, mel in enumerate(mels)
    ]
    likely: dict[int, dict[str, float]] = {}
    with evaluating(model.model) as network:
        for batch in alike_batches(padded, batch_s * MEL_FRAMES_PER_S):
            check()
            decoder = CachedDecoder(network, encoder_states(network, mels, floors, padded, batch))
            hidden = decoder.read(torch.tensor([start] * len(batch), device=network.device))
            shares = decoder.logits(hidden[:, 0])[:, list(ids.values())].softmax(-1).tolist()
            likely |= {i: dict(zip(ids, own, strict=True)) for i, own in zip(batch, shares, strict=True)}
    return [likely[i] for i in range(len(mels))]


def encoder_states(
    network: WhisperForConditionalGeneration,
    mels: Sequence[np.ndarray],
    floors: Sequence[float],
    padded: Sequence[int],
    batch: Sequence[int],
    held: States | None = None,
) -> list[torch.Tensor]:
    """The encoder's output for each clip, (positions, d_model): clips of one padded length at a time.

    Args: held: what is there is taken, and what is not is added.
    """
    states: States = {} if held is None else held
    missing = [i for i in batch if i not in states]
    for length, group in itertools.groupby(missing, key=lambda i: padded[i]):
        clips = list(group)
        own = [mels[i] for i in clips]
        slack_frames = length - max(len(mel) for mel in own)
        collated = collate(own, [floors[i] for i in clips], slack_frames=slack_frames)
        encoded = encode(network, collated.to(network.device, network.dtype)).unbind(0)
        states |= dict(zip(clips, encoded, strict=True))
    return [states[i] for i in batch]


def _best_paths(
    network: WhisperForConditionalGeneration,
    states: Sequence[torch.Tensor],
    start: Sequence[int],
    begins: int,
    rules: Rules,
    limits: Sequence[int],
    beams: int,
    check: Check,
) -> tuple[list[Path], list[float]]:
    """The likeliest path of each clip, and the probability that nothing is said in it.

    Args: begins: where <|startoftranscript|> is in `start`.
    """
    decoder = CachedDecoder(network, states)
    hidden = decoder.read(torch.tensor([list(start)] * len(states), device=network.device))
    # Whisper's own place for it: before language and task are known
    no_speech = decoder.logits(hidden[:, begins]).softmax(-1)[:, start[-1] - 1]
    first = decoder.logits(hidden[:, -1])
    paths = (
        follow(decoder, first, rules, limits, check)
        if beams == 1
        else search(decoder, first, rules, limits, beams, check)
    )
    return paths, no_speech.tolist()


def _hypothesis(model: SpeechModel, path: Path, no_speech_probability: float) -> Decoded:
    text = decode_text(model.tokenizer, list(path.tokens)).strip()
    return Decoded(text, path.tokens, path.mean_log_probability, no_speech_probability, path.ended)


def _rules(model: SpeechModel, network: WhisperForConditionalGeneration) -> Rules:
    """Never written: special tokens, timestamps, ids without a token, and what the model's config forbids."""
    end = end_id(model.tokenizer)
    size = network.config.vocab_size
    config = network.generation_config
    always = {
        *special_ids(model.tokenizer),
        *range(len(model.tokenizer), size),
        *(config.suppress_tokens or []),
    }
    at_first = {*always, *(config.begin_suppress_tokens or [])}
    return Rules(end, _forbid(always, size, network.device), _forbid(at_first, size, network.device))


def _forbid(tokens: set[int], size: int, device: torch.device) -> torch.Tensor:
    mask = torch.zeros(size)
    mask[[token for token in tokens if token < size]] = -math.inf
    return mask.to(device)
