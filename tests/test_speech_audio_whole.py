"""A recording that was cut short is told from a whole one by its own structure, whatever else it holds."""

import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_clips import encode, tone

from dagsverk.speech.audio import waveform
from dagsverk.speech.errors import AudioError

RATE = 16_000
PCM = (tone(3.0) * 32767).astype("<i2").tobytes()  # 3 s
FMT = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
GARBAGE = np.random.default_rng(0).bytes(1000)
ID3V1 = b"TAG" + b"A song".ljust(125)
ID3V2 = b"ID3\4\0\0\0\0\0\x14" + bytes(20)
APE = struct.pack("<8sIIII8s", b"APETAGEX", 2000, 32, 0, 0x80000000, bytes(8))


def chunk(name, content, size=None, order="<"):
    size = len(content) if size is None else size
    return name + struct.pack(order + "I", size) + content + bytes(len(content) % 2)


def form(*chunks, name=b"RIFF", kind=b"WAVE", size=None, order="<"):
    inside = kind + b"".join(chunks)
    return name + struct.pack(order + "I", len(inside) if size is None else size) + inside


def wav_of(*before, data=PCM, size=None, riff_size=None, behind=(), name=b"RIFF"):
    return form(chunk(b"fmt ", FMT), *before, chunk(b"data", data, size), *behind, size=riff_size, name=name)


