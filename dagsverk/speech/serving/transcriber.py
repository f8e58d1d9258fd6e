"""Audio of any length -> what is said in it, with times; by the champion of a language.

Silence and steady noise are not shown to the model, so nothing is said of them; what it is unsure of or
repeats in a loop is treated as Whisper's authors do, without their dice: a second look with beams.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from dagsverk.speech.audio.sandbox import DecodedFile
from dagsverk.speech.audio.waveform import decode_blocks
from dagsverk.speech.errors import ModelError
from dagsverk.speech.features import log_mel
from dagsverk.speech.languages import Language
from dagsverk.speech.model.decoding import Decoded, decode
from dagsverk.speech.model.models import SpeechModel, load_model
from dagsverk.speech.model.tokens import Task
from dagsverk.speech.serving import windows
from dagsverk.speech.serving.repetition import (
    MAX_COMPRESSION_RATIO,
    compression_ratio,
    loops,
    without_loops,
)
from dagsverk.speech.serving.windows import SAMPLE_RATE_HZ, Window
from dagsverk.store import Conflict, Model, NotFound, Store
from dagsverk.turns import Check, go_on

BLOCK_S = 30.0  # of a recording read at a time
BATCH_S = 60.0  # decoded at a time; progress is told after each
BATCH_ON_GPU_S = 600.0
NO_SPEECH = 0.6  # Whisper's own limits: nothing is said if <|nospeech|> is likelier than this ...
UNSURE = -1.0  # ... and the mean log-probability of what is said is below this
SECOND_LOOK_BEAMS = 5

Audio: TypeAlias = log_mel.Audio
Source: TypeAlias = bytes | Path | Audio | DecodedFile
Turn: TypeAlias = Callable[[], AbstractContextManager[object]]
OnProgress: TypeAlias = Callable[[float, float], None]  # seconds done, seconds in all


@dataclass(frozen=True)
class Segment:
    """What is said in one window; the times are the window's, at a pause if there was one."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Transcript:
    """What is said in a recording. Where nothing is heard there is no segment."""

    segments: tuple[Segment, ...]
    language: str  # that is spoken
    task: Task
    duration_s: float

    @property
    def text(self) -> str:
        """All segments, a line each."""
        return "\n".join(segment.text for segment in self.segments)


