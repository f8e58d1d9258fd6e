"""The known ways in which a fine-tuned Whisper goes wrong unseen by its word error rate, each looked for.

They are looked for when a checkpoint is scored and when it is registered. A failed check that `refuses` keeps
a model from being promoted; any other is a warning.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration, WhisperTokenizer
from transformers.modeling_outputs import BaseModelOutput

from dagsverk.speech.config import Windows
from dagsverk.speech.errors import ModelError
from dagsverk.speech.evaluation.normaliser import normalise
from dagsverk.speech.evaluation.report import Check
from dagsverk.speech.evaluation.retention import COMMON_ENGLISH
from dagsverk.speech.features import log_mel
from dagsverk.speech.languages import language as whisper_language
from dagsverk.speech.languages import token_code
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.model.tokens import prompt
from dagsverk.speech.runs import CurvePoint, ValidationPoint
from dagsverk.speech.serving.repetition import loops
from dagsverk.speech.serving.torch_engine import TorchEngine
from dagsverk.speech.serving.transcriber import Transcriber

WORSE_BY = 0.02  # a WER this much above the run's best is more than chance on a few hundred clips
MAX_LOOPING_SHARE = 0.001  # of clips
MAX_ENGLISH_SHARE = 0.01  # of clips with enough words to tell
ENOUGH_WORDS = 3  # to tell a text's language
ENGLISH_SHARE = 0.3  # of a text's words, two at least; of running English about half are in COMMON_ENGLISH
NOISE_S = 10.0  # of silence, and of noise at each level
NOISE_DBFS = (-60.0, -40.0, -20.0)


def check_model(
    model: SpeechModel,
    language: str,
    *,
    hypotheses: Sequence[str],
    references: Sequence[str],
    curve: Sequence[CurvePoint],
    windows: Windows | None = None,
) -> list[Check]:
    """All that shows in a model, its hypotheses for clips of its language, and its run's curve.

    Args:
        hypotheses: as the model wrote them, before it was doubted.
        windows: the mode that they are of; None: its own.
    """
    return [
        check_curve(curve),
        check_loops(hypotheses, references),
        check_language(hypotheses, references, language),
        check_silence(model, language, windows),
    ]


def check_folder(folder: Path, language: str) -> Check:
    """Whether whoever loads the folder and calls `generate` gets this language, transcribed.

    The fault behind most published models that score worse than before training: the language is then
    guessed, clip by clip. Args: folder: as `save_model_folder` writes it.
    """
    name = "language and task are saved"
    saved = _saved_config(folder)
    fixed = {part: saved.get(part) for part in ("language", "task")}
    if _code(fixed["language"]) != token_code(language) or fixed["task"] != "transcribe":
        wrong = f"generation_config.json says {fixed}, want {token_code(language)} and transcribe"
        return Check(name, False, True, f"{wrong}: others would hear the model guess")
    try:
        used = _prompt_of_library(folder)
        wanted = prompt(WhisperTokenizer.from_pretrained(folder), language)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ModelError) as error:
        return Check(name, False, True, f"the saved folder cannot be used: {error}")
    if used != wanted:
        return Check(name, False, True, f"the library prompts the saved model with {used}, want {wanted}")
    return Check(name, True, True, f"whoever loads it transcribes {language}")


def check_curve(curve: Sequence[CurvePoint]) -> Check:
    """Whether at a run's end the loss on dev is lower than where its WER was best, and the WER higher."""
    name = "errors fall with the loss"
    dev = [
        (point.step, point.dev_loss, point.dev_wer)
        for point in curve
        if isinstance(point, ValidationPoint) and point.dev_loss is not None and point.dev_wer is not None
    ]
    if len(dev) < 2:
        return Check(name, True, False, f"dev was looked at {len(dev)} times, too few to tell")
    (best_step, best_loss, best_wer), (step, loss, wer) = min(dev, key=lambda point: point[2]), dev[-1]
    words = (
        f"from step {best_step} to {step} the loss on dev went from {best_loss:.3f} to {loss:.3f} and the "
        f"word error rate from {best_wer:.1%} to {wer:.1%}"
    )
    if wer - best_wer > WORSE_BY and loss < best_loss:
        return Check(name, False, False, f"{words}: look at language and task")
    return Check(name, True, False, words)


