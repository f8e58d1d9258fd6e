"""Who is let in: hosts, origins, logins, and guesses; the same doors stand before the pages and Prefect."""

import base64
import os
import subprocess
import sys

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from ui_site import ROOT

from dagsverk.doors import OWN_NAMES, Doors, Rules, rules_from
from dagsverk.login import DoorsError, Guesses, Login, login_from, prefect_settings, shell_words

LOGIN = Login("anna", "long enough: yes")
OWN = "http://127.0.0.1:7860"


def app(rules, **settings):
    """A small app behind the doors, which says of each request that it came in."""

    async def inside(request):
        return PlainTextResponse("inside", headers={"access-control-allow-origin": "*"})

    async def socket(websocket):
        await websocket.accept()
        await websocket.send_text("inside")
        if await websocket.receive_text() != "the login":
            await websocket.close(1008)

    everything = Route("/{path:path}", inside, methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    routes = [WebSocketRoute("/api/socket", socket), everything]
    return Doors(Starlette(routes=routes), rules, **{"open_paths": ["/healthz"], **settings})


def client(rules=None, **settings):
    return TestClient(app(rules or Rules(), **settings), base_url=OWN)


def basic(text, kind="Basic"):
    return {"authorization": f"{kind} {base64.b64encode(text.encode()).decode()}"}


@pytest.mark.parametrize(
    "host, status",
    [
        ("127.0.0.1:7860", 200),
        ("localhost", 200),
        ("LOCALHOST.:1", 200),
        ("[::1]:7860", 200),
        ("pages.example.org", 200),  # configured
        ("pages.example.org.evil.example", 421),
        ("evil.example", 421),
        ("evil.example:7860", 421),
        ("127.0.0.1.evil.example", 421),
        ("169.254.169.254", 421),
        ("localhost@evil.example", 421),
        ("", 421),
    ],
)
def test_only_hosts_that_are_known_are_answered(host, status):
    rules = rules_from({"DAGSVERK_HOSTS": "pages.example.org, other.example:8080"}, "127.0.0.1")
    answer = client(rules).get("/", headers={"host": host})
    assert answer.status_code == status
    assert status == 200 or "DAGSVERK_HOSTS" in answer.json()["error"]


NAVIGATION = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize(
    "method, headers, status",
    [
        ("POST", {}, 200),  # curl, workers, the command line
        ("POST", {"origin": OWN}, 200),
        ("POST", {"origin": OWN, "sec-fetch-site": "same-origin"}, 200),
        ("POST", {"origin": "null", "sec-fetch-site": "same-origin"}, 200),
        ("GET", {"sec-fetch-site": "none"}, 200),
        ("GET", NAVIGATION, 200),  # a link that was followed
        ("POST", NAVIGATION, 403),  # a form that was sent
        ("POST", {**NAVIGATION, "origin": "null"}, 403),
        ("GET", {**NAVIGATION, "sec-fetch-dest": "iframe"}, 403),
        (
            "GET",
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
            403,
        ),
        ("POST", {"origin": "http://evil.example"}, 403),
        ("POST", {"origin": "http://127.0.0.1:8000"}, 403),  # another port is another origin
        ("POST", {"origin": "http://127.0.0.1"}, 403),
        ("POST", {"origin": "http://localhost:7860"}, 403),
        ("POST", {"origin": "null"}, 403),
        ("POST", {"origin": ""}, 403),
        ("POST", {"origin": OWN, "sec-fetch-site": "same-site"}, 403),
        ("POST", {"origin": OWN, "sec-fetch-site": "cross-site"}, 403),
        ("PUT", {"origin": "http://evil.example"}, 403),
        ("PATCH", {"origin": "http://evil.example"}, 403),
        ("DELETE", {"origin": "http://evil.example"}, 403),
        ("OPTIONS", {"origin": "http://evil.example", "access-control-request-method": "POST"}, 403),
        ("GET", {"origin": "http://evil.example"}, 403),
    ],
)
def test_a_request_from_a_page_of_another_origin_is_refused(method, headers, status):
    answer = client().request(method, "/api/deployments/", headers=headers)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers  # though the app inside says so


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"host": "evil.example"}, {"origin": "null"},
                {"origin": OWN, "host": "evil.example:7860"}, {"sec-fetch-site": "cross-site"}],
)  # fmt: skip
def test_a_web_socket_from_elsewhere_is_closed_before_it_opens(headers):
    with pytest.raises(WebSocketDisconnect), client().websocket_connect("/api/socket", headers=headers):
        pytest.fail("it opened")
    for own in ({}, {"origin": OWN, "host": "127.0.0.1:7860"}):
        with client().websocket_connect("ws://127.0.0.1:7860/api/socket", headers=own) as socket:
            assert socket.receive_text() == "inside"
            socket.send_text("the login")