class Transcriber:
    """A model that writes down recordings. Threads may share it; they take turns, batch by batch.

    Args:
        language: Whisper's code of what is spoken.
        can_translate: whether the model was taught to write English instead.
        longest_s: of a window; a model trained on short clips alone hears longer ones badly.
    """

    def __init__(
        self,
        model: SpeechModel,
        language: str,
        *,
        can_translate: bool = False,
        longest_s: float = windows.LONGEST_S,
    ) -> None:
        if not 1 <= longest_s <= 30:
            raise ValueError(f"longest_s must be in [1, 30], got {longest_s}")
        self.language = language
        self.can_translate = can_translate
        self._model = model
        self._longest_s = longest_s
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Of the model."""
        return self._model.name

    def transcribe(
        self,
        source: Source,
        task: Task = "transcribe",
        on_progress: OnProgress | None = None,
        *,
        check: Check = go_on,
        turn: Turn = nullcontext,
    ) -> Transcript:
        """What is said in a recording of any length, in bounded memory.

        A file is read twice: for its levels, then for its sound.

        Args:
            source: an audio or video file, or its bytes; or float32 mono audio at 16 kHz, shape (samples,);
                or what a `Sandbox` has decoded.
            task: "translate" writes English.
            on_progress: called with the seconds done and in all, first with 0; what it raises ends the work.
            check: asked again and again, before each token too; what it raises ends the work.
            turn: held while the model works on one batch, and given up before the next.
        Raises: AudioError for what cannot be decoded; ModelError if the model cannot translate.
        """
        if task == "translate" and not self.can_translate:
            raise ModelError(
                f"{self.name} was not taught to translate; ask it to transcribe, or train one with "
                "translate_share above 0 on a corpus with translations"
            )
        found, samples = windows.levels(_checked(_blocks(source), check))
        total_s = samples / SAMPLE_RATE_HZ
        tell = on_progress or _tell_nobody
        tell(0.0, total_s)
        segments: list[Segment] = []
        cut = windows.take(
            _checked(_blocks(source), check), windows.plan(found, samples, longest_s=self._longest_s)
        )
        batch_s = BATCH_ON_GPU_S if self._model.device.type == "cuda" else BATCH_S
        for batch in _batches(cut, batch_s):
            with turn():
                segments += self._write_down(batch, task, check)
            tell(batch[-1][0].end_s, total_s)
        tell(total_s, total_s)
        return Transcript(tuple(segments), self.language, task, total_s)

    def _write_down(self, batch: list[tuple[Window, Audio]], task: Task, check: Check) -> list[Segment]:
        mels = [log_mel.log_mel(audio, self._model.n_mels) for _, audio in batch]
        heard = self._hear(mels, task, check, beams=1)
        again = [place for place, one in enumerate(heard) if _repeats(one)]
        if again:
            second = self._hear([mels[place] for place in again], task, check, beams=SECOND_LOOK_BEAMS)
            heard = [*heard]
            for place, one in zip(again, second, strict=True):
                heard[place] = one
        texts = [without_loops(one.text) if _is_said(one) else "" for one in heard]
        return [
            Segment(window.start_s, window.end_s, text)
            for (window, _), text in zip(batch, texts, strict=True)
            if text
        ]

    def _hear(self, mels: list[log_mel.Mel], task: Task, check: Check, *, beams: int) -> list[Decoded]:
        with self._lock:
            return decode(
                self._model,
                mels,
                [log_mel.floor(float(mel.max())) for mel in mels],
                language=self.language,
                task=task,
                beams=beams,
                batch_s=BATCH_ON_GPU_S,
                check=check,
            )


def load_champion(store: Store, language: Language, cache: Path) -> Transcriber:
    """The champion of a language, ready to write down; fetched once per version, and held in memory.

    Args: cache: a folder for the models' files.
    Raises: NotFound if there is none yet; StoreError, ModelError if its files are not whole.
    """
    model = store.champion(language.model_name)
    if model is None:
        raise NotFound(
            f"no champion {language.model_name!r} in {store.url}; train one: "
            f"prefect deployment run speech-day/{language.name}"
        )
    content = hashlib.sha256(repr(sorted(model.files.items())).encode()).hexdigest()[:16]
    with _champions_lock:
        held = _champions.get(language.code)
        if held is None or held[0] != content:
            folder = cache / "models" / f"{model.name}-{model.version}-{content}"
            held = (content, _open(_fetch(store, model, folder), model, language))
            _champions[language.code] = held  # the one before is let go
        return held[1]


_champions: dict[str, tuple[str, Transcriber]] = {}  # by language: what its files hold, and it
_champions_lock = threading.Lock()


def _open(folder: Path, model: Model, language: Language) -> Transcriber:
    loaded = load_model(str(folder), language=language.code)
    loaded.name = f"{model.name} {model.version}"
    if torch.cuda.is_available():
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
        torch.nn.Module.to(loaded.model, "cuda", dtype)
    return Transcriber(
        loaded,
        language.code,
        can_translate=bool(model.info.get("translates")),
        longest_s=float(model.info.get("longest_s", windows.LONGEST_S)),
    )


def _fetch(store: Store, model: Model, folder: Path) -> Path:
    try:
        return store.download(model, folder)
    except Conflict:  # what is in the cache was changed
        shutil.rmtree(folder)
    except OSError:  # another process put the same files there at the same moment
        if not folder.is_dir():
            raise
    return store.download(model, folder)


def _blocks(source: Source) -> Iterable[Audio]:
    if isinstance(source, DecodedFile):
        return source.blocks(BLOCK_S)
    if not isinstance(source, np.ndarray):
        return decode_blocks(source, BLOCK_S)
    if source.ndim != 1:
        raise ValueError(f"want mono audio of shape (samples,), got {source.shape}")
    size = round(BLOCK_S * SAMPLE_RATE_HZ)
    return (source[first : first + size].astype(np.float32) for first in range(0, len(source), size))


def _checked(blocks: Iterable[Audio], check: Check) -> Iterator[Audio]:
    for block in blocks:
        check()
        yield block


def _batches(cut: Iterator[tuple[Window, Audio]], most_s: float) -> Iterator[list[tuple[Window, Audio]]]:
    batch: list[tuple[Window, Audio]] = []
    held_s = 0.0
    for window, audio in cut:
        batch.append((window, audio))
        held_s += window.end_s - window.start_s
        if held_s >= most_s:
            yield batch
            batch, held_s = [], 0.0
    if batch:
        yield batch


def _repeats(heard: Decoded) -> bool:
    return loops(heard.text) or compression_ratio(heard.text) > MAX_COMPRESSION_RATIO


def _is_said(heard: Decoded) -> bool:
    return heard.no_speech_probability <= NO_SPEECH or heard.mean_log_probability >= UNSURE


def _tell_nobody(done_s: float, total_s: float) -> None:
    """Of progress."""
