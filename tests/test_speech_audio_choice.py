"""What is heard of a recording with several channels or tracks is the sound, and it is said which."""

import io

import numpy as np
import pytest
from films import Track, film
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from speech_clips import encode, tone

from dagsverk.speech.audio import sandbox, waveform
from dagsverk.speech.audio.channels import DIFFERENCE, MEAN, Loudness
from dagsverk.speech.audio.tracks import tags_of
from dagsverk.speech.errors import AudioError

RATE = 16_000
VOICE = tone(3.0, 48_000, 220)
HIGH = tone(3.0, 48_000, 2000)
SILENT = np.zeros(3 * 48_000, np.float32)


def decode(content, language=""):
    target = io.BytesIO()
    _, notes = waveform.decode_into(target, content, tags=tags_of(language))
    return np.frombuffer(target.getvalue(), np.float32), notes


def level(samples):
    return float(np.sqrt(np.mean(np.square(samples))))


def pitch_hz(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.argmax(spectrum) * RATE / len(samples)


def stereo(left, right):
    return encode([left, right], RATE, "wav", "pcm_s16le")


def noise(seed, seconds=3.0):
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype("f4")


# ---------------------------------------------------------------- channels

SAID = tone(3.0, RATE, 220)


@pytest.mark.parametrize("share", [0.99, 0.9, 0.6])
def test_of_two_channels_in_opposite_phase_the_louder_one_is_heard_and_it_is_said(share):
    samples, notes = decode(stereo(-share * SAID, SAID))
    assert np.abs(samples - SAID).max() < 1e-3
    assert notes == ("Its channels cancel each other out in their mean: number 2 of 2 is heard.",)


def test_half_a_recording_in_opposite_phase_is_enough_and_the_rule_is_one_for_all_of_it():
    flipped = SAID.copy()
    flipped[len(SAID) // 2 :] *= -1
    samples, _ = decode(stereo(SAID, flipped))
    assert np.abs(samples - SAID).max() < 1e-3


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_a_voice_in_opposite_phase_is_heard_over_a_hum_that_is_in_phase_and_a_dead_offset(offset):
    hum = tone(3.0, RATE, 50, 0.02)
    samples, _ = decode(stereo(SAID + hum, offset - SAID + hum))
    assert level(samples - samples.mean()) == pytest.approx(level(SAID), rel=0.1)


def test_two_who_speak_into_a_channel_each_are_both_heard_even_beside_music_in_opposite_phase():
    left, right, music = (np.zeros(3 * RATE, np.float32) for _ in range(3))
    left[:RATE], right[RATE : 2 * RATE], music[2 * RATE :] = SAID[:RATE], SAID[:RATE], 2 * SAID[:RATE]
    assert not decode(stereo(left, right))[1]
    samples, notes = decode(stereo(left + music, right - music))
    seconds = samples.reshape(3, RATE)
    assert all(level(second) > 0.09 for second in seconds)
    assert "their difference is heard" in notes[0]


def test_of_a_dead_channel_beside_a_good_one_their_mean_is_heard_without_a_word():
    samples, notes = decode(stereo(SAID, np.full_like(SAID, 0.4)))
    assert np.abs(samples - 0.2 - SAID / 2).max() < 1e-3
    assert not notes


def test_independent_channels_are_averaged():
    samples, notes = decode(stereo(noise(1), noise(2)))
    assert level(samples) == pytest.approx(0.1 / np.sqrt(2), rel=0.05)
    assert not notes


def test_a_voice_in_opposite_phase_in_two_channels_of_six_is_heard():
    surround = np.stack([VOICE, -VOICE, *[SILENT] * 4])
    samples, notes = decode(film("matroska", Track(sound=surround), codec="flac"))
    assert level(samples) == pytest.approx(level(VOICE), rel=0.05)
    assert "of 6 is heard" in notes[0]


def test_the_voice_of_the_middle_channel_of_six_is_heard():
    surround = np.stack([SILENT, SILENT, VOICE, *[SILENT] * 3])
    samples, notes = decode(film("matroska", Track(sound=surround), codec="flac"))
    assert level(samples) == pytest.approx(level(VOICE) / 6, rel=0.05)
    assert not notes


@given(arrays(np.float32, (2, 4000), elements=st.floats(-1, 1, width=32)), st.floats(0.3, 3.0))
def test_a_way_is_only_left_for_one_that_loses_less(channels, factor):
    loudness = Loudness()
    loudness.add(channels, RATE, 1.0)
    way = loudness.choice()
    assert way in (MEAN, DIFFERENCE, 0, 1)
    same, opposite = Loudness(), Loudness()
    same.add(np.stack([channels[0], factor * channels[0]]), RATE, 1.0)
    opposite.add(np.stack([channels[0], -channels[0]]), RATE, 1.0)
    assert same.choice() == MEAN
    assert opposite.choice() != MEAN or opposite.loudest_dbfs < -50


# ---------------------------------------------------------------- tracks


@pytest.mark.parametrize("container, codec", [("matroska", "libopus"), ("mp4", "aac"), ("mpegts", "mp2")])
@pytest.mark.parametrize("hiss", [0.0, 0.0005])
def test_of_a_first_track_without_sound_the_next_is_heard_and_it_is_said(container, codec, hiss):
    quiet = (hiss * np.random.default_rng(0).standard_normal(len(VOICE))).astype("f4")
    samples, notes = decode(film(container, Track(sound=quiet), Track(sound=VOICE), codec=codec))
    assert pitch_hz(samples) == pytest.approx(220, abs=3)
    assert notes == ("Track 2 of 2 is heard: those before it have no sound.",)


@pytest.mark.parametrize("tag", ["swe", "sv", "sv-SE"])
def test_the_track_in_the_language_asked_for_is_heard(tag):
    content = film("matroska", Track(sound=HIGH, language="eng"), Track(sound=VOICE, language=tag))
    samples, notes = decode(content, "sv")
    assert pitch_hz(samples) == pytest.approx(220, abs=3)
    assert notes == ("Track 2 of 2 is heard: it is marked as of the language asked for.",)
    samples, notes = decode(content, "it")
    assert pitch_hz(samples) == pytest.approx(2000, abs=3)
    assert "none is marked as of the language asked for, and it is the main one" in notes[0]


def test_a_track_in_the_language_asked_for_without_sound_gives_way():
    content = film(
        "mp4", Track(sound=VOICE, language="eng"), Track(sound=SILENT, language="swe"), codec="aac"
    )
    samples, notes = decode(content, "sv")
    assert pitch_hz(samples) == pytest.approx(220, abs=3)
    assert "Track 1 of 2" in notes[0]


@pytest.mark.parametrize("beside", [{"marks": ("comment",)}, {"title": "Director's commentary"}])
def test_a_commentary_is_not_heard_in_place_of_the_film(beside):
    samples, _ = decode(film("matroska", Track(sound=HIGH, **beside), Track(sound=VOICE)))
    assert pitch_hz(samples) == pytest.approx(220, abs=3)


def test_of_two_silent_tracks_the_main_one_is_heard_as_silence():
    samples, notes = decode(film("matroska", Track(sound=SILENT), Track(sound=SILENT)))
    assert level(samples) < 1e-3
    assert len(samples) == pytest.approx(3 * RATE, abs=800)
    assert len(notes) == 1


def test_a_track_of_an_unknown_codec_gives_way_to_one_that_can_be_decoded():
    content = film("matroska", Track(sound=HIGH), Track(sound=VOICE))
    first = content.index(b"A_OPUS")
    samples, _ = decode(content[:first] + b"A_WHAT" + content[first + 6 :])
    assert pitch_hz(samples) == pytest.approx(220, abs=3)
    with pytest.raises(AudioError, match="convert it") as caught:
        decode(content.replace(b"A_OPUS", b"A_WHAT"))
    assert caught.value.reason == "unknown codec"


def test_the_sandbox_chooses_the_same_and_says_the_same():
    box = sandbox.Sandbox(1)
    content = film("matroska", Track(sound=HIGH, language="eng"), Track(sound=VOICE, language="swe"))
    kept = box.open(content, max_s=30.0, language="sv")
    samples, notes = decode(content, "sv")
    assert kept.notes == notes
    assert np.array_equal(next(kept.blocks()), samples)
    assert np.array_equal(box.read_samples(content, max_s=30.0, language="sv"), samples)
    kept.close()
    box.close()
