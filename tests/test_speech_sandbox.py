"""A recording that nobody vouches for is decoded where it can do no harm."""

import http.server
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hostile_audio import decoders_of, integers_of_64_bits, lying_wav, playlists, silent_flac, unknown_codec
from speech_clips import encode, mp3, tone, wav

from dagsverk.speech.audio import sandbox, waveform
from dagsverk.speech.audio.sandbox import Sandbox
from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.corpora.corpus import Clip, RejectedClip
from dagsverk.speech.errors import AudioError, Busy, SpeechError
from dagsverk.speech.features import clips

HARM = """
import sys
import numpy
from dagsverk.speech.audio import process, waveform
from dagsverk.speech.audio.containers import every_fault_an_audio_error
decode_into = waveform.decode_into
EXTRA = 0
def harm():
    global EXTRA
    {harm}
    yield numpy.zeros(9, "f4")
def decode(target, source, **options):
    with every_fault_an_audio_error():
        if isinstance(source, bytes) or source.seek(0) or source.read(4) == b"RIFF":  # decoded as always
            return decode_into(target, source, **options)
    return sum(target.write(part) // 4 for part in careful(harm())) + EXTRA, ["a note"]
def careful(parts):
    with every_fault_an_audio_error():
        yield from parts
process.waveform.decode_into = decode
process.main(int(sys.argv[1]), int(sys.argv[2]))
"""
NOTE = b"harm"
ROOT = Path(__file__).resolve().parents[1]
BOMB = silent_flac(4 * 3600, 96_000, stated=False)  # seconds of work


@pytest.fixture(scope="module")
def box():
    box = Sandbox(2, reuse=True)
    yield box
    box.close()


@pytest.fixture
def harmful(monkeypatch):
    """A sandbox whose decoder does what is asked: as a fault of FFmpeg that a file makes use of."""
    boxes = []

    def make(harm, **options):
        monkeypatch.setattr(sandbox, "COMMAND", (sys.executable, "-c", HARM.format(harm=harm)))
        boxes.append(Sandbox(2, least_work_s=1, **options))
        return boxes[-1]

    yield make
    for box in boxes:
        box.close()


def why(decode, source, **options):
    with pytest.raises(AudioError) as caught:
        decode(source, **options)
    return caught.value.reason, caught.value.detail


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("make", [wav, mp3])
def test_the_samples_are_those_of_this_process(reuse, make, tmp_path):
    box, content = Sandbox(2, reuse=reuse), make(1.5)
    (tmp_path / "clip").write_bytes(content)
    own = waveform.read_samples(content)
    assert np.array_equal(box.read_samples(content, max_s=30), own)
    assert np.array_equal(box.read_samples(tmp_path / "clip", max_s=30), own)
    kept = box.open(tmp_path / "clip", max_s=7200)
    for _ in range(2):  # as often as it is asked
        blocks = list(kept.blocks(0.4))
        assert {len(block) for block in blocks[:-1]} == {6400}
        assert np.array_equal(np.concatenate(blocks), own)
    kept.close()
    box.close()


@pytest.mark.parametrize("decode", ["here", "in the sandbox"])
@pytest.mark.parametrize(
    "content, reason, words",
    [
        (b"", "empty file", ""),
        (b"a text", "not audio", ""),
        (wav()[:900], "undecodable", "cut short"),
        (lying_wav(1), "undecodable", "1,000 to 384,000 samples per second, found 1"),
        (lying_wav(999), "undecodable", "found 999"),
        (lying_wav(384_001), "undecodable", "found 384,001"),
        (lying_wav(2**31 - 1), "undecodable", "found 2,147,483,647"),
        (lying_wav(16_000, samples=100, channels=33), "undecodable", "at most 32 channels, found 33"),
        (integers_of_64_bits(), "undecodable", "s64"),
        (unknown_codec(), "unknown codec", "no decoder for the codec 0x1234 in this WAV file: convert it"),
        (silent_flac(3600, 8000, stated=True), "too long", "at most 30 s of audio, found 3,"),
        (silent_flac(3600, 8000, stated=False), "too long", "at most 30 s of audio, found more"),
    ],
)
def test_what_cannot_be_used_is_told_by_the_same_reason_here_and_there(box, decode, content, reason, words):
    read = waveform.read_samples if decode == "here" else box.read_samples
    refused_for, detail = why(read, content, max_s=30)
    assert refused_for == reason
    assert words in detail


@pytest.mark.parametrize("rate_hz", [1000, 8000, 384_000])
def test_rates_that_sound_is_recorded_at_are_heard(box, rate_hz):
    assert len(box.read_samples(lying_wav(rate_hz, samples=rate_hz), max_s=30)) == pytest.approx(
        16_000, abs=2
    )


@pytest.fixture
def witness():
    """An address, and what was asked of it."""
    asked = []

    class Witness(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Witness) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


