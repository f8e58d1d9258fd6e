"""A program that answers OpenAI's route for transcriptions in many ways, most of them bad.

The model's name says which. It counts what it is asked."""

import contextlib
import gzip
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DRIP_S = 0.05


class Program(ThreadingHTTPServer):
    """`texts`: what it writes of a WAV file, by its bytes; others it does not know."""

    daemon_threads = True

    def __init__(self, texts=None):
        super().__init__(("127.0.0.1", 0), _Answer)
        self.texts = texts or {}
        self.asked, self.headers, self.lock = Counter(), [], threading.Lock()
        self.over = threading.Event()
        self.most_at_once = self.now = 0

    def handle_error(self, *_):
        """Quiet: connections are broken on purpose."""

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Answer(BaseHTTPRequestHandler):
    def log_message(self, *_):
        """Quiet."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        model = _field(body, "model")
        wav = body[body.index(b"RIFF") : body.rindex(b"\r\n--")]
        server = self.server
        with server.lock:
            server.asked[wav] += 1
            count = sum(server.asked.values())
            server.headers.append(dict(self.headers))
            server.now += 1
            server.most_at_once = max(server.most_at_once, server.now)
        try:
            getattr(self, f"_{model.replace('-', '_')}")(server.texts.get(wav, "okänt"), server, count, wav)
        finally:
            with server.lock:
                server.now -= 1

    def do_GET(self):
        raise AssertionError("a redirect was followed")

    def _send(self, body, status=200, kind="application/json", **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def _good(self, text, *_):
        self._send({"text": text})

    def _slow(self, text, *_):
        time.sleep(0.05)
        self._send({"text": text})

    def _html(self, *_):
        self._send(b"<html><script>alert(1)</script></html>", kind="text/html")

    def _empty(self, *_):
        self._send({"text": ""})

    def _huge(self, *_):
        self._send({"text": "a" * 10_000_000})

    def _long(self, *_):
        self._send({"text": "ja " * 20_000})

    def _control(self, text, *_):
        self._send({"text": f"\x00{text}\x1b[31m\u2028\u200b\n"})

    def _packed(self, *_):
        self._send(gzip.compress(json.dumps({"text": "a" * 10_000_000}).encode()), content_encoding="gzip")

    def _number(self, *_):
        self._send({"text": 17})

    def _deep(self, *_):
        self._send(b"[" * 200_000)

    def _hang(self, _text, server, *_):
        server.over.wait(20)

    def _drip(self, _text, server, *_):
        self.send_response(200)
        self.send_header("content-length", "100000")
        self.end_headers()
        with contextlib.suppress(OSError):
            while not server.over.wait(DRIP_S):
                self.wfile.write(b" ")
                self.wfile.flush()

    def _close(self, *_):
        self.connection.close()

    def _redirect(self, *_):
        self._send(b"", 302, location="http://127.0.0.1:1/v1/elsewhere")

    def _key(self, *_):
        self._send({"error": {"message": "no such key"}}, 401)

    def _busy_once(self, text, server, _count, wav):
        if server.asked[wav] == 1:
            self._send({"error": {"message": "slow down"}}, 429, retry_after="0")
        else:
            self._send({"text": text})

    def _closed_today(self, *_):
        self._send({"error": {"message": "come back"}}, 429, retry_after="86400")

    def _refuses_one(self, text, *_):
        if text == "brus":
            self._send({"error": {"message": "<b>no noise</b>\n"}}, 400)
        else:
            self._send({"text": text})

    def _refuses_the_first_two(self, text, _server, count, _wav):
        self._send({"text": text}) if count > 2 else self._send({"error": "no"}, 422)

    def _set_up_later(self, text, _server, count, _wav):
        self._send({"text": text}) if count > 5 else self._send({"error": "no such format"}, 422)

    def _fails_once(self, text, server, _count, wav):
        self._send({"text": text}) if server.asked[wav] > 1 else self._send({}, 503)

    def _breaks(self, text, _server, count, _wav):
        self._send({"text": text}) if count <= 4 else self._send({"error": "gone"}, 401)


def _field(body, name):
    start = body.index(f'name="{name}"'.encode())
    return body[start:].split(b"\r\n\r\n", 1)[1].split(b"\r\n", 1)[0].decode()


@contextlib.contextmanager
def running(texts=None):
    program = Program(texts)
    thread = threading.Thread(target=program.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield program
    finally:
        program.over.set()
        program.shutdown()
        program.server_close()
        thread.join()
