"""The pages below a path of a proxy, which takes the path away or leaves it, in a real browser."""

import os
import shutil
from pathlib import Path

import httpx
import pytest
from path_proxy import proxying
from playwright.sync_api import expect, sync_playwright
from ui_site import filled_store, serving

from ui.prefix import PREFIX, check_prefix

BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--no-first-run"]
PATIENCE_MS = 60_000  # the machine may be busy
PATH = "/apps/dag"
PROXIES = {
    "a proxy that strips and says so": ([], {"added": [("x-forwarded-prefix", f"{PATH}/")]}),
    "a proxy that strips and says nothing": (["--root-path", PATH], {}),
    "a proxy that leaves the path": (["--root-path", f"{PATH}/"], {"strip": False}),
    "a proxy that keeps the host to itself": ([], {"host": False, "added": [("x-forwarded-prefix", PATH)]}),
}


@pytest.fixture(scope="module", params=PROXIES)
def address(request, tmp_path_factory):
    options, proxy = PROXIES[request.param]
    with (
        serving(filled_store(), tmp_path_factory.mktemp("pages") / "log", *options) as pages,
        proxying(pages, PATH, **proxy) as address,
    ):
        yield address


def test_pages_links_and_api_stay_below_the_path(address):
    page = httpx.get(f"{address}/titanic")
    assert page.status_code == 200
    assert f'"root":"{address}"' in page.text.replace('": "', '":"')
    assert httpx.get(f"{address}/api/openapi.json").json()["servers"] == [{"url": PATH}]
    assert httpx.get(f"{address}/titanic/?a=1").headers["location"] == "../titanic?a=1"
    assert httpx.get(f"{address}/healthz").json()["status"] == "ok"


@pytest.mark.skipif(
    not Path(BROWSER).is_file() and not os.environ.get("DAGSVERK_REQUIRE_BROWSER"),
    reason=f"no browser at {BROWSER}: install Debian's chromium, or name one in CHROMIUM",
)
def test_a_browser_gets_every_page_and_an_answer_and_asks_for_nothing_outside_the_path(address):
    outside, failed = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = browser.new_page()
        page.on("request", lambda r: None if r.url.startswith((address, "data:")) else outside.append(r.url))
        page.on("response", lambda r: failed.append((r.status, r.url)) if r.status >= 400 else None)
        page.goto(f"{address}/")
        page.get_by_role("link", name="Describe a passenger").click(timeout=PATIENCE_MS)
        expect(page.locator("h1")).to_have_text("Titanic", timeout=PATIENCE_MS)
        page.get_by_role("button", name="Predict").click(timeout=PATIENCE_MS)
        page.get_by_role("link", name="How it does now").click(timeout=PATIENCE_MS)
        expect(page.locator("h1")).to_have_text("Titanic monitor", timeout=PATIENCE_MS)
        expect(page.get_by_text("confusion", exact=False).first).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("link", name="REST API").click(timeout=PATIENCE_MS)
        page.get_by_role("link", name="Pages").click(timeout=PATIENCE_MS)
        expect(page.locator("h1")).to_have_text("Dagsverk", timeout=PATIENCE_MS)
        browser.close()
    assert outside == [] and failed == []


@pytest.mark.parametrize(
    "prefix",
    ["dag", "/dag stig", '/"><script>', "/a/../b", "//evil.example", "/./a", "https://evil.example", "/a?b"],
)  # fmt: skip
def test_a_path_that_could_lead_elsewhere_is_refused_as_an_option_and_ignored_in_a_header(prefix, tmp_path):
    with pytest.raises(ValueError, match="want a path such as /dagsverk"):
        check_prefix(prefix)
    assert not PREFIX.fullmatch(prefix)


def test_no_path_is_no_path():
    assert check_prefix("") == check_prefix("/") == ""
    assert check_prefix("/dag/") == "/dag"
