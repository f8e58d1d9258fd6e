"""The comparison with the model before training in a real browser, on a phone."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright
from speech_models import sounds
from speech_site import spoken_store, tune, wav
from ui_site import own_copy, serving

from dagsverk.store import open_store

AXE = Path(__file__).parent / "assets" / "axe.min.js"  # Mozilla Public License 2.0, see its head
RUN_AXE = "axe.run().then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.html)]))"
BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
PHONE = {"width": 390, "height": 844}
PATIENCE_MS = 90_000
TALK = np.r_[sounds()[0].audio, np.zeros(80_000), sounds()[1].audio]

pytestmark = pytest.mark.skipif(
    not Path(BROWSER).is_file() and not os.environ.get("DAGSVERK_REQUIRE_BROWSER"),
    reason=f"no browser at {BROWSER}: install Debian's chromium, or name one in CHROMIUM",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    room = tmp_path_factory.mktemp("beside")
    folder = own_copy(spoken_store(), room)
    tune(open_store(str(folder)), room / "published")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DAGSVERK_CACHE", "GRADIO_TEMP_DIR", "DAGSVERK_RECORDINGS"):
            (room / name).mkdir()
            patch.setenv(name, str(room / name))
        with serving(folder, room / "pages.log") as address:
            yield address


@pytest.fixture
def page(address):
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        context = running.new_context(viewport=PHONE, base_url=address)
        context.set_default_timeout(PATIENCE_MS)
        yield context.new_page()
        running.close()


def test_it_is_begun_by_keyboard_follows_corrections_and_is_there_after_a_reload(page, tmp_path):
    complaints = []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    (tmp_path / "both.wav").write_bytes(wav(TALK))
    page.goto("/transcribe", wait_until="domcontentloaded")
    page.get_by_text("Ready for Swedish").wait_for()
    page.locator('input[type="file"]').first.set_input_files(str(tmp_path / "both.wav"))
    expect(page.locator(".dv-file")).to_contain_text("both")
    page.get_by_role("button", name="Transcribe", exact=True).click()
    transcript = page.get_by_role("region", name="Transcript")
    transcript.get_by_role("button", name="Compare with the model before training").press("Enter")
    compared = transcript.locator(".dv-compared")
    line = compared.get_by_role("listitem").last
    expect(line).to_contain_text("Before training: published", timeout=PATIENCE_MS)
    expect(line).to_contain_text("Now: version 2")
    expect(line.locator("mark").last).to_contain_text("only now: ")
    hide = transcript.get_by_role("button", name="Hide the comparison")
    expect(hide).to_be_focused()
    correct(transcript)
    expect(compared).to_contain_text("Corrected: en <b>låg ton")
    expect(transcript).to_contain_text(re.compile(r"in 1 line with \d words: before training \d+ wrong, now"))
    page.evaluate(AXE.read_text())
    assert page.evaluate(RUN_AXE) == []
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    hide.press("Enter")
    expect(compared).to_be_hidden()
    page.reload(wait_until="domcontentloaded")
    expect(compared).to_be_visible(timeout=PATIENCE_MS)
    line.get_by_role("button", name="Play from").click()
    page.wait_for_function("() => document.querySelector('video').currentTime > 0")
    assert complaints == []


def correct(transcript):
    """The first line of the answer."""
    transcript.get_by_role("button", name="Correct").first.press("Enter")
    form = transcript.get_by_role("form", name="Correction")
    form.get_by_label("What is said").fill("en <b>låg ton")
    form.get_by_label("Who speaks").fill("anna")
    form.get_by_label("The speaker agrees").check()
    form.get_by_role("button", name="Keep").click()
    expect(form.get_by_role("status")).to_contain_text("Kept:")
