"""The day of a system through its deployment, against the same steps called as plain functions.

Both start with an empty store and run twice: the first day trains, the second finds nothing to learn, which
is the usual day. Each plain day is a Python process of its own, as each deployed day is, so imports count in
both. The embedded server and its worker are started before the clock runs. On a busy machine seconds of the
clock mean little: look at the processor's, which count the server, the worker and the flow.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from deployments.installation import Installation, running_server  # noqa: E402
from deployments.launch import Folders, Stages  # noqa: E402


@dataclass(frozen=True)
class Plain:
    """One day as plain functions, in seconds."""

    total_s: float
    steps_s: float
    cpu_s: float


@dataclass(frozen=True)
class Deployed:
    """One day through its deployment, in seconds: from the request to the state Completed."""

    wait_s: float  # until a worker took it
    start_s: float  # until its flow began: a process, imports, pull step
    flow_s: float
    report_s: float  # until the server said so
    cpu_s: float  # of worker and flow
    server_cpu_s: float

    @property
    def total_s(self) -> float:
        return self.wait_s + self.start_s + self.flow_s + self.report_s


def plain_steps(system: str, date: dt.date) -> None:
    """What the flow `day` does, without Prefect's engine."""
    from dagsverk.tabular.config import TrainingConfig
    from dagsverk.tabular.days import SynthesisConfig
    from tasks import tabular as tasks

    config = TrainingConfig()
    rows = tasks.ingest.fn(system)
    scores = [tasks.cross_validate.fn(system, rows, name, config) for name in config.model_classes]
    tasks.register_best.fn(system, rows, scores, config)
    tasks.synthesize.fn(system, date, SynthesisConfig())
    tasks.predict.fn(system)
    tasks.monitor.fn(system)


def plain_day(system: str, date: dt.date, store: Path) -> Plain:
    """Run the steps in a new Python process."""
    code = (
        "import datetime as dt, time, tasks.tabular\n"
        "from benchmarks.bench_day import plain_steps\n"
        "begun = time.perf_counter()\n"
        f"plain_steps({system!r}, dt.date.fromisoformat({date.isoformat()!r}))\n"
        "print('steps_s', time.perf_counter() - begun)"
    )
    begun, cpu_begun = time.perf_counter(), cpu_s()
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=ROOT,
        env={**os.environ, "DAGSVERK_STORE": str(store)},
        stdout=subprocess.PIPE,
        text=True,
    )
    total_s = time.perf_counter() - begun
    return Plain(total_s, float(done.stdout.rpartition("steps_s")[2]), cpu_s() - cpu_begun)


def cpu_s() -> float:
    """Processor seconds of this process and of its children that ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def cpu_of(pid: int) -> float:
    """Processor seconds of a process and its ended children; 0 where the system does not tell (not Linux)."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    ticks = stat.read_text().rpartition(")")[2].split()[11:15]  # utime, stime, of children
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def cpu_of_service(installation: Installation, name: str) -> float:
    """Processor seconds of a service and of its children that ended."""
    services = {running.service.name: running for running in installation.supervisor.services}
    child = services[name].child
    return cpu_of(child.process.pid) if child else 0.0


async def deployed_day(client, installation: Installation, system: str, date: dt.date) -> Deployed:
    """Ask for a run and wait for it."""
    deployment = await client.read_deployment_by_name(f"day/{system}")
    parts = ("the worker", "the Prefect server")
    begun, cpu_begun = dt.datetime.now(dt.UTC), [cpu_of_service(installation, name) for name in parts]
    run = await client.create_flow_run_from_deployment(deployment.id, parameters={"date": date.isoformat()})
    while run.state is None or not run.state.is_final():
        await asyncio.sleep(0.1)
        run = await client.read_flow_run(run.id)
    ended = dt.datetime.now(dt.UTC)
    if not run.state.is_completed():
        raise SystemExit(f"the day of {system} ended {run.state}")
    states = {s.name: s.timestamp for s in await client.read_flow_run_states(run.id)}
    marks = [begun, states["Pending"], states["Running"], states["Completed"], ended]
    spans = [(b - a).total_seconds() for a, b in itertools.pairwise(marks)]
    await asyncio.sleep(4)  # the flow's process ends, and the server still writes what it has been told
    cpu_ended = [cpu_of_service(installation, name) for name in parts]
    return Deployed(*spans, *(b - a for a, b in zip(cpu_begun, cpu_ended, strict=True)))


async def deployed_days(
    installation: Installation, system: str, date: dt.date, repeats: int
) -> list[Deployed]:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        return [await deployed_day(client, installation, system, date) for _ in range(repeats)]


def table(plain: list[Plain], deployed: list[Deployed]) -> str:
    """A column per day: the first, and the same again."""
    rows = {
        "plain functions, a process of their own": [p.total_s for p in plain],
        "  of these in the steps": [p.steps_s for p in plain],
        "through the deployment": [d.total_s for d in deployed],
        "  until a worker took it": [d.wait_s for d in deployed],
        "  until its flow began": [d.start_s for d in deployed],
        "  in the flow": [d.flow_s for d in deployed],
        "  until the server said so": [d.report_s for d in deployed],
        "added by orchestration": [d.total_s - p.total_s for p, d in zip(plain, deployed, strict=True)],
        "processor, plain functions": [p.cpu_s for p in plain],
        "processor, worker and flow": [d.cpu_s for d in deployed],
        "processor, server": [d.server_cpu_s for d in deployed],
    }
    heads = ["first day", *("same day again" for _ in plain[1:])]
    lines = [f"| {'seconds':<40} | " + " | ".join(f"{h:>14}" for h in heads) + " |"]
    lines.append("|" + "-" * 42 + "|" + "|".join("-" * 15 + ":" for _ in heads) + "|")
    lines += [
        f"| {name:<40} | " + " | ".join(f"{v:14.2f}" for v in values) + " |" for name, values in rows.items()
    ]
    shares = [
        f"{1 - p.cpu_s / (d.cpu_s + d.server_cpu_s):14.0%}" for p, d in zip(plain, deployed, strict=True)
    ]
    lines.append(f"| {'share of orchestration (processor)':<40} | " + " | ".join(shares) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--system", default="iris", help="%(default)s")
    parser.add_argument(
        "--date", type=dt.date.fromisoformat, default=dt.date(2026, 1, 31), help="%(default)s"
    )
    parser.add_argument("--days", type=int, default=2, help="runs of the same day (%(default)s)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        plain = [plain_day(arguments.system, arguments.date, folder / "plain") for _ in range(arguments.days)]
        with running_server(Folders(folder / "state"), Stages(), port=0) as installation:
            registration = installation.register()
            installation.add_worker()
            installation.registered(registration)
            days = deployed_days(installation, arguments.system, arguments.date, arguments.days)
            deployed = asyncio.run(days)
    print(f"\n{arguments.system}, {arguments.date}\n\n{table(plain, deployed)}")
    if arguments.json:
        figures = {"plain": [p.__dict__ for p in plain], "deployed": [d.__dict__ for d in deployed]}
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
