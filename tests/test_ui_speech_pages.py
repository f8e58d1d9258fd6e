"""The speech pages in a real browser with a microphone, served by a real process."""

import functools
import io
import json
import os
import re
import shutil
import time
from pathlib import Path

import av
import numpy as np
import pytest
from hostile_audio import decoders_of, server_of, silent_flac
from playwright.sync_api import expect, sync_playwright
from speech_models import sounds
from speech_site import add_point, spoken_store, wav
from ui_site import own_copy, serving

from dagsverk.speech.audio.waveform import SAMPLE_RATE_HZ, read_samples
from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.corpora.recordings import Recordings

AXE = Path(__file__).parent / "assets" / "axe.min.js"  # Mozilla Public License 2.0, see its head
BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--no-first-run"]
MICROPHONE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
RUN_AXE = "axe.run().then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.html)]))"
PHONE = {"width": 390, "height": 844}
PATHS = {  # what each page shows once it is drawn
    "transcribe": "text=Ready for Swedish",
    "speech-monitor": ".js-plotly-plot .scatterlayer",
    "recorder": ".dv-sentence",
    "": "text=Swedish speech",
}
PATIENCE_MS = 90_000  # the first recording waits for torch; the machine may be busy

pytestmark = pytest.mark.skipif(
    not Path(BROWSER).is_file() and not os.environ.get("DAGSVERK_REQUIRE_BROWSER"),
    reason=f"no browser at {BROWSER}: install Debian's chromium, or name one in CHROMIUM",
)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return tmp_path_factory.mktemp("speech")


@pytest.fixture(scope="module")
def site(room):
    """(address, folder of its store): a copy that tests may add to."""
    folder = own_copy(spoken_store(), room)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSVERK_RECORDINGS", str(room / "recordings"))
        patch.setenv("DAGSVERK_CACHE", str(room / "cache"))
        patch.setenv("GRADIO_TEMP_DIR", str(room / "uploads"))
        with serving(folder, room / "pages.log") as address:
            yield address, folder


@pytest.fixture(scope="module")
def browser(room):
    """A browser whose microphone hears the low tone, over and over."""
    (room / "heard.wav").write_bytes(wav(np.tile(np.r_[sounds()[0].audio, np.zeros(8000)], 20)))
    heard = [f"--use-file-for-fake-audio-capture={room / 'heard.wav'}"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=[*FLAGS, *MICROPHONE, *heard])
        expect.set_options(timeout=20_000)
        yield running
        expect.set_options(timeout=5_000)  # as it was
        running.close()


@pytest.fixture
def page(browser, site):
    context = browser.new_context(viewport=PHONE, base_url=site[0])
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def visited(browser, site):
    """What one visit of (path, colour scheme) on a phone showed; each is made once."""

    @functools.cache
    def visit(path, scheme):
        context = browser.new_context(viewport=PHONE, color_scheme=scheme, base_url=site[0])
        page = context.new_page()
        seen = {"foreign": [], "complaints": []}
        page.on("request", lambda r: None if _own(r.url, site[0]) else seen["foreign"].append(r.url))
        page.on("console", lambda m: seen["complaints"].append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: seen["complaints"].append(str(error)))
        open_page(page, path)
        found, width = look_over(page)
        context.close()
        return {**seen, "axe": found, "width": width}

    return visit


def _own(url, address):
    return url.startswith((f"{address}/", "data:", "blob:"))


def open_page(page, path):
    """Go there and wait for what it has to show; `networkidle` never comes on pages that stream."""
    page.goto(f"/{path}")
    page.wait_for_selector(PATHS[path.partition("?")[0]])
    if path.startswith("speech-monitor"):
        page.get_by_text("The champion's card").click()
        page.wait_for_selector("h2:has-text('Limits')")
    page.evaluate("document.fonts.ready.then(() => true)")


def look_over(page):
    """(what axe would mend, the width that the page takes)"""
    page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    return page.evaluate(RUN_AXE), page.evaluate("document.documentElement.scrollWidth")


def give(page, path):
    page.set_input_files("input[type=file]", path)
    page.get_by_role("link", name=re.compile("B")).wait_for()  # its size: it has been sent
    page.get_by_role("button", name="Transcribe", exact=True).click()


@pytest.mark.parametrize("path", PATHS)
def test_a_page_asks_nothing_of_other_hosts_and_logs_no_error(visited, path):
    assert visited(path, "light")["foreign"] == []
    assert visited(path, "light")["complaints"] == []


