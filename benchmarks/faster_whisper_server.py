"""faster-whisper behind OpenAI's route, for comparisons: nothing of dagsverk, one clip at a time.

python benchmarks/faster_whisper_server.py MODEL PORT    # where faster-whisper is installed
"""

import io
import json
import sys
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, HTTPServer

from faster_whisper import WhisperModel

MODEL = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=1)


class Answer(BaseHTTPRequestHandler):
    def log_message(self, *_):
        """Quiet."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        form = message_from_bytes(
            b"content-type: " + self.headers["content-type"].encode() + b"\r\n\r\n" + body
        )
        parts = {part.get_param("name", header="content-disposition"): part for part in form.get_payload()}
        fields = {name: part.get_payload(decode=True) for name, part in parts.items()}
        segments, _ = MODEL.transcribe(io.BytesIO(fields["file"]), language=fields["language"].decode())
        data = json.dumps({"text": " ".join(segment.text.strip() for segment in segments)}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


HTTPServer(("127.0.0.1", int(sys.argv[2])), Answer).serve_forever()
