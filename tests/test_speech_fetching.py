"""Addresses that visitors give: what is fetched, from servers on loopback, and what nobody gets."""

import gzip
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from speech_models import sounds
from speech_site import wav

from dagsverk.speech.audio.waveform import read_samples
from dagsverk.speech.errors import FetchError
from dagsverk.speech.fetching.fetch import fetch
from dagsverk.speech.fetching.sites import DEFAULT, VARIABLE, Sites, checked
from dagsverk.turns import Left
from ui.speech.fetched import shelf_steps

SOUND = wav(sounds()[0].audio)
MOST = 1 << 20
METADATA = "http://169.254.169.254/latest/meta-data/"


@contextmanager
def serving(answers):
    """(host:port, paths that were asked) of a server: path -> (status, headers, body or blocks of it)."""
    asked = []

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, headers, body = answers.get(self.path, (404, {}, b"no"))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value.replace("HERE", f"http://{host}"))
            self.end_headers()
            blocks = [body.replace(b"HERE", f"http://{host}".encode())] if isinstance(body, bytes) else body
            try:
                for block in blocks:
                    self.wfile.write(block)
            except OSError:
                return

        def log_message(self, *_):
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        host = f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield host, asked
        server.shutdown()


def endless(block):
    while True:
        yield block


def page(body):
    return 200, {"content-type": "text/html"}, body


def media(body, **headers):
    return 200, {"content-type": "audio/wav", **headers}, body


def leads(target):
    return 302, {"location": target}, b""


BOMB = gzip.compress(bytes(1 << 30), 1)  # 5 MB that become a gigabyte
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nSEGMENT\n#EXT-X-ENDLIST\n"
M3U8 = {"content-type": "application/vnd.apple.mpegurl"}
ANSWERS = {
    "/a.wav": media(SOUND, **{"content-length": str(len(SOUND))}),
    "/moved": leads("HERE/a.wav"),
    "/page": page(b"<html><title>A talk</title><audio src='HERE/a.wav'></audio></html>"),
    "/to-file": leads("file:///etc/passwd"),
    "/to-metadata": leads(METADATA),
    "/to-loopback": leads("http://127.0.0.1:9/x"),
    "/to-six": leads("http://[::1]:9/x"),
    "/to-number": leads("http://2130706433:9/x"),
    "/to-ftp": leads("ftp://HERE/a.wav"),
    "/round": leads("HERE/round"),
    "/page-inward": page(f"<html><audio src='{METADATA}a.mp3'></audio></html>".encode()),
    "/page-file": page(b"<html><audio src='file:///etc/passwd.mp3'></audio></html>"),
    "/list.m3u8": (200, M3U8, PLAYLIST.replace(b"SEGMENT", METADATA.encode())),
    "/sound.m3u8": (200, M3U8, PLAYLIST.replace(b"SEGMENT", b"HERE/a.wav")),
    "/list-file.m3u8": (200, M3U8, PLAYLIST.replace(b"SEGMENT", b"file:///etc/passwd")),
    "/two": page(b"<html><audio src='HERE/a.wav'></audio><audio src='HERE/b.wav'></audio></html>"),
    "/endless": media(endless(b"x" * 65536)),
    "/endless-page": page(endless(b"<p>x</p>" * 8192)),
    "/claims": media(b"x", **{"content-length": str(MOST + 1)}),
    "/short": media(b"x" * 10, **{"content-length": "1000"}),
    "/packed": media(gzip.compress(SOUND), **{"content-encoding": "gzip"}),
    "/bomb": (200, {"content-type": "text/html", "content-encoding": "gzip"}, BOMB),
    "/picture": (200, {"content-type": "image/png"}, b"x"),
    "/empty": media(b"", **{"content-length": "0"}),
    "/gone": (410, {"content-type": "text/html"}, b"gone"),
}


@pytest.fixture(scope="module")
def site():
    with serving(ANSWERS) as (host, asked):
        yield host, asked


@pytest.fixture
def allowed(site, monkeypatch):
    monkeypatch.setenv(VARIABLE, f"example.org {site[0]}")
    return site[0]


def get(address, folder, **more):
    return fetch(address, folder, most_bytes=MOST, on_progress=lambda *_: None, **more)


@pytest.mark.parametrize("path", ["/a.wav", "/moved", "/page", "/sound.m3u8"])
def test_a_recording_comes_from_its_address_a_redirect_a_page_and_a_playlist(allowed, tmp_path, path):
    fetched = get(f"http://{allowed}{path}", tmp_path)
    assert fetched.path.read_bytes() == SOUND
    assert len(read_samples(fetched.path)) > 1000
    assert fetched.title.startswith(("a.wav", "A talk", "sound"))


