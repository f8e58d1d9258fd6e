"""OpenAI's audio API, asked by OpenAI's own client over HTTP: formats, granularities, events, errors."""

import asyncio
import http.client
import json
import subprocess

import httpx
import numpy as np
import openai
import pytest
from fastapi import Request
from listening import listening
from speech_models import sounds, telling_model
from speech_site import spoken_store, wav

from dagsverk.doors import Rules
from dagsverk.login import Login
from dagsverk.speech.model.models import save_model_folder
from dagsverk.store import open_store
from ui.app import build_app
from ui.forms import MOST_FIELD_BYTES, MOST_FIELDS, BadForm, received
from ui.tabular.desk import TabularDesk

pytestmark = pytest.mark.usefixtures("own_cache")
GAP = np.zeros(24_000, np.float32)
THREE = wav(np.concatenate([part for sound in sounds() for part in (GAP, sound.audio)]))
TEXT = "en låg ton och en som stiger brus"


@pytest.fixture(scope="module")
def address():
    with listening(build_app(TabularDesk(str(spoken_store())))) as address:
        yield address


@pytest.fixture(scope="module")
def client(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def asked(client, **options):
    given = {"model": "whisper-1", "file": ("three.wav", THREE), **options}
    return client.audio.transcriptions.create(**given)


def test_models_are_the_champions_and_the_name_that_programs_know(client):
    assert [model.id for model in client.models.list()] == ["whisper_swedish", "whisper-1"]
    model = client.models.retrieve("whisper_swedish")
    assert (model.object, model.owned_by) == ("model", "dagsverk")
    assert model.created > 1_700_000_000


@pytest.mark.parametrize("model", ["whisper-1", "whisper_swedish"])
@pytest.mark.parametrize(
    "options", [{}, {"language": "sv"}, {"temperature": 0.4}, {"response_format": "json"}]
)
def test_a_recording_comes_back_as_text(client, model, options):
    answer = asked(client, model=model, **options)
    assert answer.text == TEXT
    assert (answer.usage.type, answer.usage.seconds) == ("duration", 9)


@pytest.mark.parametrize(
    "format, begins",
    [("text", f"{TEXT}\n"), ("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:00:0")],
)
def test_texts_and_subtitles_come_as_they_are(client, format, begins):
    answer = asked(client, response_format=format)
    assert answer.startswith(begins)
    assert "en låg ton" in answer


@pytest.mark.parametrize(
    "granularities, holds",
    [
        (None, {"segments"}),
        (["segment"], {"segments"}),
        (["word"], {"words"}),
        (["word", "segment"], {"words", "segments"}),
    ],
)
def test_times_come_by_segment_and_by_word_as_they_are_asked_for(client, granularities, holds):
    options = {"timestamp_granularities": granularities} if granularities else {}
    answer = asked(client, response_format="verbose_json", **options)
    assert (answer.text, answer.language, answer.task) == (TEXT, "swedish", "transcribe")
    assert answer.duration == pytest.approx(8.1, abs=0.05)
    assert {name for name in ("words", "segments") if getattr(answer, name) is not None} == holds
    for one in answer.segments or ():
        assert 0 <= one.start < one.end <= answer.duration
        assert one.avg_logprob <= 0 <= one.no_speech_prob <= 1
        assert one.compression_ratio > 0
        assert one.tokens and one.temperature == 0
    if answer.segments:
        assert [one.text for one in answer.segments] == [sound.text for sound in sounds()]
    if answer.words:
        assert [word.word for word in answer.words] == TEXT.split()
        assert all(word.start <= word.end for word in answer.words)


def test_without_a_language_the_one_that_is_spoken_is_named_and_so_is_the_model(client):
    raw = client.audio.transcriptions.with_raw_response.create(
        model="whisper-1", file=("three.wav", THREE), response_format="srt"
    )
    assert raw.headers["x-dagsverk-language"] == "sv"
    assert raw.headers["x-dagsverk-model"] == "whisper_swedish 1"
    told = asked(client, response_format="verbose_json", language="auto")
    assert (told.language, told.model) == ("swedish", "whisper_swedish 1")
    assert "taken for Swedish" in told.notes[0]
    named = asked(client, response_format="verbose_json", language="sv")
    assert named.notes == []
    *_, done = asked(client, stream=True)
    assert (done.language, done.model) == ("sv", "whisper_swedish 1")


def test_a_prompt_is_taken_and_does_not_end_up_in_the_text(client):
    assert "Anna" not in asked(client, prompt="Anna Nygren.").text


def test_events_bring_the_text_piece_by_piece_and_then_whole(client):
    *deltas, done = asked(client, stream=True)
    assert [event.type for event in deltas] == ["transcript.text.delta"] * 3
    assert "".join(event.delta for event in deltas) == TEXT == done.text
    assert done.type == "transcript.text.done"


@pytest.mark.parametrize(
    "options, error, param, code",
    [
        ({"model": "whisper_klingon"}, openai.NotFoundError, "model", "model_not_found"),
        ({"model": "gpt-transcribe"}, openai.NotFoundError, "model", "model_not_found"),
        ({"language": "xx"}, openai.NotFoundError, None, "not_found"),
        ({"language": "it"}, openai.InternalServerError, None, None),
        (
            {"model": "whisper_swedish", "language": "it"},
            openai.BadRequestError, "language", "wrong_language",
        ),
        ({"file": ("a.wav", b"")}, openai.BadRequestError, "file", "empty file"),
        ({"file": ("a.wav", b"I am a text")}, openai.BadRequestError, "file", "not audio"),
        ({"file": ("a.wav", THREE[:9000])}, openai.BadRequestError, "file", "undecodable"),
        ({"response_format": "docx"}, openai.BadRequestError, "response_format", "invalid_value"),
        ({"response_format": "diarized_json"}, openai.BadRequestError, "response_format", "invalid_value"),
        ({"temperature": 3}, openai.BadRequestError, "temperature", "invalid_value"),
        ({"temperature": float("nan")}, openai.BadRequestError, "temperature", "invalid_value"),
        ({"prompt": "x" * 5000}, openai.BadRequestError, "prompt", "too_long"),
        ({"include": ["logprobs"]}, openai.BadRequestError, "include[]", "unknown_parameter"),
        ({"extra_body": {"voice": "x"}}, openai.BadRequestError, "voice", "unknown_parameter"),
        (
            {"timestamp_granularities": ["word"]},
            openai.BadRequestError, "response_format", "unsupported_value",
        ),
        ({"stream": True, "response_format": "srt"}, openai.BadRequestError, "stream", "unsupported_value"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_with_the_field_at_fault(client, options, error, param, code):
    with pytest.raises(error) as raised:
        asked(client, **options)
    assert (raised.value.param, raised.value.code) == (param, code)
    assert raised.value.body["message"] and raised.value.type


def test_a_model_that_was_not_taught_english_says_so_to_who_asks_for_a_translation(client):
    with pytest.raises(openai.BadRequestError, match="writes Swedish only"):
        client.audio.translations.create(model="whisper_swedish", file=("three.wav", THREE))


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/v1/models/none", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/audio/transcriptions", 404),
        ("POST", "/v1/chat/completions", 404),
        ("POST", "/v1/audio/transcriptions", 400),
        ("POST", "/v1/audio/translations", 400),
    ],
)
def test_every_error_below_v1_has_the_form_of_openai(address, method, path, status):
    answer = httpx.request(method, address + path)
    assert answer.status_code == status
    assert answer.json().keys() == {"error"}
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


def test_doors_and_limits_answer_in_that_form_too(address):
    foreign = httpx.get(f"{address}/v1/models", headers={"host": "evil.example"})
    assert (foreign.status_code, foreign.json()["error"]["type"]) == (421, "invalid_request_error")
    connection = http.client.HTTPConnection(address.removeprefix("http://"))
    connection.putrequest("POST", "/v1/audio/transcriptions")
    connection.putheader("content-length", str(10**10))
    connection.endheaders()
    large = connection.getresponse()
    assert large.status == 413
    assert json.loads(large.read())["error"]["code"] == "too_large"
    connection.close()


def test_the_login_is_given_as_the_key():
    rules = Rules(login=Login("anna", "a-long-password"))
    with listening(build_app(TabularDesk(str(spoken_store())), rules=rules)) as address:
        for key in ("wrong", "anna:another-password"):
            client = openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0)
            with pytest.raises(openai.AuthenticationError) as raised:
                client.models.list()
            assert raised.value.code == "invalid_api_key"
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="anna:a-long-password", max_retries=0)
        assert len(list(client.models.list())) == 2