@pytest.mark.parametrize("path", PATHS)
def test_a_page_does_not_scroll_sideways_on_a_phone(visited, path):
    assert visited(path, "light")["width"] == PHONE["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_axe_finds_nothing_to_mend_by_day_and_by_night(visited, path, scheme):
    assert visited(path, scheme)["axe"] == []


def test_a_file_becomes_text_that_can_be_taken_along(page, room):
    open_page(page, "transcribe")
    low, rising, pause = sounds()[0].audio, sounds()[1].audio, np.zeros(20_000)
    (room / "ren <b>inspelning.wav").write_bytes(wav(np.r_[low, pause, rising, pause]))
    give(page, room / "ren <b>inspelning.wav")
    transcript = page.get_by_role("region", name="Transcript")
    expect(transcript).to_contain_text("en låg ton", timeout=PATIENCE_MS)
    expect(transcript).to_contain_text("och en som stiger")
    expect(transcript).to_contain_text("real-time factor")
    expect(transcript).to_contain_text("writes Swedish only")
    expect(page.locator("#answer")).to_contain_text("95% interval")
    with page.expect_download() as download:
        transcript.get_by_role("link", name="Text", exact=True).click()
    assert download.value.suggested_filename == "transcript-sv.txt"
    assert Path(download.value.path()).read_text(encoding="utf-8") == "en låg ton\noch en som stiger\n"
    with page.expect_download() as download:
        transcript.get_by_role("link", name="Subtitles .srt").click()
    assert download.value.suggested_filename == "subtitles-sv.srt"
    subtitles = Path(download.value.path()).read_text(encoding="utf-8")
    assert subtitles.startswith("1\n00:00:00,000 --> ") and "en låg ton och en som stiger" in subtitles
    assert look_over(page) == ([], PHONE["width"])


def test_a_film_plays_with_its_subtitles_and_from_any_word(page, room):
    open_page(page, "transcribe")
    low, rising, pause = sounds()[0].audio, sounds()[1].audio, np.zeros(20_000)
    (room / "film.webm").write_bytes(playable_film(np.r_[low, pause, rising, pause]))
    give(page, room / "film.webm")
    transcript = page.get_by_role("region", name="Transcript")
    expect(transcript).to_contain_text("och en som stiger", timeout=PATIENCE_MS)
    film = transcript.locator("video")
    expect(film).to_have_attribute("aria-label", "Film")
    assert film.evaluate("v => v.videoWidth") == 64
    assert film.evaluate(CUES_OF) == [["Swedish", "showing", ["en låg ton och en som stiger"]]]
    word = transcript.locator("[data-s]", has_text="som")
    word.click()
    page.wait_for_function(f"document.querySelector('video').currentTime >= {word.get_attribute('data-s')}")
    expect(transcript.locator(".now[data-s]")).to_have_text(re.compile("som|stiger"))
    film.evaluate("v => v.pause()")
    transcript.get_by_role("button", name="Play from 0:00–0:01").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-s]:focus")).to_have_text("låg")
    page.keyboard.press("Enter")
    expect(transcript.locator(".now[data-s]")).to_have_text(re.compile("låg|ton"))
    assert look_over(page) == ([], PHONE["width"])


def test_a_line_is_corrected_by_keyboard_and_becomes_a_clip(page, room):
    open_page(page, "transcribe")
    low, rising, pause = sounds()[0].audio, sounds()[1].audio, np.zeros(20_000)
    (room / "fel.wav").write_bytes(wav(np.r_[low, pause, rising, pause]))
    give(page, room / "fel.wav")
    transcript = page.get_by_role("region", name="Transcript")
    expect(transcript).to_contain_text("och en som stiger", timeout=PATIENCE_MS)
    transcript.get_by_role("button", name="Correct").last.press("Enter")
    form = transcript.get_by_role("form", name="Correction")
    expect(form.get_by_label("What is said")).to_be_focused()
    form.get_by_label("What is said").fill("och <b>en som stiger")
    form.get_by_label("Who speaks").fill("anna")
    form.get_by_label("Data set").fill("mended")
    form.get_by_role("button", name="Keep").click()
    expect(form.get_by_role("status")).to_contain_text("has to agree")
    form.get_by_label("The speaker agrees").check()
    form.get_by_role("button", name="Keep").click()
    expect(transcript.locator("li").last).to_contain_text("Corrected: och <b>en som stiger")
    assert look_over(page) == ([], PHONE["width"])
    page.keyboard.press("Escape")
    expect(form).to_be_hidden()
    (clip,) = Recordings("mended", room / "recordings").clips()
    assert (clip.text, clip.speaker, clip.consent) == ("och <b>en som stiger", "anna", True)
    assert clip.duration_s < 2


