"""What Prefect alone does in the same trials: its server on SQLite, its process workers, nothing of ours.

A person stands beside it and starts again what has ended, as soon as it is seen. Same flows, same blows.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from trial_site import PLAIN_MARKS, ROOT, START_S, Site, TrialError, line_of, send

from deployments.launch import free_port

POOLS = ("cpu", "gpu")


@dataclass
class PlainSite(Site):
    """`prefect server start` and a `prefect worker start` per pool, in sessions of their own."""

    idle_s: float = 60.0  # without a flow process for so long, nothing comes any more
    parts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    port: int = 0

    marks = PLAIN_MARKS

    def environment(self) -> dict[str, str]:
        ours = {
            "PREFECT_HOME": str(self.state / "prefect"),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DAGSVERK_ROOT": str(ROOT),
            "DAGSVERK_STORE": str(self.state / "store"),
            "DAGSVERK_CACHE": str(self.state / "cache"),
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        return {**super().environment(), **ours}

    def start(self) -> None:
        self.port = self.port or free_port(0)
        self.api_url = f"http://127.0.0.1:{self.port}/api"
        self._start("server", "server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        self._wait_server()
        self._deploy_once()
        for pool in POOLS:
            self._start(pool, "worker", "start", "--type", "process", "--pool", pool)
        self.starts += 1

    def _start(self, part: str, *arguments: str) -> None:
        with self.output.open("ab") as output:
            self.parts[part] = subprocess.Popen(
                [sys.executable, "-m", "prefect", *arguments],
                cwd=ROOT,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_server(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.api_url}/ready", timeout=2).is_success:
                    return
            time.sleep(0.3)
        raise TrialError(f"Prefect's server was not ready within {START_S:.0f} s")

    def _deploy_once(self) -> None:
        if httpx.post(f"{self.api_url}/deployments/count", json={}, timeout=20).json():
            return
        for pool in POOLS:
            httpx.post(f"{self.api_url}/work_pools/", json={"name": pool, "type": "process"}, timeout=20)
        deploy = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        done = subprocess.run(deploy, cwd=ROOT, env=self.environment(), capture_output=True, check=False)
        if done.returncode:
            raise TrialError(f"prefect deploy --all: {done.stdout[-2000:]!r} {done.stderr[-2000:]!r}")

    def start_again(self) -> None:
        for part in self.parts.values():
            part.kill()
            part.wait()
        self.start()

    def dead(self) -> bool:
        return False

    def restart_if_ended(self) -> bool:
        """What a person does: start the server again, and a worker."""
        again = [name for name, part in self.parts.items() if part.poll() is not None]
        if "server" in again:
            self._start("server", "server", "start", "--host", "127.0.0.1", "--port", str(self.port))
            self._wait_server()
        for pool in set(again) - {"server"}:
            self._start(pool, "worker", "start", "--type", "process", "--pool", pool)
        return False

    def answers(self) -> bool:
        self.restart_if_ended()
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.api_url}/ready", timeout=2).is_success
        return False

    def stop(self) -> list[str]:
        """Ctrl-C to each, as in three terminals."""
        for name in (*POOLS, "server"):
            if part := self.parts.get(name):
                part.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    part.wait(30)
        left = self.processes()
        lines = [f"{process.pid} {line_of(process)[:150]}" for process in left]
        send(left, signal.SIGKILL)
        for part in self.parts.values():
            part.wait()
        return lines
