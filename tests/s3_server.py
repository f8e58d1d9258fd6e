"""An S3 server for tests: moto in a process of its own."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "hunter2hunter2", "AWS_REGION": "us-east-1"}


@contextmanager
def s3_server(**variables: str) -> Iterator[str]:
    """Its address; with the variables set in the server's process."""
    server = subprocess.Popen(
        ["moto_server", "-H", "127.0.0.1", "-p", "0"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **variables},
    )
    try:
        assert server.stderr is not None
        address = next(line for line in server.stderr if "Running on" in line).split()[-1]
        threading.Thread(target=server.stderr.read, daemon=True).start()  # a full pipe would stop the server
        yield address
    finally:
        server.kill()
        server.wait()
