"""Very small Whispers for tests: one that knows three sounds by heart, and clips of those sounds."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional
from transformers import WhisperConfig, WhisperForConditionalGeneration

from dagsverk.speech.features import log_mel
from dagsverk.speech.model import tokens
from dagsverk.speech.model.encoder import collate, encode
from dagsverk.speech.model.models import SpeechModel, random_model

RATE_HZ = 16_000
MOST_STEPS = 600
KNOWN = 0.03  # loss per token at which a text is known by heart


@dataclass(frozen=True)
class Sound:
    """A clip and what the taught model says of it."""

    text: str
    audio: np.ndarray

    @property
    def mel(self) -> np.ndarray:
        return log_mel.log_mel(self.audio)

    @property
    def floor(self) -> float:
        return log_mel.floor(float(self.mel.max()))


def sounds() -> list[Sound]:
    """A low tone, a rising one, and noise that comes and goes; 0.8 to 1.6 s."""
    generator = np.random.default_rng(0)
    bursts = generator.normal(0, 0.2, seconds(1.6)) * (np.sin(2 * np.pi * 3 * times(1.6)) > 0)
    return [
        Sound("en låg ton", tone(220, 0.8)),
        Sound("och en som stiger", tone(400, 1.2, slope_hz_per_s=900)),
        Sound("brus", bursts.astype(np.float32)),
    ]


def tone(frequency_hz: float, duration_s: float, *, slope_hz_per_s: float = 0.0) -> np.ndarray:
    """A tone that swells four times a second, as speech does."""
    t = times(duration_s)
    wave = np.sin(2 * np.pi * (frequency_hz * t + slope_hz_per_s * t**2 / 2))
    return (0.3 * wave * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * t))).astype(np.float32)


def times(duration_s: float) -> np.ndarray:
    return np.arange(seconds(duration_s)) / RATE_HZ


def seconds(duration_s: float) -> int:
    return round(duration_s * RATE_HZ)


@functools.cache
def taught_model(language: str = "sv") -> SpeechModel:
    """A model that says each sound's text, at true length and in full windows; taught in a few seconds."""
    found = small_model()
    network = found.model
    clips = sounds()
    labels = _labels(found, language, [clip.text for clip in clips])
    mels, floors = [clip.mel for clip in clips], [clip.floor for clip in clips]
    inputs = [
        collate(mels, floors, slack_frames=10),
        collate(mels, floors, slack_frames=60),
        collate(mels, floors, slack_frames=0, full=True),
    ]
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = [math.inf] * len(inputs)
    for step in range(MOST_STEPS):
        place = 2 if step % 12 == 11 else step % 2
        states = encode(network, inputs[place])
        output = network(encoder_outputs=(states,), decoder_input_ids=labels[:, :-1])
        loss = functional.cross_entropy(output.logits.transpose(1, 2), _learnt(found, labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses[place] = loss.item()
        if max(losses) < KNOWN:
            break
    else:
        raise RuntimeError(f"not taught in {MOST_STEPS} steps: losses {losses}")
    network.eval()
    return found


def small_model(seed: int = 0) -> SpeechModel:
    """An untaught model of one narrow layer on each side, with the byte tokenizer."""
    model = random_model("nano", seed)
    sizes = {"d_model": 48, "encoder_layers": 1, "decoder_layers": 1}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    widths = {"encoder_ffn_dim": 96, "decoder_ffn_dim": 96}
    config = WhisperConfig(**{**model.model.config.to_dict(), **sizes, **heads, **widths})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = WhisperForConditionalGeneration(config).eval()
    network.generation_config = model.model.generation_config
    return SpeechModel(network, model.tokenizer, 80, f"small-{seed}")


def _labels(model: SpeechModel, language: str, texts: list[str]) -> torch.Tensor:
    rows = tokens.labels(model.tokenizer, language, "transcribe", texts)
    end = tokens.end_id(model.tokenizer)
    longest = max(len(row) for row in rows)
    return torch.tensor([row + [end] * (longest - len(row)) for row in rows])


def _learnt(model: SpeechModel, labels: torch.Tensor) -> torch.Tensor:
    """What each position is to say next; -100 where nothing is learnt: within the prompt, after the end."""
    wanted = labels[:, 1:].clone()
    ended = (wanted == tokens.end_id(model.tokenizer)).cumsum(1) > 1
    wanted[ended] = -100
    wanted[:, :3] = -100
    return wanted


@functools.cache
def telling_model(languages: tuple[str, ...] = ("sv", "it", "da")) -> SpeechModel:
    """A model as others publish it, in small: each of the three sounds is another language, in which it knows
    its text; said again and again it still tells the language."""
    found = small_model(seed=5)
    clips = sounds()
    rows = [_labels(found, code, [clip.text])[0] for code, clip in zip(languages, clips, strict=True)]
    end = tokens.end_id(found.tokenizer)
    labels = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=end)
    wanted = _learnt(found, labels)
    wanted[:, 0] = labels[:, 1]  # the language
    only_language = torch.full_like(wanted, -100)
    only_language[:, 0] = labels[:, 1]
    once, often = (
        [log_mel.log_mel(np.concatenate([_quiet(0.2), clip.audio, _quiet(0.2)] * times)) for clip in clips]
        for times in (1, 6)
    )
    variants = [
        (collate(mels, [log_mel.floor(float(mel.max())) for mel in mels], slack_frames=10), learnt)
        for mels, learnt in (([clip.mel for clip in clips], wanted), (once, wanted), (often, only_language))
    ]
    optimiser = torch.optim.AdamW(found.model.parameters(), lr=3e-3)
    losses = [math.inf] * len(variants)
    for step in range(MOST_STEPS):
        inputs, learnt = variants[step % len(variants)]
        states = encode(found.model, inputs)
        output = found.model(encoder_outputs=(states,), decoder_input_ids=labels[:, :-1])
        loss = functional.cross_entropy(output.logits.transpose(1, 2), learnt)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses[step % len(variants)] = loss.item()
        if max(losses) < KNOWN:
            break
    else:
        raise RuntimeError(f"not taught in {MOST_STEPS} steps: losses {losses}")
    found.model.eval()
    return found


def _quiet(duration_s: float) -> np.ndarray:
    return np.zeros(seconds(duration_s), np.float32)
