"""A real browser with a page of another origin open, against a real Prefect server and the real pages."""

import contextlib
import os
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright
from prefect_server import running_prefect, wait_for
from ui_site import serving
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from deployments.launch import Folders

BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--no-first-run"]
# Two names whose owner points them at this machine.
FLAGS += ["--host-resolver-rules=MAP evil.example 127.0.0.1, MAP rebound.example 127.0.0.1"]
LOGIN = "anna:a long password"
PATIENCE_MS = 150_000  # the machine may be busy
SHELL = [{"prefect.deployments.steps.run_shell_script": {"script": "id"}}]

# Each way of sending a body that a page has; what it could read of the answer, or how it failed.
ATTACK = """
async ([address, body, socket]) => {
  const heard = {};
  const late = () => new Promise((done) => setTimeout(() => done("nothing came"), 1500));
  const way = async (name, act) => {
    try { heard[name] = await Promise.race([act(), late()]); } catch (error) { heard[name] = "refused"; }
  };
  const sent = (type, more) => fetch(address, {method: "POST", body: JSON.stringify(body), ...more,
                                               headers: type ? {"content-type": type} : {}});
  await way("json", async () => (await sent("application/json")).status);
  await way("text", async () => (await sent("text/plain")).status);
  await way("simple", async () => (await sent("text/plain", {mode: "no-cors"})).type);
  await way("credentials", async () => (await sent("", {mode: "no-cors", credentials: "include"})).type);
  await way("beacon", async () => navigator.sendBeacon(address, JSON.stringify(body)));
  await way("read", async () => await (await fetch(address)).text());
  await way("form", () => new Promise(() => {
    const frame = document.createElement("iframe");
    frame.name = "hidden";
    document.body.append(frame);
    const form = document.createElement("form");
    Object.assign(form, {method: "post", action: address, target: "hidden", enctype: "text/plain"});
    const field = document.createElement("input");
    field.name = JSON.stringify(body).slice(0, -1) + ',"x":"';
    field.value = '"}';
    form.append(field);
    document.body.append(form);
    form.submit();  // what came of it is seen from outside
  }));
  await way("socket", () => new Promise((done) => {
    const opened = new WebSocket(socket, ["prefect"]);
    opened.onopen = () => done("open");
    opened.onerror = () => done("refused");
  }));
  return heard;
}
"""
REFUSED = {"json": "refused", "text": "refused", "read": "refused", "socket": "refused"}

pytestmark = pytest.mark.skipif(
    not Path(BROWSER).is_file() and not os.environ.get("DAGSVERK_REQUIRE_BROWSER"),
    reason=f"no browser at {BROWSER}: install Debian's chromium, or name one in CHROMIUM",
)


@pytest.fixture(scope="module")
def elsewhere():
    """Port of a server whose pages are hostile; it lets everybody read and write, and notes it."""
    noted = []

    class Open(BaseHTTPRequestHandler):
        def do_GET(self):
            noted.append(f"{self.command} {self.path}")
            self.send_response(200)
            for name in ("origin", "headers"):
                self.send_header(f"access-control-allow-{name}", "*")
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<body>a page</body>")

        def do_POST(self):
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.do_GET()

        do_OPTIONS = do_GET

        def log_message(self, *_):
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Open) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port, noted
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    room = tmp_path_factory.mktemp("doors")
    with serving(room / "store", room / "pages.log") as address:
        yield address


def attack(page, address, body, socket):
    """(what a page of this origin could read, the statuses that the browser saw from the address)"""
    statuses = set()

    def note(response):
        if response.url == address:
            statuses.add(response.status)

    page.on("response", note)
    outcome = page.evaluate(ATTACK, [address, body, socket])
    page.wait_for_timeout(100)  # a beacon and a preflight have nobody who waits for them
    page.remove_listener("response", note)
    return outcome, statuses


def deployment(flow_id, name):
    return {"name": name, "flow_id": flow_id, "pull_steps": SHELL, "work_pool_name": None}


@pytest.fixture(scope="module")
def flow_id(prefect_server):
    return httpx.post(f"{prefect_server.api_url}/flows/", json={"name": "victim"}).json()["id"]


def deployments(server):
    return {d["name"] for d in httpx.post(f"{server.api_url}/deployments/filter", json={"limit": 200}).json()}


