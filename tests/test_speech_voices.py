"""Voices that are written down while they speak: whose they are, how they end, and by a real model."""

import threading

import numpy as np
import pytest
from speech_models import sounds, taught_model

from dagsverk.speech.errors import Busy, ModelError
from dagsverk.speech.serving.live import Live
from dagsverk.speech.serving.live_sessions import NoVoice, Voice, Voices
from dagsverk.speech.serving.torch_engine import TorchEngine
from dagsverk.speech.serving.transcriber import Transcriber
from dagsverk.speech.subtitles.cues import Word, words_in

SECOND = np.zeros(16_000, "<i2").tobytes()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def hears(*words):
    return lambda _: lambda _: [Word(w, 0.1 + i / 4, 0.3 + i / 4) for i, w in enumerate(words)]


def wait_until_over(voice):
    with voice._changed:
        assert voice._changed.wait_for(lambda: voice._over, 20)
    return voice.state()


def test_a_voice_is_written_down_and_its_end_settles_all():
    voice = Voice("anna", hears("hej", "du"))
    for number in range(3):
        voice.take(number, SECOND)
    voice.take(1, SECOND)  # once more, for its answer was lost
    voice.finish()
    state = wait_until_over(voice)
    assert ([w.text for w in state.settled], state.unsettled, state.why) == (["hej", "du"], (), "")
    assert voice._live.given_s == 3
    assert [w.text for w in voice.state(seen=1).settled] == ["du"]


def test_a_missing_block_and_half_a_sample_are_refused():
    voice = Voice("anna", hears())
    with pytest.raises(ValueError, match="want block 0, got block 1"):
        voice.take(1, SECOND)
    with pytest.raises(ValueError, match="2 bytes each"):
        voice.take(0, b"\0")
    voice.drop()
    wait_until_over(voice)


@pytest.mark.parametrize("limit, why", [("MOST_S", "at most"), ("BEHIND_S", "behind")])
def test_a_voice_that_is_too_long_or_too_fast_ends_and_says_why(monkeypatch, limit, why):
    monkeypatch.setattr(f"dagsverk.speech.serving.live_sessions.{limit}", 0.5)
    voice = Voice("anna", hears("hej"))
    voice.take(0, SECOND)
    assert why in wait_until_over(voice).why


def test_a_visitor_who_is_gone_and_one_who_says_nothing_are_let_go(monkeypatch):
    monkeypatch.setattr("dagsverk.speech.serving.live_sessions.SILENT_S", 0.5)
    clock = Clock()
    gone, silent = Voice("anna", hears(), now=clock), Voice("bo", hears(), now=clock)
    clock.now = 100.0
    silent.take(0, SECOND)
    assert "nothing was said" in wait_until_over(silent).why
    assert "nothing came any more" in wait_until_over(gone).why


def test_a_model_that_fails_ends_the_voice_with_its_words():
    def listen(audio):
        raise ModelError("the model is broken")

    voice = Voice("anna", lambda _: listen)
    voice.take(0, SECOND)
    assert "the model is broken" in wait_until_over(voice).why


def test_a_voice_is_its_visitors_alone_one_at_a_time_and_few_in_all():
    clock = Clock()
    voices = Voices(most=2, now=clock)
    first, other = voices.begin("anna", hears()), voices.begin("bo", hears())
    with pytest.raises(NoVoice):
        voices.of("bo", first.id)
    with pytest.raises(Busy, match="2 people speak"):
        voices.begin("cecilia", hears())
    second = voices.begin("anna", hears())
    assert "a new one was begun" in wait_until_over(first).why
    with pytest.raises(NoVoice):
        voices.of("anna", first.id)
    assert voices.of("anna", second.id) is second
    other.finish()
    wait_until_over(other)
    voices.begin("cecilia", hears()).drop()
    clock.now = 1000.0
    with pytest.raises(NoVoice):
        voices.of("bo", other.id)
    second.drop()


def test_a_voice_that_is_dropped_stops_the_model():
    asked, ended = threading.Event(), threading.Event()

    def make(check):
        def listen(audio):
            asked.set()
            try:
                while True:
                    check()
            finally:
                ended.set()

        return listen

    voice = Voice("anna", make)
    voice.take(0, SECOND)
    assert asked.wait(20)
    voice.drop("enough")
    assert ended.wait(20)
    assert wait_until_over(voice).why == "enough"


def test_a_real_model_writes_what_it_hears_block_by_block():
    transcriber = Transcriber(TorchEngine(taught_model()), "sv")
    low, rising, pause = sounds()[0].audio, sounds()[1].audio, np.zeros(24_000, np.float32)
    live = Live(lambda audio: words_in(transcriber.transcribe(audio, words=True).segments))
    audio = np.concatenate([pause, low, pause, rising, pause, low, pause])
    came = [w.text for at in range(0, len(audio), 8_000) for w in live.add(audio[at : at + 8_000]).settled]
    came += [w.text for w in live.finish().settled]
    assert " ".join(came) == "en låg ton och en som stiger en låg ton"
