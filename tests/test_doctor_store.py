"""`dagsverk doctor` and the store: in folders, on S3, in Hopsworks, each broken in one way."""

import contextlib
import http.client
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from doctor_site import ROOT, SECRET, installation, reported, silent, warned, wrong
from hopsworks_project import shared_emulator
from s3_server import KEYS, make_bucket, shared_s3_server
from s3_settings import BUCKET, aws
from store_writer import TABLE

from dagsverk.doctor import store
from dagsverk.doctor.finding import Installation, Level
from dagsverk.store import open_store

__all__ = ["aws"]

AS_ROOT = os.geteuid() == 0
HOUR_S = 3600.0


def test_a_store_in_a_folder_is_fine_before_its_first_run_and_after(tmp_path):
    here = installation(tmp_path)
    assert "no store yet" in reported(store.place, here, Level.FINE) and not (tmp_path / "store").exists()
    made = open_store(str(tmp_path / "store"))
    made.ensure(TABLE)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w").write_bytes(b"1")
    made.save_model("iris", tmp_path / "weights", metrics={})
    old = installation(tmp_path, clock=lambda: time.time() + 2 * HOUR_S)
    assert silent(store.place, here) and silent(store.place, old)
    assert list((tmp_path / "store" / ".tmp").iterdir()) == [], "the probe is gone"


def test_a_folder_that_is_no_store_or_a_damaged_or_newer_one_is_told(tmp_path):
    here = installation(tmp_path)
    root = tmp_path / "store"
    root.mkdir()
    (root / "photos").mkdir()
    assert "it has no dagsverk-store.json, but photos" in wrong(store.place, here)
    (root / "dagsverk-store.json").write_text('{"format": 99}')
    assert "store format 99" in wrong(store.place, here)
    (root / "dagsverk-store.json").write_text('{"form')
    assert "is damaged" in wrong(store.place, here)


def test_what_killed_writers_left_and_damage_in_a_store_are_told(tmp_path):
    made = open_store(str(tmp_path / "store"))
    made.ensure(TABLE)
    root = tmp_path / "store"
    (root / ".tmp" / "half").write_bytes(b"1")
    (root / "models/iris/uploads/20260101T000000Z-1").mkdir(parents=True)
    now = installation(tmp_path)
    assert silent(store.place, now)
    later = installation(tmp_path, clock=lambda: time.time() + 2 * HOUR_S)
    assert "older than an hour: 1 " in warned(store.place, later) and "became no version" in warned(
        store.place, later
    )
    shutil.rmtree(next(root.glob("tables/*/_delta_log")))
    assert "defined and not made" in warned(store.place, now)
    next(root.glob("tables/*.json")).write_text("{")
    assert "tables/" in wrong(store.place, now) and "is damaged" in wrong(store.place, now)


@pytest.mark.skipif(not AS_ROOT, reason="needs another user")
def test_a_store_that_belongs_to_another_user_is_told(tmp_path):
    open_store(str(tmp_path / "store"))
    code = "import os,sys; os.setgid(65534); os.setuid(65534); sys.path.insert(0, sys.argv[2]);"
    code += "from dagsverk.doctor import store; from dagsverk.doctor.finding import Installation as I;"
    code += "from pathlib import Path as P; print(*store.place(I(P('/'), P(sys.argv[1]), {})))"
    # loaded as root: that user may not be let into this checkout
    code = "import dagsverk.doctor.store;" + code
    above = itertools.takewhile(lambda folder: folder != Path(tempfile.gettempdir()), tmp_path.parents)
    for folder in (tmp_path, *above):
        folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(ROOT)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "this user (65534) may not write" in done.stdout


def on_s3(tmp_path: Path, address: str, **more: str) -> Installation:
    return installation(tmp_path, DAGSVERK_STORE=f"s3://{BUCKET}/doctor", AWS_ENDPOINT_URL=address, **more)


@pytest.fixture
def bucket(aws) -> str:
    """The address of an S3 server with a bucket, set for its clients."""
    address = shared_s3_server()
    make_bucket(address, BUCKET)
    aws({**KEYS, "AWS_ENDPOINT_URL": address})
    return address


