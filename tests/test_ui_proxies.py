"""Behind a proxy each visitor has an address of his own; a proxy that nobody named is not believed."""

import socket
from urllib.parse import urlsplit

import httpx
import pytest
from listening import listening
from speech_models import sounds
from speech_site import spoken_store, wav

from dagsverk.doors import DoorsError, Rules, proxy_options
from dagsverk.login import WRONG_GUESSES, Login
from dagsverk.speech.serving.jobs import MOST_OF_VISITOR
from ui.app import OWN_ONLY, build_app
from ui.tabular.desk import TabularDesk

SOUND = wav(sounds()[0].audio)
HERE = {"DAGSVERK_PROXIES": "10.9.0.0/16, 127.0.0.1"}


@pytest.fixture
def served(tmp_path, monkeypatch):
    """(environ, rules) -> the pages on loopback, whose jobs wait for ever."""
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path))

    def made(environ, rules=OWN_ONLY):
        app = build_app(TabularDesk(str(spoken_store())), rules=rules)
        app.state.jobs._at_work = 0
        return listening(app, **proxy_options(environ))

    return made


def statuses(address, forwarded):
    """Of a job from each of the addresses that a header names."""
    return [
        httpx.post(
            f"{address}/api/jobs/swedish", content=SOUND, headers={"x-forwarded-for": one} if one else {}
        ).status_code
        for one in forwarded
    ]


@pytest.mark.parametrize("environ", [{}, {"DAGSVERK_PROXIES": "10.9.8.7"}, {"FORWARDED_ALLOW_IPS": "*"}])
def test_who_is_no_named_proxy_is_one_visitor_whatever_the_header_says(served, environ, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)  # uvicorn reads one by itself
    with served(environ) as address:
        own = [f"203.0.113.{number}" for number in range(MOST_OF_VISITOR)]
        assert statuses(address, [*own, "203.0.113.99", ""]) == [202] * MOST_OF_VISITOR + [503, 503]


def test_behind_a_named_proxy_each_visitor_has_jobs_of_his_own(served):
    with served(HERE) as address:
        for visitor in ("203.0.113.1", "203.0.113.2"):
            assert statuses(address, [visitor] * (MOST_OF_VISITOR + 1)) == [202] * MOST_OF_VISITOR + [503]
        # what he says of himself stands before what the proxies add
        assert statuses(address, ["8.8.8.8, 203.0.113.1", "8.8.8.8, 203.0.113.1, 10.9.1.1"]) == [503, 503]
        # of IPv6 every machine has more addresses than can be counted
        assert statuses(address, ["2001:db8::1"] * MOST_OF_VISITOR) == [202] * MOST_OF_VISITOR
        assert statuses(address, ["2001:db8::2", "2001:db8:0:1::2"]) == [503, 202]


@pytest.mark.parametrize("environ, last", [({}, 429), (HERE, 401)])
def test_passwords_are_guessed_by_address_and_no_header_gives_new_guesses(served, environ, last):
    with served(environ, Rules(login=Login("anna", "a-long-password"))) as address:
        answers = [
            httpx.get(
                f"{address}/api/speech/sv",
                auth=("anna", f"guess-{number}"),
                headers={"x-forwarded-for": f"203.0.113.{number}"},
            ).status_code
            for number in range(WRONG_GUESSES + 1)
        ]
    assert answers == [401] * WRONG_GUESSES + [last]


@pytest.mark.parametrize(
    "path, headers, status",
    [
        ("/api/jobs/italian", "", b"503"),  # no champion
        ("/api/transcribe/klingon", "", b"404"),
        ("/nothing", "", b"413"),
        ("/v1/audio/transcriptions", "Host: evil.example\r\n", b"421"),
    ],
)
def test_who_still_sends_when_he_is_refused_gets_the_answer(served, path, headers, status):
    body = bytes(32 * 1024**2)
    host = headers or "Host: 127.0.0.1\r\n"
    head = f"POST {path} HTTP/1.0\r\n{host}Content-Length: {len(body)}\r\n\r\n"  # as nginx asks
    with served({}) as address:
        parts = urlsplit(address)
        with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
            connection.sendall(head.encode() + body)
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.split()[1] == status and answer.endswith(b"}")


@pytest.mark.parametrize(
    "named, words",
    [("*", "found '*'"), ("nginx", "found 'nginx'"), ("10.0.0.1/8", "host bits"), ("0.0.0.0/0", "everybody"),
     ("127.0.0.1, ::/0", "everybody")],
)  # fmt: skip
def test_a_setting_that_would_believe_everybody_or_nobody_is_refused(named, words):
    with pytest.raises(DoorsError, match="DAGSVERK_PROXIES") as refused:
        proxy_options({"DAGSVERK_PROXIES": named})
    assert words in str(refused.value)
