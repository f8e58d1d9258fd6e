"""The time of what is heard is that of the film: gaps are silence, sound begins where its picture has it."""

import io

import numpy as np
import pytest
from films import Track, film
from hypothesis import given
from hypothesis import strategies as st
from speech_clips import tone

from dagsverk.speech.audio import waveform
from dagsverk.speech.audio.timeline import BACK_S, GAP_S, Timeline
from dagsverk.speech.errors import AudioError

RATE = 16_000
STAMPED = ["matroska", "webm", "mp4", "mov", "mpegts", "flv", "asf", "nut"]
CODECS = {"mpegts": "mp2", "flv": "aac", "asf": "libmp3lame", "mov": "aac", "mp4": "aac", "nut": "aac"}


def decode(content, **options):
    """(samples, what is said of them)"""
    target = io.BytesIO()
    _, notes = waveform.decode_into(target, content, **options)
    return np.frombuffer(target.getvalue(), np.float32), notes


def loud_s(samples):
    """[from, to) of every stretch of sound, in s, to a tenth."""
    blocks = samples[: len(samples) // 1600 * 1600].reshape(-1, 1600)
    loud = np.concatenate([[False], np.sqrt((blocks**2).mean(axis=1)) > 0.02, [False]])
    return [tuple(edge / 10) for edge in np.flatnonzero(loud[1:] != loud[:-1]).reshape(-1, 2)]


def near(stretches):
    return [pytest.approx(stretch, abs=0.21) for stretch in stretches]


@pytest.mark.parametrize("container", STAMPED)
def test_packets_that_are_missing_are_silence_and_what_follows_keeps_its_time(container):
    gap = Track(sound=tone(8.0, 48_000), moved=lambda stamp_s: None if 2 <= stamp_s < 5 else stamp_s)
    samples, notes = decode(film(container, gap, codec=CODECS.get(container, "libopus")))
    assert loud_s(samples) == near([(0, 2), (5, 8)])
    assert len(samples) / RATE == pytest.approx(8.0, abs=0.15)
    assert "3.0 s are missing in one place" in notes[0]


@pytest.mark.parametrize("container", [name for name in STAMPED if name != "webm"])  # no encoder here
@pytest.mark.parametrize(
    "sound_at_s, picture_at_s, begins_s",
    [(3.0, 0.0, 3.0), (0.0, 2.0, 0.0), (4.0, 1.0, 3.0), (11.0, 10.0, 1.0)],
)
def test_sound_begins_where_its_picture_has_it(container, sound_at_s, picture_at_s, begins_s):
    codec = CODECS.get(container, "libopus")
    content = film(container, Track(at_s=sound_at_s), codec=codec, picture_s=8.0, picture_at_s=picture_at_s)
    samples, notes = decode(content)
    assert loud_s(samples) == near([(begins_s, begins_s + 3)])
    assert bool(notes) == bool(begins_s)


def test_a_cover_is_no_picture_that_sound_could_be_late_for():
    samples, notes = decode(film("mp4", Track(), codec="aac", cover=True))
    assert loud_s(samples) == near([(0, 3)])
    assert not notes


def test_a_track_alone_begins_when_it_begins_whatever_its_clock_says():
    samples, notes = decode(film("matroska", Track(at_s=3600.0)))
    assert loud_s(samples) == near([(0, 3)])
    assert not notes


@pytest.mark.parametrize("picture_s", [0.0, 8.0])
def test_a_live_recording_without_a_length_is_whole_and_its_gap_is_silence(picture_s):
    gap = Track(sound=tone(6.0, 48_000), moved=lambda stamp_s: None if 1 <= stamp_s < 3 else stamp_s)
    samples, _ = decode(film("matroska", gap, picture_s=picture_s, live="1"))
    assert loud_s(samples) == near([(0, 1), (3, 6)])


@pytest.mark.parametrize(
    "moved",
    [
        lambda stamp_s: stamp_s if stamp_s < 1 else stamp_s - 0.5,  # overlap
        lambda stamp_s: stamp_s if stamp_s < 1.5 else stamp_s - 1.5,  # begins anew
        lambda stamp_s: stamp_s + 0.03 * np.sin(40 * stamp_s),  # jitter
        lambda _: 0.0,  # a clock that stands still
    ],
)
def test_no_silence_is_put_where_stamps_overlap_jitter_or_go_back(moved):
    timeline = Timeline(0.0, may_jump=False)
    stamps = np.arange(150) * 0.02
    assert not any(timeline.silence_before(moved(stamp_s), 0.02) for stamp_s in stamps)
    assert timeline.at_s == pytest.approx(3.0)


def test_two_live_recordings_that_were_joined_are_heard_to_the_end():
    one = film("ogg", Track(), codec="libopus")
    samples, _ = decode(one + one)
    assert loud_s(samples)[-1][1] == pytest.approx(6.0, abs=0.21)


def test_a_gap_behind_a_clock_that_began_anew_is_a_gap_too():
    timeline = Timeline(0.0, may_jump=False)
    stamps = [0.0, 1.0, 2.0, 0.0, 1.0, 5.0]  # the fourth begins anew; before the last, 3 s are missing
    assert [timeline.silence_before(stamp, 1.0) for stamp in stamps] == [0, 0, 0, 0, 0, 3.0]
    assert timeline.at_s == 9.0


@pytest.mark.parametrize("gap_s, max_s, reason", [(3600.0, 30.0, "too long"), (90_000.0, 7200.0, "too long")])
def test_a_gap_of_hours_is_refused_and_not_made(gap_s, max_s, reason):
    late = Track(moved=lambda stamp_s: stamp_s if stamp_s < 1 else stamp_s + gap_s)
    with pytest.raises(AudioError, match=r"a gap of [\d,]+ s in its time stamps|found [\d,]+ s") as caught:
        decode(film("matroska", late), max_s=max_s)
    assert caught.value.reason == reason


def test_a_jump_of_hours_in_a_format_whose_clock_may_jump_is_no_gap():
    late = Track(moved=lambda stamp_s: stamp_s if stamp_s < 1 else stamp_s + 5000)
    samples, _ = decode(film("mpegts", late, codec="mp2"), max_s=30.0)
    assert loud_s(samples) == near([(0, 3)])


@pytest.mark.parametrize("container, codec", [("mp4", "aac"), ("ogg", "libopus"), ("mp3", "libmp3lame")])
def test_what_a_codec_puts_before_and_behind_the_sound_is_not_heard(container, codec):
    sound = np.zeros(48_000, np.float32)
    sound[24_000:24_010] = 0.9
    samples, _ = decode(film(container, Track(sound=sound), codec=codec))
    assert np.argmax(np.abs(samples)) / RATE == pytest.approx(0.5, abs=0.002)
    assert len(samples) == pytest.approx(RATE, abs=0.025 * RATE)


@given(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(0.01, 2.0)), min_size=1, max_size=30),
    st.booleans(),
    st.one_of(st.none(), st.floats(-10, 10)),
)
def test_time_never_goes_back_and_is_right_within_a_tenth_where_stamps_only_grow(moves, may_jump, origin_s):
    timeline, stamp_s = Timeline(origin_s, may_jump=may_jump), 0.0
    for move_s, length_s in moves:
        stamp_s += move_s
        before_s = timeline.at_s
        silence_s = timeline.silence_before(stamp_s, length_s)
        assert silence_s == 0 or silence_s > GAP_S
        assert timeline.at_s == pytest.approx(before_s + silence_s + length_s)
    growing, stamp_s = Timeline(0.0, may_jump=False), 0.0
    for move_s, length_s in moves:
        growing.silence_before(stamp_s, length_s)
        assert growing.at_s == pytest.approx(stamp_s + length_s, abs=GAP_S)
        stamp_s += length_s + abs(move_s)
    assert BACK_S > GAP_S