def test_a_bucket_is_written_and_left_as_it_was(bucket, tmp_path):
    here = on_s3(tmp_path, bucket, **KEYS)
    words = reported(store.place, here, Level.FINE)
    assert "with conditional writes" in words and "AWS_PROFILE not set" in words and SECRET not in words
    assert open_store(here.store, create=True).list("") == [] and silent(store.place, here)


def test_a_server_that_does_not_answer_and_a_bucket_that_is_not_there_are_told(bucket, tmp_path):
    assert "no S3 server answers at http://127.0.0.1:9" in wrong(
        store.place, on_s3(tmp_path, "http://127.0.0.1:9")
    )
    absent = installation(tmp_path, DAGSVERK_STORE="s3://dagsverk-absent/x", AWS_ENDPOINT_URL=bucket)
    assert "no bucket 'dagsverk-absent'" in wrong(store.place, absent)


def test_a_clock_that_differs_from_the_servers_is_told(bucket, tmp_path):
    here = on_s3(tmp_path, bucket)
    assert silent(store.place, here)
    ahead = Installation(here.root, here.state, here.environ, lambda: time.time() + 300)
    assert re.search(r"the clock of the S3 server is (299|300|301) s behind", wrong(store.place, ahead))


@contextlib.contextmanager
def without_conditions(server: str) -> Iterator[str]:
    """A server in front of another that forgets If-None-Match, as older S3 servers do."""

    class Forgetful(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            kept = {k: v for k, v in self.headers.items() if k.lower() not in ("if-none-match", "expect")}
            inner = http.client.HTTPConnection(server.removeprefix("http://"))
            inner.request(self.command, self.path, body, kept)
            reply = inner.getresponse()
            content = reply.read()
            self.send_response_only(reply.status)
            for name, value in reply.getheaders():
                if name.lower() not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            inner.close()

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Forgetful) as front:
        threading.Thread(target=front.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{front.server_address[1]}"
        front.shutdown()


def test_a_server_without_conditional_writes_is_told(bucket, aws, tmp_path):
    with without_conditions(bucket) as address:
        aws({"AWS_ENDPOINT_URL": address})
        assert "no conditional writes" in wrong(store.place, on_s3(tmp_path, address))


def test_an_address_with_keys_is_refused_without_being_shown(tmp_path):
    here = installation(tmp_path, DAGSVERK_STORE=f"s3://key:{SECRET}@bucket/x")
    words = wrong(store.place, here)
    assert "not shown" in words and SECRET not in words
    assert "gs://bucket" in wrong(store.place, installation(tmp_path, DAGSVERK_STORE="gs://bucket"))


def test_key_certificate_and_project_of_hopsworks_are_told(tmp_path):
    emulator = shared_emulator()

    def here(**changed: str) -> Installation:
        given = {"DAGSVERK_STORE": emulator.url, **emulator.variables(), **changed}
        return installation(tmp_path, **{name: value for name, value in given.items() if value})

    assert "knows the key" in reported(store.place, here(), Level.FINE)
    assert "HOPSWORKS_API_KEY is not set" in wrong(store.place, here(HOPSWORKS_API_KEY=""))
    refused = wrong(store.place, here(HOPSWORKS_API_KEY=SECRET))
    assert "does not accept the key" in refused and SECRET not in refused
    assert "its certificate is not trusted" in wrong(store.place, here(HOPSWORKS_TRUST_STORE_PATH=""))
    assert "no such file" in wrong(store.place, here(HOPSWORKS_TRUST_STORE_PATH="/no/such/file"))
    other = here(DAGSVERK_STORE=emulator.url.replace(emulator.project, "another"))
    assert wrong(store.place, other) and "hopsworks.md" in wrong(store.place, other)
    away = here(DAGSVERK_STORE="hopsworks://127.0.0.1:9/project")
    assert "cannot be reached: ConnectError" in wrong(store.place, away)