@pytest.mark.parametrize(
    "path, words",
    [
        ("/to-file", "https:// or http://"),
        ("/to-ftp", "https:// or http://"),
        ("/to-metadata", "nothing is fetched from 169.254.169.254"),
        ("/to-loopback", "nothing is fetched from 127.0.0.1"),
        ("/to-six", "nothing is fetched from ::1"),
        ("/to-number", "nothing is fetched from 2130706433"),
        ("/round", "leads on more than"),
        ("/page-inward", "nothing is fetched from 169.254.169.254"),
        ("/page-file", "file"),
        ("/list.m3u8", "nothing is fetched from 169.254.169.254"),
        ("/list-file.m3u8", "file"),
        ("/two", "several recordings"),
        ("/endless", "larger than 1 MB"),
        ("/claims", "larger than 1 MB"),
        ("/short", "broke off after 10 of 1,000"),
        ("/packed", "packed"),
        ("/picture", "image/png"),
        ("/empty", "no recording"),
        ("/gone", "410"),
    ],
)
def test_what_is_no_recording_or_leads_elsewhere_is_refused_in_words(allowed, tmp_path, path, words):
    with pytest.raises(FetchError) as caught:
        get(f"http://{allowed}{path}", tmp_path)
    assert words in str(caught.value)
    assert "root:" not in "".join(p.read_text(errors="replace") for p in tmp_path.iterdir() if p.is_file())


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/bomb", "/endless-page"])
def test_a_page_that_grows_without_end_is_given_up(allowed, tmp_path, path):
    with pytest.raises(FetchError, match=r"memory|longer than|larger|no recording|ended"):
        get(f"http://{allowed}{path}", tmp_path, wall_s=20)


@pytest.mark.parametrize(
    "address",
    [
        "", "x", "file:///etc/passwd", "ftp://example.org/a", "https://", "https:///a", "http://[::1/",
        "data:audio/wav,x", "http://127.0.0.1/a", "http://127.1/a", "http://localhost/a", "http://0/a",
        "http://169.254.169.254/", "http://[::ffff:127.0.0.1]/", "http://example.org:22/", "\0",
        "http://example.org.evil.net/", "http://evilexample.org/", "http://u:p@example.org/",
        "http://example.org@127.0.0.1/", "http://exa mple.org/", "http://example.org/\n",
        "http://example.org:99999/", "https://example.org/" + "a" * 3000,
    ],
)  # fmt: skip
def test_other_addresses_are_refused_before_anything_is_asked(address):
    with pytest.raises(FetchError):
        checked(address, Sites(("example.org",)))


def test_a_site_stands_for_all_below_it_and_any_never_for_a_private_network():
    for address in ("https://example.org/a?v=1", "http://MEDIA.example.org./a"):
        checked(address, Sites(("example.org",)))
    checked("https://other.net/", Sites(("any",)))
    for inside in ("http://10.0.0.1/", "http://192.168.1.1/", "http://[fd00::1]/", "http://127.0.0.1:80/"):
        with pytest.raises(FetchError):
            checked(inside, Sites(("any",)))
    assert "youtube.com" in DEFAULT


def test_a_name_that_leads_inwards_is_not_connected_to(site, tmp_path, monkeypatch):
    """Whatever a name says when it is looked up, the address that is connected to is what counts."""
    port = site[0].rpartition(":")[2]
    monkeypatch.setenv(VARIABLE, f"localhost:{port}")  # a name may be allowed; where it leads may not
    before = len(site[1])
    with pytest.raises(FetchError, match="private network"):
        get(f"http://localhost:{port}/a.wav", tmp_path)
    assert len(site[1]) == before


def test_what_is_fetched_belongs_to_its_visitor_and_nothing_stays_of_a_failure(
    allowed, tmp_path, monkeypatch
):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    kept = []
    *progress, path = shelf_steps(f"http://{allowed}/a.wav", kept.append)
    assert all(0 <= done <= len(SOUND) for done, _ in progress)  # a quick one may report nothing
    assert kept == [Path(path)]
    assert Path(path).read_bytes() == SOUND
    with pytest.raises(FetchError):
        list(shelf_steps(f"http://{allowed}/endless-sound", kept.append))
    assert len(kept) == 1
    assert [one.name for one in tmp_path.iterdir()] == [Path(path).parent.name]


def test_who_leaves_ends_it(allowed, tmp_path):
    def left():
        raise Left

    with pytest.raises(Left):
        get(f"http://{allowed}/endless", tmp_path, check=left)