@pytest.mark.parametrize("decode", ["here", "in the sandbox"])
def test_a_file_that_names_other_files_and_addresses_opens_none(box, decode, witness, tmp_path):
    address, asked = witness
    for folder in ("a pipe", "a file"):
        (tmp_path / folder).mkdir()
    os.mkfifo(tmp_path / "a pipe" / "1.wav")  # who opens it waits for ever
    (tmp_path / "a file" / "1.wav").write_bytes(wav(0.5))  # who opens it hears something
    read = waveform.read_samples if decode == "here" else box.read_samples
    for path in tmp_path.glob("*/1.wav"):
        for name, content in playlists(path, address).items():
            try:
                assert not read(content, max_s=30).any() or name == "mov", name
            except AudioError as error:
                assert error.reason in ("not audio", "undecodable"), name
    assert asked == []


def test_what_is_no_file_is_missing_audio_and_nobody_waits_for_it(box, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "link", tmp_path, tmp_path / "gone", tmp_path / "a\0b"):
        assert why(box.read_samples, path, max_s=30)[0] == "missing audio"
        assert why(waveform.read_samples, path)[0] == "missing audio"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep all of these limits")
@pytest.mark.parametrize(
    "harm, words",
    [
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import os; os.abort()", "SIGABRT"),
        ("import os; os._exit(3)", "exit code 3"),
        ("while True: pass", "of work"),
        ("b = bytearray(1 << 30)", "memory"),
        ("l = [bytearray(1 << 20) for _ in range(1000)]", "memory"),
        ("open('/etc/hostname')", "Too many open files"),
        ("import socket; socket.socket()", "Too many open files"),
        ("import subprocess; subprocess.Popen(['true'])", "Too many open files"),
        ("for _ in range(100): yield numpy.zeros(1 << 20, 'f4')", "more sound than"),
    ],
)
def test_a_decoder_that_a_file_turns_against_us_ends_and_the_next_recording_is_heard(harmful, harm, words):
    box = harmful(harm)
    reason, detail = why(box.read_samples, NOTE, max_s=30)
    assert reason == "undecodable"
    assert words in detail
    assert len(box.read_samples(wav(0.5), max_s=30)) == 8000


@pytest.mark.slow
def test_a_decoder_that_sleeps_is_ended_after_its_time(harmful):
    box = harmful("import time; time.sleep(3600)", least_wait_s=1)
    assert why(box.read_samples, NOTE, max_s=30)[0] == "undecodable"


def test_a_decoder_that_tells_of_more_than_it_wrote_is_not_believed(harmful):
    box = harmful("EXTRA = 10**9")
    reason, detail = why(box.read_samples, NOTE, max_s=30)
    assert (reason, "bytes written" in detail) == ("undecodable", True)


