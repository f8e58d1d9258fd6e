"""`dagsverk transcribe`: texts and files, by the store's champion or a folder of weights."""

import os
import shutil

import numpy as np
import pytest
from speech_models import sounds, taught_model, telling_model
from speech_site import spoken_store

from dagsverk.commands import main
from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.languages import language
from dagsverk.speech.model.models import save_model_folder
from dagsverk.speech.registry.adoption import adopt
from dagsverk.speech.transcription import files
from dagsverk.speech.transcription.files import shown, targets, write_whole
from dagsverk.store import open_store

FIRST, SECOND, THIRD = [sound.text for sound in sounds()]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    save_model_folder(taught_model(), folder, language="sv")
    return str(folder)


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A folder with three recordings, no store set."""
    monkeypatch.delenv("DAGSVERK_STORE", raising=False)
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "room"
    folder.mkdir()
    for name, sound in zip(("a.wav", "två ord.wav", "c\nd.wav"), sounds(), strict=True):
        (folder / name).write_bytes(encode_wav(sound.audio))
    monkeypatch.chdir(tmp_path)
    return folder


def transcribe(*arguments):
    return main(["transcribe", "--language", "sv", *map(str, arguments)])


def test_a_folder_of_weights_needs_no_store_and_writes_the_text_alone_on_standard_output(
    room, weights, capsys
):
    assert transcribe(room / "a.wav", "--model", weights) == 0
    out, err = capsys.readouterr()
    assert out == f"{FIRST}\n"
    assert "a.wav" in err
    assert not (room.parent / ".dagsverk").exists()


def test_words_are_printed_with_their_times(room, weights, capsys):
    assert transcribe(room / "a.wav", "--model", weights, "--words") == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[2] for row in rows] == FIRST.split()
    assert all(0 <= float(start) <= float(end) <= 0.81 for start, end, _ in rows)


def test_the_champion_of_the_store_is_used_unless_a_model_is_named(room, monkeypatch, capsys):
    monkeypatch.setenv("DAGSVERK_STORE", str(spoken_store()))
    assert transcribe(room / "två ord.wav", "--format", "json") == 0
    assert '"model": "whisper_swedish 1"' in (room / "två ord.json").read_text()


def test_a_language_that_is_left_out_is_told_from_each_recording(room, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("DAGSVERK_STORE", str(spoken_store()))
    assert main(["transcribe", str(room / "a.wav")]) == 0
    out, err = capsys.readouterr()
    assert out == f"{FIRST}\n" and "taken for Swedish" in err
    save_model_folder(telling_model(), tmp_path / "published", language="sv")
    assert main(["transcribe", str(room / "a.wav"), "--model", str(tmp_path / "published")]) == 0
    out, err = capsys.readouterr()
    assert out == f"{FIRST}\n" and "taken for Swedish (" in err


def test_english_that_the_champion_cannot_write_is_by_an_adopted_model_and_it_is_said(
    room, monkeypatch, capsys, tmp_path
):
    store = open_store(str(shutil.copytree(spoken_store(), tmp_path / "copy")))
    monkeypatch.setenv("DAGSVERK_STORE", store.url)
    assert transcribe(room / "a.wav", "--task", "translate") == 1
    assert "was not taught to translate" in capsys.readouterr().err
    save_model_folder(telling_model(), tmp_path / "published", language="sv")
    adopt(store, language("it"), str(tmp_path / "published"))
    assert transcribe(room / "a.wav", "--task", "translate") == 0
    out, err = capsys.readouterr()
    assert out.strip()
    assert "The English is by whisper_italian 1 as published: whisper_swedish 1 cannot." in err


def test_without_store_or_model_the_message_names_both_ways_out(room, capsys):
    assert transcribe(room / "a.wav") == 1
    err = capsys.readouterr().err
    assert "no store" in err
    assert "--model openai/whisper-small" in err


def test_a_bad_file_ends_no_other_and_is_named_at_the_end(room, weights, capsys):
    (room / "bad.mp3").write_text("no sound")
    status = transcribe(
        room / "bad.mp3", room / "gone.wav", room, room / "a.wav", "--srt", "--model", weights
    )
    assert status == 1
    assert FIRST in (room / "a.srt").read_text()
    last = capsys.readouterr().err.splitlines()[-4:]
    assert "1 written down" in last[0]
    assert [("bad.mp3" in last[2], "not audio" in last[2]), ("gone.wav" in last[3])] == [(True, True), True]
    assert "is a folder" in last[1]


def test_files_that_are_there_are_left_alone_and_only_the_missing_ones_are_written(room, weights, capsys):
    (room / "a.srt").write_text("corrected by hand")
    assert transcribe(room / "a.wav", "--srt", "--model", weights) == 0
    assert "left alone" in capsys.readouterr().out
    assert transcribe(room / "a.wav", "--format", "srt,vtt,txt", "--model", weights) == 0
    assert (room / "a.srt").read_text() == "corrected by hand"
    assert (room / "a.vtt").read_text().startswith("WEBVTT")
    assert (room / "a.txt").read_text() == f"{FIRST}\n"
    assert transcribe(room / "a.wav", "--srt", "--overwrite", "--model", weights) == 0
    assert FIRST in (room / "a.srt").read_text()


def test_names_with_line_ends_are_written_as_they_are_and_shown_on_one_line(room, weights, capsys):
    assert transcribe(room / "c\nd.wav", "--out", room / "texts", "--model", weights) == 0
    assert (room / "texts" / "c\nd.txt").read_text() == f"{THIRD}\n"
    assert capsys.readouterr().out.count("\n") == 1


def test_silence_is_an_empty_text_and_no_failure(room, weights, capsys):
    (room / "silence.wav").write_bytes(encode_wav(np.zeros(32_000, np.float32)))
    assert transcribe(room / "silence.wav", "--srt", "--model", weights) == 0
    assert (room / "silence.srt").read_text() == ""


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--model", "nano"], "knows no words"),
        (["--model", "https://user:secret@example.org/x"], "found an address"),
        (["--model", "./absent"], "no model folder"),
    ],
)
def test_a_model_that_is_none_is_refused_before_anything_is_read(room, arguments, words, capsys):
    assert transcribe(room / "a.wav", *arguments) == 1
    err = capsys.readouterr().err
    assert words in err
    assert "secret" not in err


@pytest.mark.parametrize("arguments", [["--format", "doc"], ["--format", ","], ["--language", "xx"]])
def test_what_is_asked_wrongly_ends_with_status_2(room, arguments):
    with pytest.raises(SystemExit, match="2"):
        transcribe(room / "a.wav", *arguments)


def test_two_recordings_that_would_become_one_file_keep_their_endings(tmp_path):
    wav, mp3, other = tmp_path / "a.wav", tmp_path / "a.mp3", tmp_path / "x" / "a.wav"
    assert targets([wav, mp3], ["srt"], None) == {
        wav: [tmp_path / "a.wav.srt"],
        mp3: [tmp_path / "a.mp3.srt"],
    }
    clash = targets([wav, other], ["srt"], tmp_path / "out")
    assert all("another recording" in why for why in clash.values())
    assert list(targets([wav, tmp_path / "." / "a.wav"], ["srt"], None).values()) == [[tmp_path / "a.srt"]]


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.srt"

    def killed(handle):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            write_whole(path, "half")
    assert list(tmp_path.iterdir()) == []
    write_whole(path, "whole")
    with pytest.raises(FileExistsError):
        write_whole(path, "another")
    assert (path.read_text(), [one.name for one in tmp_path.iterdir()]) == ("whole", ["a.srt"])


def test_a_name_moves_no_cursor(tmp_path):
    assert shown("a\x1b[2Jb\nc\u202e.wav") == "a\\x1b[2Jb\\nc\\u202e.wav"
    assert "�" in shown(os.fsdecode(b"\xff.wav"))
