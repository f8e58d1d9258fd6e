"""Audio of any length -> its text, with times; by any engine. Light: numpy and scipy.

Silence and steady noise are not shown to the model, so nothing is written of them; what it is unsure of or
repeats in a loop is treated as Whisper's authors do, without their dice: once more, with beams.
"""

from __future__ import annotations

import bisect
import itertools
import operator
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dagsverk.speech.audio.samples import Audio, SamplesFile
from dagsverk.speech.errors import ModelError
from dagsverk.speech.features import log_mel
from dagsverk.speech.languages import token_code
from dagsverk.speech.model.decoded import Decoded, Task
from dagsverk.speech.serving import windows
from dagsverk.speech.serving.engine import Engine, WordTimes
from dagsverk.speech.serving.guard import doubted, without_echoes
from dagsverk.speech.serving.voice_activity import NO_VOICE
from dagsverk.speech.serving.windows import LEVEL_SAMPLES, SAMPLE_RATE_HZ, Window
from dagsverk.speech.serving.word_times import at_pauses, bounded, shifted, those_of
from dagsverk.speech.subtitles.cues import Word
from dagsverk.turns import Check, go_on

BLOCK_S = 30.0  # of a recording read at a time
LISTENED_S = 60.0  # of speech, to tell its language

Source: TypeAlias = bytes | Path | Audio | SamplesFile
Turn: TypeAlias = Callable[[], AbstractContextManager[object]]
OnProgress: TypeAlias = Callable[[float, float], None]  # seconds done, seconds in all
OnSegments: TypeAlias = "Callable[[Task, Sequence[Segment]], None]"


@dataclass(frozen=True)
class Segment:
    """The text of one window; the times are the window's, at a pause if there was one."""

    start_s: float
    end_s: float
    text: str
    mean_log_probability: float  # per token: how sure the model is; <= 0
    no_speech_probability: float  # that nothing is said; means little for a model that never learnt it
    words: tuple[Word, ...] = ()  # of the text, in seconds of the recording; none unless they are asked for
    tokens: tuple[int, ...] = ()  # that the model wrote; of a loop that is said once, all of it


@dataclass(frozen=True)
class Transcript:
    """The text of a recording. Where nothing is said there is no segment."""

    segments: tuple[Segment, ...]
    language: str  # that is spoken
    task: Task
    duration_s: float
    word_times: WordTimes | None = None  # where the times of words come from; None: not asked for
    left_out: Mapping[str, int] = field(default_factory=dict)  # why, and of how many windows

    @property
    def text(self) -> str:
        """All segments, a line each."""
        return "\n".join(segment.text for segment in self.segments)


