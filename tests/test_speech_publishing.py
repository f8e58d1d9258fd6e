"""A model is pushed to the Hub whole, and no error tells the token. The Hub is a small server of our own."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dagsverk.speech.errors import SpeechError
from dagsverk.speech.registry.publishing import publish

TOKEN = "hf_hunter2hunter2"


class Hub(HTTPServer):
    """Takes repositories and commits as the Hub's API does, for one token."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answers)
        self.files = {}
        self.created = {}
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_args):
        pass

    def do_GET(self):
        self._answer(200, {"id": "me/swedish", "sha": "0" * 40, "siblings": []})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid credentials"})
        elif self.path.endswith("/api/repos/create") and self.server.created:
            self._answer(409, {"error": "You already created this model repo"})
        elif self.path.endswith("/api/repos/create"):
            self.server.created = json.loads(body)
            self._answer(200, {"url": "https://huggingface.co/me/swedish"})
        elif self.path.endswith("/api/validate-yaml"):
            self._answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]
            self._answer(200, {"files": modes})
        else:
            self._commit([json.loads(line) for line in body.splitlines()])

    def _commit(self, lines):
        for line in lines:
            if line["key"] == "file":
                self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        address = f"{self.server.address}/me/swedish/commit/1"
        self._answer(200, {"success": True, "commitOid": "1" * 40, "commitUrl": address, "hookOutput": ""})

    def _answer(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub(monkeypatch):
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "README.md").write_text("---\nlanguage: sv\n---\n")
    (tmp_path / "model.safetensors").write_bytes(b"\x00weights")
    return tmp_path


def test_a_folder_is_pushed_whole_to_a_private_repository(hub, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert publish(folder, "me/swedish", "version 1") == f"{hub.address}/me/swedish"
    assert hub.files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert hub.created.get("private") is True or hub.created.get("visibility") == "private"


def test_a_later_version_is_pushed_to_the_same_repository(hub, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    publish(folder, "me/swedish", "version 1")
    (folder / "model.safetensors").write_bytes(b"\x00better")
    publish(folder, "me/swedish", "version 2")
    assert hub.files["model.safetensors"] == b"\x00better"


def test_a_refused_token_is_an_error_that_does_not_tell_it(hub, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrong")
    with pytest.raises(SpeechError, match=r"cannot push to me/swedish: .*401") as error:
        publish(folder, "me/swedish", "version 1")
    assert "wrongwrong" not in str(error.value)
    assert error.value.__cause__ is None
    assert hub.files == {}


def test_no_token_is_an_error_with_the_next_move(folder, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(SpeechError, match="HF_TOKEN is not set; set it to a token that may write there"):
        publish(folder, "me/swedish", "version 1")


def test_a_hub_that_does_not_answer_is_an_error(folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SpeechError, match="cannot push to me/swedish"):
        publish(folder, "me/swedish", "version 1")
