"""Reports opened from a disk in a real browser: nothing is fetched or run, and a phone is wide enough."""

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from speech_site import spoken_store
from ui_site import filled_store

from dagsverk.report.making import make_report
from dagsverk.store import open_store

BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
AXE = Path(__file__).parent / "assets" / "axe.min.js"
SIZES = {"light": {"width": 1280, "height": 900}, "dark": {"width": 390, "height": 844}}
RUN_AXE = """async () => (await axe.run()).violations.map((v) =>
  v.id + ": " + v.nodes.map((n) => n.target.join(" ")).join(", "))"""

pytestmark = pytest.mark.skipif(
    not Path(BROWSER).is_file() and not os.environ.get("DAGSVERK_REQUIRE_BROWSER"),
    reason=f"no browser at {BROWSER}: install Debian's chromium, or name one in CHROMIUM",
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    for name, store in (("titanic", filled_store()), ("whisper_swedish", spoken_store())):
        html = make_report(open_store(str(store)), name).html
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.mark.parametrize("scheme", SIZES)
@pytest.mark.parametrize("name", ["titanic", "whisper_swedish"])
def test_a_report_opens_from_a_disk(browser, files, name, scheme):
    context = browser.new_context(viewport=SIZES[scheme], color_scheme=scheme)
    page, seen = context.new_page(), []
    page.on("request", lambda request: seen.append(request.url))
    page.on("console", lambda message: seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.goto((files / f"{name}.html").as_uri())
    width, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    paper = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    hacked = page.evaluate("window.hacked")
    context.close()
    assert [line for line in seen if not line.startswith(("file:", "data:,"))] == []
    assert width == room
    assert (paper == "rgb(15, 21, 28)") == (scheme == "dark")
    assert hacked is None


@pytest.mark.parametrize("scheme", SIZES)
@pytest.mark.parametrize("name", ["titanic", "whisper_swedish"])
def test_a_report_can_be_read_by_everybody(browser, files, name, scheme):
    context = browser.new_context(viewport=SIZES[scheme], color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto((files / f"{name}.html").as_uri())
    page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    complaints = page.evaluate(RUN_AXE)
    context.close()
    assert complaints == []


def test_no_script_runs_in_a_report_even_if_one_got_in(browser, files, tmp_path):
    html = (files / "titanic.html").read_text(encoding="utf-8")
    bad = "<script>window.hacked = 1</script><img src='x' onerror='window.hacked = 2'>"
    (tmp_path / "bad.html").write_text(html.replace("</main>", f"{bad}</main>"), encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.goto((tmp_path / "bad.html").as_uri())
    page.wait_for_load_state("load")
    hacked = page.evaluate("window.hacked")
    context.close()
    assert hacked is None