def test_a_reload_keeps_the_recording_at_work_and_its_text_and_stop_ends_it(page, room, site):
    open_page(page, "transcribe")
    (room / "two.wav").write_bytes(wav(np.r_[sounds()[0].audio, np.zeros(20_000)]))
    give(page, room / "two.wav")
    transcript = page.get_by_role("region", name="Transcript")
    expect(transcript).to_contain_text("en låg ton", timeout=PATIENCE_MS)
    page.reload()
    expect(transcript).to_contain_text("en låg ton", timeout=PATIENCE_MS)
    expect(transcript.locator("video")).to_have_attribute("src", re.compile("two.wav"))
    (room / "endless.flac").write_bytes(silent_flac(4 * 3600, 192_000, stated=False))
    give(page, room / "endless.flac")
    expect(page.locator("#answer")).to_contain_text("Reading the recording", timeout=PATIENCE_MS)
    page.reload()
    expect(page.locator("#answer")).to_contain_text("Reading the recording", timeout=PATIENCE_MS)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#answer")).to_contain_text("Stopped.")
    wait_for(lambda: all(spent_s < 0.5 for spent_s in decoders_of(server_of(site[0])).values()))


CUES_OF = """v => [...v.textTracks].map(t => [
  t.label, t.mode, [...t.cues].map(c => c.text.replace("\\n", " "))])"""


def playable_film(sound):
    """A film of a kind that every browser plays."""
    target = io.BytesIO()
    with av.open(target, "w", format="webm") as file:
        picture, track = file.add_stream("libvpx", rate=10), file.add_stream("libopus", rate=48_000)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        for _ in range(round(10 * len(sound) / SAMPLE_RATE_HZ)):
            file.mux(picture.encode(av.VideoFrame(64, 48, "yuv420p")))
        louder = np.repeat(sound, 3)[None].astype("f4")
        frame = av.AudioFrame.from_ndarray(louder, format="fltp", layout="mono")
        frame.sample_rate = 48_000
        fitting = av.AudioResampler("flt", "mono", 48_000, 960)
        for part in [*fitting.resample(frame), *fitting.resample(None)]:
            file.mux(track.encode(part))
        for stream in (picture, track):
            file.mux(stream.encode(None))
    return target.getvalue()


