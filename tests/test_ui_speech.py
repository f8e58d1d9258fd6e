"""The speech pages' parts and the REST API for speech, called in this process."""

import io
import json
import re
import shlex
import wave
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from speech_models import sounds
from speech_site import MARKUP, RUN, SWEDISH, add_point, spoken_store, wav
from ui_site import own_copy

from ui.api import build_api
from ui.limits import BodyLimit, SafeHeaders
from ui.speech import differences, monitor, sections, transcribe
from ui.speech.desk import SpeechDesk
from ui.tabular.desk import TabularDesk

pytestmark = pytest.mark.usefixtures("own_cache")
ROOT = Path(__file__).resolve().parents[1]
WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=7)
LOW_TONE = wav(sounds()[0].audio)


@pytest.fixture(scope="module")
def speech():
    return SpeechDesk(str(spoken_store()))


@pytest.fixture(scope="module")
def client(speech):
    app = build_api(TabularDesk(str(spoken_store())), speech)
    app.add_middleware(BodyLimit)
    app.add_middleware(SafeHeaders)
    return TestClient(app)


# ---------------------------------------------------------------- transcribing


@pytest.mark.slow
def test_a_recording_comes_back_as_text_with_times_and_the_version_that_wrote_it(client):
    answer = client.post("/api/transcribe/swedish", content=LOW_TONE)
    assert answer.status_code == 200
    said = answer.json()
    assert (said["language"], said["task"], said["text"]) == ("sv", "transcribe", "en låg ton")
    assert said["duration_s"] == pytest.approx(0.8, abs=0.01)
    assert said["model"] == {"name": "whisper_swedish", "version": 1}
    (segment,) = said["segments"]
    assert 0 <= segment["start_s"] < segment["end_s"] <= said["duration_s"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "format, media_type, begins",
    [
        ("srt", "application/x-subrip", "1\n00:00:00,"),
        ("vtt", "text/vtt", "WEBVTT\n\n00:00:00."),
        ("txt", "text/plain", "en låg ton\n"),
        ("tsv", "text/tab-separated-values", "start\tend\ttext\n"),
        ("lrc", "text/plain", "[00:00."),
        ("json", "application/json", "["),
    ],
)
def test_a_recording_comes_back_as_subtitles_of_the_form_that_was_asked_for(
    client, format, media_type, begins
):
    answer = client.post(f"/api/transcribe/swedish?format={format}", content=LOW_TONE)
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"{media_type}; charset=utf-8")
    assert answer.text.startswith(begins)
    assert "en låg ton" in answer.text


@pytest.mark.parametrize(
    "body, reason",
    [
        (b"", "empty file"),
        (b"I am a text, whatever I am called", "not audio"),
        (LOW_TONE[:9000], "undecodable"),
    ],
)
def test_what_is_no_recording_is_refused_with_its_reason(client, body, reason):
    answer = client.post("/api/transcribe/sv", content=body)
    assert answer.status_code == 422
    assert answer.json()["problems"] == {"recording": reason}
    assert answer.json()["error"].startswith(reason)


