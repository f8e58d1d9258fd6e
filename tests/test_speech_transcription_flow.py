"""The flow that writes down a folder, on a real server: its result, its artefacts, a run without a source."""

import contextlib
import shutil
import subprocess
import sys
from collections import Counter

import pytest
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect_server import PATIENCE_S, ROOT, wait_for
from speech_models import sounds
from speech_site import spoken_store

from dagsverk import records
from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.transcription import results
from dagsverk.speech.transcription.config import TranscriptionConfig
from dagsverk.speech.transcription.pseudo_config import PseudoLabelConfig
from dagsverk.store import open_store
from flows.speech import speech_pseudo_labels, speech_transcription


@pytest.fixture
def server(prefect_server, tmp_path, monkeypatch):
    shutil.copytree(spoken_store(), tmp_path / "store")
    for name in ("store", "cache", "logs"):
        monkeypatch.setenv(f"DAGSVERK_{name.upper()}", str(tmp_path / name))
    with temporary_settings(
        {PREFECT_API_URL: prefect_server.api_url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    ):
        yield prefect_server


def test_a_run_writes_down_a_folder_and_shows_it_and_the_next_one_finds_it_done(server, tmp_path):
    (tmp_path / "room").mkdir()
    for number, sound in enumerate(sounds()):
        (tmp_path / "room" / f"{number}.wav").write_bytes(encode_wav(sound.audio))
    (tmp_path / "room" / "no.mp3").write_text("no sound")
    config = TranscriptionConfig(source=str(tmp_path / "room"), portion=1)
    line = speech_transcription("sv", config)
    assert line.startswith("3 of 4 recordings are written down")
    assert "3 of them now" in line
    assert "not: 1 not audio" in line
    assert "0 of them now" in speech_transcription("sv", config)
    for key in ("swedish-transcriptions", "swedish-transcriptions-failed"):
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        assert server.ask(lambda client, wanted=wanted: client.read_artifacts(artifact_filter=wanted))


def test_a_run_makes_a_corpus_of_recordings_without_texts_and_shows_what_it_kept(server, tmp_path):
    (tmp_path / "room").mkdir()
    for number, sound in enumerate(sounds()):
        (tmp_path / "room" / f"{number}.wav").write_bytes(encode_wav(sound.audio))
    lenient = {
        "min_log_probability": -50.0,
        "max_no_speech": 1.0,
        "min_clip_s": 0.0,
        "min_letters_per_s": 0.0,
    }
    folders = {"source": str(tmp_path / "room"), "output": str(tmp_path / "labels")}
    line = speech_pseudo_labels("sv", PseudoLabelConfig(**folders, **lenient))
    assert "of 3 recordings" in line and line == speech_pseudo_labels(
        "sv", PseudoLabelConfig(**folders, **lenient)
    )
    assert (tmp_path / "labels" / "metadata.jsonl").read_text().count("\n") == int(line.split()[0]) > 0
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["swedish-pseudo-labels"]))
    assert server.ask(lambda client: client.read_artifacts(artifact_filter=wanted))


def test_a_run_without_a_source_says_so_and_is_completed(server):
    assert speech_pseudo_labels("sv") == "no source is named"
    assert speech_transcription("sv") == "no source is named"


WRITE_DOWN = """
import os, sys
from dagsverk.speech.transcription import work
from dagsverk.speech.transcription import results
from dagsverk.speech.transcription.config import TranscriptionConfig
from dagsverk.store import open_store
from flows.speech import speech_transcription

real = work._write

def told(*arguments):
    kept = real(*arguments)
    with open(sys.argv[2], "a") as notes:
        notes.write(arguments[3].path + "\\n")
    return kept

work._write = told
print(speech_transcription("sv", TranscriptionConfig(source=sys.argv[1], portion=3)))
"""


@pytest.fixture
def start(server, tmp_path):
    """Starts a process with a run of the flow over the folder; killed at the end if it still runs."""
    names = ("store", "cache", "logs")
    ours = {f"DAGSVERK_{name.upper()}": str(tmp_path / name) for name in names} | {"OMP_NUM_THREADS": "1"}
    with contextlib.ExitStack() as stack:

        def started(notes):
            command = [sys.executable, "-c", WRITE_DOWN, str(tmp_path / "room"), str(tmp_path / notes)]
            process = stack.enter_context(
                subprocess.Popen(
                    command, cwd=ROOT, env=server.environment | ours, stdout=subprocess.PIPE, text=True
                )
            )
            stack.callback(process.kill)
            return process

        yield started


def fill(room, count):
    room.mkdir()
    for number in range(count):
        (room / f"{number:02}.wav").write_bytes(encode_wav(sounds()[number % 3].audio))


def texts(store):
    """Of each recording that is written down, how many there are."""
    paths = [path for path in store.list("transcriptions") if path.endswith("/v1.json")]
    return Counter(records.read(store, path, results.Text).path for path in paths)


def test_two_runs_at_once_write_down_each_recording_once(server, start, tmp_path):
    limit = "speech-transcription-swedish"
    server.ask(lambda client: client.upsert_global_concurrency_limit_by_name(limit, 1))
    fill(tmp_path / "room", 12)
    try:
        runs = [start("one"), start("two")]
        lines = [run.communicate(timeout=PATIENCE_S)[0] for run in runs]
    finally:
        server.ask(lambda client: client.delete_global_concurrency_limit_by_name(limit))
    assert [run.returncode for run in runs] == [0, 0]
    assert all("12 of 12 recordings are written down" in line for line in lines)
    done = "".join(path.read_text() for path in (tmp_path / "one", tmp_path / "two") if path.exists())
    assert sorted(done.split()) == sorted(f"{number:02}.wav" for number in range(12))
    assert texts(open_store()) == Counter(done.split())


def test_a_run_whose_process_is_killed_loses_what_was_at_work_and_the_next_one_goes_on(
    server, start, tmp_path
):
    fill(tmp_path / "room", 30)
    notes, store = tmp_path / "killed", open_store()
    first = start("killed")
    wait_for(lambda: notes.exists() and len(notes.read_text().split()) >= 3, "three texts")
    first.kill()
    first.wait()
    whole = texts(store)
    assert 3 <= len(whole) < 30
    second = start("next")
    line, _ = second.communicate(timeout=PATIENCE_S)
    assert "30 of 30 recordings are written down" in line
    assert set((tmp_path / "next").read_text().split()).isdisjoint(whole)
    assert texts(store) == Counter(f"{number:02}.wav" for number in range(30))
