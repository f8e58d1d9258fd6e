"""Hostile visitors of the pages: every function, every route of Gradio, and files that are not theirs."""

import json
import os
import re
import threading
import warnings
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fastapi
import gradio.routes
import httpx
import pytest
from fastapi.testclient import TestClient
from ui_site import ROOT, serving

from ui.app import _inputs, _mount, build_pages
from ui.calls import join_call
from ui.gate import Gate
from ui.tabular.desk import TabularDesk
from ui.visitors import COOKIE, Visitors, new_visitor, visitor_of

SECRET = "what nobody may read"
PATIENCE_S = 20.0  # a hang is longer; the machine may be busy
META = {"_type": "gradio.FileData"}
REFUSED = (403, 422)


@contextmanager
def witness():
    """(address, requests): a web server that notes whoever asks it."""
    seen = []

    class Noting(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_HEAD = do_POST = do_GET

        def log_message(self, *_):
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Noting) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()


class Site:
    """The pages on an empty store, and two visitors of theirs."""

    def __init__(self, address, room, told, seen):
        self.address, self.room, self.told, self.seen = address, room, told, seen
        self.visitor, self.other = self.client(), self.client()
        self.inputs = _inputs(build_pages(TabularDesk(str(room / "elsewhere"))))

    def client(self):
        client = httpx.Client(base_url=self.address, timeout=PATIENCE_S)
        assert COOKIE in client.get("/transcribe").cookies
        return client

    def join(self, function, data, session="abc"):
        sent = {"data": data, "fn_index": function, "session_hash": session, "trigger_id": None}
        return self.visitor.post("/gradio_api/queue/join", content=json.dumps(sent).encode())

    def send_in(self, client, name="a.wav", content=b"not a sound"):
        answer = client.post("/gradio_api/upload", files={"files": (name, content)})
        assert answer.status_code == 200
        return answer.json()[0]

    def events(self, session):
        """All that the server says to a session until its last call is done."""
        answer = self.visitor.get(f"/gradio_api/queue/data?session_hash={session}")
        assert answer.status_code == 200
        return answer.text

    def alive(self):
        return httpx.get(f"{self.address}/healthz", timeout=PATIENCE_S).status_code == 200


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    room = tmp_path_factory.mktemp("gate")
    (room / "secret.txt").write_text(SECRET)
    (room / "link.wav").symlink_to(room / "secret.txt")
    os.mkfifo(room / "pipe.wav")
    with pytest.MonkeyPatch.context() as patch, witness() as (told, seen):
        patch.setenv("GRADIO_TEMP_DIR", str(room / "sent-in"))
        patch.setenv("DAGSVERK_RECORDINGS", str(room / "recordings"))
        patch.setenv("WITNESSED_KEY", SECRET)  # in /proc/self/environ of the pages
        with serving(room / "store", room / "pages.log") as address:
            yield Site(address, room, told, seen)


def hostile_paths(site):
    room, theirs = site.room, site.send_in(site.other, "theirs.wav", SECRET.encode())
    own = site.send_in(site.visitor)
    return [
        str(room / "secret.txt"), str(room / "link.wav"), str(room / "pipe.wav"), "/proc/self/environ",
        "/proc/self/mem", "/dev/zero", "/dev/stdin", "/etc/passwd", "/", ".", "", theirs, f"{own}/../a.wav",
        own.upper(), f"/{own}", str(Path(own).parent), os.path.relpath(room / "secret.txt", ROOT),
        f"file://{room}/secret.txt", f"{site.told}/path", f"{site.told}/gradio_api/file={own}", "~/.netrc",
        "\0",
    ]  # fmt: skip


def shapes(path, own, told):
    """A path as Gradio takes files, and as another version of it might."""
    file = {"path": path, "meta": META}
    return [
        file,
        {**file, "orig_name": path, "size": 1, "mime_type": "audio/wav", "is_stream": True},
        {**file, "url": f"{told}/url"},
        {"path": path},
        {"path": [path], "meta": META},
        {"path": {"path": path}, "meta": META},
        [file],
        [[[[file]]]],
        {"video": file, "subtitles": file},
        {"data": {"path": own, "meta": META, "orig_name": path}, "files": [file]},
        {"headers": [path], "data": [[file]]},
    ]


