"""`python -m ui`: serve the pages and the REST API until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from dagsverk import threads
from dagsverk.doors import proxy_options, rules_from
from dagsverk.login import DoorsError
from dagsverk.speech.serving.jobs import Jobs
from dagsverk.speech.serving.service import PROCESS
from ui.app import REFRESH_S, build_app
from ui.prefix import check_prefix
from ui.tabular.desk import TabularDesk


class Announcing(uvicorn.Server):
    """A server that says where its pages are once they can be opened, and keeps nothing that was sent in."""

    def __init__(self, config: uvicorn.Config, uploads: Path, jobs: Jobs) -> None:
        super().__init__(config)
        self.uploads, self.jobs = uploads, jobs

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.jobs.start()
            host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
            sys.stdout.write(f"Pages: http://{host}:{self.config.port} (Ctrl-C ends them)\n")
            sys.stdout.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.jobs.close()
        await super().shutdown(sockets)
        PROCESS.close()
        shutil.rmtree(self.uploads, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    if not 0.5 <= given.refresh_s <= 3600:
        raise SystemExit(f"--refresh-s must be from 0.5 to 3600 seconds, got {given.refresh_s:g}")
    try:
        rules, root_path = rules_from(os.environ, given.host), check_prefix(given.root_path)
        proxies = proxy_options(os.environ)
    except (DoorsError, ValueError) as error:
        raise SystemExit(str(error)) from error
    threads.prepare_environment()  # torch comes with the first recording
    # A folder of this user's own, with a name that nobody knows beforehand: Gradio's is the same for all.
    parent = Path(os.environ.get("GRADIO_TEMP_DIR", tempfile.gettempdir()))
    parent.mkdir(parents=True, exist_ok=True)
    uploads = os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="dagsverk-sent-in-", dir=parent)
    app = build_app(TabularDesk(given.store), given.refresh_s, rules, root_path)
    config = uvicorn.Config(
        app, host=given.host, port=given.port, log_level="warning", server_header=False,
        timeout_graceful_shutdown=2,  # pages hold their event streams open for ever
        **proxies,
    )  # fmt: skip
    Announcing(config, Path(uploads), app.state.jobs).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ui", description="Serve Dagsverk's pages and REST API.")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--store", help="URL of the store (default: DAGSVERK_STORE, else .dagsverk/store)")
    parser.add_argument(
        "--refresh-s", type=float, default=REFRESH_S, help="seconds between two looks for news (default: 4)"
    )
    parser.add_argument(
        "--root-path", default="", help="path of the pages behind a proxy, such as /dagsverk (default: none)"
    )
    return parser


if __name__ == "__main__":
    main()
