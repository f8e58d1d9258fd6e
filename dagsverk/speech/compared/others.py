"""A published Whisper by other people's programs, where they are installed: transformers, faster-whisper."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dagsverk import threads
from dagsverk.speech.audio.samples import RATE_HZ, Audio
from dagsverk.speech.errors import ModelError

Write = Callable[[Audio, bytes], str]


def by_transformers(model: str, language: str) -> tuple[Write, str]:
    """As its documentation says: 30 s windows, greedy. Returns what writes, and what it is called.

    Raises: ModelError, ModelUnavailable.
    """
    import torch
    from transformers import WhisperFeatureExtractor

    from dagsverk.speech.model.models import load_model

    loaded = load_model(model, language=language)
    extractor: Any = WhisperFeatureExtractor(feature_size=loaded.n_mels)  # type: ignore[no-untyped-call]
    torch.set_num_threads(threads.given())

    def write(samples: Audio, _: bytes) -> str:
        features = extractor(samples, sampling_rate=RATE_HZ, return_tensors="pt").input_features
        with torch.inference_mode():
            tokens = loaded.model.generate(features, language=language, task="transcribe", num_beams=1)
        return str(loaded.tokenizer.batch_decode(tokens, skip_special_tokens=True)[0]).strip()

    return write, f"transformers {version('transformers')}"


def by_faster_whisper(model: str, language: str) -> tuple[Write, str]:
    """As its documentation says: int8, five beams, on the processor. Raises ModelError."""
    try:
        from faster_whisper import WhisperModel  # type: ignore[import-not-found]

        called = f"faster-whisper {version('faster-whisper')}"
    except (ImportError, PackageNotFoundError) as error:
        raise ModelError(
            "faster-whisper is not installed where this runs: pip install faster-whisper; or let it answer "
            "OpenAI's route elsewhere, and compare with kind program"
        ) from error
    try:
        loaded = WhisperModel(model, device="cpu", compute_type="int8", cpu_threads=threads.given())
    except Exception as error:  # its own kinds are many, and not named
        raise ModelError(f"faster-whisper cannot load {model!r}: {type(error).__name__}: {error}") from error

    def write(samples: Audio, _: bytes) -> str:
        segments, _about = loaded.transcribe(samples, language=language)
        return " ".join(segment.text.strip() for segment in segments)

    return write, called