def check_loops(hypotheses: Sequence[str], references: Sequence[str]) -> Check:
    """Whether the model says the same over and over, where nobody did."""
    looping = [
        hypothesis
        for hypothesis, reference in zip(hypotheses, references, strict=True)
        if loops(hypothesis) and not loops(reference)
    ]
    share = len(looping) / max(1, len(hypotheses))
    words = f"{len(looping)} of {len(hypotheses)} clips are heard as a loop at first"
    example = f", such as {looping[0][:60]!r}" if looping else ""
    return Check("no loops", share <= MAX_LOOPING_SHARE, False, words + example)


def check_language(hypotheses: Sequence[str], references: Sequence[str], language: str) -> Check:
    """Whether English is heard where another language is spoken. Other mix-ups are not looked for.

    Evidence are common English words that no reference has.
    """
    name = "the right language"
    if language == "en":
        return Check(name, True, True, "English was asked for")
    evidence = COMMON_ENGLISH - {word for text in references for word in _words(text, language)}
    texts = [text for text in (_words(text, language) for text in hypotheses) if len(text) >= ENOUGH_WORDS]
    english = [
        text for text in texts if sum(word in evidence for word in text) >= max(2, ENGLISH_SHARE * len(text))
    ]
    share = len(english) / max(1, len(texts))
    words = f"{len(english)} of {len(texts)} texts of {ENOUGH_WORDS} words or more are English"
    example = f", such as {' '.join(english[0])[:60]!r}" if english else ""
    return Check(name, share <= MAX_ENGLISH_SHARE, True, words + example)


def check_silence(model: SpeechModel, language: str, windows: Windows | None = None) -> Check:
    """Whether words come out of silence and noise as people meet them: through the transcriber.

    The detail also says what the model makes of them when it is asked directly.
    """
    sounds = silence_and_noise()
    engine = TorchEngine(model, windows)
    transcriber = Transcriber(engine, language)
    written = sum(len(transcriber.transcribe(sound).text.split()) for sound in sounds)
    mels = [log_mel.log_mel(sound, model.n_mels) for sound in sounds]
    direct = sum(len(one.text.split()) for one in engine.decode(mels, language=language))
    return Check(
        "silent on silence and noise",
        written == 0,
        True,
        f"{written} words are written of {NOISE_S * len(sounds):g} s of silence and noise; asked directly, "
        f"without the check for sound, the model says {direct}",
    )


def silence_and_noise() -> list[np.ndarray]:
    """Digital silence, and white noise at NOISE_DBFS; float32 at 16 kHz, NOISE_S each; always the same."""
    samples = round(NOISE_S * log_mel.SAMPLE_RATE_HZ)
    noise = np.random.default_rng(0).normal(size=samples)
    return [
        np.zeros(samples, np.float32),
        *((10 ** (level / 20) * noise).astype(np.float32) for level in NOISE_DBFS),
    ]


def _saved_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _code(saved: Any) -> str:
    """Whisper's code for the ways in which a language may be saved: sv, swedish, <|sv|>."""
    try:
        return whisper_language(str(saved).removeprefix("<|").removesuffix("|>")).code
    except ValueError:
        return ""


@torch.inference_mode()
def _prompt_of_library(folder: Path) -> list[int]:
    """The tokens with which the library's `generate` begins, given the folder's configuration.

    A model of the least size stands in for the folder's: weights have no say in it.
    """
    config = WhisperConfig.from_pretrained(folder)
    least = {
        "d_model": 4,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 4,
        "decoder_ffn_dim": 4,
    }
    config.update({**least, "encoder_attention_heads": 1, "decoder_attention_heads": 1})
    with torch.random.fork_rng(devices=[]):
        model = WhisperForConditionalGeneration(config)
    model.train(False)
    model.generation_config = GenerationConfig.from_pretrained(folder)
    model.generation_config.max_length, model.generation_config.max_new_tokens = None, 1
    seen: list[list[int]] = []
    model.model.decoder.register_forward_pre_hook(
        lambda _module, _args, given: seen.append(given["input_ids"][0].tolist()), with_kwargs=True
    )
    states = torch.zeros(1, config.max_source_positions, config.d_model)
    model.generate(encoder_outputs=BaseModelOutput(last_hidden_state=states))
    return max(seen, key=len)


def _words(text: str, language: str) -> list[str]:
    return normalise(text, language).split()
