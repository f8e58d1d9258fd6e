"""A folder of recordings is written down: each once, bad ones with their reason, whatever happens."""

import errno
import os
import shutil
from dataclasses import replace

import pytest
from speech_models import sounds
from speech_site import spoken_store

from dagsverk.reading import Below
from dagsverk.speech.audio.sandbox import DecoderKilled
from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.errors import CorpusError, SpeechError
from dagsverk.speech.languages import language
from dagsverk.speech.serving.transcriber import Transcriber
from dagsverk.speech.transcription import adding_up, models, results, work
from dagsverk.speech.transcription.config import TranscriptionConfig
from dagsverk.speech.transcription.results import Portion
from dagsverk.speech.transcription.sources import FolderSource
from dagsverk.store import open_store
from ui.speech import transcriptions
from ui.speech.desk import SpeechDesk

SWEDISH = language("sv")
TEXTS = [sound.text for sound in sounds()]


@pytest.fixture
def store(tmp_path, monkeypatch):
    shutil.copytree(spoken_store(), tmp_path / "store")
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def folder(tmp_path):
    """Three recordings, two of them with what is said."""
    room = tmp_path / "room"
    (room / "deep er").mkdir(parents=True)
    for name, sound in zip(("a.wav", "deep er/b\nå.wav", "c.wav"), sounds(), strict=True):
        (room / name).write_bytes(encode_wav(sound.audio))
    (room / "a.txt").write_text(TEXTS[0])
    (room / "c.txt").write_text("brus brus")
    return room


class Run:
    """A run of the flow's steps, and how often the model was asked."""

    def __init__(self, store, folder, **options):
        self.store, self.config = store, TranscriptionConfig(source=str(folder), **options)
        self.model, self.loads = "v1", 0

    def load(self):
        self.loads += 1
        return models.champion(self.store, SWEDISH)

    def __call__(self):
        _, made = work.plan(self.store, SWEDISH, self.config, self.model)
        done = [
            work.write_all(self.store, SWEDISH, made, numbers, self.config, load=self.load)
            for numbers in work.portions(made, self.config.portion)
        ]
        return adding_up.complete(self.store, SWEDISH, made, self.config, done)


def test_each_recording_is_written_down_once_and_scored_where_a_text_lies_beside_it(store, folder):
    run = Run(store, folder, words=True)
    report = run()
    assert (report.recordings, report.written, report.new, run.loads) == (3, 3, 3, 3)
    assert report.failed == {}
    assert report.scored is not None
    assert (report.scored.recordings, report.scored.words) == (2, 5)
    assert report.scored.wer.value == pytest.approx(1 / 5)
    again = run()
    assert (again.written, again.new, run.loads) == (3, 0, 3)
    assert again.scored == report.scored


def test_what_is_kept_is_the_text_with_segments_model_and_times(store, folder):
    Run(store, folder, words=True)()
    paths = [path for path in store.list("transcriptions/swedish") if path.endswith("/v1.json")]
    texts = {one.path: one for one in (work.records.read(store, path, results.Text) for path in paths)}
    kept = texts["deep er/b\nå.wav"]
    assert kept.text == TEXTS[1]
    assert (kept.model, kept.version, kept.segments[0].text) == ("whisper_swedish", 1, TEXTS[1])
    assert kept.audio_s == pytest.approx(1.2)
    assert " ".join(word.text for word in kept.segments[0].words) == TEXTS[1]


def test_a_changed_recording_is_done_anew_and_a_changed_text_is_compared_anew(store, folder):
    run = Run(store, folder)
    run()
    (folder / "a.wav").write_bytes(encode_wav(sounds()[2].audio))
    (folder / "c.txt").write_text("brus")
    report = run()
    assert (report.recordings, report.written, report.new, run.loads) == (3, 3, 1, 4)
    assert report.scored is not None and report.scored.words == 4


def test_bad_files_are_named_with_their_reason_and_end_no_other(store, folder, tmp_path):
    (folder / "no sound.mp3").write_text("words")
    (tmp_path / "elsewhere.wav").write_bytes(encode_wav(sounds()[0].audio))
    (folder / "link.wav").symlink_to(tmp_path / "elsewhere.wav")
    (folder / "inside.wav").symlink_to(folder / "c.wav")
    os.mkfifo(folder / "pipe.wav")
    run = Run(store, folder)
    report = run()
    assert (report.written, report.failed) == (4, {"not a regular file": 2, "not audio": 1})
    details = {one.path: one.detail for one in report.failures}
    assert "link out of the folder" in details["link.wav"]
    loads = run.loads
    assert run().failed == report.failed
    assert run.loads == loads


def test_what_could_not_be_read_is_tried_again_and_what_is_no_sound_is_not(store, folder, monkeypatch):
    (folder / "no sound.mp3").write_text("words")
    run = Run(store, folder)
    opened = []
    real = FolderSource.opened

    def denied(self, recording):
        opened.append(recording.path)
        if recording.path == "c.wav":
            raise work.Unread("cannot be read", "Permission denied")
        return real(self, recording)

    with monkeypatch.context() as patched:
        patched.setattr(FolderSource, "opened", denied)
        assert run().failed == {"cannot be read": 1, "not audio": 1}
    monkeypatch.setattr(FolderSource, "opened", lambda self, one: opened.append(one.path) or real(self, one))
    opened.clear()
    assert run().failed == {"not audio": 1}
    assert opened == ["c.wav"]


