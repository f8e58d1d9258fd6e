"""The flow that writes down a folder, on a real server: its result, its artefacts, a run without a source."""

import shutil

import pytest
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from speech_models import sounds
from speech_site import spoken_store

from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.transcription.config import TranscriptionConfig
from flows.speech import speech_transcription


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


def test_a_run_without_a_source_says_so_and_is_completed(server):
    assert speech_transcription("sv") == "no source is named"
