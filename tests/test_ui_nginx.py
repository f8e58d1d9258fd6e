"""All of the transcribe page and its APIs below a path of a real nginx, by the block of the documentation."""

import os
import re
import shutil
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
from nginx import NGINX, nginx_before
from playwright.sync_api import expect, sync_playwright
from speech_models import sounds
from speech_site import SWEDISH, spoken_store, wav
from ui_site import own_copy, serving

from dagsverk.speech.corpora.recordings import Recordings
from dagsverk.speech.exports import Export, Exported, export_key, keep
from dagsverk.speech.serving.jobs import MOST_OF_VISITOR
from dagsverk.store import open_store

BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
PATIENCE_MS = 90_000  # the first recording waits for torch; the machine may be busy
PAUSE = np.zeros(20_000, np.float32)
TWO = wav(np.r_[sounds()[0].audio, PAUSE, sounds()[1].audio, PAUSE])
TEXTS = [sound.text for sound in sounds()[:2]]

pytestmark = pytest.mark.skipif(NGINX is None, reason="no nginx: install Debian's")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return tmp_path_factory.mktemp("behind")


@pytest.fixture(scope="module")
def address(room):
    (room / "nginx").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DAGSVERK_RECORDINGS", "DAGSVERK_CACHE", "GRADIO_TEMP_DIR"):
            patch.setenv(name, str(room / name))
        patch.setenv("DAGSVERK_PROXIES", "127.0.0.1")
        with (
            serving(store_with_export(room), room / "pages.log") as pages,
            nginx_before(pages, room / "nginx") as address,
        ):
            yield address


def store_with_export(room):
    """A copy of the store whose champion has an archive."""
    folder = own_copy(spoken_store(), room)
    store = open_store(str(folder))
    model = store.champion(SWEDISH.model_name)
    form = Exported(form="float16", refused="", path="speech/swedish/archive.zip")
    store.put(form.path, b"an archive")
    made = Export(model=model.name, version=1, key=export_key(model), forms=(form,), checked_on="", code="")
    keep(store, SWEDISH, model, made)
    return folder


def ended(path):
    while (answer := httpx.get(path, timeout=60).json())["state"] in ("queued", "running"):
        pass
    return answer


def test_recordings_and_jobs_are_answered_below_the_path(address):
    answer = httpx.post(f"{address}/api/transcribe/sv?format=srt", content=TWO, timeout=90)
    assert (answer.status_code, answer.text[:9]) == (200, "1\n00:00:0")
    sent = httpx.post(f"{address}/api/jobs/sv", files={"file": ("two.wav", TWO)}).json()
    path = f"{address}/api/jobs/{sent['id']}"
    assert ended(path)["result"]["text"] == "\n".join(TEXTS)
    assert httpx.get(f"{path}?format=vtt").text.startswith("WEBVTT")
    assert httpx.delete(path).json()["state"] == "removed"
    assert httpx.get(path).status_code == 404


def test_an_archive_lies_where_the_list_says(address):
    (form,) = httpx.get(f"{address}/api/speech/sv/exports").json()["forms"]
    assert httpx.get(httpx.URL(address).join(form["download"])).content == b"an archive"


def test_openais_client_works_below_the_path_and_its_events_come_one_by_one(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["whisper_swedish", "whisper-1"]
        given = {"model": "whisper-1", "file": ("two.wav", TWO)}
        assert client.audio.transcriptions.create(**given).text == " ".join(TEXTS)
        *deltas, done = client.audio.transcriptions.create(**given, stream=True)
        assert [event.delta.strip() for event in deltas] == TEXTS
        assert done.text == " ".join(TEXTS)


def test_each_visitor_of_the_proxy_has_jobs_of_his_own(address):
    long = wav(np.tile(np.r_[sounds()[0].audio, np.zeros(16_000)], 300))
    ids = []
    for own in ("127.0.0.2", "127.0.0.3"):
        with httpx.Client(transport=httpx.HTTPTransport(local_address=own), timeout=60) as client:
            headers = {"x-forwarded-for": "8.8.8.8"}  # what nginx puts there counts
            answers = [
                client.post(f"{address}/api/jobs/sv", content=long, headers=headers)
                for _ in range(MOST_OF_VISITOR + 1)
            ]
        assert [answer.status_code for answer in answers] == [202] * MOST_OF_VISITOR + [503]
        ids += [answer.json()["id"] for answer in answers[:MOST_OF_VISITOR]]
    for id in ids:
        assert httpx.delete(f"{address}/api/jobs/{id}").status_code == 200


@pytest.mark.skipif(
    not Path(BROWSER).is_file() and not os.environ.get("DAGSVERK_REQUIRE_BROWSER"),
    reason=f"no browser at {BROWSER}: install Debian's chromium, or name one in CHROMIUM",
)
def test_the_page_plays_corrects_resumes_and_hears_below_the_path(address, room):
    (room / "two.wav").write_bytes(TWO)
    (room / "heard.wav").write_bytes(wav(np.tile(np.r_[sounds()[0].audio, np.zeros(8000)], 20)))
    outside, failed = [], []
    with sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={room / 'heard.wav'}"]
        browser = playwright.chromium.launch(executable_path=BROWSER, args=flags)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        own = (f"{address}/", "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(own) else outside.append(r.url))
        page.on("response", lambda r: failed.append((r.status, r.url)) if r.status >= 400 else None)
        page.goto(f"{address}/transcribe")
        page.wait_for_selector("text=Ready for Swedish")
        page.set_input_files("input[type=file]", room / "two.wav")
        page.get_by_role("link", name=re.compile("B")).wait_for()  # its size: it has been sent
        page.get_by_role("button", name="Transcribe", exact=True).click()
        transcript = page.get_by_role("region", name="Transcript")
        expect(transcript).to_contain_text(TEXTS[1], timeout=PATIENCE_MS)
        page.wait_for_function("document.querySelector('.dv-player video').readyState > 0")
        transcript.get_by_role("button", name="Correct").last.click()
        form = transcript.get_by_role("form", name="Correction")
        form.get_by_label("Who speaks").fill("anna")
        form.get_by_label("Data set").fill("behind")
        form.get_by_label("The speaker agrees").check()
        form.get_by_label("What is said").fill("något annat")
        form.get_by_role("button", name="Keep").click()
        expect(transcript).to_contain_text("Corrected: något annat", timeout=PATIENCE_MS)
        page.reload()
        expect(transcript).to_contain_text(TEXTS[1], timeout=PATIENCE_MS)
        page.get_by_role("button", name="Speak live").click()
        expect(page.locator(".dv-live-words")).to_contain_text("låg", timeout=PATIENCE_MS)
        browser.close()
    (clip,) = Recordings("behind", room / "DAGSVERK_RECORDINGS").clips()
    assert clip.text == "något annat"
    assert outside == [] and failed == []