def test_a_recording_that_somebody_is_writing_is_left_for_the_next_run(store, folder, monkeypatch):
    run = Run(store, folder)
    real = work._DECODERS.open

    def growing(file, **options):
        samples = real(file, **options)
        if os.path.realpath(file) == str(folder / "a.wav"):
            with (folder / "a.wav").open("ab") as more:
                more.write(b"\0" * 3200)
        return samples

    with monkeypatch.context() as patched:
        patched.setattr(work._DECODERS, "open", growing)
        assert run().failed == {"changed while it was read": 1}
    assert (run().written, run().failed) == (3, {})


def test_whoever_is_killed_loses_the_recording_in_work_and_no_other(store, folder):
    run = Run(store, folder)

    class Killed(BaseException):
        pass

    def load():
        if run.loads == 2:
            raise Killed
        run.loads += 1
        return models.champion(store, SWEDISH)

    _, made = work.plan(store, SWEDISH, run.config, "v1")
    with pytest.raises(Killed):
        work.write_all(store, SWEDISH, made, made.waiting, run.config, load=load)
    assert (run().new, run.loads) == (1, 3)


def test_a_run_beside_another_leaves_alone_what_that_one_has_done(store, folder):
    run = Run(store, folder)
    _, made = work.plan(store, SWEDISH, run.config, "v1")
    run()
    late = work.write_all(store, SWEDISH, made, made.waiting, run.config, load=run.load)
    assert (late, run.loads) == (Portion(), 3)


def test_a_new_model_does_again_what_it_is_asked_to(store, folder):
    run = Run(store, folder)
    run()
    run.model = "v2"
    assert (run().new, run().written) == (0, 3)
    run.config = replace(run.config, redo="new_model")
    _, made = work.plan(store, SWEDISH, run.config, "v2")
    assert len(made.waiting) == 3
    assert results.best_text({"v2", "v10", "failed"}, "v3") == "v10"


def test_texts_go_to_an_output_too_each_beside_its_name(store, folder, tmp_path):
    Run(store, folder, output=str(tmp_path / "out"))()
    assert (tmp_path / "out" / "a.wav.txt").read_text() == f"{TEXTS[0]}\n"
    assert "-->" in (tmp_path / "out" / "deep er" / "b\nå.wav.srt").read_text()


def test_a_recording_whose_file_cannot_be_there_keeps_its_text_and_ends_no_other(store, folder, tmp_path):
    (folder / "c.wav").rename(folder / f"{'c' * 249}.wav")  # with .txt behind it, more than a disk takes
    (tmp_path / "out" / "a.wav.txt").mkdir(parents=True)
    run = Run(store, folder, output=str(tmp_path / "out"), formats=("txt",))
    report = run()
    assert (report.written, report.new, report.failed) == (3, 3, {})
    assert "the texts of 2 recordings are in the store alone" in report.notes[0]
    assert (tmp_path / "out" / "deep er" / "b\nå.wav.txt").read_text() == f"{TEXTS[1]}\n"
    assert (run().new, run.loads) == (0, 3)
    with pytest.raises(CorpusError, match="is a file"):
        Run(store, folder, output=str(folder / "a.wav"), formats=("srt",))()


def test_names_that_are_no_text_are_recordings_as_others(store, folder, tmp_path):
    strange = os.fsdecode(b"\xff 100% \x1b[31m.wav")
    for name in (strange, "A.wav", "A.WAV", "e\u0301.wav", "é.wav"):
        (folder / name).write_bytes(encode_wav(sounds()[0].audio))
    run = Run(store, folder, output=str(tmp_path / "out"))
    report = run()
    assert (report.recordings, report.written, report.failed) == (8, 8, {})
    assert (tmp_path / "out" / f"{strange}.txt").read_text() == f"{TEXTS[0]}\n"
    assert run().new == 0


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf%b\r\n",
        b"%b\r",
        "\ufeff%s".encode("utf-16-le"),
        b"\n\n  %b  \n",
    ],
    ids=["BOM and CRLF", "CR", "UTF-16", "empty lines"],
)
def test_a_text_beside_is_compared_however_its_editor_has_saved_it(store, folder, content):
    text = TEXTS[0].encode()
    (folder / "c.txt").unlink()
    utf_16 = content.startswith(b"\xff\xfe")
    encoded = f"\ufeff{TEXTS[0]}\r\n".encode("utf-16-le") if utf_16 else content.replace(b"%b", text)
    (folder / "a.txt").write_bytes(encoded)
    scored = Run(store, folder)().scored
    assert scored is not None
    assert (scored.recordings, scored.words, scored.wer.value) == (1, 3, 0.0)