def test_no_function_takes_a_file_that_its_visitor_did_not_send_in(site):
    own = site.send_in(site.visitor)
    wrong = []
    for function, count in site.inputs.items():
        for path in hostile_paths(site) if count else []:
            for value in shapes(path, own, site.told):
                answer = site.join(function, [value] * count)
                if answer.status_code not in REFUSED or SECRET in answer.text:
                    wrong.append((function, value, answer.status_code))
        assert site.alive()
    assert wrong == []
    assert site.seen == []
    assert kept_copies(site) == 1  # what the other visitor sent in


def kept_copies(site):
    """How many files below the folder of what was sent in hold the secret."""
    files = [path for path in (site.room / "sent-in").rglob("*") if path.is_file()]
    return sum(SECRET.encode() in path.read_bytes() for path in files)


def test_ones_own_file_is_played_whole_and_in_parts_and_nobody_elses(site):
    own = site.send_in(site.visitor, "tal och <b>.wav", b"0123456789")
    address = f"/gradio_api/file={own}"
    whole = site.visitor.get(address)
    assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, b"0123456789", "bytes")
    assert whole.headers["content-type"] in ("audio/wav", "audio/x-wav")
    part = site.visitor.get(address, headers={"range": "bytes=3-5"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"345", "bytes 3-5/10")
    assert site.visitor.get(address, headers={"range": "bytes=7-"}).content == b"789"
    assert COOKIE not in str(part.headers)  # what a browser sent is not sent back
    assert site.visitor.get(address, headers={"range": "bytes=10-"}).status_code == 416
    assert site.other.get(address).status_code == 404
    for odd in (
        "bytes=1-2-3",
        "bytes=0-1,0-1,0-1",
        "bytes=-",
        "bytes=x-y",
        "lines=1-2",
        "bytes=" + "9" * 500 + "-",
    ):
        assert site.visitor.get(address, headers={"range": odd}).content == b"0123456789"
    for other in (f"{own}/../a.wav", "/etc/passwd", f"/{own}", "..", ""):
        assert site.visitor.get(f"/gradio_api/file={other}").status_code == 404
    page = site.send_in(site.visitor, "page.html", b"<script>alert(1)</script>")
    headers = site.visitor.get(f"/gradio_api/file={page}").headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment")
    Path(own).unlink()
    assert site.visitor.get(address).status_code == 404


PLAIN = [
    None, True, -1, 1.5, 10**300, 10**4000, "", "/proc/self/environ", "http://127.0.0.1:9/", "\0",
    "\u202e<b>", "x" * 5000, '{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}',
    "data:audio/wav;base64,AAAA",
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN, ids=range(len(PLAIN)))
def test_every_function_answers_plain_values_of_any_type_without_a_hang_or_a_file(site, value):
    value = value.replace("http://127.0.0.1:9", site.told) if isinstance(value, str) else value
    session = f"plain{PLAIN.index(value) if value in PLAIN else 'address'}"
    for function, count in site.inputs.items():
        assert site.join(function, [value] * count, session).status_code == 200
    said = site.events(session)
    assert said.count('"process_completed"') == len(site.inputs)
    assert "PATH=" not in said
    assert "root:" not in said
    assert SECRET not in said
    assert site.seen == []
    assert site.alive()


MALFORMED = [
    b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b'{"data": NaN}', b"[" * 60_000, b'{"a":' * 10_000,
    b'{"data": [' + b"[" * 20_000 + b"]" * 20_000 + b"]}", b'"' * 60_000, b'{"data": ' + b"9" * 5000 + b"}",
    b'{"data": [], "fn_index": 9, "session_hash": "\\ud800"}', b'{"data": ["\\ud800"], "fn_index": 10}',
]  # fmt: skip
WELL = {"data": ["sv"], "fn_index": 10, "session_hash": "abc", "trigger_id": None}
CHANGES = [
    {"data": None}, {"data": {}}, {"data": []}, {"data": ["sv", "sv"]}, {"data": [{}]}, {"data": [[]]},
    {"fn_index": None}, {"fn_index": -1}, {"fn_index": 10**9}, {"fn_index": "10"}, {"fn_index": True},
    {"fn_index": 1.0}, {"fn_index": [10]}, {"session_hash": None}, {"session_hash": ""}, {"session_hash": 7},
    {"session_hash": "../x"}, {"session_hash": "a" * 65}, {"session_hash": ["abc"]}, {"trigger_id": "x"},
    {"trigger_id": {}},
]  # fmt: skip


@pytest.mark.parametrize(
    "body", [*MALFORMED, *(json.dumps({**WELL, **change}).encode() for change in CHANGES)]
)
def test_a_call_that_no_page_makes_is_refused_in_words(site, body):
    for route in ("join", "cancel"):
        path = "/gradio_api/cancel" if route == "cancel" else "/gradio_api/queue/join"
        answer = site.visitor.post(path, content=body)
        if route == "join" or answer.status_code != 200:
            assert answer.status_code == 422
            assert "want" in answer.json()["error"]
    assert site.alive()


def test_only_known_parts_of_a_call_reach_gradio():
    extra = {
        "event_data": {"path": "/etc/passwd", "meta": META},
        "batched": True,
        "api_name": "/run",
        "request": {},
    }
    file = {
        "path": "/own",
        "url": "http://elsewhere/",
        "orig_name": "/x",
        "is_stream": True,
        "size": 10**30,
        "meta": 1,
    }
    sent = json.dumps({**WELL, **extra, "data": [file]}).encode()
    passed = json.loads(join_call(sent, {10: 1}, lambda path: path == "/own"))
    assert passed == {**WELL, "event_data": None, "data": [{"path": "/own", "meta": META}]}


def test_a_visitor_uses_what_it_sent_in_and_nobody_else_does(site):
    path = site.send_in(site.visitor, "mine.wav", b"mine")
    assert site.visitor.get(f"/gradio_api/file={path}").content == b"mine"
    assert site.other.get(f"/gradio_api/file={path}").status_code == 404
    assert httpx.get(f"{site.address}/gradio_api/file={path}").status_code == 404
    file = {"path": path, "url": f"{site.told}/url", "meta": META}
    (transcribe,) = (
        n for n, f in build_pages(TabularDesk(str(site.room / "other"))).fns.items() if f.name == "run"
    )
    assert site.join(transcribe, ["sv", None, file, ""], "mine").status_code == 200
    assert "No Swedish model has been trained yet" in site.events("mine")
    assert site.seen == []


def test_a_form_without_files_or_with_odd_names_leaves_nothing_outside_its_folder(site):
    before = set(site.room.iterdir())
    boundary = {"content-type": "multipart/form-data; boundary=x"}
    part = b'--x\r\nContent-Disposition: form-data; name="files"%s\r\n\r\n/etc/passwd\r\n--x--\r\n'
    names = [
        "../../../../x",
        "/etc/x",
        "..",
        ".",
        "a\0b",
        "a" * 900,
        "é" * 300,
        "\u202e.wav",
        "%2e%2e%2fx",
        "x\\..\\y",
    ]
    for name in names:
        answer = site.visitor.post("/gradio_api/upload", files={"files": (name, b"123")})
        assert answer.status_code in (200, 400)
        assert all(path.startswith(str(site.room / "sent-in")) for path in answer.json() if answer.is_success)
    for body in (b"", b"--x", b"garbage", part % b"", part % b'; filename=""', part % b'; filename="\xff"'):
        answer = site.visitor.post("/gradio_api/upload", content=body, headers=boundary)
        assert answer.status_code in (200, 400, 422)
    for kind in (
        "",
        "text/plain",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
    ):
        answer = site.visitor.post("/gradio_api/upload", content=b"{}", headers={"content-type": kind})
        assert answer.status_code == 422
    assert set(site.room.iterdir()) == before
    assert site.alive()


def routes_of_gradio(site):
    """(method, path) of all that Gradio itself answers, parameters filled in."""
    parent = fastapi.FastAPI()
    with warnings.catch_warnings(action="ignore"):
        _mount(parent, build_pages(TabularDesk(str(site.room / "elsewhere"))))
    (app,) = (r.app for r in parent.routes if isinstance(getattr(r, "app", None), gradio.routes.App))
    included = [getattr(route, "original_router", None) for route in app.routes]
    for route in [*app.routes, *(one for router in included if router for one in router.routes)]:
        path = re.sub(r"\{\w+(:path)?\}", "etc/passwd", getattr(route, "path", ""))
        for method in getattr(route, "methods", None) or ("GET",):
            yield method, path


def test_of_gradios_routes_only_those_that_the_pages_use_are_there(site):
    answered = set()
    for method, path in routes_of_gradio(site):
        asked = {"deep_link": "x", "session_hash": "abc", "id": "x"}
        with site.visitor.stream(method, path, params=asked) as answer:  # some never end
            assert answer.status_code < 500, path
        if answer.status_code != 404:
            answered.add((method, path))
    assert {path for _, path in answered} == {
        "/robots.txt", "/theme.css", "/favicon.ico", "/gradio_api/app_id", "/gradio_api/cancel",
        "/gradio_api/queue/data", "/gradio_api/queue/join", "/gradio_api/upload",
        "/gradio_api/upload_progress",
    }  # fmt: skip
    assert ("GET", "/gradio_api/deep_link") in routes_of_gradio(site)  # else the list above says nothing
    assert site.alive()


@pytest.mark.parametrize(
    "target",
    ["/config?deep_link=x", "/titanic?%64eep_link=x", "/?deep_link=", "/gradio_api/file=/etc/passwd",
     "/gradio_api/file=http://{told}/", "/gradio_api/proxy=http://{told}/", "/static/..%2f..%2fetc/passwd",
     "/assets/%2e%2e/%2e%2e/routes.py", "/look/..%2fapp.py", "/look/.hidden", "//etc/passwd",
     "/gradio_api//info", "/GRADIO_API/info", "/gradio_api/info/", "/gradio_api/api/run",
     "/gradio_api/call/run", "/svelte/x", "/%00"],
)  # fmt: skip
def test_no_other_spelling_opens_a_door(site, target):
    told = site.told.removeprefix("http://")
    assert site.visitor.get(target.replace("{told}", told)).status_code in (403, 404)
    assert site.visitor.post(target.replace("{told}", told), json={"data": []}).status_code in (403, 404, 405)
    assert site.seen == []


def test_gradio_itself_refuses_too_should_the_gate_ever_have_a_hole(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "sent-in"))
    (tmp_path / "secret.txt").write_text(SECRET)
    app, pages = fastapi.FastAPI(), build_pages(TabularDesk(str(tmp_path / "store")))
    (run,) = (n for n, f in pages.fns.items() if f.name == "run")
    _mount(app, pages)
    with TestClient(app) as client:
        file = {"path": str(tmp_path / "secret.txt"), "meta": META}
        sent = {"data": ["sv", None, file], "fn_index": run, "session_hash": "abc"}
        assert client.post("/gradio_api/queue/join", json=sent).status_code == 200
        said = client.get("/gradio_api/queue/data?session_hash=abc").text
    assert '"success":false' in said
    assert not [path for path in (tmp_path / "sent-in").rglob("*") if path.is_file()]