def rf64(data, data_size, riff_size=None):
    ds64 = struct.pack("<QQQI", riff_size or 72 + len(data), data_size, len(data) // 2, 0)
    return (
        wav_of(data=data, size=0xFFFFFFFF, riff_size=0xFFFFFFFF, name=b"BW64")[:12]
        + chunk(b"ds64", ds64)
        + (chunk(b"fmt ", FMT) + chunk(b"data", data, 0xFFFFFFFF))
    )


def aiff(data, *, frames=None, sound_first=False):
    count = len(data) // 2 if frames is None else frames
    rate = b"\x40\x0c\xfa\x00\0\0\0\0\0\0"  # 16,000 as a number of 80 bits
    comm = chunk(b"COMM", struct.pack(">hIh", 1, count, 16) + rate, order=">")
    ssnd = chunk(b"SSND", bytes(8) + np.frombuffer(data, "<i2").byteswap().tobytes(), order=">")
    parts = (ssnd, comm) if sound_first else (comm, ssnd)
    return form(*parts, name=b"FORM", kind=b"AIFF", order=">")


def seconds(content):
    return len(waveform.read_samples(content)) / RATE


def detail(content):
    with pytest.raises(AudioError) as caught:
        waveform.read_samples(content)
    assert caught.value.reason == "undecodable"
    return caught.value.detail


# name -> (muxer, encoder, rate in Hz, options of the muxer)
KINDS = {
    "wav": ("wav", "pcm_s16le", 44_100, {}),
    "wav, mu-law": ("wav", "pcm_mulaw", 8_000, {}),
    "wav, ADPCM": ("wav", "adpcm_ms", 22_050, {}),
    "wav, MP3": ("wav", "libmp3lame", 44_100, {}),
    "rf64": ("wav", "pcm_s16le", 16_000, {"rf64": "always"}),
    "w64": ("w64", "pcm_s24le", 44_100, {}),
    "aiff": ("aiff", "pcm_s16be", 44_100, {}),
    "aiff-c": ("aiff", "pcm_f32be", 48_000, {}),
    "caf": ("caf", "pcm_s16le", 48_000, {}),
    "caf, ALAC": ("caf", "alac", 44_100, {}),
    "au": ("au", "pcm_s16be", 16_000, {}),
    "voc": ("voc", "pcm_u8", 16_000, {}),
    "flac": ("flac", "flac", 44_100, {}),
    "tta": ("tta", "tta", 44_100, {}),
    "ogg": ("ogg", "libopus", 48_000, {}),
    "mp3": ("mp3", "libmp3lame", 44_100, {}),
    "mp3 that states no length": ("mp3", "libmp3lame", 44_100, {"write_xing": "0"}),
    "mp3 of a low rate": ("mp3", "libmp3lame", 8_000, {}),
    "adts": ("adts", "aac", 44_100, {}),
    "amr": ("amr", "libopencore_amrnb", 8_000, {}),
    "m4a": ("ipod", "aac", 44_100, {}),
    "mov": ("mov", "pcm_s16le", 48_000, {}),
    "mp4 in parts": ("mp4", "aac", 48_000, {"movflags": "empty_moov", "frag_duration": "500000"}),
    "mkv": ("matroska", "aac", 48_000, {}),
    "webm": ("webm", "libopus", 48_000, {}),
    "webm, live": ("webm", "libopus", 48_000, {"live": "1"}),
    "avi": ("avi", "libmp3lame", 44_100, {}),
    "flv": ("flv", "aac", 44_100, {}),
    "mpegts": ("mpegts", "aac", 44_100, {}),
    "ac3": ("ac3", "ac3", 44_100, {}),
    "eac3": ("eac3", "eac3", 48_000, {}),
    "mp2": ("mp2", "mp2", 44_100, {}),
}


@pytest.fixture(scope="module")
def whole():
    made = {}

    def make(kind):
        if kind not in made:
            muxer, codec, rate_hz, options = KINDS[kind]
            made[kind] = encode([tone(8.0, rate_hz)], rate_hz, muxer, codec, **options)
        return made[kind]

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_of_any_kind_is_heard_and_its_half_or_all_but_a_tenth_is_cut_short(whole, kind):
    content = whole(kind)
    assert seconds(content) == pytest.approx(8.0, abs=0.1)
    for share in (0.5, 0.9):  # not between two packets, which those of streams do not tell
        more = 100 if kind in ("ac3", "eac3") else 1
        assert "cut short" in detail(content[: int(share * len(content)) + more])


def test_a_head_that_misstates_the_bytes_of_a_second_does_not_hide_that_a_tenth_is_missing():
    content = encode([tone(8.0, 8_000)], 8_000, "wav", "adpcm_ima_wav")
    content = content[:28] + (16_000).to_bytes(4, "little") + content[32:]  # as FFmpeg's program writes it
    assert seconds(content) == pytest.approx(8.0, abs=0.2)  # whole blocks
    assert "cut short" in detail(content[: int(0.9 * len(content))])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", [ID3V1, APE], ids=["ID3", "APE"])
def test_a_tag_at_its_end_makes_no_file_damaged(whole, kind, tail):
    assert seconds(whole(kind) + tail) == pytest.approx(8.0, abs=0.1)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("tail", [GARBAGE, bytes(5000)], ids=["garbage", "zeros"])
def test_what_is_left_behind_its_end_makes_no_file_damaged(whole, kind, tail):
    assert seconds(whole(kind) + tail) == pytest.approx(8.0, abs=0.1)


@pytest.mark.parametrize("kind", ["wav", "aiff", "flac", "mp3", "adts", "m4a", "webm", "ogg"])
def test_a_tag_before_it_makes_no_file_another_one(whole, kind):
    content = ID3V2 + whole(kind)
    assert seconds(content) == pytest.approx(8.0, abs=0.1)
    assert "cut short" in detail(content[: len(content) // 2 + 1])


@pytest.mark.parametrize("container", ["mp4", "mov"])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_film_whose_contents_stand_first_is_cut_short_where_its_sound_ends(tmp_path, container, share):
    path = tmp_path / f"film.{container}"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as file:
        sound = file.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(8.0, 48_000)[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        for part in [*av.AudioResampler("fltp", "mono", 48_000, 1024).resample(frame)]:
            file.mux(sound.encode(part))
        file.mux(sound.encode(None))
    content = path.read_bytes()
    assert content.find(b"moov") < content.find(b"mdat")
    assert seconds(content) == pytest.approx(8.0, abs=0.1)
    assert "cut short" in detail(content[: int(share * len(content))])


# ---------------------------------------------------------------- WAV, chunk by chunk

COMMENT = chunk(b"LIST", b"INFO" + chunk(b"ICMT", b"old data lost in 1987"))


@pytest.mark.parametrize(
    "before",
    [
        (COMMENT,),
        (chunk(b"JUNK", bytes(28)),),
        (chunk(b"bext", bytes(602) + b"data\xff\xff\xff\x0f"), chunk(b"iXML", b"<data>" * 2000)),
        (chunk(b"PAD ", bytes(100_000)),),
        (chunk(b"odd ", b"data\xff\xff\x00"),),  # its pad byte is no part of its length
        (b"bad " + struct.pack("<I", 3) + b"abc",),  # a careless writer left the pad byte out
    ],
)
@pytest.mark.parametrize("behind", [(), (COMMENT,), (chunk(b"id3 ", b"ID3data" * 9), COMMENT)])
def test_whatever_chunks_stand_around_the_sound_a_whole_wav_is_heard_and_its_half_is_cut_short(
    before, behind
):
    content = wav_of(*before, behind=behind)
    assert seconds(content) == 3.0
    assert "1.50 s of the 3.00 s" in detail(content[: content.index(PCM) + len(PCM) // 2])


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000])
@pytest.mark.parametrize("riff_size", [0, 36, 0xFFFFFFFF, 0x7FFFF024])
def test_a_wav_that_was_written_to_a_pipe_is_heard_to_its_end(size, riff_size):
    assert seconds(wav_of(size=size, riff_size=riff_size)) == 3.0


def test_a_wav_whose_head_states_half_of_its_sound_is_damaged():
    assert "1.50 s of sound, and 1.50 s more follow" in detail(wav_of(size=len(PCM) // 2))


def test_a_wav_that_states_half_twice_is_damaged_as_one_is_that_was_joined_to_another():
    half = len(PCM) // 2
    assert "more follow" in detail(wav_of(size=half, riff_size=36 + half))
    assert "more follow" in detail(wav_of() + wav_of())


def test_a_wav_that_lacks_less_than_a_quarter_of_a_second_is_heard():
    assert seconds(wav_of()[:-6000]) == pytest.approx(2.8125)


def test_a_wav_that_ends_in_a_comment_before_its_sound_is_cut_short():
    assert "before its sound begins" in detail(wav_of(chunk(b"LIST", bytes(9000)))[:4000])


def test_an_empty_data_chunk_with_a_comment_behind_it_is_not_heard_as_sound():
    assert "no sound" in detail(wav_of(data=b"", behind=(COMMENT,)))


def test_lengths_beyond_4_gb_are_read_where_bw64_has_them():
    assert seconds(rf64(PCM, len(PCM))) == 3.0
    assert "cut short" in detail(rf64(PCM, 2 * len(PCM)))
    assert "more follow" in detail(rf64(PCM, len(PCM) // 2))


def test_a_big_endian_wav_is_walked_too():
    swapped = np.frombuffer(PCM, "<i2").byteswap().tobytes()
    fmt = chunk(b"fmt ", struct.pack(">HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16), order=">")
    content = form(fmt, chunk(b"data", swapped, order=">"), name=b"RIFX", order=">")
    assert seconds(content) == 3.0
    assert "1.50 s of the 3.00 s" in detail(content[: 44 + len(PCM) // 2])


@given(
    st.lists(
        st.tuples(st.sampled_from([b"LIST", b"JUNK", b"bext", b"id3 "]), st.binary(max_size=99)), max_size=5
    ),
    st.floats(0.3, 2.9),
)
def test_no_chunks_before_the_sound_hide_that_it_was_cut_short(before, kept_s):
    content = wav_of(*(chunk(name, inside) for name, inside in before))
    start = len(content) - len(PCM)
    if kept_s < 2.7:
        assert "cut short" in detail(content[: start + 2 * int(kept_s * RATE)])
    assert seconds(content) == 3.0


# ---------------------------------------------------------------- others, by hand


@pytest.mark.parametrize("sound_first", [False, True])
def test_an_aiff_is_judged_by_its_sound_chunk_wherever_it_stands(sound_first):
    content = aiff(PCM, sound_first=sound_first)
    assert seconds(content) == 3.0
    assert "cut short" in detail(content[: len(content) // 2])


def test_an_aiff_that_states_more_frames_than_its_sound_chunk_holds_was_cut_short():
    assert "cut short" in detail(aiff(PCM, frames=len(PCM)))


def test_an_ogg_without_its_last_page_was_cut_short_and_two_joined_are_heard_to_the_end(whole):
    content = whole("ogg")
    last = content.rindex(b"OggS")
    assert "the last page of its sound is not there" in detail(content[:last])
    assert seconds(content + content) == pytest.approx(16.0, abs=0.2)


def test_the_length_that_an_mp3_states_counts_no_padding_and_two_joined_are_heard_to_the_end(whole):
    content = whole("mp3")
    assert seconds(content + content) == pytest.approx(16.0, abs=0.2)


def test_frames_that_are_missing_are_noticed_where_an_mp3_states_how_many_there_were(whole):
    content = whole("mp3")
    cut = content[: content.rindex(b"\xff\xfb", 0, len(content) // 2)]  # between two frames
    assert "s are there" in detail(cut)


def test_a_live_recording_with_picture_and_sound_is_whole_and_its_half_is_not():
    live = encode([tone(2.0, 48_000)], 48_000, "matroska", "libopus", picture=True, live="1")
    assert seconds(live) == pytest.approx(2.0, abs=0.1)
    assert "cut short" in detail(live[: len(live) // 2])


@settings(deadline=None)  # the first of a kind is encoded
@given(st.binary(max_size=300), st.sampled_from(sorted(KINDS)), st.integers(0, 400))
def test_no_head_makes_the_walk_do_worse_than_an_audio_error(content, kind, at):
    muxer, codec, rate_hz, options = KINDS[kind]
    damaged = bytearray(
        SHORT.setdefault(kind, encode([tone(0.3, rate_hz)], rate_hz, muxer, codec, **options))
    )
    damaged[at : at + len(content)] = content
    try:
        waveform.read_samples(bytes(damaged), max_s=30.0)
    except AudioError:
        return


SHORT: dict[str, bytes] = {}


def test_only_heads_are_read_of_a_file_that_is_refused(tmp_path):
    class Counted(io.FileIO):
        count = 0

        def read(self, size=-1):
            content = super().read(size)
            Counted.count += len(content)
            return content

    path = tmp_path / "cut.wav"
    path.write_bytes(wav_of(data=bytes(10_000_000))[:5_000_000])
    assert "cut short" in detail(Counted(path))
    assert Counted.count < 1000
    assert Path(path).stat().st_size == 5_000_000
