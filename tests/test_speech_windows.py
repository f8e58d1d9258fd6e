"""Where long audio is cut, and what of it is left out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from speech_models import seconds, tone

from dagsverk.speech.serving.windows import LEVEL_SAMPLES, Window, levels, packed, plan, take


def silence(duration_s: float) -> np.ndarray:
    return np.zeros(seconds(duration_s), np.float32)


def noise(duration_s: float, level_dbfs: float) -> np.ndarray:
    samples = np.random.default_rng(0).normal(size=seconds(duration_s))
    return (10 ** (level_dbfs / 20) * samples).astype(np.float32)


def windows_s(*parts: np.ndarray, longest_s: float = 25.0) -> list[tuple[float, float]]:
    """Start and end, to a tenth of a second, of the windows of the parts one after another."""
    audio = np.concatenate(parts)
    measured, samples = levels([audio])
    windows = plan(measured, samples, longest_s=longest_s)
    return [(round(window.start_s, 1), round(window.end_s, 1)) for window in windows]


def test_speech_is_cut_out_of_silence_with_a_margin():
    assert windows_s(silence(4), tone(300, 2), silence(4)) == [(3.8, 6.2)]


def test_speech_is_cut_out_of_noise():
    ((start, end),) = windows_s(noise(10, -50), tone(300, 2) + noise(2, -50), noise(10, -50))
    assert 9.5 <= start <= 10
    assert 12 <= end <= 12.5


@pytest.mark.parametrize(
    "sound",
    [silence(60), *(noise(60, level) for level in (-80, -60, -40, -20, -10))],
    ids=["digital silence", *(f"noise at {level} dBFS" for level in (-80, -60, -40, -20, -10))],
)
def test_silence_and_steady_noise_are_in_no_window(sound):
    assert windows_s(sound) == []


def test_noise_that_begins_is_in_no_window():
    assert windows_s(noise(5, -80), noise(40, -30), noise(5, -80)) == []


def test_a_hum_is_in_no_window():
    time_s = np.arange(seconds(20)) / 16_000
    assert windows_s((0.2 * np.sin(2 * np.pi * 150 * time_s)).astype(np.float32)) == []


def test_speech_no_louder_than_the_noise_around_it_is_still_heard():
    loud = noise(10, -23)  # the tone has -16.5 dBFS at its loudest, -23 in the middle
    assert windows_s(loud, tone(300, 2) + noise(2, -23), loud) != []


def test_very_quiet_speech_is_heard():
    assert windows_s(silence(1), tone(300, 2) / 100, silence(1)) == [(0.8, 3.2)]


def test_a_pause_of_a_second_always_ends_a_window():
    assert windows_s(tone(300, 2), silence(1.2), tone(300, 2)) == [(0, 2.2), (3.0, 5.2)]


def test_a_shorter_pause_ends_a_window_only_once_it_is_long_enough():
    word, pause = tone(300, 2), silence(0.7)
    assert windows_s(word, pause, word) == [(0, 4.7)]
    assert windows_s(word, pause, word, pause, word) == [(0, 7.4)]
    assert windows_s(word, pause, word, pause, word, pause, word) == [(0, 7.6), (7.9, 10.1)]


def test_speech_without_pauses_is_cut_where_it_is_quietest():
    quiet = tone(300, 20)
    quiet[seconds(17) : seconds(17.3)] *= 0.05
    (_, end), (start, _) = windows_s(quiet, longest_s=19)
    assert start == end
    assert 17 <= end <= 17.3


def test_an_empty_recording_has_no_windows():
    assert windows_s(silence(0)) == []


@pytest.mark.parametrize("longest_s", [1, 8, 30])
@settings(max_examples=40)
@given(
    levels_dbfs=arrays.arrays(
        float, st.integers(0, 2000), elements=st.sampled_from([-np.inf, -80.0, -50.0, -30.0, -12.0])
    )
)
def test_windows_are_in_order_apart_and_no_longer_than_asked(longest_s, levels_dbfs):
    samples = max(0, len(levels_dbfs) * LEVEL_SAMPLES - 7)
    windows = plan(levels_dbfs, samples, longest_s=longest_s)
    ends = [0, *(window.end for window in windows)]
    assert all(window.start >= end for window, end in zip(windows, ends, strict=False))
    assert all(0 < window.end - window.start <= longest_s * 16_000 for window in windows)
    assert ends[-1] <= samples


@settings(max_examples=40)
@given(
    places=st.lists(st.integers(0, 1500), min_size=1, max_size=20),
    longest_s=st.sampled_from([1, 5, 25]),
)
def test_whatever_is_loud_is_in_a_window(places, longest_s):
    loudness = np.full(1600, -np.inf)
    for place in places:
        loudness[place : place + 10 : 2] = -20.0
        loudness[place + 1 : place + 10 : 2] = -30.0
    windows = plan(loudness, len(loudness) * LEVEL_SAMPLES, longest_s=longest_s)
    covered = np.zeros(len(loudness), bool)
    for window in windows:
        covered[window.start // LEVEL_SAMPLES : window.end // LEVEL_SAMPLES] = True
    assert covered[loudness > -65].all()


@given(
    lengths=st.lists(st.tuples(st.floats(0, 9), st.floats(0.2, 25)), max_size=30),
    longest_s=st.sampled_from([25.0, 30.0]),
)
def test_packed_windows_hold_all_that_they_are_made_of_in_order_and_are_not_too_long(lengths, longest_s):
    parts, at_s = [], 0.0
    for pause_s, length_s in lengths:
        parts.append(Window(seconds(at_s + pause_s), seconds(at_s + pause_s + length_s)))
        at_s += pause_s + length_s
    windows = packed(parts, longest_s)
    assert [one.start for one in windows] == sorted({one.start for one in windows} & {p.start for p in parts})
    assert all(one.end - one.start <= longest_s * 16_000 for one in windows)
    holders = [[one for one in windows if one.start <= part.start and part.end <= one.end] for part in parts]
    assert all(len(one) == 1 for one in holders)
    for one, after in itertools.pairwise(windows):  # none could have taken in the next part
        following = next(part for part in parts if part.start == after.start)
        apart_s = after.start_s - one.end_s
        assert apart_s > 5 or following.end_s - one.start_s > longest_s


@given(
    blocks=st.lists(st.integers(0, 40), max_size=12),
    edges=st.lists(st.integers(0, 300), max_size=12, unique=True),
)
def test_windows_are_given_exactly_their_samples_however_the_audio_arrives(blocks, edges):
    audio = np.arange(sum(blocks), dtype=np.float32)
    parts = np.split(audio, np.cumsum(blocks)[:-1]) if blocks else []
    edges = sorted(edge for edge in edges if edge <= len(audio))
    windows = [Window(start, end) for start, end in zip(edges[::2], edges[1::2], strict=False)]
    for window, samples in take(parts, windows):
        assert samples.tolist() == list(range(window.start, window.end))
    assert len(list(take(parts, windows))) == len(windows)


def test_levels_do_not_depend_on_how_the_audio_arrives():
    audio = tone(300, 3.01) + noise(3.01, -40)
    whole, samples = levels([audio])
    blocks = [audio[first : first + 16_000] for first in range(0, len(audio), 16_000)]
    by_blocks, same = levels(blocks)
    assert same == samples == len(audio)
    assert len(whole) == len(by_blocks) == 151
    assert by_blocks == pytest.approx(whole, abs=1.0)  # rumble is judged within a block


@pytest.mark.parametrize("samples", [5, 201, 3199])
def test_a_recording_too_short_for_a_syllable_has_no_window(samples):
    audio = (0.3 * np.sin(np.arange(samples) / 5)).astype("f4")
    assert plan(*levels([audio])) == []


def test_a_click_in_silence_is_no_word():
    audio = np.zeros(48_000, np.float32)
    audio[16_000:16_800] = 0.5 * np.sin(np.arange(800) / 5)  # 50 ms
    assert plan(*levels([audio])) == []
    audio[16_000:20_000] = 0.5 * np.sin(np.arange(4000) / 5)  # a quarter of a second
    assert len(plan(*levels([audio]))) == 1
