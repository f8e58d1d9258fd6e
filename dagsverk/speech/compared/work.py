"""Two contenders and clips -> a report: chosen, written down, compared.

    material.choose   which clips
    write_down        what a contender writes of them; each answer is kept as soon as it is there
    conclude          the answers of both -> the report

Each may be killed at any line and repeated: no clip whose answer is kept is asked for again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress

import numpy as np
import pandas as pd

from dagsverk import threads
from dagsverk.records import read, write
from dagsverk.speech.audio.samples import RATE_HZ, Audio
from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.compared import contenders, material, memory
from dagsverk.speech.compared.config import Contender
from dagsverk.speech.compared.contenders import Opened
from dagsverk.speech.compared.program import Refusal
from dagsverk.speech.compared.results import Answer, folder
from dagsverk.speech.compared.writing import Asked, Measured, Written
from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.errors import AudioError
from dagsverk.speech.languages import Language
from dagsverk.store import NotFound, Store

WARM_S = 2.0  # of silence, that a model of ours hears first
KEPT_REFUSALS = ("refused, HTTP 4",)  # of a clip, for good: it is not asked for again
MODEL_TROUBLE = (RuntimeError, ValueError, ArithmeticError, LookupError, MemoryError)
Tell = Callable[[str], None]


def answer_path(language: Language, contender: str, recording: str) -> str:
    """The artefact of a contender's answer to a recording."""
    return f"{folder(language)}/answers/{contender}/{recording}.json"


def write_down(
    store: Store,
    language: Language,
    plan: str,
    contender: Contender,
    corpus: CorpusConfig,
    tell: Tell = lambda _: None,
    measure_memory: bool = True,
) -> Written:
    """Have a contender write down the clips of a plan that it has not written down yet.

    Raises: as `contenders.opened` and `material.recordings`; what is written by then stays.
    """
    made, rows = material.load(store, plan)
    started = time.perf_counter()
    with contenders.opened(store, language, contender) as opened:
        work = _Work(store, language, opened, contender, tell, len(rows))
        for clip, sound in material.recordings(rows, language, corpus, made.checks):
            work.take(clip, sound)
        work.finish()
    path = _keep_asked(store, language, opened.key, made.key, work)
    return Written(
        name=opened.name,
        detail=opened.detail,
        key=opened.key,
        answers=path,
        new=work.new,
        took_s=time.perf_counter() - started,
        version=opened.version,
        memory_bytes=_memory(store, language, contender, opened, work) if measure_memory else None,
    )