# ---------------------------------------------------------------- forms


def test_curl_sends_a_file_as_a_form_or_as_it_is_to_either_api(address, tmp_path):
    (tmp_path / "x.wav").write_bytes(THREE)
    form = ["curl", "-s", "-F", f"file=@{tmp_path / 'x.wav'}"]
    plain = ["curl", "-s", "--data-binary", f"@{tmp_path / 'x.wav'}"]
    for command in (
        [*form, f"{address}/api/transcribe/swedish"],
        [*plain, f"{address}/api/transcribe/swedish"],
        [*form, "-F", "model=whisper-1", f"{address}/v1/audio/transcriptions"],
    ):
        done = subprocess.run(command, capture_output=True, check=True)
        assert json.loads(done.stdout)["text"].split() == TEXT.split()


def test_our_own_routes_take_auto_for_the_language_and_say_which_it_was(address):
    answer = httpx.post(f"{address}/api/transcribe/auto", content=THREE, timeout=60).json()
    assert (answer["language"], "taken for Swedish" in answer["notes"][0]) == ("sv", True)
    job = httpx.post(f"{address}/api/jobs/auto", content=THREE).json()
    assert job["language"] == "auto"
    while job["state"] in ("queued", "running"):
        job = httpx.get(f"{address}/api/jobs/{job['id']}").json()
    assert job["result"]["language"] == "sv"


