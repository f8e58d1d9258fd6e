"""`make audit`: known holes and licences of what is installed, and a bill of materials (build/sbom.json).

pip-audit and cyclonedx-bom run in environments of their own, which uv makes. A part that could not be done is
said, and fails: an audit that did not happen is no audit that found nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from deployments.licences import OWN, Policy, faults

PIP_AUDIT, CYCLONEDX = "pip-audit==2.10.1", "cyclonedx-bom==7.5.0"
SBOM = Path("build/sbom.json")
# Abandoned, with two holes that are never closed. A service that knows of none would call everything clean.
PROBE = ("pycrypto", "2.6.1")
LIMIT_S = 600.0


@dataclass(frozen=True)
class Part:
    """What one part of the audit came to."""

    name: str
    good: bool
    says: str
    lines: tuple[str, ...] = ()


def run_tool(requirement: str, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a package in an environment of its own."""
    uv = Path(sys.executable).with_name("uv")
    return subprocess.run(
        [str(uv), "tool", "run", "--quiet", "--from", requirement, command, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def installed() -> list[Distribution]:
    """Every package of this environment, once."""
    packages = {package.metadata["Name"]: package for package in distributions()}
    return [packages[name] for name in sorted(packages, key=str.lower)]


def requirements(packages: Iterable[Distribution]) -> str:
    """What is asked about: all but this project, without the names of builds (`+cpu`), and the probe."""
    pairs = [(p.metadata["Name"], p.version.partition("+")[0]) for p in packages if p.metadata["Name"] != OWN]
    return "".join(f"{name}=={version}\n" for name, version in [*pairs, PROBE])


def holes(packages: Sequence[Distribution]) -> Part:
    """Known holes, by PyPI's advisories."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder, "asked.txt"), Path(folder, "answer.json")
        asked.write_text(requirements(packages))
        done = run_tool(
            PIP_AUDIT, "pip-audit", "--requirement", str(asked), "--no-deps", "--disable-pip",
            "--format", "json", "--output", str(answer), "--progress-spinner", "off",
        )  # fmt: skip
        if not answer.exists() or not answer.stat().st_size:
            return Part("known holes", False, f"NOT CHECKED: {last_line(done.stderr)}")
        return judge(json.loads(answer.read_text())["dependencies"])


def judge(answers: Sequence[dict[str, Any]]) -> Part:
    """What the answers come to. pip-audit itself calls a package clean that the service passed over."""
    others = [a for a in answers if a["name"] != PROBE[0]]
    if skipped := [a["name"] for a in others if "skip_reason" in a]:
        reason = f"the service told nothing about {len(skipped)} of {len(others)} packages"
        few = tuple(skipped) if len(skipped) < len(others) else ()
        return Part("known holes", False, f"NOT CHECKED: {reason}", few)
    if not any(a.get("vulns") for a in answers if a["name"] == PROBE[0]):
        reason = f"the service knows of no hole in {'=='.join(PROBE)}, which has two; it cannot be believed"
        return Part("known holes", False, f"NOT CHECKED: {reason}")
    holes = [
        f"{a['name']} {a['version']}: {v['id']}, mended in {', '.join(v['fix_versions']) or 'no version yet'}"
        for a in others
        for v in a["vulns"]
    ]
    return Part("known holes", not holes, f"{len(holes)} in {len(others)} packages", tuple(holes))


def licences(packages: Sequence[Distribution]) -> Part:
    refused = faults(packages, Policy.read())
    says = f"{len(packages) - len(refused)} of {len(packages)} packages bear one that is allowed"
    return Part("licences", not refused, says, tuple(f"{name}: {fault}" for name, fault in refused.items()))


def bill(path: Path = SBOM) -> Part:
    """A CycloneDX bill of materials of this environment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    done = run_tool(CYCLONEDX, "cyclonedx-py", "environment", sys.executable, "--output-file", str(path))
    if not path.exists():
        return Part("bill of materials", False, f"NOT WRITTEN: {last_line(done.stderr)}")
    components = json.loads(path.read_text())["components"]
    return Part("bill of materials", True, f"{path}, CycloneDX, {len(components)} components")


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "the tool said nothing"


def main() -> int:
    packages = installed()
    parts: list[Callable[[], Part]] = [lambda: licences(packages), bill, lambda: holes(packages)]
    good = True
    for part in parts:
        done = part()
        print(f"{'ok  ' if done.good else 'FAIL'}  {done.name}: {done.says}", flush=True)
        for line in done.lines:
            print(f"        {line}")
        good = good and done.good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
