"""Silero's model beside the levels: voices are written down, music and wind are counted."""

from __future__ import annotations

import numpy as np
import pytest
from speech_models import seconds, sounds, taught_model

from dagsverk.speech.audio.samples import RATE_HZ
from dagsverk.speech.audio.waveform import samples_file
from dagsverk.speech.corpora.spoken import SpokenCorpus
from dagsverk.speech.errors import ModelError
from dagsverk.speech.serving import windows
from dagsverk.speech.serving.torch_engine import TorchEngine
from dagsverk.speech.serving.transcriber import Transcriber
from dagsverk.speech.serving.voice_activity import VARIABLE, SileroVoices, voice_check


def wind(length_s: float) -> np.ndarray:
    """Low noise that swells, so that its level is not steady."""
    noise = np.convolve(np.random.default_rng(0).standard_normal(seconds(length_s)), np.ones(64) / 64, "same")
    time_s = np.arange(len(noise)) / RATE_HZ
    return (noise * (0.6 + 0.4 * np.sin(2 * np.pi * 0.4 * time_s))).astype(np.float32)


def test_every_voice_of_the_spoken_corpus_is_one_and_wind_and_silence_are_none():
    pytest.importorskip("espeakng_loader")
    corpus = SpokenCorpus("sv", train_clips=12, dev_clips=6, test_clips=8)
    has_voice = SileroVoices()
    for clip, audio in corpus.read(corpus.listing().clips):
        file = samples_file(audio)
        assert has_voice(np.concatenate(list(file.blocks(30.0)))), clip.id
        file.close()
    assert not has_voice(wind(5))
    assert not has_voice(np.zeros(RATE_HZ, np.float32))
    assert not has_voice(np.zeros(100, np.float32))  # less than a chunk


def test_what_has_no_voice_is_left_out_and_counted_and_nothing_else_changes():
    voiced = next(one for one in sounds() if SileroVoices()(one.audio))
    silence = np.zeros(seconds(2), np.float32)
    audio = np.concatenate([silence, voiced.audio, silence, wind(4), silence]).astype(np.float32)
    measured, samples = windows.levels([audio])
    assert len(windows.plan(measured, samples)) == 2  # levels alone take the wind for speech
    engine = TorchEngine(taught_model())
    transcript = Transcriber(engine, "sv", has_voice=SileroVoices()).transcribe(audio)
    assert transcript.text == voiced.text
    assert transcript.left_out == {"no voice": 1}
    assert "no voice" not in Transcriber(engine, "sv").transcribe(audio).left_out


def test_the_setting_is_silero_or_off_and_nothing_else(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert voice_check() is None
    monkeypatch.setenv(VARIABLE, " Silero")
    assert isinstance(voice_check(), SileroVoices)
    monkeypatch.setenv(VARIABLE, "webrtc")
    with pytest.raises(ModelError, match="want silero, or off"):
        voice_check()