def test_a_recording_that_breaks_the_model_ends_no_other_and_is_tried_again(store, folder, monkeypatch):
    run = Run(store, folder)
    real = Transcriber.transcribe

    def breaks(self, samples, *arguments, **options):
        if samples.samples == pytest.approx(1.6 * 16_000, abs=2):
            raise RuntimeError("not enough memory: you tried to allocate 9 bytes")
        return real(self, samples, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Transcriber, "transcribe", breaks)
        report = run()
    assert (report.written, report.failed) == (2, {"the model failed": 1})
    assert "not enough memory" in report.failures[0].detail
    assert (run().written, run().failed) == (3, {})


def test_a_recording_whose_decoder_was_killed_is_tried_again(store, folder, monkeypatch):
    run = Run(store, folder)

    def killed(*_, **__):
        raise DecoderKilled("undecodable", "it ended the process that decoded it (SIGKILL)")

    with monkeypatch.context() as patched:
        patched.setattr(work._DECODERS, "open", killed)
        assert run().failed == {"undecodable": 3}
    assert (run().written, run().failed) == (3, {})


def test_subtitles_follow_the_words_that_the_model_timed_though_only_texts_are_kept(store, folder, tmp_path):
    asked = []
    real = Transcriber.transcribe

    def listening(self, *arguments, **options):
        asked.append(options["words"])
        return real(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Transcriber, "transcribe", listening)
        Run(store, folder, output=str(tmp_path / "out"))()
        (folder / "d.wav").write_bytes(encode_wav(sounds()[0].audio))
        Run(store, folder, output=str(tmp_path / "out"), formats=("txt",))()
    assert asked == [True, True, True, False]
    paths = [path for path in store.list("transcriptions/swedish") if path.endswith("/v1.json")]
    assert not any(
        segment.words for path in paths for segment in work.records.read(store, path, results.Text).segments
    )


def test_an_output_that_would_be_read_as_what_is_said_is_refused(store, folder):
    with pytest.raises(CorpusError, match="the output lies in the source"):
        Run(store, folder, output=str(folder / "texts"), formats=("json",))()
    assert Run(store, folder, output=str(folder), formats=("srt",))().written == 3
    assert Run(store, folder).store and Run(store, folder)().scored is not None


@pytest.mark.parametrize("source", ["absent", "room/a.wav", "hub:some/thing", "https://example.org/x"])
def test_what_is_no_folder_is_refused(store, folder, monkeypatch, source):
    monkeypatch.chdir(folder.parent)
    with pytest.raises(CorpusError):
        Run(store, source)()


def test_a_run_that_wrote_down_none_of_several_fails_and_says_why():
    with pytest.raises(SpeechError, match=r"none of 3 recordings .*3 not audio"):
        work.refuse_none([Portion(failed=2), Portion(failed=1)], {"not audio": 3})
    work.refuse_none([Portion(failed=1)], {"not audio": 1})
    work.refuse_none([Portion(failed=9, written=1)], {"not audio": 9})
    work.refuse_none([Portion(failed=4, not_files=2)], {"not a regular file": 2})


def test_a_folder_that_may_not_be_read_ends_no_recording_beside_it_and_fails_the_run(
    store, folder, monkeypatch
):
    real = Below.folder

    def denied(self, below):  # who runs tests may be root, who may read all
        if below == "deep er/":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(self, below)

    monkeypatch.setattr(Below, "folder", denied)
    (folder / "lost+found").mkdir()
    run = Run(store, folder)
    report = run()
    assert (report.recordings, report.written) == (2, 2)
    assert "one folder below may not be read" in report.notes[-1]
    _, made = work.plan(store, SWEDISH, run.config, "v1")
    assert made.denied == ("deep er/",)
    with pytest.raises(SpeechError, match="give the worker the right to read"):
        work.refuse_denied(made)


def test_links_out_of_the_folder_are_no_reason_to_fail_every_night(store, folder):
    for name in ("x.wav", "y.wav", "z.wav"):
        (folder / name).symlink_to("/dev/null")
    run = Run(store, folder)
    run()
    _, made = work.plan(store, SWEDISH, run.config, "v1")
    again = work.write_all(store, SWEDISH, made, made.waiting, run.config, load=run.load)
    assert (again.failed, again.not_files) == (3, 3)
    work.refuse_none([again], {"not a regular file": 3})


def test_the_index_may_be_lost(store, folder):
    run = Run(store, folder)
    report = run()
    (index,) = [path for path in store.list("transcriptions") if path.endswith("/index.json")]
    store.put(index, b"{ half", overwrite=True)
    assert run() == replace(report, new=0, new_audio_s=0.0, new_took_s=0.0, at=run().at)


def test_the_speech_monitor_tells_of_the_folder_and_its_version_changes(store, folder):
    (folder / "<b>.mp3").write_text("words")
    desk = SpeechDesk(store.url)
    before = desk.version(SWEDISH)
    assert "None yet" in transcriptions.places(desk.view(SWEDISH))
    Run(store, folder)()
    assert desk.version(SWEDISH) != before
    page = transcriptions.places(desk.view(SWEDISH))
    assert "3 of 4 recordings" in page
    assert "not audio" in page
    assert "&lt;b&gt;.mp3" in page
    assert "20.0" in page or "20 %" in page
