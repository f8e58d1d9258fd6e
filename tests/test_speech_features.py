"""Log-mel spectra: equal to the reference extractor's at true length, and what 8 bits cost."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import WhisperFeatureExtractor

from dagsverk.speech.features import log_mel

Audio = NDArray[np.float32]
RATE_HZ = 16_000
SECONDS_30 = 30 * RATE_HZ


@functools.cache
def extractor(n_mels: int) -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(feature_size=n_mels)


def reference(audio: Audio, n_mels: int) -> NDArray[np.float32]:
    """All 3000 frames, shape (frames, n_mels)."""
    found = extractor(n_mels)(audio, sampling_rate=RATE_HZ, return_tensors="np")
    return np.asarray(found["input_features"][0].T)


def tone(chance: np.random.Generator, samples: int) -> Audio:
    return np.sin(np.arange(samples) * chance.uniform(0, np.pi) + 1).astype(np.float32)


def noise(chance: np.random.Generator, samples: int) -> Audio:
    return chance.standard_normal(samples).astype(np.float32)


def clicks(chance: np.random.Generator, samples: int) -> Audio:
    audio = np.zeros(samples, np.float32)
    audio[chance.integers(0, samples, 3)] = 1
    return audio


def step(chance: np.random.Generator, samples: int) -> Audio:
    return (np.arange(samples) >= chance.integers(0, samples)).astype(np.float32)


def burst(chance: np.random.Generator, samples: int) -> Audio:
    """Loud noise at one end, faint noise elsewhere: most of it is near the floor."""
    faint = np.float32(10 ** -chance.uniform(2, 5))
    return noise(chance, samples) * np.where(np.arange(samples) < samples // 10, 1, faint).astype(np.float32)


@st.composite
def audios(draw: st.DrawFn) -> Audio:
    """Sound of every kind that breaks spectra, of any length up to 3 s, from full scale to -100 dB."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    samples = draw(st.one_of(st.integers(1, 500), st.integers(1, 3 * RATE_HZ)))
    kind = draw(st.sampled_from([tone, noise, clicks, step, burst]))
    audio = kind(chance, samples) * np.float32(10 ** -draw(st.floats(0, 5)))
    return audio[::-1].copy() if draw(st.booleans()) else audio


@pytest.mark.parametrize("n_mels", [80, 128])
@settings(max_examples=60, deadline=None)
@given(audio=audios())
def test_spectra_equal_the_reference_extractor_at_true_length(n_mels: int, audio: Audio) -> None:
    found, wanted = log_mel.log_mel(audio, n_mels), reference(audio, n_mels)
    assert found.shape == (-(-len(audio) // 160), n_mels) and found.dtype == np.float32
    assert np.abs(found - wanted[: len(found)]).max() < 1e-3


@pytest.mark.parametrize("missing", [0, 1, 39, 40, 41, 160, 161, 399])
def test_spectra_equal_the_reference_where_the_window_of_30_s_ends(missing: int) -> None:
    audio = np.random.default_rng(missing).standard_normal(SECONDS_30 - missing).astype(np.float32)
    found = log_mel.log_mel(audio)
    assert np.abs(found - reference(audio, 80)[: len(found)]).max() < 1e-3


@pytest.mark.parametrize("n_mels", [80, 128])
def test_the_filters_are_those_of_the_reference(n_mels: int) -> None:
    assert np.abs(log_mel.mel_filters(n_mels) - extractor(n_mels).mel_filters).max() < 1e-7


def test_spectra_are_what_batches_are_made_of_and_may_be_written_to() -> None:
    found = log_mel.log_mel(np.ones(1000, np.float32))
    assert found.flags.c_contiguous and found.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        log_mel.mel_filters(80)[0] = 1


@settings(max_examples=100, deadline=None)
@given(audio=audios())
def test_eight_bits_are_off_by_half_a_level_at_most(audio: Audio) -> None:
    mel = log_mel.log_mel(audio)
    levels, peak = log_mel.quantise(mel)
    assert levels.dtype == np.uint8 and levels.shape == mel.shape
    assert np.abs(log_mel.dequantise(levels, peak) - mel).max() <= 2 / 255 / 2 + 1e-6 < 0.004


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(audio=audios())
def test_the_floor_is_what_the_reference_makes_of_the_silence_after_a_clip(audio: Audio) -> None:
    audio = np.concatenate([audio, np.zeros(400, np.float32)])  # so that its loudest frame is a whole one
    levels, peak = log_mel.quantise(log_mel.log_mel(audio))
    assert log_mel.floor(peak) == pytest.approx(reference(audio, 80)[-1].max(), abs=1e-4)
    assert log_mel.dequantise(np.zeros_like(levels), peak) == pytest.approx(log_mel.floor(peak), abs=1e-6)


def test_digital_silence_is_level_0_and_comes_back() -> None:
    mel = log_mel.log_mel(np.zeros(RATE_HZ, np.float32))
    levels, peak = log_mel.quantise(mel)
    assert not levels.any() and mel == pytest.approx(-1.5, abs=1e-6)
    assert log_mel.dequantise(levels, peak) == pytest.approx(-1.5, abs=1e-6)


@pytest.mark.parametrize(
    "audio, words",
    [
        (np.zeros(0, np.float32), r"shape \(0,\)"),
        (np.zeros((2, 100), np.float32), r"shape \(2, 100\)"),
        (np.zeros(SECONDS_30 + 1, np.float32), "30 s"),
        (np.full(100, np.nan, np.float32), "not finite"),
        (np.full(100, np.inf, np.float32), "not finite"),
    ],
    ids=["empty", "stereo", "too long", "nan", "inf"],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_audio_that_has_no_spectrum_is_refused(audio: Audio, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        log_mel.log_mel(audio)
