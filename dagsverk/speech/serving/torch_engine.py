"""The engine that runs on PyTorch, on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from dagsverk import threads
from dagsverk.speech.config import MEL_FRAMES_PER_S, Windows
from dagsverk.speech.features import log_mel
from dagsverk.speech.model import alignment, decoding
from dagsverk.speech.model.decoded import Decoded, Task
from dagsverk.speech.model.models import SpeechModel, load_model
from dagsverk.speech.model.precision import wants_bf16
from dagsverk.speech.model.tokens import token_bytes
from dagsverk.speech.serving.engine import WordTimes, allowed
from dagsverk.speech.serving.word_times import words_of
from dagsverk.speech.subtitles.cues import Word
from dagsverk.turns import Check, go_on

BATCH_S = 60.0
BATCH_ON_GPU_S = 600.0
MOST_WIDTH_ALONE = 512  # d_model of base; larger ones were not measured
KEPT_BYTES = 512 * 1024**2  # of what the encoder made of a batch


class TorchEngine:
    """A model as an `Engine`.

    Args: windows: the mode that it works in; None: the one that its configuration names.
    Raises: ModelError if the model was found to be worse in that mode than before training.
    """

    def __init__(self, model: SpeechModel, windows: Windows | None = None) -> None:
        self._windows = allowed(model.name, windows, own=model.windows, refused=model.refused_windows)
        self._model = model
        self._kept: dict[int, tuple[log_mel.Mel, torch.Tensor]] = {}  # of the batch decoded last, by id

    @property
    def windows(self) -> Windows:
        """The mode that it works in."""
        return self._windows

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def n_mels(self) -> int:
        return self._model.n_mels

    @property
    def batch_s(self) -> float:
        return BATCH_ON_GPU_S if self._model.device.type == "cuda" else BATCH_S

    @property
    def word_times(self) -> WordTimes:
        """By the heads that the model names for it, if it does."""
        return "alignment heads" if alignment.alignment_heads(self._model)[1] else "later layers"

    def decode(
        self,
        mels: Sequence[log_mel.Mel],
        *,
        language: str,
        task: Task = "transcribe",
        beams: int = 1,
        prompt: str = "",
        check: Check = go_on,
    ) -> list[Decoded]:
        """See `Engine.decode`."""
        torch.set_num_threads(self._threads(mels))
        states = self._states(mels)
        decoded = decoding.decode(
            self._model,
            mels,
            _floors(mels),
            language=language,
            task=task,
            beams=beams,
            batch_s=BATCH_ON_GPU_S,
            full_windows=self._windows == "full",
            before=prompt,
            states=states,
            check=check,
        )
        self._keep(mels, states)
        return decoded

    def align(
        self,
        mels: Sequence[log_mel.Mel],
        decoded: Sequence[Decoded],
        *,
        language: str,
        task: Task = "transcribe",
        check: Check = go_on,
    ) -> list[tuple[Word, ...]]:
        """See `Engine.align`."""
        torch.set_num_threads(self._threads(mels))
        times_s = alignment.token_times(
            self._model,
            mels,
            _floors(mels),
            [one.tokens for one in decoded],
            language=language,
            task=task,
            batch_s=BATCH_ON_GPU_S,
            full_windows=self._windows == "full",
            states=self._states(mels),
            check=check,
        )
        tokenizer = self._model.tokenizer
        return [
            words_of(token_bytes(tokenizer, one.tokens), times, len(mel) / MEL_FRAMES_PER_S)
            for one, times, mel in zip(decoded, times_s, mels, strict=True)
        ]

    def languages(self, mels: Sequence[log_mel.Mel], *, check: Check = go_on) -> list[dict[str, float]]:
        """See `Engine.languages`."""
        torch.set_num_threads(self._threads(mels))
        return decoding.languages(
            self._model, mels, _floors(mels), full_windows=self._windows == "full", check=check
        )

    def _threads(self, mels: Sequence[log_mel.Mel]) -> int:
        """One for a clip alone and a model up to base: two are no faster, and on a busy one far slower."""
        alone = len(mels) == 1 and self._model.model.config.d_model <= MOST_WIDTH_ALONE
        return 1 if alone else threads.given()

    def _states(self, mels: Sequence[log_mel.Mel]) -> decoding.States:
        """What the encoder made of those of these clips that were decoded last: for words, for another task,
        for what is decoded once more."""
        held = {place: self._kept.get(id(mel)) for place, mel in enumerate(mels)}
        return {place: one[1] for place, one in held.items() if one is not None}

    def _keep(self, mels: Sequence[log_mel.Mel], states: decoding.States) -> None:
        if all(id(mel) in self._kept for mel in mels):
            return
        size = sum(state.numel() * state.element_size() for state in states.values())
        kept = {id(mel): (mel, states[place]) for place, mel in enumerate(mels)}
        self._kept = kept if size <= KEPT_BYTES else {}


def _floors(mels: Sequence[log_mel.Mel]) -> list[float]:
    return [log_mel.floor(float(mel.max())) for mel in mels]


def load_engine(folder: Path, name: str, *, language: str, windows: Windows | None = None) -> TorchEngine:
    """The model in a folder, in half precision on a GPU or processor made for it. Raises ModelError.

    Args:
        name: that it is called by.
        language: Whisper's code; the model must know it.
        windows: the mode that it works in; None: the one that it is served in.
    """
    model = load_model(str(folder), language=language)
    model.name = name
    return engine_of(model, windows)


def engine_of(model: SpeechModel, windows: Windows | None = None) -> TorchEngine:
    """A loaded model, moved to where it runs. Raises ModelError."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if wants_bf16(model.model, device) else torch.float32
    torch.nn.Module.to(model.model, device, dtype)
    return TorchEngine(model, windows)