def test_the_attacks_would_work_where_everybody_is_let_in(browser, elsewhere, prefect_server, flow_id):
    port, noted = elsewhere
    page = browser.new_page()
    page.goto(f"http://evil.example:{port}/")
    address = f"http://127.0.0.1:{port}/api/deployments/"
    outcome, statuses = attack(page, address, deployment(flow_id, "evil"), f"ws://127.0.0.1:{port}/")
    assert (outcome["json"], outcome["text"], outcome["read"]) == (200, 200, "<body>a page</body>")
    assert noted.count("POST /api/deployments/") == 6
    assert statuses == {200}
    page.close()
    # and the deployment is one that Prefect takes, from a program
    answer = httpx.post(
        f"{prefect_server.api_url}/deployments/", json=deployment(flow_id, "made by a program")
    )
    assert answer.status_code == 201
    assert "made by a program" in deployments(prefect_server)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "evil.example"])
def test_a_page_of_another_origin_neither_reads_nor_writes_through_prefect(
    browser, elsewhere, prefect_server, flow_id, name
):
    page = browser.new_page()
    page.goto(f"http://{name}:{elsewhere[0]}/")
    api, ws = prefect_server.api_url, prefect_server.api_url.replace("http", "ws")
    body = deployment(flow_id, f"evil from {name}")
    outcome, statuses = attack(page, f"{api}/deployments/", body, f"{ws}/events/in")
    assert {way: outcome[way] for way in REFUSED} == REFUSED
    assert statuses == {403}
    assert attack(page, f"{api}/admin/settings", {}, f"{ws}/logs/out")[0]["read"] == "refused"
    page.close()
    assert f"evil from {name}" not in deployments(prefect_server)


@pytest.mark.parametrize("server", ["prefect", "pages"])
def test_a_name_that_is_pointed_at_this_machine_opens_nothing(
    browser, prefect_server, flow_id, pages, server
):
    own = prefect_server.api_url.removesuffix("/api") if server == "prefect" else pages
    address = own.replace("127.0.0.1", "rebound.example")
    page = browser.new_page()
    assert page.goto(address).status == 421  # a page of that origin, where its owner would have had a script
    body = deployment(flow_id, "evil and rebound")
    outcome, statuses = attack(
        page, f"{address}/api/deployments/", body, f"{address}/api/events/in".replace("http", "ws")
    )
    assert statuses == {421}
    assert outcome["json"] == 421
    assert outcome["socket"] == "refused"
    page.close()
    assert "evil and rebound" not in deployments(prefect_server)


def test_a_page_of_another_origin_neither_reads_nor_writes_through_our_pages(browser, elsewhere, pages):
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{elsewhere[0]}/")
    call = {"data": [None], "fn_index": 0, "session_hash": "evil"}
    sent = [("gradio_api/queue/join", call), ("api/predict/titanic", {"age": 1}), ("gradio_api/upload", {})]
    for path, body in sent:
        outcome, statuses = attack(page, f"{pages}/{path}", body, f"{pages}/".replace("http", "ws"))
        assert {way: outcome[way] for way in REFUSED} == REFUSED
        assert statuses == {403}
    page.close()