@pytest.mark.parametrize(
    "path, status, words",
    [
        ("/api/transcribe/klingon", 404, "Whisper knows no language 'klingon'"),
        ("/api/transcribe/italian", 503, "prefect deployment run speech-day/italian"),
        ("/api/transcribe/sv?task=translate", 422, "writes Swedish only"),
        ("/api/transcribe/sv?task=sing", 422, "transcribe"),
        ("/api/transcribe/sv?format=docx", 422, "srt"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(client, path, status, words):
    answer = client.post(path, content=LOW_TONE)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_the_request_that_the_how_to_shows_is_answered(client):
    text = (ROOT / "docs" / "how-to" / "pages.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^curl.*api/transcribe.*$", text, re.MULTILINE)
    path = next(word for word in shlex.split(command) if word.startswith("http")).split("7860", 1)[1]
    assert client.post(path, content=LOW_TONE).json()["text"] == "en låg ton"


def test_the_page_tells_the_stages_and_then_the_text_or_why_there_is_no_english(speech, tmp_path):
    (tmp_path / "low.wav").write_bytes(LOW_TONE)
    *stages, last = transcribe.respond(speech, "sv", str(tmp_path / "low.wav"))
    assert any("<progress" in stage for stage in stages)
    assert "en låg ton" in last
    promised = speech.champion(SWEDISH).metrics["wer"]
    assert f"its word error rate was {promised:.1%} (95% interval" in last
    assert "none of which it had heard in training" in last
    assert "writes Swedish only" in last


@pytest.mark.parametrize(
    "content, words", [(b"", "empty file"), (b"text", "not audio"), (None, "missing audio")]
)
def test_the_page_says_in_words_what_is_wrong_with_a_file(speech, tmp_path, content, words):
    path = tmp_path / f"{MARKUP.split()[0]}.mp3"
    if content is not None:
        path.write_bytes(content)
    (*_, said) = transcribe.respond(speech, "sv", str(path))
    assert words in said
    assert "Traceback" not in said
    assert "<img" not in said


def test_a_visitor_who_leaves_ends_the_work_and_the_next_one_is_served(speech, tmp_path):
    (tmp_path / "long.wav").write_bytes(wav(np.tile(np.r_[sounds()[0].audio, np.zeros(16_000)], 100)))
    stages = transcribe.respond(speech, "sv", str(tmp_path / "long.wav"))
    next(stages)
    stages.close()
    (tmp_path / "low.wav").write_bytes(LOW_TONE)
    assert "en låg ton" in list(transcribe.respond(speech, "sv", str(tmp_path / "low.wav")))[-1]


# ---------------------------------------------------------------- bodies


def limited(read_whole):
    """An app behind small limits that counts what it is given."""
    app, seen = FastAPI(), []

    @app.post("/api/transcribe/sv")
    async def take(request: Request) -> int:
        async for block in request.stream():
            seen.append(len(block))
        return sum(seen)

    app.add_middleware(BodyLimit, max_bytes=10, max_media_bytes=1000)
    return TestClient(app), seen


def test_a_recording_is_passed_on_as_it_comes_and_cut_off_at_the_limit():
    client, seen = limited(read_whole=False)
    assert client.post("/api/transcribe/sv", content=iter([b"x" * 400] * 2)).json() == 800
    seen.clear()
    answer = client.post("/api/transcribe/sv", content=iter([b"x" * 400] * 50))
    assert answer.status_code == 413
    assert "at most 0 MB" in answer.json()["error"]
    assert sum(seen) <= 1000


def test_a_claim_of_too_much_is_refused_before_a_byte_is_read():
    client, seen = limited(read_whole=False)
    assert client.post("/api/transcribe/sv", content=b"x" * 1001).status_code == 413
    assert seen == []


def test_the_browser_may_use_the_microphone_and_play_sound_of_this_site_only(client):
    headers = client.get("/healthz").headers
    assert "microphone=(self)" in headers["permissions-policy"]
    assert "media-src 'self' blob:;" in headers["content-security-policy"]


# ---------------------------------------------------------------- the monitor


def test_the_report_names_champion_scores_and_runs(client):
    report = client.get("/api/speech/swedish").json()
    assert report["champion"]["version"] == 1
    assert report["evaluation"]["cut"] == {"clips": 72, "of": 300}
    assert [run["run"] for run in report["runs"]][-1] == RUN
    assert client.get("/api/speech/klingon").status_code == 404
    assert client.get("/api/speech/it").json()["champion"] is None


def test_a_worst_clip_is_served_whole_and_in_parts(client, speech):
    from ui.speech.clips import sound_address

    view = speech.view(SWEDISH)
    address = sound_address(view, view.worst[0])
    whole = client.get(address)
    assert (whole.status_code, whole.headers["content-type"]) == (200, "audio/wav")
    with wave.open(io.BytesIO(whole.content)) as file:
        assert (file.getframerate(), file.getnchannels()) == (16_000, 1)
    part = client.get(address, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    assert client.get(address, headers={"range": f"bytes={len(whole.content)}-"}).status_code == 416


@pytest.mark.parametrize("key, number", [("none", "0"), ("..%2f..", "0"), ("a.b", "0"), ("none", "1000")])
def test_no_other_file_is_served_as_a_clip(client, key, number):
    answer = client.get(f"/api/speech/swedish/evaluations/{key}/audio/{number}.wav")
    assert answer.status_code in (404, 422)


def test_the_monitor_is_left_alone_until_the_store_changes(tmp_path):
    folder = own_copy(spoken_store(), tmp_path)
    desk = SpeechDesk(str(folder))
    seen, *_ = monitor.look(desk, "sv", None)
    assert all(update == gr.skip() for update in monitor.look(desk, "sv", seen))
    add_point(folder, loss=0.01)
    changed, *_ = monitor.look(desk, "sv", seen)
    assert changed != seen


def test_the_monitor_flags_a_cut_test_set_names_small_groups_and_escapes_what_it_shows(speech):
    shown = "".join(map(str, monitor.look(speech, "sv", None)))
    assert "72 of 300 clips, drawn by speaker" in shown
    assert "too few" in shown
    assert "&lt;img src=x" in shown
    assert "<img" not in shown
    assert "<del>" in shown
    assert "silence" in shown  # why clips were set aside


def test_the_monitor_says_how_much_speech_a_model_learnt_from(speech):
    training = speech.view(SWEDISH).steps.preparation.splits["train"]
    assert training.audio_s > 30
    tile = str(sections.number_row(speech.view(SWEDISH))).partition("Learnt from")[2]
    figure, note = re.findall(r'<div class="(?:figure|note)">(.*?)</div>', tile)[:2]
    assert figure == f"{training.audio_s / 60:.0f} min"
    assert note == "53 clips, 6 voices"


def test_a_store_that_is_gone_for_a_while_leaves_the_monitor_as_it_was(tmp_path):
    folder = own_copy(spoken_store(), tmp_path)
    desk = SpeechDesk(str(folder))
    seen, *_ = monitor.look(desk, "sv", None)
    folder.rename(tmp_path / "elsewhere")
    away, said, *rest = monitor.look(desk, "sv", seen)
    assert "The store does not answer." in said
    assert all(update == gr.skip() for update in rest)
    (tmp_path / "elsewhere").rename(folder)
    back, said, *_ = monitor.look(desk, "sv", away)
    assert (back, said) == (seen, "")


def test_before_the_first_day_every_page_says_how_to_start_it(tmp_path):
    desk = SpeechDesk(str(tmp_path / "store"))
    command = "prefect deployment run speech-day/italian"
    assert command in "".join(map(str, monitor.look(desk, "it", None)))
    assert command in transcribe.welcome(desk, "it")


def test_a_tampered_model_is_refused_by_name(tmp_path, monkeypatch):
    folder = own_copy(spoken_store(), tmp_path)
    (file,) = folder.glob("models/whisper_swedish/**/model.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    record = next(folder.glob("models/whisper_swedish/versions/*.json"))
    content = json.loads(record.read_text())
    content["files"]["extra.txt"] = "0" * 64  # another model than the one that this process has in memory
    record.write_text(json.dumps(content))
    answer = TestClient(build_api(TabularDesk(str(folder)))).post("/api/transcribe/sv", content=LOW_TONE)
    assert answer.status_code == 503
    assert re.search(r"model\.safetensors|extra\.txt", answer.json()["error"])


@given(WORDS, WORDS)
def test_the_steps_rebuild_both_sides_with_the_fewest_edits(said, heard):
    import jiwer

    steps = differences.aligned(said, heard)
    assert [a for _, a, _ in steps if a] == said
    assert [b for _, _, b in steps if b] == heard
    edits = sum(kind != "same" for kind, *_ in steps)
    if said:
        counted = jiwer.process_words(" ".join(said), " ".join(heard)) if heard else None
        wanted = counted.substitutions + counted.deletions + counted.insertions if counted else len(said)
        assert edits == wanted


def test_differences_are_told_without_colour():
    marked = differences.marked("Anna läser, i parken!", "anna <b>åser</b> i en parken", "sv")
    assert '<del><span class="sr-only" lang="en">not heard: </span>läser</del>' in marked
    assert '<ins><span class="sr-only" lang="en">heard: </span>en</ins>' in marked
    assert "<b>" not in marked


def test_a_store_that_can_not_be_read_is_told_on_the_first_look(tmp_path):
    (tmp_path / "file").write_text("not a store")
    desk = SpeechDesk(str(tmp_path / "file"))
    assert "No model could be asked." in transcribe.welcome(desk, "sv")
    assert "The store does not answer." in monitor.look(desk, "sv", None)[1]