def test_a_stream_whose_language_nobody_writes_has_a_status_of_its_own(tmp_path):
    store = open_store(str(tmp_path / "store"))
    save_model_folder(telling_model(), tmp_path / "model", language="sv")
    saved = store.save_model("whisper_swedish", tmp_path / "model", metrics={}, info={"run": "a"})
    store.promote("whisper_swedish", saved.version, reason="the first", expected=None)
    danish = wav(np.concatenate([part for _ in range(6) for part in (GAP, sounds()[2].audio)]))
    with listening(build_app(TabularDesk(store.url))) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        with pytest.raises(openai.BadRequestError, match="Danish is spoken in it") as raised:
            list(client.audio.transcriptions.create(
                model="whisper-1", file=("d.wav", danish), stream=True
            ))  # fmt: skip
        assert (raised.value.param, raised.value.code) == ("file", "no model of its language")


def part(name, content=b"", *, file_name=None):
    disposition = f'form-data; name="{name}"' + (f'; filename="{file_name}"' if file_name is not None else "")
    return f"--edge\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"


MODEL, SOUND, END = part("model", b"whisper-1"), part("file", THREE, file_name="a.wav"), b"--edge--\r\n"


@pytest.mark.parametrize(
    "body, words",
    [
        (b"", "ends in the middle"),
        (b"no form", "is none"),
        (b"x" * 500_000, "is none"),
        (MODEL + END, "called file"),
        (MODEL + SOUND, "ends in the middle"),
        (MODEL + SOUND[:9000], "ends in the middle"),
        (MODEL + SOUND + SOUND + END, "one file"),
        (MODEL + part("sound", THREE, file_name="a.wav") + END, "one file, called file"),
        (MODEL + part("file", b"text") + END, "found a text"),
        (MODEL + part("", b"x") + SOUND + END, "a name of 1 to"),
        (MODEL + part("n" * 300, b"x") + SOUND + END, "a name of 1 to"),
        (MODEL + part("n" * 100_000, b"x") + SOUND + END, "is none"),
        (part("a", b"x") * (MOST_FIELDS + 1) + SOUND + END, f"at most {MOST_FIELDS} parts"),
        (part("prompt", b"x" * (MOST_FIELD_BYTES + 1)) + SOUND + END, "bytes in all fields"),
        (part("model", b"\xff\xfe") + SOUND + END, "UTF-8"),
        (b"--edge\r\n" + b"A: b\r\n" * 1000 + b"\r\n", "is none"),
        (b"--edge\r\nContent-Type: text/plain\r\n\r\nx\r\n" + END, "a name of 1 to"),
        (MODEL + MODEL + SOUND + END, "one model"),
        (SOUND + END, "the field model"),
    ],
)
def test_a_form_that_is_none_or_holds_too_much_is_refused_in_words(address, body, words):
    answer = httpx.post(
        f"{address}/v1/audio/transcriptions",
        content=body,
        headers={"content-type": "multipart/form-data; boundary=edge"},
    )
    assert (answer.status_code, words in answer.json()["error"]["message"]) == (400, True), answer.text


def test_a_field_without_end_is_refused_while_it_comes(tmp_path):
    taken = 0

    async def endless():
        nonlocal taken
        yield b'--edge\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n'
        while True:
            taken += 4096
            yield b"x" * 4096

    request = Request({"type": "http", "headers": [(b"content-type", b"multipart/form-data; boundary=edge")]})
    request.stream = endless
    with pytest.raises(BadForm, match="bytes in all fields"):
        asyncio.run(received(request, tmp_path))
    assert taken <= MOST_FIELD_BYTES + 2 * 4096


@pytest.mark.parametrize("fields", [{"language": "it"}, {"task": "translate"}])
def test_fields_that_would_have_no_effect_beside_a_file_are_refused(address, fields):
    answer = httpx.post(f"{address}/api/transcribe/sv", files={"file": ("a.wav", THREE)}, data=fields)
    assert answer.status_code == 422
    assert "in the address" in answer.json()["error"]


def test_a_boundary_is_needed(address):
    answer = httpx.post(
        f"{address}/api/transcribe/sv", content=b"x", headers={"content-type": "multipart/form-data"}
    )
    assert (answer.status_code, answer.json()["problems"]) == (422, {"file": "form"})
