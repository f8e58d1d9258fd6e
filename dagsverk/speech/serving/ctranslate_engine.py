"""The engine that runs on CTranslate2: weights in 8 or 16 bits, without torch in the process.

Its encoder takes any length, so clips are heard as the torch engine hears them: at true length on the same
grid, or in windows of 30 s, whichever the model is served in. It knows no padding in a batch, so only clips
of one padded length go together. Each core works on a batch of its own: two that share one token's arithmetic
wait for each other longer than they calculate. Measured: docs/decisions/0038-export-with-a-parity-gate.md.
Light: loads the library with the first model.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dagsverk import threads
from dagsverk.records import parse, read_file
from dagsverk.speech.config import MEL_FRAMES_PER_S, Windows
from dagsverk.speech.errors import ModelError
from dagsverk.speech.features.log_mel import Mel, floor
from dagsverk.speech.languages import token_code
from dagsverk.speech.model import tokens
from dagsverk.speech.model.decoded import Decoded, Task
from dagsverk.speech.model.lengths import SLACK_S, alike_batches, checked_frames, grid_frames, most_tokens
from dagsverk.speech.serving.engine import WordTimes, allowed
from dagsverk.speech.serving.light_tokenizer import LightTokenizer
from dagsverk.speech.serving.word_times import words_of
from dagsverk.speech.subtitles.cues import Word
from dagsverk.turns import Check, go_on

ABOUT = "dagsverk.json"  # beside the weights: what CTranslate2 does not ask, and this engine does
BATCH_S = 60.0  # of audio, padding included, for one worker: bounds memory, and what a caller who left costs
COMPUTED_IN = {"int8": "int8", "float16": "float32"}  # on a processor; none computes in float16


@dataclass(frozen=True, kw_only=True)
class About:
    """What the engine is to know of a converted model."""

    windows: Windows
    refused_windows: tuple[Windows, ...]
    form: str  # of the weights: int8 or float16
    n_mels: int
    positions: int  # of the decoder: prompt, text and end
    vocabulary: int  # rows of the projection
    suppressed: tuple[int, ...]  # tokens that the model's configuration forbids
    names_heads: bool  # whether it names its heads of attention that follow the speech


_Answer = TypeVar("_Answer")


class CTranslateEngine:
    """A converted model as an `Engine`.

    Args:
        network: a `ctranslate2.models.Whisper`; as many of its workers answer at a time as it has.
        windows: the mode that it works in; None: the one that it is served in.
    Raises: ModelError if the model was found to be worse in that mode than before training.
    """

    def __init__(
        self,
        network: Any,
        tokenizer: LightTokenizer,
        about: About,
        name: str,
        *,
        windows: Windows | None = None,
    ) -> None:
        self.windows = allowed(name, windows, own=about.windows, refused=about.refused_windows)
        self.name = name
        self._network, self._tokenizer, self._about = network, tokenizer, about
        self._workers = int(network.num_workers)
        never = {*tokens.special_ids(tokenizer), *range(len(tokenizer), about.vocabulary), *about.suppressed}
        self._never = sorted(token for token in never if token < about.vocabulary)

    @property
    def is_multilingual(self) -> bool:
        """Whether the library takes it for more than English: else it tells no languages apart."""
        return bool(self._network.is_multilingual)

    @property
    def n_mels(self) -> int:
        return self._about.n_mels

    @property
    def batch_s(self) -> float:
        return BATCH_S * self._workers

    @property
    def word_times(self) -> WordTimes:
        """By the heads that the model names for it, if it does."""
        return "alignment heads" if self._about.names_heads else "later layers"

    def decode(
        self,
        mels: Sequence[Mel],
        *,
        language: str,
        task: Task = "transcribe",
        beams: int = 1,
        prompt: str = "",
        check: Check = go_on,
    ) -> list[Decoded]:
        """See `Engine.decode`. `check` is asked before each batch of clips of one length."""
        if beams < 1:
            raise ValueError(f"beams must be 1 or more, got {beams}")
        earlier = tokens.previous(self._tokenizer, prompt, self._about.positions // 2)
        start = [*earlier, *tokens.prompt(self._tokenizer, language, task)]
        room = self._about.positions - len(start)

        def texts(clips: list[int], length: int) -> Iterator[Decoded]:
            limits = [most_tokens(len(mels[clip]), room) for clip in clips]
            results = self._network.generate(
                self._features(mels, clips, length),
                [start] * len(clips),
                beam_size=beams,
                length_penalty=1.0 if beams > 1 else 0.0,  # texts are ranked by their mean
                max_length=_max_length(max(limits), len(start)),
                suppress_tokens=self._never,
                suppress_blank=True,  # what the configuration forbids at first
                return_scores=True,
                return_no_speech_prob=True,
            )
            for limit, result in zip(limits, results, strict=True):
                yield self._hypothesis(result, limit, max(limits), summed=beams == 1)

        return self._by_clip(mels, range(len(mels)), texts, check)

    def align(
        self,
        mels: Sequence[Mel],
        decoded: Sequence[Decoded],
        *,
        language: str,
        task: Task = "transcribe",
        check: Check = go_on,
    ) -> list[tuple[Word, ...]]:
        """See `Engine.align`."""
        start = tokens.prompt(self._tokenizer, language, task)
        room = self._about.positions - len(start) - 1  # of the end
        spoken = [clip for clip, text in enumerate(decoded) if text.tokens]

        def words(clips: list[int], length: int) -> Iterator[tuple[Word, ...]]:
            results = self._network.align(
                self._features(mels, clips, length),
                start[:-1],  # <|notimestamps|> the library adds itself
                [list(decoded[clip].tokens[:room]) for clip in clips],
                [min(length, 2 * math.ceil(len(mels[clip]) / 2)) for clip in clips],
            )
            for clip, result in zip(clips, results, strict=True):
                own = decoded[clip].tokens[:room]
                times_s = _token_times(result.alignments, len(own))
                length_s = len(mels[clip]) / MEL_FRAMES_PER_S
                yield words_of(tokens.token_bytes(self._tokenizer, own), times_s, length_s)

        times = dict(zip(spoken, self._by_clip(mels, spoken, words, check), strict=True))
        return [times.get(clip, ()) for clip in range(len(mels))]

    def languages(self, mels: Sequence[Mel], *, check: Check = go_on) -> list[dict[str, float]]:
        """See `Engine.languages`."""

        def likely(clips: list[int], length: int) -> Iterator[dict[str, float]]:
            for pairs in self._network.detect_language(self._features(mels, clips, length)):
                yield {token.strip("<|>"): float(share) for token, share in pairs}

        return self._by_clip(mels, range(len(mels)), likely, check)

    def _by_clip(
        self,
        mels: Sequence[Mel],
        clips: Sequence[int],
        answer: Callable[[list[int], int], Iterator[_Answer]],
        check: Check,
    ) -> list[_Answer]:
        """What `answer` says of each of the clips; it is asked by as many threads as the network has workers.

        Args: answer: takes clips of one padded length, and that length in frames.
        """
        answers: dict[int, _Answer] = {}
        working: deque[tuple[list[int], Future[list[_Answer]]]] = deque()

        def take() -> None:
            batch, work = working.popleft()
            answers.update(zip(batch, work.result(), strict=True))

        with ThreadPoolExecutor(self._workers) as pool:
            try:
                for batch, length in self._batches(mels, clips):
                    while len(working) > self._workers:  # one waits: no worker does
                        take()
                    check()
                    working.append((batch, pool.submit(lambda *one: list(answer(*one)), batch, length)))
                while working:
                    check()
                    take()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [answers[clip] for clip in clips]

    def _batches(self, mels: Sequence[Mel], clips: Sequence[int]) -> Iterator[tuple[list[int], int]]:
        """Clips of one padded length, and that length in frames; no worker gets all of them."""
        slack, full = round(SLACK_S * MEL_FRAMES_PER_S), self.windows == "full"
        frames = [checked_frames(clip, mel, self.n_mels) for clip, mel in enumerate(mels)]
        padded = [grid_frames(frames[clip], slack, full=full) for clip in clips]
        most = min(BATCH_S * MEL_FRAMES_PER_S, sum(padded) / self._workers)
        for batch in alike_batches(padded, most):
            for length, alike in itertools.groupby(batch, key=padded.__getitem__):
                yield [clips[place] for place in alike], length

    def _features(self, mels: Sequence[Mel], clips: Sequence[int], length: int) -> Any:
        from ctranslate2 import StorageView

        batch = np.empty((len(clips), self.n_mels, length), np.float32)
        for row, clip in zip(batch, clips, strict=True):
            mel = mels[clip]
            row[:, : len(mel)] = mel.T
            row[:, len(mel) :] = floor(float(mel.max()))
        return StorageView.from_array(batch)

    def _hypothesis(self, result: Any, limit: int, most: int, *, summed: bool) -> Decoded:
        """A clip's text.

        Args:
            limit: the clip's own, of tokens; most: of its batch.
            summed: whether the score is a sum of log-probabilities, and not yet their mean.
        """
        written, score = tuple(result.sequences_ids[0]), float(result.scores[0])
        ended = len(written) < most
        if summed:
            score /= max(1, len(written) + ended)
        own = written[:limit]
        text = tokens.decode_text(self._tokenizer, list(own)).strip()
        finished = ended and len(written) < limit
        return Decoded(text, own, min(0.0, score), float(result.no_speech_prob), finished)


def load_engine(
    folder: Path, name: str, *, language: str, windows: Windows | None = None
) -> CTranslateEngine:
    """The converted model in a folder, on the processor. Raises ModelError.

    Args:
        name: that it is called by.
        language: Whisper's code; the model must know it.
        windows: the mode that it works in; None: the one that it is served in.
    """
    threads.prepare_environment()  # before the library reads how its threads wait
    try:
        import ctranslate2
    except ImportError as error:
        raise ModelError(
            f"cannot load {name}: no ctranslate2 ({error}); pip install dagsverk[speech]"
        ) from error
    about, tokenizer = _about(folder), LightTokenizer(folder)
    tokens.prompt(tokenizer, token_code(language))
    try:
        network = ctranslate2.models.Whisper(
            str(folder),
            compute_type=COMPUTED_IN.get(about.form, "default"),
            intra_threads=1,
            inter_threads=threads.given(),
        )
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"cannot load the converted model in {folder}: {error}; export it again") from error
    return CTranslateEngine(network, tokenizer, about, name, windows=windows)


def _about(folder: Path) -> About:
    try:
        return parse(read_file(folder / ABOUT), About, str(folder / ABOUT))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {folder / ABOUT}: {error}; export the model again") from error


def _max_length(limit: int, prompt: int) -> int:
    """What makes the library stop after `limit` tokens: the less of half of it and what the prompt leaves."""
    return max(2 * limit, limit + prompt)


def _token_times(alignments: Sequence[tuple[int, int]], count: int) -> list[float]:
    """When each token begins, and at last when the text ends, from pairs of (token, position of 20 ms)."""
    begins = dict.fromkeys(range(count + 1), -1)
    last = 0
    for token, position in alignments:
        last = max(last, position)
        if token in begins and begins[token] < 0:
            begins[token] = position
    times: list[float] = []
    for token in range(count + 1):
        place = begins[token] if begins[token] >= 0 else (last if token == count else -1)
        before = times[-1] if times else 0.0
        times.append(max(before, place * 2 / MEL_FRAMES_PER_S))
    return times
