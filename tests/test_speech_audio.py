"""Recordings of any kind become mono float32 at 16 kHz; what is no recording is told by a short reason."""

import io
import re
import subprocess
import sys
import wave
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from speech_clips import encode, mp3, tone, wav

from dagsverk.speech.audio import waveform
from dagsverk.speech.errors import AudioError

SECONDS = 1.0
LIMITS = {"min_s": 0.2, "max_s": 30.0, "silence_dbfs": -60.0, "max_clipped_share": 0.1}


def reason(source, **options):
    with pytest.raises(AudioError) as caught:
        waveform.read_samples(source, **options)
    assert caught.value.detail
    return caught.value.reason


def run(code):
    root = Path(__file__).parents[1]
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=root)


def pitch_hz(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.argmax(spectrum) * waveform.SAMPLE_RATE_HZ / len(samples)


@pytest.mark.parametrize(
    "container, codec, rate_hz, channels",
    [
        ("mp3", "libmp3lame", 48_000, 1),
        ("mp3", "libmp3lame", 44_100, 2),
        ("wav", "pcm_s16le", 44_100, 2),
        ("wav", "pcm_s16le", 8_000, 1),
        ("wav", "pcm_u8", 8_000, 1),
        ("wav", "pcm_s24le", 48_000, 2),
        ("wav", "pcm_f32le", 16_000, 1),
        ("wav", "pcm_mulaw", 8_000, 1),
        ("flac", "flac", 44_100, 2),
        ("ogg", "libopus", 48_000, 1),
        ("webm", "libopus", 48_000, 2),  # what a browser's recorder makes
        ("ipod", "aac", 44_100, 2),  # .m4a
        ("adts", "aac", 44_100, 1),
        ("mpegts", "aac", 44_100, 1),
        ("avi", "libmp3lame", 44_100, 1),
        ("matroska", "aac", 44_100, 1),
    ],
)
def test_every_usual_container_gives_mono_16_khz_at_its_length_and_pitch(container, codec, rate_hz, channels):
    sound = tone(SECONDS, rate_hz, 440)
    samples = waveform.read_samples(encode([sound] * channels, rate_hz, container, codec))
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(SECONDS * 16_000, abs=0.08 * 16_000)  # lossy codecs pad their ends
    assert pitch_hz(samples) == pytest.approx(440, abs=3)
    assert np.sqrt(np.mean(samples[4000:12000] ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


def test_channels_are_averaged():
    left, right = tone(SECONDS, level=0.5), tone(SECONDS, level=0.1)
    samples = waveform.read_samples(encode([left, right], 16_000, "wav", "pcm_s16le"))
    assert np.abs(samples - (left + right) / 2).max() < 1e-4


def test_the_sound_of_a_film_is_heard():
    film = encode([tone(SECONDS, 44_100, 440)] * 2, 44_100, "mp4", "aac", picture=True)
    assert pitch_hz(waveform.read_samples(film)) == pytest.approx(440, abs=3)


def test_a_file_and_its_bytes_give_the_same_whatever_the_file_is_called(tmp_path):
    path = tmp_path / "clip.mp3"
    path.write_bytes(wav())
    assert np.array_equal(waveform.read_samples(path), waveform.read_samples(wav()))


def test_resampling_agrees_with_an_ideal_one():
    sound = tone(SECONDS, 48_000, 1000)
    samples = waveform.read_samples(encode([sound], 48_000, "wav", "pcm_f32le"))
    assert len(samples) == 16_000
    assert np.abs(samples - tone(SECONDS, 16_000, 1000))[200:-200].max() < 1e-3


def test_what_16_khz_cannot_hold_is_filtered_away():
    samples = waveform.read_samples(encode([tone(SECONDS, 48_000, 11_000)], 48_000, "wav", "pcm_f32le"))
    assert waveform.loudness_dbfs(samples[500:-500]) < -60


def test_libsndfile_and_ffmpeg_read_the_same_samples():
    sound = wav()
    other, rate_hz = soundfile.read(io.BytesIO(sound), dtype="float32")
    assert rate_hz == 16_000
    assert np.array_equal(waveform.read_samples(sound), other)


@given(arrays(np.int16, st.integers(1, 400)))
def test_encoding_and_decoding_16_bit_samples_changes_none(samples):
    assert np.array_equal(
        waveform.read_samples(waveform.encode_wav(samples / np.float32(32768))) * 32768, samples
    )


def test_a_wav_file_of_ours_cuts_off_what_is_beyond_full_scale():
    samples = waveform.read_samples(waveform.encode_wav(np.array([2.0, -2.0, np.nan, 0.5], np.float32)))
    assert samples.tolist() == [32767 / 32768, -1.0, 0.0, 0.5]


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"", "empty file"),
        (b"Detta \xc3\xa4r en text.\n" * 400, "not audio"),
        (bytes(5000), "not audio"),
        (bytes(range(256)) * 40, "not audio"),
        (b"<html><body>404 Not Found</body></html>", "not audio"),
        (b"#EXTM3U\n#EXTINF:1\nfile:///etc/hostname\n", "not audio"),  # lists of other files are not followed
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "not audio"),
        (b"1\n00:00:01,000 --> 00:00:02,000\nhej\n", "not audio"),
    ],
)
def test_what_is_no_recording_is_told_from_one(content, expected):
    assert reason(content) == expected


