"""An app that listens on loopback, for clients that speak real HTTP."""

import contextlib
import socket
import threading
import time

import uvicorn


@contextlib.contextmanager
def listening(app, **options):
    """Its address. It runs in a thread of this process. Args: options: more of uvicorn's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", lifespan="off", **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)
