"""The Hopsworks emulator as a process of its own, for tests and scripts.

with hopsworks_emulator(folder, bucket="lake") as emulator:
    environment = emulator.variables()      # the key and the CA, for a client
    open_store(emulator.url)                # hopsworks://127.0.0.1:PORT/dagsverk
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

EMULATOR = Path(__file__).with_name("hopsworks_emulator.py")
KEY_VARIABLE = "EMULATOR_API_KEY"
START_S = 60.0  # for a loaded machine; a quiet one needs half a second


@dataclass
class Emulator:
    """A running emulator. What it has acknowledged lies below `root` and outlives `kill`."""

    root: Path
    project: str
    api_key: str = field(repr=False)
    options: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path = Path()
    process: subprocess.Popen[str] | None = field(default=None, repr=False)
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)  # of each start

    @property
    def pid(self) -> int:
        assert self.process is not None, "the emulator was not started"
        return self.process.pid

    @property
    def url(self) -> str:
        return f"hopsworks://{self.host}:{self.port}/{self.project}"

    def variables(self) -> dict[str, str]:
        """The environment of a client: its key, and the CA that signed the server's certificate."""
        return {"HOPSWORKS_API_KEY": self.api_key, "HOPSWORKS_TRUST_STORE_PATH": str(self.certificate)}

    def fault(
        self,
        method: str,
        pattern: str,
        kind: str,
        *,
        code: int = 503,
        seconds: float = 0.0,
        times: int | None = 1,
        probability: float = 1.0,
        seed: int = 0,
    ) -> None:
        """Do something bad to requests of this method whose path?query the pattern is found in.

        Args:
            method: "GET" and so on, or "*" for every method.
            pattern: regular expression, searched in the path with its query.
            kind: "status" answers `code` before handling; "status_after" handles and then answers
                `code`; "drop" closes the connection before handling; "drop_after" handles and then
                closes it; "stall" waits `seconds` and goes on.
            times: how many requests it strikes at most; None for no limit.
            probability, seed: of striking each matching request; drawn anew per request.
        """
        rule = {"method": method, "pattern": pattern, "kind": kind, "code": code, "seconds": seconds}
        self._control("POST", "faults", rule | {"times": times, "probability": probability, "seed": seed})

    def clear_faults(self) -> None:
        """No faults and no barriers from now on; requests that wait at a barrier go on."""
        self._control("DELETE", "faults")

    def barrier(self, method: str, pattern: str, parties: int, timeout_s: float = 10.0) -> None:
        """The first `parties` requests that match wait for each other before any is handled.

        After `timeout_s` those that wait go on without the others.
        """
        rule = {"method": method, "pattern": pattern, "parties": parties, "timeout_s": timeout_s}
        self._control("POST", "barriers", rule)

    def requests(self) -> list[str]:
        """Method and path?query of each request since `forget_requests`, in order of arrival."""
        return self._control("GET", "requests")["requests"]

    def unknown(self) -> list[str]:
        """Requests since the process started that the emulator has no route for."""
        return self._control("GET", "requests")["unknown"]

    def forget_requests(self) -> None:
        self._control("DELETE", "requests")

    def kill(self) -> None:
        """SIGKILL: nothing is tidied up."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """On the same root and port, with the same key and certificates, without the faults."""
        if self.process is not None:
            self.kill()
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(EMULATOR), "--root", str(self.root), "--port", str(self.port)]
        with (self.root / "emulator.log").open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--project", self.project, "--key-variable", KEY_VARIABLE, *self.options],
                env={**self.environment, KEY_VARIABLE: self.api_key},
                stdin=subprocess.PIPE,  # it ends when we do, however we end
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            told = (self.root / "emulator.log").read_text()[-2000:]
            raise RuntimeError(f"wanted a Hopsworks emulator at {self.root}, but it ended at once:\n{told}")
        ready = json.loads(line)
        self.port, self.certificate = ready["port"], Path(ready["certificate"])

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.wait(START_S)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process = None

    def _control(self, method: str, what: str, body: dict[str, object] | None = None) -> dict:
        request = urllib.request.Request(
            f"https://{self.host}:{self.port}/emulator/{what}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"ApiKey {self.api_key}"},
        )
        context = ssl.create_default_context(cafile=self.certificate)
        with urllib.request.urlopen(request, timeout=START_S, context=context) as answer:  # noqa: S310
            return json.loads(answer.read() or b"{}")


@contextmanager
def hopsworks_emulator(
    root: Path,
    *,
    bucket: str | None = None,
    port: int = 0,
    project: str = "dagsverk",
    query_service: bool = False,
    data_source: str = "lake",
    folder_locations: bool = False,
    missing_status: int = 400,
) -> Iterator[Emulator]:
    """An emulator that ends with the block; a second one on the same root goes on where it was.

    Args:
        bucket: the S3 data source `data_source` points there, with the AWS_* variables of this process.
        port: 0 for a free one.
        query_service: also serve Arrow Flight on port 5005, which the SDK gives no choice of.
        folder_locations: tables lie below `root`, not in S3 or HopsFS. Faster; for tests of the emulator.
        missing_status: HTTP status for paths that do not exist; a client must understand 400 and 404.
    """
    root.mkdir(parents=True, exist_ok=True)
    options = ["--data-source", data_source, "--missing-status", str(missing_status), "--follow-stdin"]
    options += ["--bucket", bucket] if bucket else []
    options += ["--folder-locations"] if folder_locations else []
    options += [] if query_service else ["--no-query-service"]
    emulator = Emulator(root.resolve(), project, _api_key(root), tuple(options), port=port)
    try:
        emulator.start()
        yield emulator
    finally:
        emulator.stop()


def _api_key(root: Path) -> str:
    """Random, and the same for every emulator on this root."""
    path = root / "api_key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(24))
    return path.read_text()
