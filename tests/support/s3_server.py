"""An S3 server for tests: moto in a process of its own (inside ours it can deadlock with delta-rs)."""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "hunter2hunter2", "AWS_REGION": "us-east-1"}


@contextmanager
def s3_server(*options: str, **variables: str) -> Iterator[str]:
    """Its address; started with moto's options, and with the variables set in its process."""
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0", *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **variables},
        start_new_session=True,  # Ctrl-C is for us: we end it when its last client is gone
    )
    try:
        assert server.stderr is not None
        address = next(line for line in server.stderr if "Running on" in line).split()[-1]
        threading.Thread(target=server.stderr.read, daemon=True).start()  # a full pipe would stop the server
        yield address
    finally:
        server.kill()
        server.wait()


@functools.cache
def shared_s3_server() -> str:
    """The address of one server for the whole session, started when it is first asked for."""
    stack = ExitStack()
    address = stack.enter_context(s3_server())
    atexit.register(stack.close)
    return address


def make_bucket(address: str, name: str) -> None:
    """Make the bucket if it is absent."""
    import s3fs

    client = s3fs.S3FileSystem(
        endpoint_url=address,
        key=KEYS["AWS_ACCESS_KEY_ID"],
        secret=KEYS["AWS_SECRET_ACCESS_KEY"],
        use_listings_cache=False,
    )
    if not client.exists(name):
        client.mkdir(name)
