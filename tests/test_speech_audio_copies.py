"""What is not copied or not measured on the way to samples at 16 kHz changes none of them."""

import io

import numpy as np
import pytest
import soundfile
from speech_clips import encode, tone
from test_speech_audio import LIMITS, reason

from dagsverk.speech.audio import waveform
from dagsverk.speech.errors import AudioError


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_one_channel_of_floats_and_the_same_of_integers_give_the_same_samples(rate_hz):
    whole = (np.random.default_rng(1).normal(0, 3000, 2 * rate_hz).round() / 32768).astype("f4")
    as_floats = encode([whole], rate_hz, "wav", "pcm_f32le")
    as_integers = encode([whole], rate_hz, "wav", "pcm_s16le")
    np.testing.assert_array_equal(waveform.read_samples(as_floats), waveform.read_samples(as_integers))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e4])
@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_a_value_that_is_no_sound_is_found_wherever_it_stands_in_one_channel_of_floats(value, rate_hz):
    sound = tone(2.0, rate_hz)
    sound[-7] = value
    file = io.BytesIO()
    soundfile.write(file, sound, rate_hz, format="WAV", subtype="FLOAT")
    assert reason(file.getvalue()) == "undecodable"


@pytest.mark.parametrize("above_db", [-0.1, 0.1, 9.9, 10.1])
@pytest.mark.parametrize("block", [None, 0, 3, 8])
def test_silence_is_found_as_if_every_block_were_measured(above_db, block):
    sound = np.random.default_rng(2).normal(0, 1, 20 * 1600 + 77).astype("f4")
    if block is not None:  # all that is heard is in one block of 0.1 s
        sound[: block * 1600] = sound[(block + 1) * 1600 :] = 0
    sound *= 10 ** ((LIMITS["silence_dbfs"] + above_db - waveform.loudness_dbfs(sound)) / 20)
    if above_db < 0:
        with pytest.raises(AudioError, match="dBFS"):
            waveform.check(sound, **LIMITS)
    else:
        waveform.check(sound, **LIMITS)


@pytest.mark.parametrize("channels", [(1, 2), (2, 1), (1, 2, 1)])
def test_a_chained_file_whose_channels_change_is_heard_to_its_end(channels):
    parts = [encode([tone(1.0, 48_000)] * count, 48_000, "flac", "flac") for count in channels]
    samples = waveform.read_samples(b"".join(parts))
    assert len(samples) == pytest.approx(16_000 * len(parts), abs=400)
    for n in range(1, len(parts)):  # and nothing that stood in memory beside a frame is heard
        np.testing.assert_allclose(samples[n * 16_000 :][500:15_500], samples[500:15_500], atol=1e-3)


def test_one_channel_is_as_loud_whatever_loudspeaker_it_is_meant_for():
    sound = tone(1.0, 48_000)
    file = io.BytesIO()
    soundfile.write(file, sound, 48_000, format="WAVEX", subtype="FLOAT")
    content = bytearray(file.getvalue())
    mask = content.index(b"fmt ") + 8 + 20
    heard = []
    for place in (0x4, 0x1, 0x8, 0x0):  # centre, left, low frequencies, none
        content[mask : mask + 4] = place.to_bytes(4, "little")
        heard.append(waveform.read_samples(bytes(content)))
    for other in heard[1:]:
        np.testing.assert_array_equal(other, heard[0])