def test_a_text_called_mp3_is_not_taken_for_audio(tmp_path):
    path = tmp_path / "clip.mp3"
    path.write_text("hej hej\n" * 500)
    assert reason(path) == "not audio"


def test_a_file_that_is_not_there_is_missing_audio(tmp_path):
    assert reason(tmp_path / "gone.wav") == "missing audio"


def test_a_film_without_sound_is_not_audio():
    import av

    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(5):
            file.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        file.mux(stream.encode(None))
    assert reason(target.getvalue()) == "not audio"


@pytest.mark.parametrize(
    "container, codec",
    [("mp3", "libmp3lame"), ("wav", "pcm_s16le"), ("flac", "flac"), ("webm", "libopus"), ("ipod", "aac")],
)
def test_a_file_cut_short_is_undecodable_for_its_text_says_more_than_is_heard(container, codec):
    whole = encode([tone(2.0, 48_000)], 48_000, container, codec)
    assert reason(whole[: len(whole) // 2]) == "undecodable"


def test_a_wav_file_cut_short_before_its_first_sample_is_undecodable():
    assert reason(wav()[:44]) == "undecodable"


def test_an_mp3_damaged_inside_is_undecodable():
    damaged = bytearray(encode([tone(2.0, 48_000)], 48_000, "mp3", "libmp3lame"))
    middle = len(damaged) // 2
    damaged[middle : middle + 600] = np.random.default_rng(0).bytes(600)
    assert reason(bytes(damaged)) == "undecodable"


def test_a_wav_file_written_to_a_pipe_states_no_length_and_is_read_to_its_end():
    streamed = bytearray(wav(0.5))
    at = streamed.find(b"data") + 4
    streamed[at : at + 4] = b"\xff\xff\xff\xff"
    streamed[4:8] = b"\xff\xff\xff\xff"
    assert len(waveform.read_samples(bytes(streamed))) == 8000


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_samples_that_are_no_numbers_or_no_sound_are_undecodable(value):
    sound = tone(0.5)
    sound[100] = value
    assert reason(encode([sound], 16_000, "wav", "pcm_f32le")) == "undecodable"


@given(st.binary(max_size=2000))
def test_no_bytes_do_worse_than_an_audio_error(content):
    try:
        waveform.read_samples(content)
    except AudioError as error:
        assert error.reason in {"empty file", "not audio", "undecodable"}


@given(st.integers(0, 8000), st.binary(min_size=1, max_size=40))
def test_no_damage_to_an_mp3_does_worse_than_an_audio_error(start, garbage):
    damaged = bytearray(MP3)
    damaged[start : start + len(garbage)] = garbage
    try:
        samples = waveform.read_samples(bytes(damaged))
        assert np.isfinite(samples).all()
    except AudioError as error:
        assert error.reason in {"not audio", "undecodable"}


MP3 = mp3(1.0)


@pytest.fixture(scope="module")
def hour(tmp_path_factory):
    """An hour of telephone sound: 29 MB, 230 MB as float32 at 16 kHz."""
    path = tmp_path_factory.mktemp("long") / "hour.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000 * 3600))
    return path


def bytes_read():
    """By this process, from files."""
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count what is read")
def test_decoding_stops_where_a_recording_is_too_long(hour):
    before = bytes_read()
    assert reason(hour, max_s=30.0) == "too long"
    assert bytes_read() - before < 1_000_000  # of 28.8 million


def test_a_limit_is_kept_to_the_sample():
    exact = waveform.encode_wav(tone(1.0))
    assert len(waveform.read_samples(exact, max_s=1.0)) == 16_000
    assert reason(waveform.encode_wav(np.append(tone(1.0), np.float32(0))), max_s=1.0) == "too long"


@pytest.mark.parametrize("block_s, blocks", [(0.4, 7), (1.0, 3), (30.0, 1)])
def test_blocks_joined_are_the_whole_recording(block_s, blocks):
    whole = encode([tone(2.5, 44_100)] * 2, 44_100, "flac", "flac")
    with closing(waveform.samples_file(whole)) as samples:
        parts = list(samples.blocks(block_s))
        assert len(parts) == blocks
        assert {len(part) for part in parts[:-1]} <= {round(block_s * 16_000)}
        assert np.array_equal(np.concatenate(parts), waveform.read_samples(whole))
        assert np.array_equal(np.concatenate(list(samples.blocks(block_s))), waveform.read_samples(whole))
        with pytest.raises(ValueError, match="at least one sample"):
            next(samples.blocks(0.0))


def test_an_hour_is_decoded_in_bounded_memory(hour):
    done = run(
        f"""
import resource
from pathlib import Path
from dagsverk.speech.audio import decoding, waveform
hour = Path({str(hour)!r})
next(next(decoding.Recording(hour.open("rb")).attempts()))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(sum(map(len, waveform.samples_file(hour).blocks())))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    )
    samples, more_kib = map(int, done.stdout.split())
    assert samples == 16_000 * 3600
    assert more_kib < 60_000


def test_damage_is_not_told_to_stderr_by_ffmpeg(tmp_path):
    path = tmp_path / "damaged.mp3"
    path.write_bytes(MP3[:3000] + bytes(500) + MP3[3500:5000])
    code = f"""
from pathlib import Path
from dagsverk.speech.audio import waveform
from dagsverk.speech.errors import AudioError
try:
    waveform.read_samples(Path({str(path)!r}))
except AudioError as error:
    print(error.reason)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.strip() == b"undecodable"
    assert done.stderr == b""


@pytest.mark.parametrize(
    "samples, expected",
    [
        (np.tile([1.0, -1.0], 50), 0.0),
        (np.tile([0.1, -0.1], 50), -20.0),
        (np.zeros(100), -np.inf),
        (np.ones(100), -np.inf),  # an offset is no sound
        (0.5 + tone(1.0, level=1.0), -3.01),
        (tone(1.0, level=1.0), -3.01),
    ],
)
def test_loudness_is_relative_to_a_full_scale_square_wave(samples, expected):
    assert waveform.loudness_dbfs(samples.astype(np.float32)) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("measure", [waveform.loudness_dbfs, waveform.clipped_share])
@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros((2, 10))])
def test_what_is_measured_has_one_channel_and_samples(measure, samples):
    with pytest.raises(ValueError, match="shape"):
        measure(samples)


def test_a_clip_recorded_far_too_loud_is_clipped_even_after_resampling():
    loud = np.clip(tone(SECONDS, 44_100, level=5.0), -1, 1)
    samples = waveform.read_samples(encode([loud], 44_100, "wav", "pcm_s16le"))
    assert waveform.clipped_share(samples) > 0.5
    assert waveform.clipped_share(waveform.read_samples(wav())) == 0


@pytest.mark.parametrize(
    "samples, expected",
    [
        (tone(0.1), "too short"),
        (np.zeros(0, np.float32), "too short"),
        (tone(31.0), "too long"),
        (np.zeros(16_000, np.float32), "silence"),
        (tone(1.0, level=1e-4), "silence"),
        (np.tile([1.0, -1.0], 8000).astype("f4"), "clipped"),
        (np.full(16_000, 0.4, np.float32), "silence"),  # a dead microphone with an offset
        (np.linspace(0.3, 0.305, 16_000, dtype="f4") + tone(1.0, level=5e-4), "silence"),  # that drifts
        (np.full(16_000, np.nan, np.float32), "undecodable"),
    ],
)
def test_a_clip_that_cannot_be_used_is_told_by_its_reason(samples, expected):
    with pytest.raises(AudioError) as caught:
        waveform.check(samples, **LIMITS)
    assert caught.value.reason == expected


def test_an_ordinary_clip_passes():
    waveform.check(tone(1.0), **LIMITS)