def test_a_decoder_sees_no_setting_of_this_process(harmful, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-tell")
    box = harmful("import os; raise process.AudioError('not audio', ' '.join(sorted(os.environ)))")
    _, detail = why(box.read_samples, NOTE, max_s=30)
    assert "PYTHONPATH" in detail
    assert "AWS" not in detail


def test_a_process_that_does_not_start_is_no_fault_of_the_recording(monkeypatch, capfd):
    monkeypatch.setattr(sandbox, "COMMAND", (sys.executable, "-c", "raise SystemExit('no FFmpeg here')"))
    box = Sandbox(1)
    with pytest.raises(SpeechError, match="does not start") as caught:
        box.read_samples(wav(), max_s=30)
    box.close()
    assert not isinstance(caught.value, AudioError)
    assert "no FFmpeg here" in capfd.readouterr().err


@pytest.mark.slow
def test_its_processes_end_with_the_one_that_started_them(tmp_path):
    (tmp_path / "bomb.flac").write_bytes(BOMB)
    code = f"""
from pathlib import Path
from dagsverk.speech.audio.sandbox import Sandbox
print("started", flush=True)
Sandbox(2).open(Path({str(tmp_path / "bomb.flac")!r}), max_s=7200)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        parent.stdout.readline()
        wait_for(lambda: any(spent_s > 0.3 for spent_s in decoders_of(parent.pid).values()), "its decoder")
        (decoder,) = decoders_of(parent.pid)
        parent.kill()
    wait_for(lambda: not Path(f"/proc/{decoder}").exists(), "the end of its decoder")


def wait_for(condition, what):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"waited 120 s for {what}"
        time.sleep(0.05)


class Gone(Exception):
    pass


def test_who_goes_away_ends_the_work_and_frees_his_place():
    box, looks, others = Sandbox(1, most_waiting=0), [], decoders_of(os.getpid()).keys()

    def check():
        looks.append(1)
        if len(looks) > 3:
            assert decoders_of(os.getpid()).keys() > others
            raise Gone

    with pytest.raises(Gone):
        box.open(BOMB, max_s=7200, check=check)
    assert len(box.read_samples(wav(0.5), max_s=30)) == 8000
    box.close()
    assert decoders_of(os.getpid()).keys() == others


def test_more_than_can_be_decoded_wait_in_line_and_more_than_that_are_sent_away():
    box = Sandbox(1, most_waiting=1)
    stop = threading.Event()

    def check():
        if stop.is_set():
            raise Gone

    with ThreadPoolExecutor(2) as pool:
        bombs = [pool.submit(box.open, BOMB, max_s=7200, check=check) for _ in range(2)]
        while not box._places._line:
            assert not any(bomb.done() for bomb in bombs)
        with pytest.raises(Busy, match="try again later"):
            box.read_samples(wav(), max_s=30)
        stop.set()
        assert all(isinstance(bomb.exception(), Gone) for bomb in bombs)
    assert len(box.read_samples(wav(0.5), max_s=30)) == 8000
    box.close()


def test_a_clip_that_ends_its_decoder_is_set_aside_and_the_others_are_prepared(harmful, monkeypatch):
    monkeypatch.setattr(sandbox, "CLIPS", harmful("import ctypes; ctypes.string_at(0)", reuse=True))
    clip = Clip(id="a", audio="a.mp3", text="hej", language="sv", split="train", speaker="a")
    contents = (wav(), NOTE, wav(), NOTE, wav())
    together = list(clips.make_rows([(clip, content) for content in contents], PrepareConfig()))
    alone = [clips.make_row(clip, content, PrepareConfig()) for content in contents]
    assert together == alone
    assert [isinstance(one, RejectedClip) for one in alone] == [False, True, False, True, False]
    assert alone[1].reason == "undecodable"
    assert "SIGSEGV" in alone[1].detail


def test_recordings_that_are_decoded_together_are_what_each_is_alone(box):
    channels = encode([tone(1.0, 48_000), -tone(1.0, 48_000)], 48_000, "wav", "pcm_s16le")  # begun anew
    sounds = [wav(0.5), b"a text", mp3(1.5), channels, b"", silent_flac(3600, 8000, stated=False), mp3(1.0)]
    together = list(box.read_many([(sound, "sv") for sound in sounds], max_s=30))
    for sound, content in zip(together, sounds, strict=True):
        if isinstance(sound, AudioError):
            assert (sound.reason, sound.detail) == why(box.read_samples, content, max_s=30)
        else:
            assert np.array_equal(sound, waveform.read_samples(content))
    assert [isinstance(one, AudioError) for one in together] == [0, 1, 0, 0, 1, 1, 0]


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param("while True: pass", marks=pytest.mark.slow),
        "import os; os._exit(0)",
        "import os; os.kill(os.getpid(), 9)",
        "l = [bytearray(1 << 20) for _ in range(1000)]",
        "for _ in range(100): yield numpy.zeros(1 << 20, 'f4')",
        "EXTRA = 10**9",
        "EXTRA = -100",
    ],
)
def test_a_recording_that_harms_costs_those_beside_it_nothing(harmful, harm):
    box = harmful(harm, reuse=True)
    sounds = list(box.read_many([(one, "sv") for one in (wav(0.5), NOTE, wav(0.25))], max_s=5))
    assert [getattr(one, "reason", None) or len(one) for one in sounds] == [8000, "undecodable", 4000]


def test_a_decoder_that_is_killed_while_several_are_decoded_costs_none(harmful, tmp_path):
    died = tmp_path / "died"
    once = f"import os; os.path.exists({str(died)!r}) or (os.mkdir({str(died)!r}), os.kill(os.getpid(), 9))"
    box = harmful(once, reuse=True)
    sounds = box.read_many([(wav(0.5), "sv"), (NOTE, "sv"), (wav(0.25), "sv")], max_s=5)
    assert [len(sound) for sound in sounds] == [8000, 9, 4000]


def test_a_film_is_heard_without_a_decoder_for_its_pictures(box):
    film = encode([tone(1.0, 48_000)] * 2, 48_000, "matroska", "libopus", picture=True)
    assert len(box.read_samples(film, max_s=30)) == pytest.approx(16_000, abs=1600)


def test_a_decoder_that_is_killed_costs_no_good_clip(harmful, tmp_path):
    died = tmp_path / "died"
    once = f"import os; os.path.exists({str(died)!r}) or (os.mkdir({str(died)!r}), os.kill(os.getpid(), 9))"
    box = harmful(once, reuse=True)
    assert box.read_samples(NOTE, max_s=5).size == 9
    assert died.exists()


def test_a_clip_whose_decoder_is_killed_twice_is_set_aside(harmful):
    box = harmful("import os; os.kill(os.getpid(), 9)", reuse=True)
    assert "SIGKILL" in why(box.read_samples, NOTE, max_s=5)[1]