def test_prefects_own_pages_work_by_every_name_of_this_machine(browser, prefect_server, flow_id):
    for name in ("127.0.0.1", "localhost"):
        page = browser.new_page()
        address = prefect_server.api_url.removesuffix("/api").replace("127.0.0.1", name)
        page.goto(f"{address}/flows/flow/{flow_id}")  # its own page: the list shows ten at a time
        expect(page.get_by_text("victim").first).to_be_visible(timeout=PATIENCE_MS)
        body = deployment(flow_id, f"made by hand at {name}")
        socket = f"{address}/api/events/in".replace("http", "ws")
        outcome, _ = attack(page, f"{address}/api/deployments/", body, socket)
        assert (outcome["json"], outcome["socket"]) == (201, "open")
        page.close()


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A Prefect server as `up` starts it, with a login set."""
    folders = Folders(tmp_path_factory.mktemp("locked"))
    with running_prefect(folders, {**os.environ, "DAGSVERK_LOGIN": LOGIN}) as server:
        yield server


def test_with_a_login_prefect_answers_nobody_else(locked):
    for path in (
        "flows/filter",
        "deployments/filter",
        "admin/settings",
        "blocks",
        "%2e%2e/api/flows/filter",
        "docs",
    ):
        for auth in (None, ("anna", "wrong"), ("", ""), ("anna", "é")):
            asked = httpx.post(f"{locked.api_url}/{path}", json={}, auth=auth)
            assert asked.status_code in (401, 429)
    ws = locked.api_url.replace("http", "ws")
    for path in (
        "events/in",
        "events/out",
        "logs/out",
        "task_runs/subscriptions/scheduled",
        "work_pools/cpu/workers/connect",
    ):
        for subprotocols, message in (
            (None, "{}"),
            (["prefect"], '{"type": "auth"}'),
            (["prefect"], '{"type": "x"}'),
        ):
            with (
                pytest.raises(WebSocketException),
                connect(f"{ws}/{path}", subprotocols=subprotocols) as socket,
            ):
                socket.send(message)
                socket.recv(timeout=20)
                pytest.fail(f"{path} said something")


def test_with_a_login_flows_workers_and_the_command_line_use_it(locked, tmp_path):
    (tmp_path / "prefect.yaml").write_text(
        "name: x\npull: [{prefect.deployments.steps.set_working_directory: "
        '{directory: "{{ $DAGSVERK_ROOT }}"}}]\n'
        "deployments: [{name: locked, entrypoint: gated_flows.gated, work_pool: {name: cpu}}]\n"
    )
    done = locked.run("-m", "deployments.register", "--prefect-file", str(tmp_path / "prefect.yaml"))
    assert done.returncode == 0, done.stderr
    os.mkfifo(tmp_path / "gate")
    with locked.worker(drain_s=1):
        started = locked.run(
            "-m", "prefect", "deployment", "run", "gated/locked", "--param", f"folder={tmp_path}"
        )
        assert started.returncode == 0, started.stderr
        wait_for((tmp_path / "attempts").exists, "the flow")
        (tmp_path / "gate").write_bytes(b"")
        wait_for(lambda: runs(locked) == ["COMPLETED"], "its end")
        parameters = httpx.post(
            f"{locked.api_url}/flow_runs/filter", json={}, auth=tuple(LOGIN.split(":"))
        ).text
    assert "password" not in parameters
    stranger = locked.run("-m", "prefect", "deployment", "ls", PREFECT_API_AUTH_STRING="anna:guessed it")
    assert stranger.returncode != 0
    written = "".join(path.read_text() for path in locked.folders.logs.rglob("*.log"))
    assert "a long password" not in written + done.stdout + started.stdout


def runs(server):
    answer = httpx.post(f"{server.api_url}/flow_runs/filter", json={}, auth=tuple(LOGIN.split(":")))
    return [run["state_type"] for run in answer.json()]


def test_with_a_login_prefects_pages_ask_for_it_and_work(browser, locked):
    page = browser.new_page()
    page.goto(locked.api_url.removesuffix("/api"))
    page.get_by_role("textbox").fill(LOGIN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Dashboard")).to_be_visible(timeout=PATIENCE_MS)
    assert page.request.get(f"{locked.api_url}/admin/version").status == 401  # the form's, not the browser's
    page.close()


def test_with_a_login_our_pages_work_in_a_browser_that_gives_it_and_in_no_other(browser, elsewhere, tmp_path):
    user, password = LOGIN.split(":")
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("DAGSVERK_LOGIN", LOGIN)
        address = stack.enter_context(serving(tmp_path / "store", tmp_path / "pages.log"))
        patch.undo()
        for path in (
            "",
            "transcribe",
            "api/docs",
            "theme.css",
            "gradio_api/app_id",
            "look/favicon.svg",
            "nowhere",
        ):
            assert httpx.get(f"{address}/{path}").status_code == 401
        assert (httpx.get(f"{address}/healthz").status_code, httpx.get(f"{address}/healthz").text) == (
            200,
            "",
        )
        context = browser.new_context(http_credentials={"username": user, "password": password})
        page = context.new_page()
        page.goto(f"{address}/transcribe")
        page.locator("input[type=file]").first.set_input_files(
            {"name": "a.wav", "mimeType": "audio/wav", "buffer": b"not a sound"}
        )
        expect(page.get_by_text("a.wav")).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("button", name="Transcribe").click()
        sentence = page.locator("#answer").get_by_text("No Swedish model has been trained yet")
        expect(sentence).to_be_visible(timeout=PATIENCE_MS)
        page.goto(
            f"http://127.0.0.1:{elsewhere[0]}/"
        )  # the browser knows the login; a foreign page may not use it
        outcome, statuses = attack(page, f"{address}/api/predict/iris", {}, address.replace("http", "ws"))
        assert {way: outcome[way] for way in REFUSED} == REFUSED
        assert statuses == {403}
        context.close()
        assert password not in (tmp_path / "pages.log").read_text()
