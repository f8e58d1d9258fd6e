"""A real nginx before the pages, set up as the documentation says."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "pages.md"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def documented_block():
    """The location of docs/how-to/pages.md."""
    return re.search(r"```nginx\n(.*?)```", PAGES.read_text(encoding="utf-8"), re.DOTALL)[1]


@contextlib.contextmanager
def nginx_before(pages, folder):
    """Address of the pages behind nginx, which listens on all of 127.0.0.0/8.

    Args: pages: their own address. folder: for nginx, which must be there.
    """
    block = documented_block().replace("127.0.0.1:7860", urlsplit(pages).netloc)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = "\n".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log {folder}/access.log;\n{places}\n"
        f"server {{ listen 127.0.0.1:{port};\n{block}\n}} }}\n"
    )
    with subprocess.Popen([NGINX, "-c", folder / "nginx.conf", "-e", folder / "error.log"]) as process:
        try:
            _wait_for(port, process)
            yield f"http://127.0.0.1:{port}{re.search(r'location (/.*)/ ', block)[1]}"
        finally:
            process.terminate()


def _wait_for(port, process):
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError("nginx did not start; see its error.log")
