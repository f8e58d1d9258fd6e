"""`python -m deployments.register`: bring a Prefect server to what this folder and `prefect.yaml` describe.

Pools and queues, limits, every deployment. Repeating it changes nothing. The server is the one
in PREFECT_API_URL; `make up`, `make demo` and the images all use this module.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import prefect
import yaml
from prefect.cli.deploy._config import _load_deploy_configs_and_actions
from prefect.cli.deploy._core import _run_single_deploy
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import FlowRunFilter, WorkQueueFilter
from prefect.client.schemas.objects import TERMINAL_STATES, StateType, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled
from rich.console import Console

from dagsverk.speech.languages import language
from dagsverk.tabular.system import systems
from deployments import claims
from deployments.forms import close_form
from deployments.launch import DEMO_QUEUE, ROOT, LaunchError, say

HERE = Path(__file__).resolve().parent
PREFECT_FILE = ROOT / "prefect.yaml"
PAGE = 200  # most rows that the server gives at a time
RETIRED_AUTOMATIONS = ("crash-zombies", "requeue-stuck-submissions", "resume-lost")
POOLS: Mapping[str, str] = {
    "cpu": "days, features, synthesis, tabular training, inference, monitoring",
    "gpu": "fine-tuning and evaluation of speech models; without a GPU they run on the processor",
}


# of a language: one run of each at a time
BESIDE_DAYS = ("transcription", "search", "learning-curve", "compare")


@dataclass
class Registered:
    """What was there and what had to change, in words."""

    changes: list[str] = field(default_factory=list)
    deployments: list[str] = field(default_factory=list)

    def changed(self, what: str) -> None:
        self.changes.append(what)


async def wait_for_server(client: PrefectClient, limit_s: float) -> None:
    """Return when the server can serve its database. Raises LaunchError when the time is up."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            if (await client._client.get("/ready", timeout=2)).status_code == httpx.codes.OK:
                return
            reason = "it is not ready"
        except httpx.HTTPError as error:
            reason = type(error).__name__
        if time.monotonic() > deadline:
            raise LaunchError(
                f"no Prefect server at {PREFECT_API_URL.value()} after {limit_s:.0f} s ({reason})"
            )
        await asyncio.sleep(0.2)


async def register(
    client: PrefectClient, *, pool_type: str = "process", prefect_file: Path = PREFECT_FILE
) -> Registered:
    """Make the server as described. Raises LaunchError naming the entry that cannot be registered."""
    done = Registered()
    await asyncio.gather(
        *(register_pool(client, name, pool_type, done) for name in POOLS),
        *(register_limit(client, name, done) for name in limits_of(prefect_file)),
        retire_automations(client, done),
    )
    await deploy_all(client, prefect_file, done)
    return done


async def register_pool(client: PrefectClient, name: str, pool_type: str, done: Registered) -> None:
    """Create the pool, or give it our template. A pool's type cannot be changed: another one is an error."""
    path = HERE / "pools" / pool_type / f"{name}.json"
    if not path.exists():
        templates = sorted(p.name for p in (HERE / "pools").iterdir())
        raise LaunchError(
            f"no template {path.relative_to(ROOT)}; pool types with templates: {', '.join(templates)}"
        )
    template = json.loads(path.read_text())
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        wanted = WorkPoolCreate(
            name=name, type=pool_type, description=POOLS[name], base_job_template=template
        )
        await client.create_work_pool(wanted)
        await _ensure_demo_queue(client, name)
        done.changed(f"pool {name} created")
        return
    if pool.type != pool_type:
        raise LaunchError(
            f"pool {name} is of type {pool.type}, wanted {pool_type}, and a type cannot be changed: "
            f"prefect work-pool delete {name}, then register again"
        )
    await _update_pool(client, pool, template, done)
    await _ensure_demo_queue(client, name)


async def _ensure_demo_queue(client: PrefectClient, pool: str) -> None:
    queues = {queue.name for queue in await client.read_work_queues(work_pool_name=pool)}
    if DEMO_QUEUE not in queues:
        await client.create_work_queue(DEMO_QUEUE, description="runs of `make demo`", work_pool_name=pool)


async def _update_pool(
    client: PrefectClient, pool: WorkPool, template: dict[str, Any], done: Registered
) -> None:
    if (pool.base_job_template, pool.description) == (template, POOLS[pool.name]):
        return
    await client.update_work_pool(
        pool.name, WorkPoolUpdate(base_job_template=template, description=POOLS[pool.name])
    )
    done.changed(f"pool {pool.name} updated")


def limits_of(prefect_file: Path) -> list[str]:
    """A limit for each tabular system and for each language that an entry names, and for what goes beside
    its days."""
    entries = _read_yaml(prefect_file).get("deployments") or []
    asked = {(entry.get("parameters") or {}).get("language") for entry in entries}
    spoken = sorted(language(code).name for code in asked if code)
    limits = [*(f"tabular-{system}" for system in systems()), *(f"speech-{name}" for name in spoken)]
    return [*limits, *(f"speech-{what}-{name}" for name in spoken for what in BESIDE_DAYS)]


async def register_limit(client: PrefectClient, name: str, done: Registered) -> None:
    """One run at a time per system, whichever deployment it comes from."""
    try:
        limit = (await client.read_global_concurrency_limit_by_name(name)).limit
    except ObjectNotFound:
        limit = None
    if limit != 1:
        await client.upsert_global_concurrency_limit_by_name(name, 1)
        done.changed(f"limit {name} set to 1")


