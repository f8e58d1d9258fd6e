"""Voices that are written down while they speak: one for each visitor, a few in all. Light.

Blocks come at any pace and are taken at once; a thread for each voice asks the model about all that came.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from dagsverk.cache import cache_folder
from dagsverk.speech.audio.samples import RATE_HZ, Audio, SamplesFile
from dagsverk.speech.errors import Busy, SpeechError
from dagsverk.speech.languages import Language
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.model.decoded import Task
from dagsverk.speech.serving import service
from dagsverk.speech.serving.answering import Listener, Order
from dagsverk.speech.serving.live import Listen, Live
from dagsverk.speech.serving.transcriber import Segment
from dagsverk.speech.subtitles.cues import Word, words_in
from dagsverk.store import Model, Store, StoreError
from dagsverk.turns import Check, Left, Stop

MOST_VOICES = 4
MOST_S = 600.0  # of a voice
TOLD_S = 5.0  # of a voice whose language is not named: then it stays what it was taken for
SILENT_S = 60.0  # of audio without a new word, after which a voice is ended
AWAY_S = 15.0  # without a block: the visitor is gone
BEHIND_S = 60.0  # of audio that waits for the model: more is not taken
KEPT_S = 60.0  # after its end: the last words are asked for
SAMPLE_BYTES = 2  # of what comes in: 16 bits, little-endian, mono, 16 kHz

Words: TypeAlias = tuple[Word, ...]
MakeListen: TypeAlias = Callable[[Check], Listen]


class NoVoice(LookupError):
    """No such voice is written down for this visitor."""


@dataclass(frozen=True)
class State:
    """What there is to show of a voice."""

    settled: Words  # from the first that was asked for
    unsettled: Words
    over: bool  # nothing more will come
    why: str  # it ended, if the visitor did not end it

    def to_dict(self) -> dict[str, Any]:
        """In JSON types."""
        return {
            "settled": [_plain(word) for word in self.settled],
            "unsettled": [_plain(word) for word in self.unsettled],
            "over": self.over,
            "why": self.why,
        }


def _plain(word: Word) -> dict[str, Any]:
    return {"text": word.text, "start_s": round(word.start_s, 2), "end_s": round(word.end_s, 2)}


class Voice:
    """A voice that is written down, by a thread of its own, until it ends.

    Args: now: seconds on a clock that never goes back.
    """

    def __init__(
        self, visitor: str, make_listen: MakeListen, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.id, self.visitor = secrets.token_urlsafe(16), visitor
        self._now, self._stop = now, Stop()
        self._live = Live(make_listen(self._stop))
        self._changed = threading.Condition()
        self._waiting: list[Audio] = []
        self._waiting_samples = self._taken_samples = self._numbers = 0
        self._settled: Words = ()
        self._unsettled: Words = ()
        self._why, self._ending, self._over = "", False, False
        self._last_block = now()
        self._last_word_s = 0.0  # of the audio: a model that is slow is not silence
        self.ended_at: float | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def take(self, number: int, block: bytes) -> None:
        """A block of samples. Args: number: 0, 1, 2 …; one that came before is not taken twice.

        Raises: ValueError for what is no block, or if one before it is missing.
        """
        if len(block) % SAMPLE_BYTES:
            raise ValueError(f"want samples of {SAMPLE_BYTES} bytes each, got {len(block)} bytes")
        samples = np.frombuffer(block, "<i2").astype(np.float32) / np.float32(32768)
        with self._changed:
            if number > self._numbers:
                raise ValueError(f"want block {self._numbers}, got block {number}: one in between is missing")
            self._last_block = self._now()
            if number < self._numbers or self._ending or self._over:
                return
            self._numbers += 1
            if (self._waiting_samples + len(samples)) / RATE_HZ > BEHIND_S:
                self._end(
                    f"the model is {BEHIND_S:.0f} s behind: this machine is too slow or too busy for it"
                )
            elif (self._taken_samples + len(samples)) / RATE_HZ > MOST_S:
                self._end(f"a voice is written down for at most {MOST_S / 60:.0f} minutes; begin a new one")
            else:
                self._waiting.append(samples)
                self._waiting_samples += len(samples)
                self._taken_samples += len(samples)
                self._changed.notify_all()

    def state(self, seen: int = 0) -> State:
        """Args: seen: how many settled words the visitor has already."""
        with self._changed:
            return State(self._settled[seen:], self._unsettled, self._over, self._why)

    def finish(self) -> None:
        """No more blocks come; the last words are settled as soon as the model has heard them."""
        with self._changed:
            self._end("")

    def drop(self, why: str = "") -> None:
        """End it at once; what is not settled is not."""
        with self._changed:
            self._end(why)
        self._stop.press()

    def _end(self, why: str) -> None:
        if not self._ending:
            self._ending, self._why = True, why
        self._changed.notify_all()

    def _run(self) -> None:
        try:
            while (block := self._next()) is not None:
                self._live.add(block)
                self._show()
            self._live.finish()
        except Left:
            pass
        except (SpeechError, StoreError, LookupError, OSError, ValueError) as error:
            with self._changed:
                self._why = f"the model could not be asked: {error}"
        except Exception:
            with self._changed:
                self._why = "the model failed; see the log of the pages"
            raise
        finally:
            self._show()
            with self._changed:
                self._over = self._ending = True
                self._waiting.clear()
                self.ended_at = self._now()
                self._changed.notify_all()

    def _show(self) -> None:
        with self._changed:
            settled, unsettled = self._live.settled, self._live.unsettled
            if (len(settled), unsettled) != (len(self._settled), self._unsettled):
                self._last_word_s = self._live.given_s
            self._settled, self._unsettled = settled, unsettled

    def _next(self) -> Audio | None:
        """All that has come, as soon as something has; None at the end."""
        with self._changed:
            if self._live.given_s - self._last_word_s > SILENT_S:
                self._end(f"nothing was said for {SILENT_S:.0f} s")
            while not self._waiting and not self._ending:
                self._changed.wait(1.0)
                if self._now() - self._last_block > AWAY_S:
                    self._end("nothing came any more from the browser")
            if not self._waiting:
                return None
            block = np.concatenate(self._waiting)
            self._waiting.clear()
            self._waiting_samples = 0
            return block


class Voices:
    """The voices of all visitors."""

    def __init__(self, most: int = MOST_VOICES, now: Callable[[], float] = time.monotonic) -> None:
        self.most, self._now = most, now
        self._voices: dict[str, Voice] = {}  # by visitor
        self._lock = threading.Lock()

    def begin(self, visitor: str, make_listen: MakeListen) -> Voice:
        """A new voice of a visitor, in place of the one before. Raises Busy if there are too many."""
        with self._lock:
            self._forget()
            others = [voice for name, voice in self._voices.items() if name != visitor]
            if sum(voice.ended_at is None for voice in others) >= self.most:
                raise Busy(f"{self.most} people speak at the moment: there is room for no more; try later")
            if before := self._voices.get(visitor):
                before.drop("a new one was begun, on this page or another")
            voice = self._voices[visitor] = Voice(visitor, make_listen, now=self._now)
            return voice

    def of(self, visitor: str, id: str) -> Voice:
        """Raises NoVoice for another's, or one that is no longer kept."""
        with self._lock:
            self._forget()
            voice = self._voices.get(visitor)
        if voice is None or not secrets.compare_digest(voice.id.encode(), id.encode()):
            raise NoVoice("this voice is no longer written down: begin a new one")
        return voice

    def _forget(self) -> None:
        now = self._now()
        old = [v for v in self._voices.values() if v.ended_at is not None and now - v.ended_at > KEPT_S]
        for voice in old:
            del self._voices[voice.visitor]


class _Unheard(Listener):
    """Of the work as it goes on nothing is shown but the words."""

    def loading(self, model: Model) -> None: ...
    def begins(self, tasks: object) -> None: ...
    def progress(self, done_s: float, total_s: float) -> None: ...
    def segments(self, task: Task, segments: object) -> None: ...


def champion_listens(store: Store, language: Language | None) -> MakeListen:
    """Asks the champion of a language, in the process of the models.

    Args: language: None: the one that is told from the first `TOLD_S` in which words are heard.
    """
    order = Order(tasks=("transcribe",), words=True)

    def made(check: Check) -> Listen:
        spoken = language

        def listen(audio: Audio) -> list[Word]:
            nonlocal spoken
            with tempfile.TemporaryFile() as file:
                file.write(audio.tobytes())
                file.flush()
                samples = SamplesFile(file, len(audio))
                written = service.WRITER(store, cache_folder(), spoken, order, samples, _Unheard(), check)
            segments: tuple[Segment, ...] = written.transcripts[0].segments
            if spoken is None and segments and len(audio) >= TOLD_S * RATE_HZ:
                spoken = language_of(written.language)
            return words_in(segments)

        return listen

    return made
