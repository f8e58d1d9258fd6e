"""The pages in a real browser, served by a real process from a small filled store."""

import functools
import http.client
import os
import shutil
from pathlib import Path

import httpx
import pandas as pd
import pytest
from playwright.sync_api import expect, sync_playwright
from ui_site import MARKUP, add_prediction, filled_store, own_copy, serving

from ui.limits import MAX_MEDIA_BYTES

AXE = Path(__file__).parent / "assets" / "axe.min.js"  # Mozilla Public License 2.0, see its head
BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--no-first-run"]
RUN_AXE = "axe.run().then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.html)]))"
PHONE = {"width": 390, "height": 844}
PATHS = ("", "titanic", "iris", "titanic-monitor", "iris-monitor", "api/docs")
NIGHT_PATHS = ("", "titanic", "titanic-monitor", "api/docs")  # Iris has no colour that Titanic has not
PATIENCE_MS = 20_000  # the page looks every second; the machine may be busy

pytestmark = pytest.mark.skipif(
    not Path(BROWSER).is_file() and not os.environ.get("DAGSVERK_REQUIRE_BROWSER"),
    reason=f"no browser at {BROWSER}: install Debian's chromium, or name one in CHROMIUM",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """(address, folder of its store): a copy that tests may add rows to."""
    room = tmp_path_factory.mktemp("pages")
    folder = own_copy(filled_store(), room)
    with serving(folder, room / "pages.log") as address:
        yield address, folder


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def page(browser, site):
    context = browser.new_context(viewport=PHONE, base_url=site[0])
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def visited(browser, site):
    """What one visit of (path, colour scheme) on a phone showed; each is made once."""
    address, _ = site

    @functools.cache
    def visit(path, scheme):
        context = browser.new_context(viewport=PHONE, color_scheme=scheme)
        page = context.new_page()
        seen = {"foreign": [], "complaints": []}
        page.on("request", lambda r: None if _own(r.url, address) else seen["foreign"].append(r.url))
        page.on("console", lambda m: seen["complaints"].append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: seen["complaints"].append(str(error)))
        open_page(page, f"{address}/{path}")
        page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
        found = page.evaluate(RUN_AXE)
        width = page.evaluate("document.documentElement.scrollWidth")
        paper = page.evaluate("getComputedStyle(document.body).getPropertyValue('--paper').trim()")
        context.close()
        return {**seen, "axe": found, "width": width, "paper": paper}

    return visit


def _own(url, address):
    return url.startswith((f"{address}/", "data:", "blob:"))


def open_page(page, url):
    """Go there and wait for what it has to show; `networkidle` never comes on pages that stream."""
    page.goto(url)
    page.wait_for_selector(".dv-card, .dv-table")
    if url.endswith("-monitor"):
        page.wait_for_selector(".js-plotly-plot .scatterlayer")
        page.get_by_text("The champion's card").click()
        page.wait_for_selector("h2:has-text('Calibration')")
    page.evaluate("document.fonts.ready.then(() => true)")


@pytest.mark.parametrize("path", PATHS)
def test_a_page_asks_nothing_of_other_hosts_and_logs_no_error(visited, path):
    assert visited(path, "light")["foreign"] == []
    assert visited(path, "light")["complaints"] == []


@pytest.mark.parametrize("path", PATHS)
def test_a_page_does_not_scroll_sideways_on_a_phone(visited, path):
    assert visited(path, "light")["width"] == PHONE["width"]


@pytest.mark.parametrize("path", PATHS)
def test_axe_finds_nothing_to_mend_by_day(visited, path):
    assert visited(path, "light")["paper"] == "#f8f5ef"
    assert visited(path, "light")["axe"] == []


@pytest.mark.parametrize("path", NIGHT_PATHS)
def test_axe_finds_nothing_to_mend_by_night(visited, path):
    assert visited(path, "dark")["paper"] == "#0f151c"
    assert visited(path, "dark")["axe"] == []


def test_a_click_gives_outcome_probability_reasons_and_model(page):
    open_page(page, "/titanic")
    answer = page.get_by_role("region", name="Answer")
    expect(answer.locator(".said")).to_have_text("Died")  # the typical passenger: a man in third class
    page.get_by_label("female", exact=True).check()
    page.get_by_label("first", exact=True).check()
    page.get_by_role("button", name="Predict").click()
    expect(answer.locator(".said")).to_have_text("Survived")
    expect(answer).to_contain_text("with a probability of")
    expect(answer.get_by_role("img")).to_be_visible()
    expect(page.get_by_role("table")).to_contain_text("Sex: female")
    expect(page.locator("#answer")).to_contain_text("Answered by version 1, XGBoost")
    expect(page.locator("#answer")).to_contain_text("95% interval")


@pytest.mark.parametrize("entered", ["", "<script>window.hacked = 1</script>"])
def test_a_field_left_empty_or_filled_with_markup_gives_words(page, entered):
    open_page(page, "/titanic")
    fare = page.get_by_label("Fare (pounds)")
    fare.fill("")
    fare.press_sequentially(entered)
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("alert")).to_contain_text("Fare: want a value, got nothing")
    assert page.evaluate("window.hacked") is None
    fare.fill("500000")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("alert")).to_contain_text("Fare: want at most 600, got '500000'")


def test_an_optional_field_may_stay_empty(page):
    open_page(page, "/titanic")
    page.get_by_label("Age (years)").fill("")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("table")).to_contain_text("Age: not known")


def test_markup_that_came_in_with_the_data_is_shown_and_not_run(page):
    open_page(page, "/titanic-monitor")
    expect(page.get_by_role("cell", name=MARKUP)).to_be_visible()
    assert page.evaluate("window.hacked") is None


def test_a_new_prediction_appears_without_a_reload(page, site):
    _, folder = site
    open_page(page, "/titanic-monitor")
    page.evaluate("window.stayed = true")
    add_prediction(folder, "titanic", "titanic-<b>new</b>", pd.Timestamp("2026-03-09 12:00"))
    newest = page.locator("section", has=page.get_by_role("heading", name="Newest prediction"))
    expect(newest).to_contain_text("titanic-<b>new</b>", timeout=PATIENCE_MS)
    expect(newest).to_contain_text("not known yet")
    assert page.evaluate("window.stayed") is True


def test_gradio_serves_no_file_of_this_machine_and_takes_no_body_above_its_limit(site):
    address, folder = site
    for target in ("/etc/passwd", str(Path(__file__).resolve()), str(folder / "dagsverk-store.json")):
        assert httpx.get(f"{address}/gradio_api/file={target}").status_code in (403, 404)
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    connection.putrequest("POST", "/gradio_api/upload")
    connection.putheader("content-length", str(MAX_MEDIA_BYTES + 1))
    connection.endheaders()  # the claim alone is refused; the body is never sent
    assert connection.getresponse().status == 413
    connection.close()
    answer = httpx.post(f"{address}/gradio_api/queue/join", content=b"x" * 100_000)
    assert answer.status_code == 413