async def retire_automations(client: PrefectClient, done: Registered) -> None:
    """Remove those of earlier versions: what they did, the reconciler of every worker does now."""
    for automation in await client.read_automations():
        if automation.name in RETIRED_AUTOMATIONS:
            await client.delete_automation(automation.id)
            done.changed(f"automation {automation.name} removed")


async def abandon_demo(client: PrefectClient, logs: Path) -> list[str]:
    """Cancel what a demo that was stopped has left: nobody asked for it any more. Returns names."""
    states = [state for state in StateType if state not in TERMINAL_STATES]
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": states}}}),
        work_queue_filter=WorkQueueFilter.model_validate({"name": {"any_": [DEMO_QUEUE]}}),
    )
    left = [run for run in runs if claims.life(logs, str(run.id)) is not claims.Life.LIVES]
    for run in left:
        await client.set_flow_run_state(
            run.id, Cancelled(message="Left by a demo that was stopped."), force=True
        )
        claims.release(logs, str(run.id))
    return [run.name for run in left]


def _read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


async def deploy_all(client: PrefectClient, prefect_file: Path, done: Registered) -> None:
    """What `prefect deploy --all` does, for the entries that are new or differ from what is deployed.

    An entry's digest is kept as the deployment's version. One that has not changed is left as it is: nothing
    is imported and written, and a schedule that a person paused in the Prefect UI stays paused.
    """
    printed = io.StringIO()
    quiet = Console(file=printed)
    entries, actions = _load_deploy_configs_and_actions(prefect_file, console=quiet)
    if not entries:
        raise LaunchError(f"no deployment in {prefect_file}: {printed.getvalue().strip()}")
    deployed = await _deployed_versions(client)
    code = code_digest(ROOT)
    for entry in entries:
        name = deployment_name(entry)
        digest = _digest(entry, actions, code)
        if deployed.get((entry["entrypoint"], entry["name"])) != digest:
            await _deploy(client, {"version": digest, **entry}, actions, prefect_file, quiet)
            await close_form(client, name)
            done.changed(f"deployment {name} deployed")
        done.deployments.append(name)


def deployment_name(entry: Mapping[str, Any]) -> str:
    """FLOW/NAME of an entry: a flow bears its function's name, with hyphens."""
    return f"{entry['entrypoint'].rpartition('.')[2].replace('_', '-')}/{entry['name']}"


async def _deployed_versions(client: PrefectClient) -> dict[tuple[str | None, str], str | None]:
    """Versions of all deployments by entrypoint and name."""
    deployments: list[DeploymentResponse] = []
    while page := await client.read_deployments(limit=PAGE, offset=len(deployments)):
        deployments += page
        if len(page) < PAGE:
            break
    return {(d.entrypoint, d.name): d.version for d in deployments}


async def _deploy(
    client: PrefectClient, entry: dict[str, Any], actions: dict[str, Any], prefect_file: Path, quiet: Console
) -> None:
    """Deploy one entry by Prefect's own code: the command would be a second Python process (3 s and more).

    Prefect is pinned to one version, and a test holds these functions to what the command gives.
    """
    try:
        await _run_single_deploy(
            entry,
            actions,
            client=client,
            prefect_file=prefect_file,
            console=quiet,
            is_interactive=lambda: False,
        )
    except Exception as error:
        raise LaunchError(
            f"{prefect_file.name}: cannot deploy {entry['entrypoint']} as {entry['name']}: {error}"
        ) from error


def code_digest(root: Path) -> str:
    """SHA-256 of the code that decides the parameters of deployments: their schema comes from its types."""
    digest = hashlib.sha256(prefect.__version__.encode())
    code = (p for folder in ("flows", "tasks", "dagsverk") for p in (root / folder).rglob("*.py"))
    for path in sorted([*code, root / "deployments" / "forms.py"]):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _digest(entry: Mapping[str, Any], actions: Mapping[str, Any], code: str) -> str:
    text = json.dumps([entry, actions, code], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


async def run(pool_type: str, prefect_file: Path, wait_s: float, abandon: bool) -> Registered:
    async with get_client() as client:
        await wait_for_server(client, wait_s)
        if abandon:
            for name in await abandon_demo(client, Path(os.environ["DAGSVERK_LOGS"])):
                say(f"{name} cancelled: left by a demo that was stopped")
        return await register(client, pool_type=pool_type, prefect_file=prefect_file)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deployments.register", description=__doc__)
    parser.add_argument(
        "--pool-type", default="process", help="which templates of deployments/pools (%(default)s)"
    )
    parser.add_argument("--prefect-file", type=Path, default=PREFECT_FILE, help="entries (%(default)s)")
    parser.add_argument(
        "--wait-s", type=float, default=180, help="seconds to wait for the server (%(default)s)"
    )
    parser.add_argument(
        "--abandon-demo",
        action="store_true",
        help="cancel runs of a demo that was stopped (needs DAGSVERK_LOGS)",
    )
    arguments = parser.parse_args(argv)
    try:
        done = asyncio.run(
            run(arguments.pool_type, arguments.prefect_file, arguments.wait_s, arguments.abandon_demo)
        )
    except LaunchError as error:
        print(f"register: {error}", file=sys.stderr)
        return 1
    say(f"{len(done.deployments)} deployments: {', '.join(done.deployments)}")
    say("changed: " + ("; ".join(done.changes) or "nothing"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