def test_what_the_browser_cannot_play_is_told_and_its_text_stays(page, room):
    open_page(page, "transcribe")
    with av.open(str(room / "old.au"), "w") as file:
        stream = file.add_stream("pcm_s16be", rate=SAMPLE_RATE_HZ, layout="mono")
        samples = (32767 * sounds()[0].audio).astype("i2")[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        file.mux([*stream.encode(frame), *stream.encode(None)])
    give(page, room / "old.au")
    transcript = page.get_by_role("region", name="Transcript")
    expect(transcript).to_contain_text("cannot play the file", timeout=PATIENCE_MS)
    expect(transcript).to_contain_text("en låg ton")
    expect(transcript.get_by_role("button", name="Play from")).to_be_disabled()
    assert look_over(page) == ([], PHONE["width"])


def test_the_microphone_is_written_down_too(page):
    open_page(page, "transcribe")
    record(page, seconds=2)
    assert look_over(page) == ([], PHONE["width"])
    page.get_by_role("button", name="Transcribe", exact=True).click()
    transcript = page.get_by_role("region", name="Transcript")
    expect(transcript).to_contain_text(re.compile(r"[2-9]\.\d s of Swedish"), timeout=PATIENCE_MS)
    expect(transcript.get_by_role("listitem").last).to_contain_text("0:0")


def record(page, seconds):
    """Until the recorder's own clock shows so many seconds."""
    page.get_by_role("button", name="Record").click()
    page.wait_for_function(
        "s => [...document.querySelectorAll('.dv-sound time')].some(t => t.textContent === `0:0${s}`)",
        arg=seconds,
    )
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector(".dv-sound button.playback")


def test_a_text_called_mp3_is_refused_in_words(page, room):
    open_page(page, "transcribe")
    (room / "song.mp3").write_text("I am a text.")
    give(page, room / "song.mp3")
    expect(page.get_by_role("alert")).to_contain_text("not audio", timeout=PATIENCE_MS)
    expect(page.get_by_role("button", name="Transcribe", exact=True)).to_be_enabled()


def test_nothing_given_is_told_and_another_language_is_asked_for_in_the_address(page):
    open_page(page, "transcribe")
    page.get_by_role("button", name="Transcribe", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("There is nothing to transcribe yet.")
    page.get_by_label("Italian", exact=True).check()
    expect(page.locator("#answer")).to_contain_text("prefect deployment run speech-day/italian")
    assert page.url.endswith("?language=it")
    page.reload()
    expect(page.locator("#answer")).to_contain_text("No Italian model has been trained yet")
    expect(page.get_by_label("Italian", exact=True)).to_be_checked()


def test_a_long_recording_can_be_stopped(page, room):
    open_page(page, "transcribe")
    (room / "long.wav").write_bytes(wav(np.tile(np.r_[sounds()[0].audio, np.zeros(16_000)], 400)))
    give(page, room / "long.wav")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#answer")).to_contain_text("Stopped.")
    expect(page.get_by_role("button", name="Transcribe", exact=True)).to_be_enabled()


def test_a_recording_that_takes_for_ever_to_decode_can_be_stopped_and_is_then_let_go(page, room, site):
    open_page(page, "transcribe")
    (room / "silence.flac").write_bytes(silent_flac(4 * 3600, 192_000, stated=False))
    give(page, room / "silence.flac")
    expect(page.locator("#answer")).to_contain_text("Reading the recording", timeout=PATIENCE_MS)
    server = server_of(site[0])
    wait_for(lambda: any(spent_s > 0.5 for spent_s in decoders_of(server).values()))
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#answer")).to_contain_text("Stopped.")
    wait_for(lambda: all(spent_s < 0.5 for spent_s in decoders_of(server).values()))


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_worst_clip_can_be_played(page):
    open_page(page, "speech-monitor")
    player = page.locator(".dv-clips audio").first
    length_s = player.evaluate(
        "a => new Promise((done, fail) => { a.oncanplaythrough = () => done(a.duration);"
        " a.onerror = () => fail(new Error(a.error.message)); a.load(); a.preload = 'auto'; a.load(); })"
    )
    assert 0.5 < length_s < 2
    expect(page.locator(".dv-clips del").first).to_be_visible()
    assert page.evaluate("window.hacked") is None  # a group's name is markup


def test_the_monitor_follows_a_run_without_a_reload(page, site):
    open_page(page, "speech-monitor")
    page.evaluate("window.stayed = true")
    training = page.locator(".dv-block", has=page.get_by_role("heading", name="Training"))
    expect(training).to_contain_text("200 of 200 steps")
    add_point(site[1], loss=0.01)
    expect(training).to_contain_text("210 of 200 steps", timeout=PATIENCE_MS)
    assert page.evaluate("window.stayed") is True


def test_the_monitor_of_a_language_without_a_model_says_how_to_get_one(page):
    open_page(page, "speech-monitor")
    page.get_by_label("Italian", exact=True).check()
    expect(page.get_by_text("prefect deployment run speech-day/italian")).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_have_count(0)


def test_a_sentence_read_aloud_is_kept_in_a_folder_that_training_reads(page, room):
    open_page(page, "recorder")
    sentence = page.locator(".dv-sentence").inner_text()
    record(page, seconds=1)
    expect(page.locator(".dv-note[role=status]")).to_contain_text("s recorded.")
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_role("alert")).to_contain_text("Say who speaks")
    page.get_by_label("Who speaks").fill("anna")
    page.get_by_label("The speaker agrees").check()
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_text("Kept in my-voice")).to_be_visible()
    expect(page.locator(".dv-sentence")).not_to_have_text(sentence)
    assert look_over(page) == ([], PHONE["width"])
    folder = room / "recordings" / "my-voice"
    (line,) = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    assert (json.loads(line)["text"], json.loads(line)["speaker"]) == (sentence, "anna")
    (clip,) = open_corpus(CorpusConfig(source=str(folder)), "sv").listing().clips
    assert (clip.text, clip.language) == (sentence, "sv")
    assert len(read_samples(folder / clip.audio)) > SAMPLE_RATE_HZ
    page.get_by_role("button", name="Undo last").click()
    expect(page.get_by_text("No clip kept yet")).to_be_visible()
    assert list((folder / "clips").iterdir()) == []