class _Work:
    """A contender at work: answers come in any order, and each is kept at once."""

    def __init__(
        self,
        store: Store,
        language: Language,
        opened: Opened,
        contender: Contender,
        tell: Tell,
        of: int,
    ) -> None:
        self._store, self._language, self._opened = store, language, opened
        self._tell, self._of = tell, of
        self._at_once = contender.at_once if opened.elsewhere else 1
        self._pool = ThreadPoolExecutor(self._at_once)
        self._waiting: dict[Future[Answer], tuple[str, str]] = {}
        kept = store.list(f"{folder(language)}/answers/{opened.key}")
        self._kept = {path.rpartition("/")[2].removesuffix(".json") for path in kept}
        self._machine = _machine()
        self._failed: dict[str, str] = {}  # recording -> why it has no answer
        self.answers: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.durations_s: dict[str, float] = {}
        self._refusals: list[tuple[str, str, Answer]] = []  # from before it answered anything
        self._answers = False
        self.longest: Audio = np.zeros(0, np.float32)
        self.new = 0

    def take(self, clip: str, sound: Audio | AudioError) -> None:
        """Ask for a clip, if its answer is not kept; waits while as many are asked for as may be."""
        if isinstance(sound, AudioError):
            self.missing[clip] = sound.reason
            return
        name = hashlib.sha256(sound.tobytes()).hexdigest()[:32]
        self.durations_s[clip] = len(sound) / RATE_HZ
        self.longest = max(self.longest, sound, key=len)
        if name in self._kept:
            self.answers[clip] = name
            return
        if not self.new and not self._opened.elsewhere:
            self._opened.write(contenders.silent(WARM_S), b"")
        cold = not self.new and self._opened.elsewhere
        self.new += 1
        self._kept.add(name)
        self._waiting[self._pool.submit(self._ask, sound, not cold)] = (clip, name)
        if len(self._waiting) >= self._at_once:
            self._settle(wait(self._waiting, return_when=FIRST_COMPLETED).done)

    def finish(self) -> None:
        self._settle(wait(self._waiting).done)
        self._pool.shutdown()
        for clip, name in list(self.answers.items()):
            if name not in self._kept:  # the same recording as another clip's, which had no answer
                del self.answers[clip]
                self.missing[clip] = self._failed[name]

    def _settle(self, done: set[Future[Answer]]) -> None:
        for future in done:
            clip, name = self._waiting.pop(future)
            try:
                answer = future.result()
            except BaseException:
                self._pool.shutdown(wait=True, cancel_futures=True)
                self._keep_others()
                raise
            self._keep(clip, name, answer)
        self._tell(f"{self._opened.name}: {len(self.answers) + len(self.missing)} of {self._of} clips")

    def _keep_others(self) -> None:
        """Of those that were asked for beside the one that ended the work: they may have cost money."""
        for future, (clip, name) in list(self._waiting.items()):
            if future.done() and not future.cancelled() and future.exception() is None:
                self._keep(clip, name, future.result())

    def _keep(self, clip: str, name: str, answer: Answer) -> None:
        lasting = not answer.refused or answer.refused.startswith(KEPT_REFUSALS)
        if not lasting or (answer.refused and not self._answers):
            self.missing[clip] = self._failed[name] = answer.refused
            self._kept.discard(name)
            if lasting:  # a program that is set up wrongly refuses all: that is not kept against its clips
                self._refusals.append((clip, name, answer))
            return
        write(self._store, answer_path(self._language, self._opened.key, name), answer)
        self._kept.add(name)
        self.answers[clip] = name
        self.missing.pop(clip, None)
        if not self._answers:
            self._answers, before = True, self._refusals
            for one in before:
                self._keep(*one)

    def _ask(self, sound: Audio, warm: bool) -> Answer:
        started = time.perf_counter()
        text, refused, detail = "", "", ""
        try:
            text = self._opened.write(sound, encode_wav(sound) if self._opened.elsewhere else b"")
        except Refusal as error:
            refused, detail = error.reason, error.detail
        except MODEL_TROUBLE as error:
            if self._opened.elsewhere:
                raise
            refused, detail = "the model failed", f"{type(error).__name__}: {error}"[:300]
        return Answer(
            text=text,
            refused=refused,
            detail=detail,
            audio_s=len(sound) / RATE_HZ,
            took_s=time.perf_counter() - started,
            warm=warm,
            at_once=self._at_once,
            machine=self._machine,
            at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        )


def answers_of(store: Store, language: Language, written: Written) -> tuple[Asked, dict[str, Answer]]:
    """Clip -> what a contender wrote of it. Raises NotFound."""
    asked = read(store, written.answers, Asked)
    return asked, {
        clip: read(store, answer_path(language, written.key, name), Answer)
        for clip, name in asked.answers.items()
    }


def _keep_asked(store: Store, language: Language, key: str, clips: str, work: _Work) -> str:
    path = f"{folder(language)}/asked/{key}-{clips}.json"
    write(store, path, Asked(answers=work.answers, missing=work.missing, durations_s=work.durations_s))
    return path


def _memory(
    store: Store, language: Language, contender: Contender, opened: Opened, work: _Work
) -> int | None:
    """Measured once for a contender of ours, by the longest clip that it was given."""
    if opened.elsewhere:
        return None
    path = f"{folder(language)}/memory/{opened.key}.json"
    with suppress(NotFound):
        kept = read(store, path, Measured)
        if kept.alone:
            return kept.bytes
    if not work.longest.size:
        return None
    most = memory.peak_bytes(store, language.code, contender, work.longest)
    if most is not None:
        write(store, path, Measured(most, alone=True))
    return most


def _machine() -> str:
    """ "x86_64, 2 cores, 1 thread": where a contender works."""
    cores = threads.allowed()
    return f"{platform.machine()}, {cores} core{'s' if cores != 1 else ''}, {threads.given()} thread(s)"


def packed(rows: pd.DataFrame) -> bytes:
    """Rows as a Parquet file."""
    sink = io.BytesIO()
    rows.to_parquet(sink, compression="zstd", index=False)
    return sink.getvalue()


def reasons(missing: Sequence[str]) -> dict[str, int]:
    """How often each, the commonest first."""
    return dict(Counter(missing).most_common())
