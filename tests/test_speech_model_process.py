"""Models in a process of their own: the same texts, memory given back, a killed one costs one try."""

import os
import signal
import socket
import sys

import numpy as np
import pytest
from speech_models import sounds
from speech_site import SWEDISH, spoken_store

from dagsverk.speech.audio.samples import SamplesFile
from dagsverk.speech.errors import Killed, ModelError
from dagsverk.speech.languages import language
from dagsverk.speech.serving import answering, champions
from dagsverk.speech.serving.answering import CannotTranslate, Order
from dagsverk.speech.serving.model_process import ModelProcess
from dagsverk.speech.serving.watched_process import Patience
from dagsverk.speech.serving.worker import _Teller
from dagsverk.store import open_store
from dagsverk.turns import go_on

ORDER = Order(tasks=("transcribe",), words=True)
TEXTS = [sound.text for sound in sounds()]
MUCH = 12
STUCK = """
import sys, threading
from dagsverk.speech.serving import worker
def stuck(store, cache, language, order, samples, listener, check):
    if "work" in sys.argv:
        listener.begins(order.tasks)
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
worker.write_down = stuck
worker.main(int(sys.argv[-2]), float(sys.argv[-1]))
"""


@pytest.fixture(scope="module")
def store():
    return open_store(str(spoken_store()))


@pytest.fixture
def samples(tmp_path):
    yield from recorded(tmp_path / "samples", 1)


@pytest.fixture
def much(tmp_path):
    """So long that a signal at the beginning comes before the end."""
    yield from recorded(tmp_path / "much", MUCH)


def recorded(path, times):
    parts = [part for sound in sounds() for part in (np.zeros(24_000, np.float32), sound.audio)] * times
    audio = np.concatenate(parts).astype(np.float32)
    audio.tofile(path)
    file = SamplesFile(path.open("rb"), len(audio))
    yield file
    file.close()


@pytest.fixture(scope="module")
def process():
    process = ModelProcess()
    yield process
    process.close()


class Listener:
    """Keeps what it is told, and may do something as the model is loaded or begins."""

    def __init__(self, then=lambda: None):
        self.then, self.told, self.texts = then, [], []

    def loading(self, _):
        self.told.append("loading")
        self.then()

    def begins(self, _):
        self.told.append("begins")
        self.texts = []
        self.then()

    def progress(self, done_s, total_s):
        self.told.append(done_s / total_s)

    def segments(self, _, segments):
        self.texts += [segment.text for segment in segments]


def test_the_process_writes_what_this_one_would_write_and_tells_of_it(process, store, samples, tmp_path):
    here, there = Listener(), Listener()
    ours = answering.write_down(store, tmp_path, SWEDISH, ORDER, samples, here, go_on)
    theirs = process.write_down(store, tmp_path, SWEDISH, ORDER, samples, there, go_on)
    assert theirs.transcripts == ours.transcripts
    assert theirs.model == ours.model
    assert there.texts == here.texts == TEXTS
    assert there.told[-1] == 1.0
    assert process.pid not in (None, os.getpid())


def test_a_process_that_is_killed_costs_one_more_try_and_no_text(process, store, much, tmp_path):
    kills = ["loading", "begins"]  # in the first call and in the second

    def kill():
        if listener.told[-1] == when and when in kills:
            kills.remove(when)
            os.kill(process.pid, signal.SIGKILL)

    process.close()
    for when in ("loading", "begins"):
        listener = Listener(kill)
        written = process.write_down(store, tmp_path, SWEDISH, ORDER, much, listener, go_on)
        assert [segment.text for segment in written.transcripts[0].segments] == MUCH * TEXTS == listener.texts
        assert listener.told.count(when) == 2


def test_who_leaves_ends_the_work_and_not_the_process(process, store, samples, tmp_path):
    def leave():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        process.write_down(store, tmp_path, SWEDISH, ORDER, samples, Listener(leave), go_on)
    before = process.pid
    process.write_down(store, tmp_path, SWEDISH, ORDER, samples, Listener(), go_on)
    assert process.pid == before