def test_nothing_is_taken_when_the_disk_is_nearly_full(tmp_path, monkeypatch):
    monkeypatch.setattr("ui.gate.LEAST_FREE_BYTES", 2**62)
    client = TestClient(Gate(fastapi.FastAPI(), ["/"], {}, tmp_path))
    answer = client.post("/gradio_api/upload", files={"files": ("a", b"1")})
    assert answer.status_code == 507
    assert "disk" in answer.json()["error"]


def test_what_was_sent_in_is_gone_when_the_pages_are_stopped(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "sent-in"))
        with (
            serving(tmp_path / "store", tmp_path / "log") as address,
            httpx.Client(base_url=address) as client,
        ):
            (path,) = client.post("/gradio_api/upload", files={"files": ("a.wav", b"1")}).json()
            assert Path(path).is_file()
            (folder,) = (tmp_path / "sent-in").glob("dagsverk-*")
            assert folder.stat().st_mode & 0o077 == 0  # nobody else on this machine looks in
    assert not folder.exists()


def test_the_oldest_visitors_and_files_are_forgotten():
    visitors = Visitors(most_visitors=2, most_files=3)
    names = [new_visitor()[0] for _ in range(3)]
    for name in names:
        visitors.sent(name, [f"{name}/{i}" for i in range(4)])
    owned = [[visitors.owns(name, f"{name}/{i}") for i in range(4)] for name in names]
    assert owned == [[False] * 4, [False, True, True, True], [False, True, True, True]]
    assert not visitors.owns(names[1], f"{names[2]}/1")
    assert not visitors.owns(None, f"{names[2]}/1")


@pytest.mark.parametrize(
    "cookies", ["", COOKIE, f"{COOKIE}=short", f'{COOKIE}="a;b"', "\xff", f"{COOKIE}={'é' * 43}"]
)
def test_a_cookie_that_is_not_ours_names_no_visitor(cookies):
    assert visitor_of(cookies) is None
