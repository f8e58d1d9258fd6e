"""The live microphone: over HTTP, and in a real browser whose microphone plays a file."""

import os
import re
import shutil
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest
from listening import listening
from playwright.sync_api import expect, sync_playwright
from speech_models import sounds
from speech_site import spoken_store, wav

from ui.app import build_app
from ui.tabular.desk import TabularDesk
from ui.visitors import COOKIE, new_visitor

AXE = Path(__file__).parent / "assets" / "axe.min.js"  # Mozilla Public License 2.0, see its head
BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
FLAGS += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
PATIENCE_MS = 90_000
SPOKEN = np.r_[np.zeros(8000), sounds()[0].audio, np.zeros(24_000)]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSVERK_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        with listening(build_app(TabularDesk(str(spoken_store())))) as address:
            yield address


def visitor(address):
    return httpx.Client(base_url=f"{address}/api/live", cookies={COOKIE: new_visitor()[0]}, timeout=60)


def test_blocks_become_words_that_only_their_visitor_sees(address):
    samples = (32767 * SPOKEN).astype("<i2")
    with visitor(address) as mine, visitor(address) as other:
        begun = mine.post("/sv")
        assert begun.status_code == 201
        voice = f"/voices/{begun.json()['id']}"
        for number, at in enumerate(range(0, len(samples), 8_000)):
            block = samples[at : at + 8_000].tobytes()
            assert mine.post(voice, params={"number": number}, content=block).status_code == 200
        assert mine.post(voice, params={"number": 99}, content=block).status_code == 422
        assert mine.post(voice, params={"number": 6}, content=b"x").status_code == 422
        assert mine.post(voice, params={"number": 6}, content=bytes(70_000)).status_code == 413
        assert other.get(voice).status_code == 404
        state = mine.post(f"{voice}/end").json()
        while not state["over"]:
            threading.Event().wait(0.1)
            state = mine.get(voice).json()
        assert (" ".join(w["text"] for w in state["settled"]), state["unsettled"]) == ("en låg ton", [])
        assert state["why"] == ""


def test_who_has_no_cookie_comes_from_elsewhere_or_asks_for_no_model_is_refused(address):
    assert httpx.post(f"{address}/api/live/sv").status_code == 403
    with visitor(address) as mine:
        assert mine.post("/sv", headers={"origin": "https://elsewhere.example"}).status_code == 403
        assert mine.post("/it").status_code == 503
        assert mine.post("/xx").status_code == 404
        assert mine.get("/voices/none").status_code == 404


@pytest.mark.skipif(
    not Path(BROWSER).is_file() and not os.environ.get("DAGSVERK_REQUIRE_BROWSER"),
    reason=f"no browser at {BROWSER}: install Debian's chromium, or name one in CHROMIUM",
)
@pytest.mark.parametrize("old", [False, True], ids=["worklet", "no worklet, own rate"])
def test_words_appear_while_one_speaks_and_settled_ones_stay(address, tmp_path, old):
    (tmp_path / "spoken.wav").write_bytes(wav(np.tile(SPOKEN, 20)))
    spoken = f"--use-file-for-fake-audio-capture={tmp_path / 'spoken.wav'}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=[*FLAGS, spoken])
        page = browser.new_page(viewport={"width": 390, "height": 844}, base_url=address)
        if old:
            page.add_init_script(OLD)
        page.goto("/transcribe")
        live = page.get_by_role("region", name="Live")
        live.get_by_role("button", name="Speak live").click()
        settled = live.locator("[aria-live=polite]")
        expect(settled).to_contain_text("en låg ton", timeout=PATIENCE_MS)
        before = settled.text_content()
        page.wait_for_function(
            "b => document.querySelector('[aria-live]').textContent.length > b", arg=len(before)
        )
        live.get_by_role("button", name="Stop speaking live").click()
        expect(live.get_by_role("status")).to_contain_text("Words appear while", timeout=PATIENCE_MS)
        assert settled.text_content().startswith(before)
        assert len(re.findall("ton", settled.text_content())) >= 2
        expect(live.locator(".soft").last).to_have_text("")
        page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
        assert page.evaluate("axe.run('.dv-live').then(r => r.violations.map(v => v.id))") == []
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        browser.close()


OLD = """
AudioWorklet.prototype.addModule = () => Promise.reject(new Error("none"));
const Real = AudioContext;
window.AudioContext = function (options) {
  if (options) throw new DOMException("other rates are refused", "NotSupportedError");
  return new Real({ sampleRate: 44100 });
};
"""