def test_errors_come_back_as_what_they_are(process, store, samples, tmp_path):
    with pytest.raises(CannotTranslate, match="writes Swedish only"):
        order = Order(tasks=("translate",))
        process.write_down(store, tmp_path, SWEDISH, order, samples, Listener(), go_on)
    with pytest.raises(ModelError, match="version 1 of Swedish was not trained from another model"):
        order = Order(tasks=("transcribe",), before=1)
        process.write_down(store, tmp_path, SWEDISH, order, samples, Listener(), go_on)
    with pytest.raises(champions.NoSpeechModel, match="speech-day/italian"):
        process.write_down(store, tmp_path, language("it"), ORDER, samples, Listener(), go_on)


def test_one_that_is_killed_twice_is_told_with_what_to_do(process, store, samples, tmp_path):
    listener = Listener(lambda: os.kill(process.pid, signal.SIGKILL))
    with pytest.raises(Killed, match=r"ended 2 times \(SIGKILL\).*short of memory"):
        process.write_down(store, tmp_path, SWEDISH, ORDER, samples, listener, go_on)
    assert listener.told.count("loading") + listener.told.count("begins") == 2


def test_after_some_idle_time_the_process_is_gone_and_the_next_recording_starts_one(
    process, store, samples, tmp_path
):
    process.idle_s = 0.1
    written = process.write_down(store, tmp_path, SWEDISH, ORDER, samples, Listener(), go_on)
    assert [
        segment.text for segment in written.transcripts[0].segments
    ] == TEXTS  # after the end of one before
    process._idle.join(20)
    assert process.pid is None


def test_a_process_that_is_stopped_is_ended_and_costs_one_more_try_and_no_text(store, much, tmp_path):
    def stop():
        if listener.told[-1] == "begins" and stops:
            stops.pop()
            os.kill(process.pid, signal.SIGSTOP)

    for _ in range(10):  # where all was written before the signal was there, nothing was stopped: once more
        process, stops = ModelProcess(patience=Patience(silent_s=3, pulse_s=0.1)), [1]
        listener = Listener(stop)
        try:
            written = process.write_down(store, tmp_path, SWEDISH, ORDER, much, listener, go_on)
        finally:
            process.close()
        assert [segment.text for segment in written.transcripts[0].segments] == MUCH * TEXTS == listener.texts
        if listener.told.count("begins") == 2:
            break
    assert listener.told.count("begins") == 2


@pytest.mark.parametrize(
    "where, patience, words",
    [
        ("work", Patience(work_s=0.5, pulse_s=0.1), r"it made no step for \d+ s"),
        ("load", Patience(load_s=0.5, pulse_s=0.1), r"it was loading for \d+ s without an end"),
        ("work and stop", Patience(silent_s=1, pulse_s=0.1), r"it gave no sign of life for \d+ s"),
    ],
)
def test_one_that_hangs_twice_is_told_with_how(store, samples, tmp_path, where, patience, words):
    process = ModelProcess(command=(sys.executable, "-c", STUCK, *where.split()), patience=patience)
    listener = Listener(lambda: os.kill(process.pid, signal.SIGSTOP) if "stop" in where else None)
    try:
        with pytest.raises(Killed, match=rf"ended 2 times \({words}\)"):
            process.write_down(store, tmp_path, SWEDISH, ORDER, samples, listener, go_on)
        assert process.pid is None
    finally:
        process.close()


def test_a_process_that_hangs_is_ended_also_when_who_asked_has_left(store, samples, tmp_path):
    patience = Patience(work_s=0.5, pulse_s=0.1)
    process = ModelProcess(command=(sys.executable, "-c", STUCK, "work"), patience=patience)

    def leave():
        raise InterruptedError

    try:
        with pytest.raises(InterruptedError):
            process.write_down(store, tmp_path, SWEDISH, ORDER, samples, Listener(leave), go_on)
        hung = process._process
        hung.watcher.join(60)
        assert "made no step" in hung.hangs
        assert process.pid is None
    finally:
        process.close()


def test_each_step_counts_anew_and_a_long_work_is_no_hanging_one():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        teller = _Teller(ours)
        assert [teller.still_s(2) for _ in range(3)] == [0, 2, 4]
        assert not teller.begun  # it is fetched and loaded
        teller.check()  # its language is told, by a model that is loaded
        assert teller.begun and [teller.still_s(2) for _ in range(2)] == [0, 2]
        teller.begins(["transcribe"])
        assert [teller.still_s(2) for _ in range(2)] == [0, 2]