WRONG = [
    {}, basic("anna:wrong"), basic("anna:"), basic(""), basic(LOGIN.pair, "Bearer"),
    basic(LOGIN.pair.upper()), {"authorization": "Basic"}, {"authorization": "Basic é".encode("latin-1")},
    {"authorization": f"Basic {LOGIN.pair}"}, basic("é:é"),
]  # fmt: skip


@pytest.mark.parametrize("headers", WRONG, ids=range(len(WRONG)))
def test_without_the_login_nothing_is_answered(headers):
    asking, form = client(Rules(login=LOGIN)), client(Rules(login=LOGIN), guarded="/api/", asks=False)
    answer = asking.get("/titanic", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert form.get("/titanic", headers=headers).text == "inside"  # the form itself
    for path in ("/api", "/api/flows", "/api/../api/flows"):
        answer = form.post(path, headers=headers)
        assert answer.status_code == 401
        assert "www-authenticate" not in answer.headers
    assert LOGIN.password not in answer.text


def test_with_the_login_all_is_answered():
    assert client(Rules(login=LOGIN)).post("/api/flows", headers=basic(LOGIN.pair)).text == "inside"
    twice = [("authorization", basic(LOGIN.pair)["authorization"]), ("authorization", "Basic eDp5")]
    assert client(Rules(login=LOGIN)).get("/", headers=twice).status_code == 401


def test_a_probe_without_the_login_hears_the_status_and_no_more():
    probed = client(Rules(login=LOGIN)).get("/healthz")
    assert (probed.status_code, probed.text) == (200, "")
    assert client(Rules(login=LOGIN)).get("/healthz", headers=basic(LOGIN.pair)).text == "inside"
    assert client(Rules(login=LOGIN)).post("/healthz").status_code == 401
    assert client(Rules(login=LOGIN)).get("/healthz/x").status_code == 401
    assert client().get("/healthz").text == "inside"


def test_guesses_from_one_address_are_stopped_and_a_mistake_that_is_repeated_is_not_one():
    doors = client(Rules(login=LOGIN))
    for _ in range(30):  # a worker with an old password
        assert doors.get("/", headers=basic("anna:old password")).status_code == 401
    assert doors.get("/", headers=basic(LOGIN.pair)).status_code == 200
    statuses = [doors.get("/", headers=basic(f"anna:{i}")).status_code for i in range(20)]
    assert statuses == [401] * 9 + [429] * 11
    assert doors.get("/", headers=basic(LOGIN.pair)).status_code == 429  # unheard, else it could be found
    assert doors.get("/healthz").status_code == 200


def test_wrong_logins_in_web_sockets_are_counted_too():
    doors = client(Rules(login=LOGIN))
    for i in range(10):
        with doors.websocket_connect("ws://127.0.0.1:7860/api/socket") as socket:
            socket.receive_text()
            socket.send_text(f"guess {i}")
            with pytest.raises(WebSocketDisconnect):
                socket.receive_text()
    with pytest.raises(WebSocketDisconnect), doors.websocket_connect("ws://127.0.0.1:7860/api/socket"):
        pytest.fail("it opened")


def test_guesses_are_forgotten_after_a_minute_and_counted_by_network():
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    for i in range(10):
        guesses.wrong(f"2001:db8::{i}", str(i))
        guesses.wrong("10.0.0.1", str(i))
    assert guesses.too_many("2001:db8::ffff")
    assert not guesses.too_many("2001:db8:1::1")
    assert not guesses.too_many("10.0.0.2")
    now[0] = 61.0
    assert not guesses.too_many("10.0.0.1")


@pytest.mark.parametrize(
    "text, words",
    [
        ("no-colon-at-all", "no name before a colon"),
        (":hidden-words", "no name before a colon"),
        ("anna:short", "at least 8 letters"),
        ("anna:pässwörd-long", "ASCII"),
        ("anna:pass\tword-long", "printable"),
    ],
)
def test_a_login_that_cannot_be_used_is_refused_without_being_said(text, words, tmp_path):
    (tmp_path / "login").write_text(text, encoding="utf-8")
    for environ in ({"DAGSVERK_LOGIN": text}, {"DAGSVERK_LOGIN_FILE": str(tmp_path / "login")}):
        with pytest.raises(DoorsError, match=words) as caught:
            login_from(environ)
        assert text not in str(caught.value)
        assert (text.partition(":")[2] or text) not in str(caught.value)


def test_a_login_comes_from_a_file_too_and_prefect_gets_it(tmp_path):
    (tmp_path / "login").write_text(f"{LOGIN.pair}\n")
    assert login_from({"DAGSVERK_LOGIN_FILE": str(tmp_path / "login")}) == LOGIN
    assert login_from({}) is login_from({"DAGSVERK_LOGIN": ""}) is None
    with pytest.raises(DoorsError, match="cannot be read"):
        login_from({"DAGSVERK_LOGIN_FILE": str(tmp_path / "nowhere")})
    with pytest.raises(DoorsError, match="both"):
        login_from({"DAGSVERK_LOGIN": LOGIN.pair, "DAGSVERK_LOGIN_FILE": str(tmp_path / "login")})
    assert set(prefect_settings(LOGIN).values()) == {LOGIN.pair}
    assert prefect_settings(None) == {}
    assert LOGIN.password not in repr(Rules(login=LOGIN))


def test_a_shell_is_told_how_to_give_the_login_without_its_being_said(tmp_path):
    file = tmp_path / "the login"
    assert shell_words({}) == ""
    assert shell_words({"DAGSVERK_LOGIN": LOGIN.pair}) == ' PREFECT_API_AUTH_STRING="$DAGSVERK_LOGIN"'
    file.write_text(LOGIN.pair)
    command = f"export X=y{shell_words({'DAGSVERK_LOGIN_FILE': str(file)})}; printenv PREFECT_API_AUTH_STRING"
    assert subprocess.check_output(["sh", "-c", command], text=True) == f"{LOGIN.pair}\n"


@pytest.mark.parametrize("listen", ["0.0.0.0", "::", "", "192.168.1.5", "example.org"])
@pytest.mark.parametrize("login", ["", LOGIN.pair])
def test_other_machines_are_let_in_only_with_a_login(listen, login):
    if login:
        rules = rules_from({"DAGSVERK_LOGIN": login}, listen)
        assert rules.hosts == OWN_NAMES | ({listen} & {"192.168.1.5", "example.org"})
        return
    with pytest.raises(DoorsError, match="DAGSVERK_LOGIN=user:password"):
        rules_from({}, listen)


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_alone_needs_no_login(listen):
    assert rules_from({}, listen).login is None


def test_the_address_that_a_connection_came_in_by_is_a_known_host():
    asked = {"type": "http", "server": ("10.0.0.7", 4200), "headers": [(b"host", b"10.0.0.7:4200")]}
    assert Doors(None, Rules(), open_paths=[])._foreign(asked, {"host": ["10.0.0.7:4200"]}) is None
    assert Doors(None, Rules(), open_paths=[])._foreign(asked, {"host": ["10.0.0.8:4200"]}).status == 421


@pytest.mark.slow
@pytest.mark.parametrize("module", ["ui", "deployments.server"])
@pytest.mark.parametrize(
    "settings, words",
    [
        ({}, "DAGSVERK_LOGIN=user:password"),
        ({"DAGSVERK_LOGIN": "x:secret7"}, "8"),
        ({"DAGSVERK_LOGIN": "x:secret77", "DAGSVERK_PROXIES": "*"}, "found '*'"),
    ],
)
def test_a_server_that_would_stand_open_does_not_start_and_says_why_in_a_sentence(
    module, settings, words, tmp_path
):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DAGSVERK_")}
    command = [sys.executable, "-m", module, "--host", "0.0.0.0", "--port", "0"]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env={**environ, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert words in ended.stderr
    assert "secret7" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_doors_import_no_library():
    named = "('starlette', 'fastapi', 'prefect', 'gradio', 'httpx')"
    code = f"import sys, dagsverk.doors; print([m for m in {named} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "[]"
