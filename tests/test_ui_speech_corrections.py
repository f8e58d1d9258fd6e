"""Corrections of a transcript's lines: what is kept, for whom, and what is refused."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from speech_models import sounds
from speech_site import spoken_store, wav

from dagsverk.speech.audio.waveform import SAMPLE_RATE_HZ, read_samples
from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.corpora.recordings import Recordings
from ui.app import build_app
from ui.tabular.desk import TabularDesk

LOW, RISING = sounds()[0].audio, sounds()[1].audio
TALK = np.r_[LOW, np.zeros(8000), RISING, np.zeros(600_000), LOW].astype(np.float32)
TIMES = {"start_s": 0.0, "end_s": round(len(LOW) / SAMPLE_RATE_HZ, 2)}
LATER_S = round((len(LOW) + 8000) / SAMPLE_RATE_HZ, 2)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return tmp_path_factory.mktemp("corrections")


@pytest.fixture(scope="module")
def app(room):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(room / "uploads"))
        yield build_app(TabularDesk(str(spoken_store())))


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The folder of the data set."""
    monkeypatch.setenv("DAGSVERK_RECORDINGS", str(tmp_path))
    return tmp_path / "mine"


class Visitor:
    """Who gave a recording of two sounds and 37 s of nothing between two of them."""

    def __init__(self, app, content=None):
        self.client = TestClient(app, base_url="http://127.0.0.1")
        self.client.get("/transcribe")
        sent = self.client.post("/gradio_api/upload", files={"files": ("tal.wav", content or wav(TALK))})
        self.file = sent.json()[0]

    def correct(self, **changes):
        sent = {"file": self.file, **TIMES, "text": "en låg ton", "language": "sv", "data_set": "mine"}
        return self.client.post(
            "/api/corrections", json={**sent, "speaker": "anna", "consent": True} | changes
        )


@pytest.fixture
def visitor(app):
    return Visitor(app)


def files_in(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix}


def test_a_corrected_line_is_a_clip_that_training_reads(visitor, mine):
    answer = visitor.correct(text="  en riktigt\nlåg ton ", end_s=LATER_S)
    assert (answer.status_code, answer.json()["text"]) == (200, "en riktigt låg ton")
    assert visitor.correct(start_s=LATER_S, end_s=LATER_S + 1, text="en som stiger").status_code == 200
    corpus = open_corpus(CorpusConfig(source=str(mine)), "sv")
    listing = corpus.listing()
    assert listing.rejected == []
    assert [clip.text for clip in listing.clips] == ["en riktigt låg ton", "en som stiger"]
    audio = read_samples(next(iter(corpus.read(listing.clips[1:])))[1])
    at = round(LATER_S * SAMPLE_RATE_HZ)
    assert np.abs(audio - TALK[at : at + len(audio)]).max() < 1e-3


def test_a_repeat_writes_nothing_and_a_second_correction_replaces_the_first(app, visitor, mine):
    assert visitor.correct().status_code == 200
    written = files_in(mine)
    assert visitor.correct().status_code == 200
    assert Visitor(app).correct().status_code == 200  # the same recording, given again
    assert files_in(mine) == written
    assert visitor.correct(text="en lägre ton").status_code == 200
    assert visitor.correct(start_s=0.01, text="en annan rad").status_code == 200
    assert [clip.text for clip in Recordings("mine").clips()] == ["en lägre ton", "en annan rad"]
    assert visitor.correct(text="en annan rad").status_code == 200  # the same words at another place
    assert visitor.correct(speaker="bo", text="en annan rad").status_code == 200
    clips = Recordings("mine").clips()
    assert sorted((clip.text, clip.speaker) for clip in clips) == [
        ("en annan rad", "anna"), ("en annan rad", "bo"),
    ]  # fmt: skip
    assert len(list((mine / "clips").iterdir())) == 2
    assert all((mine / clip.file_name).is_file() for clip in clips)
    digest = hashlib.sha256(wav(TALK)).hexdigest()[:32]
    assert sorted(clip.correction_of for clip in clips) == [f"{digest}@0.00", f"{digest}@0.01"]


def test_what_was_read_aloud_is_never_replaced_by_a_correction(visitor, mine):
    read = Recordings("mine").keep(wav(LOW), 0.8, text="en låg ton", language="sv", speaker="anna")
    assert visitor.correct(text="en låg ton").status_code == 200
    assert visitor.correct(text="en hög ton").status_code == 200
    assert [clip.text for clip in Recordings("mine").clips()] == ["en låg ton", "en hög ton"]
    assert (mine / read.file_name).is_file()


def test_only_who_gave_a_recording_corrects_it_and_only_while_it_is_kept(app, visitor, mine, room):
    (room / "elsewhere.wav").write_bytes(wav(TALK))
    stranger = Visitor(app, wav(RISING))
    for client, file in [
        (stranger, visitor.file), (visitor, str(room / "elsewhere.wav")),
        (visitor, f"{visitor.file}/../tal.wav"), (visitor, "/etc/passwd"), (visitor, ""),
    ]:  # fmt: skip
        answer = client.correct(file=file)
        assert (answer.status_code, answer.json()["error"][:39]) == (
            404,
            "this recording is no longer kept here f",
        )
    visitor.client.cookies.clear()
    assert visitor.correct().status_code == 404
    Path(stranger.file).unlink()
    assert stranger.correct().status_code == 404
    assert not mine.exists()


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"end_s": 30.5}, "training takes clips of at most 30 s"),
        ({"end_s": 0.3}, "too short"),
        ({"start_s": 5.0, "end_s": 1.0}, "too short"),
        ({"start_s": 7000.0, "end_s": 7001.0}, "too short"),
        ({"start_s": 10.0, "end_s": 12.0}, "silence"),
        ({"text": " \n "}, "text is empty"),
        ({"text": "a" * 501}, "text has 501 characters"),
        ({"text": "a" * 60_000}, "text"),
        ({"text": "a\0b"}, "control character"),
        ({"speaker": " "}, "speaker is empty"),
        ({"consent": False}, "has to agree"),
        ({"consent": "yes"}, "consent"),
        ({"data_set": "../up"}, "small letters"),
        ({"start_s": -1.0}, "start_s"),
        ({"end_s": "1e999"}, "end_s"),
        ({"language": "xx"}, "xx"),
        ({"more": 1}, "more"),
    ],
    ids=str,
)
def test_what_training_or_the_recorder_would_refuse_is_refused_in_words(visitor, mine, changes, words):
    answer = visitor.correct(**changes)
    assert answer.status_code in (404, 413, 422)
    assert words in answer.json()["error"]
    assert not (mine / "metadata.jsonl").exists()


def test_half_a_letter_and_a_damaged_recording_are_refused(app, visitor, mine):
    body = '{"file": "%s", "start_s": 0, "end_s": 1, "text": "\\ud800", "language": "sv", "data_set": "mine"'
    body = body % visitor.file + ', "speaker": "a", "consent": true}'
    headers = {"content-type": "application/json"}
    assert visitor.client.post("/api/corrections", content=body, headers=headers).status_code == 422
    answer = Visitor(app, b"no sound at all").correct()
    assert (answer.status_code, "not audio" in answer.json()["error"]) == (422, True)
    assert not mine.exists()


def test_the_clips_of_before_are_still_read(mine):
    Recordings("mine").keep(wav(LOW), 0.8, text="hej", language="sv", speaker="anna")
    lines = mine / "metadata.jsonl"
    lines.write_text(lines.read_text().replace(', "correction_of": ""', ""))
    assert [clip.correction_of for clip in Recordings("mine").clips()] == [""]