class Transcriber:
    """An engine that transcribes recordings. Threads may share it; they take turns, batch by batch.

    Args:
        language: Whisper's code of what is spoken.
        can_translate: whether the model was taught to write English instead.
        longest_s: of a window; a model trained on short clips alone is bad at longer ones.
        has_voice: of a stretch of sound, whether somebody speaks; where not, it is left out. None: not asked.
    """

    def __init__(
        self,
        engine: Engine,
        language: str,
        *,
        can_translate: bool = False,
        longest_s: float = windows.LONGEST_S,
        has_voice: Callable[[Audio], bool] | None = None,
    ) -> None:
        if not 1 <= longest_s <= 30:
            raise ValueError(f"longest_s must be in [1, 30], got {longest_s}")
        self.language = language
        self.can_translate = can_translate
        self._engine = engine
        self._longest_s, self._has_voice = longest_s, has_voice
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Of the model."""
        return self._engine.name

    @property
    def runs_on(self) -> str:
        """The kind of its engine."""
        return type(self._engine).__name__

    def of(self, language: str) -> Transcriber:
        """The same model, of which another language is asked; both take turns with it."""
        if language == self.language:
            return self
        other = copy(self)
        other.language = language
        return other

    def transcribe(
        self,
        source: Source,
        task: Task = "transcribe",
        on_progress: OnProgress | None = None,
        *,
        words: bool = False,
        prompt: str = "",
        check: Check = go_on,
        turn: Turn = nullcontext,
    ) -> Transcript:
        """The text of a recording of any length. See `transcribe_for`."""
        (transcript,) = self.transcribe_for(
            [task], source, on_progress, words=words, prompt=prompt, check=check, turn=turn
        )
        return transcript

    def languages(
        self,
        source: Source,
        among: Sequence[str] = (),
        *,
        check: Check = go_on,
        turn: Turn = nullcontext,
    ) -> dict[str, float]:
        """How likely each language is spoken, the likeliest first: of the first minute of a recording in
        which something is said. Nothing where nothing is said.

        Args:
            among: Whisper's codes that come into question, their shares are of 1; none: all that it knows.
                A language that is written under the token of another is as likely as that one.
        """
        shares: Counter[str] = Counter()
        with _opened(source) as blocks:
            levels, samples = windows.levels(checked(blocks(), check))
            planned = self._packed(self._spoken(levels, samples, lambda: checked(blocks(), check))[0])
            lengths_s = itertools.accumulate(window.end_s - window.start_s for window in planned)
            most = [window for window, at_s in zip(planned, lengths_s, strict=True) if at_s <= LISTENED_S]
            for batch in _batches(windows.take(checked(blocks(), check), most), self._engine.batch_s):
                mels = [log_mel.log_mel(audio, self._engine.n_mels) for _, audio in batch]
                with turn(), self._lock:
                    likely = self._engine.languages(mels, check=check)
                for mel, own in zip(mels, likely, strict=True):
                    shares.update({code: share * len(mel) for code, share in own.items()})
        asked = {code: shares[token_code(code)] for code in among} if among else dict(shares)
        total = sum(asked.values())
        return {code: share / total for code, share in Counter(asked).most_common()} if total else {}

    def transcribe_for(
        self,
        tasks: Sequence[Task],
        source: Source,
        on_progress: OnProgress | None = None,
        *,
        words: bool = False,
        prompt: str = "",
        on_segments: OnSegments | None = None,
        check: Check = go_on,
        turn: Turn = nullcontext,
    ) -> list[Transcript]:
        """A transcript of a recording of any length for each task, in bounded memory.

        The file is decoded once; its samples are read twice, for levels and for windows. The spectra of a
        batch of windows serve all tasks.

        Args:
            tasks: "translate" writes English.
            source: an audio or video file, or its bytes; or float32 mono audio at 16 kHz, shape (samples,);
                or what a `Sandbox` has decoded.
            on_progress: called with the seconds done and in all, first with 0; what it raises ends the work.
                A batch counts in equal parts for each task.
            words: whether segments have their words with times.
            prompt: taken to be said before each window: names and words, spelt as they are to be written.
            on_segments: called with the segments of each batch of a task as soon as they are there, in order;
                what it raises ends the work.
            check: asked again and again, before each token too; what it raises ends the work.
            turn: held while the model works on one batch for one task, and given up before the next.
        Raises: AudioError for what cannot be decoded; ModelError if the model cannot translate.
        """
        if "translate" in tasks and not self.can_translate:
            raise ModelError(
                f"{self.name} was not taught to translate: train it with translate_share above 0 on a corpus "
                "with translations"
            )
        asked = _Asked(words, prompt, on_segments or _tell_nobody, check, turn)
        segments: dict[Task, list[Segment]] = {task: [] for task in tasks}
        left_out: dict[Task, Counter[str]] = {task: Counter() for task in tasks}
        report = on_progress or _report_to_nobody
        with _opened(source) as blocks:
            levels, samples = windows.levels(checked(blocks(), check))
            total_s = samples / SAMPLE_RATE_HZ
            report(0.0, total_s)
            parts, without_voice = self._spoken(levels, samples, lambda: checked(blocks(), check))
            planned = self._packed(parts)
            for counts in left_out.values():
                counts.update({NO_VOICE: without_voice} if without_voice else {})
            begun_s = 0.0
            for batch in _batches(windows.take(checked(blocks(), check), planned), self._engine.batch_s):
                cut = [window for window, _ in batch]
                mels = [log_mel.log_mel(audio, self._engine.n_mels) for _, audio in batch]
                end_s = cut[-1].end_s
                for number, task in enumerate(tasks, 1):
                    own = self._segments(cut, mels, levels, task, asked, left_out[task])
                    own = [piece for segment in own for piece in _parted(segment, parts)]
                    asked.on_segments(task, own)
                    segments[task] += own
                    report(min(begun_s + (end_s - begun_s) * number / len(tasks), total_s), total_s)
                begun_s = end_s
        report(total_s, total_s)
        times = self._engine.word_times if words else None
        return [
            Transcript(tuple(segments[task]), self.language, task, total_s, times, dict(left_out[task]))
            for task in tasks
        ]

    def _spoken(
        self, levels: windows.Levels, samples: int, blocks: Callable[[], Iterable[Audio]]
    ) -> tuple[list[Window], int]:
        """The stretches in which somebody speaks, and how many others there are."""
        planned = windows.plan(levels, samples, longest_s=self._longest_s)
        if self._has_voice is None:
            return planned, 0
        spoken = [window for window, audio in windows.take(blocks(), planned) if self._has_voice(audio)]
        return spoken, len(planned) - len(spoken)

    def _packed(self, parts: Sequence[Window]) -> Sequence[Window]:
        """As few windows as hold them, for an engine that hears 30 s however short they are."""
        return windows.packed(parts, self._longest_s) if self._engine.windows == "full" else parts

    def _segments(
        self,
        cut: Sequence[Window],
        mels: Sequence[log_mel.Mel],
        levels: windows.Levels,
        task: Task,
        asked: _Asked,
        left_out: Counter[str],
    ) -> list[Segment]:
        """A segment of each window in which something is said; what is left out is counted."""
        bare = replace(asked, prompt="")  # what is doubted is decoded anew without it

        def again(places: list[int], beams: int) -> list[Decoded]:
            return self._decode(mels, places, beams, task, bare)

        with asked.turn(), self._lock:
            first = self._decode(mels, range(len(cut)), 1, task, asked)
            kept = doubted(first, again)
            if asked.prompt:
                kept = without_echoes(kept, asked.prompt, again)
            speech = [place for place, one in enumerate(kept.decoded) if one.text]
            segments = [_segment(cut[place], kept.decoded[place]) for place in speech]
            if asked.words:
                own = [kept.decoded[place] for place in speech]
                aligned = self._engine.align(
                    [mels[place] for place in speech],
                    own,
                    language=self.language,
                    task=task,
                    check=asked.check,
                )
                segments = [
                    _with_words(segment, words, windows.spoken_frames(levels, cut[place]))
                    for segment, words, place in zip(segments, aligned, speech, strict=True)
                ]
        left_out.update(kept.left_out)
        return segments

    def _decode(
        self, mels: Sequence[log_mel.Mel], places: Sequence[int], beams: int, task: Task, asked: _Asked
    ) -> list[Decoded]:
        return self._engine.decode(
            [mels[place] for place in places],
            language=self.language,
            task=task,
            beams=beams,
            prompt=asked.prompt,
            check=asked.check,
        )


@dataclass(frozen=True)
class _Asked:
    """How a recording is to be transcribed."""

    words: bool
    prompt: str
    on_segments: OnSegments
    check: Check
    turn: Turn


def _segment(window: Window, decoded: Decoded) -> Segment:
    sureness = decoded.mean_log_probability, decoded.no_speech_probability
    return Segment(window.start_s, window.end_s, decoded.text, *sureness, tokens=decoded.tokens)


def _with_words(segment: Segment, aligned: Sequence[Word], spoken: NDArray[np.bool_]) -> Segment:
    """The segment with its words, as they were aligned in its window."""
    own = those_of(aligned, segment.text)
    words = at_pauses(own, spoken.tolist(), LEVEL_SAMPLES / SAMPLE_RATE_HZ)
    return replace(segment, words=shifted(words, segment.start_s, segment.end_s))


def _parted(segment: Segment, parts: Sequence[Window]) -> list[Segment]:
    """The segment of a packed window as one of each of its parts; whole where its words have no times."""
    first = bisect.bisect_left(parts, segment.start_s, key=lambda part: part.start_s)
    last = bisect.bisect_right(parts, segment.end_s, key=lambda part: part.end_s)
    own = parts[first:last]
    if len(own) < 2 or not segment.words:
        return [segment]
    middles_s = [(before.end_s + after.start_s) / 2 for before, after in itertools.pairwise(own)]
    of_part = itertools.accumulate(
        (bisect.bisect(middles_s, (word.start_s + word.end_s) / 2) for word in segment.words), max
    )
    pieces: list[Segment] = []
    place = 0  # in the text
    for part, group in itertools.groupby(zip(of_part, segment.words, strict=True), operator.itemgetter(0)):
        words = tuple(word for _, word in group)
        begin = place
        for word in words:
            place = segment.text.index(word.text, place) + len(word.text)
        start_s, end_s = own[part].start_s, own[part].end_s
        text, within = segment.text[begin:place].strip(), bounded(words, start_s, end_s)
        tokens = () if pieces else segment.tokens  # of the window: none is given twice
        pieces.append(replace(segment, start_s=start_s, end_s=end_s, text=text, words=within, tokens=tokens))
    return pieces


@contextmanager
def _opened(source: Source) -> Iterator[Callable[[], Iterable[Audio]]]:
    """What gives the recording's blocks, from the beginning each time."""
    if isinstance(source, np.ndarray):
        if source.ndim != 1:
            raise ValueError(f"want mono audio of shape (samples,), got {source.shape}")
        audio, size = source, round(BLOCK_S * SAMPLE_RATE_HZ)
        yield lambda: (audio[at : at + size].astype(np.float32) for at in range(0, len(audio), size))
    elif isinstance(source, SamplesFile):
        file = source
        yield lambda: file.blocks(BLOCK_S)
    else:
        from dagsverk.speech.audio.waveform import samples_file  # FFmpeg: for who brings no samples

        with closing(samples_file(source)) as file:
            yield lambda: file.blocks(BLOCK_S)


def checked(blocks: Iterable[Audio], check: Check) -> Iterator[Audio]:
    """The blocks; before each is asked whether to go on."""
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


def _report_to_nobody(done_s: float, total_s: float) -> None:
    """Of progress."""


def _tell_nobody(task: Task, segments: Sequence[Segment]) -> None:
    """Of segments."""
