"""A published Whisper by other people's programs, where they are installed: transformers, faster-whisper."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
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
    """As its documentation says: int8, five beams, on the processor.

    Args: model: a folder, as CTranslate2 or as transformers has it; or a name on the hub.
    Raises: ModelError.
    """
    from faster_whisper import WhisperModel

    with TemporaryDirectory(prefix="dagsverk-") as room:
        try:
            place = _as_it_wants(model, Path(room) / "converted")
            loaded = WhisperModel(place, device="cpu", compute_type="int8", cpu_threads=threads.given())
        except Exception as error:  # its own kinds are many, and not named
            raise ModelError(
                f"faster-whisper cannot load {model!r}: {type(error).__name__}: {str(error)[:300]}; want a "
                "folder as transformers or CTranslate2 has it, or a name on the hub such as small"
            ) from error

    def write(samples: Audio, _: bytes) -> str:
        segments, _about = loaded.transcribe(samples, language=language)
        return " ".join(segment.text.strip() for segment in segments)

    return write, f"faster-whisper {version('faster-whisper')}"


def _as_it_wants(model: str, room: Path) -> str:
    """The name or folder that it takes: openai's own are known to it by their size, others are converted."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return model.removeprefix("openai/whisper-")
    if (folder / "model.bin").is_file():
        return str(folder)
    beside = [name for name in ("tokenizer.json", "preprocessor_config.json") if (folder / name).is_file()]
    arguments = ["--model", str(folder), "--output_dir", str(room), "--quantization", "int8"]
    command = [sys.executable, "-m", "ctranslate2.converters.transformers", *arguments]
    if beside:
        command += ["--copy_files", *beside]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # so its memory is not ours
    if done.returncode:
        raise ModelError(
            f"CTranslate2 cannot convert it: {(done.stderr.splitlines() or ['it says nothing'])[-1]}"
        )
    return str(room)
