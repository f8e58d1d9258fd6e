"""Programs that answer OpenAI's route, asked as strangers: what each bad answer comes to."""

import pytest
from odd_program import running

from dagsverk.speech.compared.config import Contender, check_program
from dagsverk.speech.compared.program import KEYS, Program, Refusal, key_of
from dagsverk.speech.errors import ModelError, ModelUnavailable

WAV = b"RIFF0000WAVE"


@pytest.fixture(scope="module")
def server():
    with running({WAV: "en låg ton"}) as program:
        yield program


@pytest.fixture
def ask(server):
    """model -> its answer, and the pauses that were made before it."""
    pauses = []

    def asked(model, *, times=1, **settings):
        contender = Contender(kind="program", address=server.address, model=model, **settings)
        program = Program(contender, "sv", pause=pauses.append)
        try:
            answers = [_answer(program) for _ in range(times)]
        finally:
            program.close()
        return answers[-1]

    server.asked.clear()
    asked.pauses = pauses
    return asked


def _answer(program):
    try:
        return program.write(WAV)
    except Refusal as refusal:
        return refusal


@pytest.mark.parametrize(
    "model, text", [("good", "en låg ton"), ("control", "en låg ton [31m"), ("empty", "")]
)
def test_a_text_is_taken_as_one_line_without_control_characters(ask, model, text):
    assert ask(model) == text


@pytest.mark.parametrize(
    "model, reason",
    [
        ("html", "not an answer"),
        ("huge", "not an answer"),
        ("packed", "not an answer"),
        ("long", "text too long"),
        ("number", "not an answer"),
        ("deep", "not an answer"),
        ("close", "no connection"),
    ],
)
def test_what_is_no_answer_sets_the_clip_aside(ask, model, reason):
    assert ask(model).reason == reason


@pytest.mark.parametrize("model", ["hang", "drip"])
def test_who_answers_for_ever_is_left_at_the_deadline(ask, model):
    refusal = ask(model, timeout_s=0.2)
    assert (refusal.reason, refusal.passing) == ("no answer in time", True)


def test_what_passes_is_asked_again_after_as_long_as_the_program_wants(ask):
    assert (ask("busy-once"), ask.pauses) == ("en låg ton", [0.0])


def test_a_program_that_fails_once_is_asked_again_after_a_pause_of_ours(ask):
    assert (ask("fails-once"), ask.pauses) == ("en låg ton", [1.0])


def test_a_long_rest_is_left_to_the_next_try_of_the_task(ask):
    with pytest.raises(ModelUnavailable, match="left alone for 86400 s; what it wrote is kept"):
        ask("closed-today")
    assert ask.pauses == []


@pytest.mark.parametrize(
    "model, words", [("key", "answers 401: it wants a key"), ("redirect", "sends elsewhere")]
)
def test_what_no_clip_is_to_blame_for_ends_the_work_at_once(ask, server, model, words):
    with pytest.raises(ModelError, match=words):
        ask(model)
    assert sum(server.asked.values()) == 1


def test_a_program_that_answers_nothing_time_after_time_ends_the_work(ask):
    with pytest.raises(ModelError, match="no answer for 5 clips in a row"):
        ask("html", times=5)


def test_a_key_goes_to_its_own_origin_alone(server):
    origin = server.address.removesuffix("/v1")
    environ = {KEYS: f"https://api.example.com=secret1 {origin}=secret2"}
    assert key_of(server.address, environ) == "secret2"
    assert key_of("https://API.example.com:443/v1", environ) == "secret1"
    assert key_of("https://evil.example.com/v1", environ) == ""
    assert key_of("https://api.example.com.evil.org/v1", environ) == ""
    with pytest.raises(ModelError, match="not sent over http") as refused:
        key_of("http://far.example.com/v1", {KEYS: "http://far.example.com=secret3"})
    assert "secret3" not in str(refused.value)
    with pytest.raises(ModelError, match="cannot be read") as unread:
        key_of("https://a.example.com", {KEYS: "secret4"})
    assert "secret4" not in str(unread.value)


def test_the_key_is_sent_and_stands_in_no_error(ask, server, monkeypatch):
    monkeypatch.setenv(KEYS, f"{server.address.removesuffix('/v1')}=secret5")
    server.headers.clear()
    with pytest.raises(ModelError) as refused:
        ask("key")
    assert server.headers[-1]["authorization"] == "Bearer secret5"
    assert "secret5" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "ftp://host/v1",
        "http://user:word@host/v1",
        "https://host/v1?api_key=word",
        "http://",
        "http://host:99999/v1",
        "gopher://host",
    ],
)
def test_addresses_that_are_no_program_or_hold_a_key_are_refused(address):
    with pytest.raises(ValueError) as refused:
        check_program(address)
    assert "word" not in str(refused.value).replace("password", "")


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"kind": "program", "address": "http://h/v1"}, "asked for a model by its name"),
        ({"kind": "champion", "address": "http://h/v1"}, "address is of kind program"),
        ({"kind": "champion", "model": "openai/whisper-tiny"}, "model is of kind published or program"),
        ({"kind": "version"}, "wants a version"),
        ({"kind": "published", "model": "nano"}, "hub name"),
        ({"kind": "before", "form": "int8"}, "form is of kind champion or version"),
        ({"kind": "champion", "windows": "full"}, "form weights alone"),
        ({"price_per_audio_minute": float("nan")}, "must be from 0"),
        ({"at_once": True}, "must be from 1"),
    ],
)
def test_a_contender_that_makes_no_sense_is_refused_when_it_is_described(settings, words):
    with pytest.raises(ValueError, match=words):
        Contender(**settings)
