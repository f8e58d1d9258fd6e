"""`dagsverk doctor`: the table of all checks, run side by side and each for a few seconds at most."""

from __future__ import annotations

import itertools
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dagsverk.doctor import launcher, machine, runs, server, settings, store, systems, versions
from dagsverk.doctor.finding import Finding, Installation, Level, warn, wrong
from dagsverk.doctor.server import NoAnswer
from dagsverk.version import ROOT

LIMIT_S = 8.0  # for all of it; it takes one to three seconds, unless something hangs
SECRET = re.compile(r"(KEY|SECRET|TOKEN|PASSWORD|LOGIN|AUTH_STRING)(?!.*_(FILE|PATH)$)")
IN_ADDRESS = re.compile(r"://[^/@\s]*:([^@\s]+)@")
SHORTEST_SECRET = 6  # anything shorter would be found by chance in ordinary words

Check = Callable[[Installation], Iterator[Finding]]

# In this order they are shown. Checks of one module run one after the other, the modules side by side.
CHECKS: Sequence[tuple[str, Check]] = (
    ("python", versions.python),
    ("requirements", versions.requirements),
    ("extras", versions.extras),
    ("contradictions", versions.everybody),
    ("tested versions", versions.tested),
    (".venv", versions.environment_age),
    ("decoders", versions.decoders),
    ("postgresql", versions.database_package),
    ("systems", systems.files),
    ("settings", settings.names),
    ("settings", settings.things),
    ("settings", settings.values),
    ("settings", settings.doors),
    ("login", settings.login),
    ("state folder", launcher.folder),
    ("launcher", launcher.owner),
    ("ports", launcher.ports),
    ("database", launcher.database),
    ("postgresql", launcher.postgres),
    ("sockets", launcher.sockets),
    ("claims", launcher.claims),
    ("disks", machine.disks),
    ("logs", machine.logs),
    ("memory", machine.memory),
    ("clock", machine.clock),
    ("store", store.place),
    ("prefect", server.answers),
    ("prefect", server.elsewhere),
    ("workers", runs.workers),
    ("late runs", runs.late),
    ("stuck runs", runs.stuck),
    ("crashed runs", runs.crashed),
    ("limits", runs.limits),
    ("schedules", runs.schedules),
    ("deployments", runs.deployments),
)


@dataclass
class Group:
    """Checks that run one after the other in a thread of their own, and their findings so far."""

    checks: list[tuple[str, Check]]
    findings: list[tuple[str, Finding]] = field(default_factory=list)
    now: str = ""  # the check that runs

    def add(self, finding: Finding) -> None:
        self.findings.append((self.now, finding))


def examine(here: Installation, limit_s: float = LIMIT_S) -> list[tuple[str, Finding]]:
    """All findings, in the order of the table. A group that does not end in time is told as such."""
    groups = [Group(list(checks)) for _, checks in itertools.groupby(CHECKS, key=_module)]
    threads = [threading.Thread(target=_run, args=(here, group), daemon=True) for group in groups]
    deadline = time.monotonic() + limit_s
    for thread in threads:
        thread.start()
    for thread, group in zip(threads, groups, strict=True):
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            late = f"no answer within {limit_s:.0f} s"
            group.add(wrong(late, "look there first: it hangs, or is very slow"))
    findings = [entry for group in groups for entry in list(group.findings)]
    return [_without_secrets(name, finding, here) for name, finding in findings]


def _module(entry: tuple[str, Check]) -> str:
    """Whose checks one group is. Checks of runs need what the checks of the server have found."""
    module = entry[1].__module__
    return server.__name__ if module == runs.__name__ else module


def _run(here: Installation, group: Group) -> None:
    for name, check in group.checks:
        group.now = name
        try:
            for finding in check(here):
                group.add(finding)
        except NoAnswer as error:
            if str(error):
                group.add(warn(f"Prefect did not answer ({error})", "try again"))
            return
        except Exception as error:  # noqa: BLE001  one check that stumbles must not hide what the others see
            text = f"this check did not end: {type(error).__name__}: {error}"
            group.add(warn(text, "tell us; the others are not concerned"))


def _without_secrets(name: str, finding: Finding, here: Installation) -> tuple[str, Finding]:
    """The last guard: no value of a variable that may be secret is shown, whoever has quoted it."""
    what, remedy = finding.what, finding.remedy
    for secret in sorted(_secrets(here), key=len, reverse=True):
        what, remedy = what.replace(secret, "(not shown)"), remedy.replace(secret, "(not shown)")
    return name, Finding(finding.level, what, remedy)


def _secrets(here: Installation) -> Iterator[str]:
    """What may be secret in the environment: values, passwords of pairs, passwords in addresses."""
    for variable, value in here.environ.items():
        secrets = [value, value.partition(":")[2]] if SECRET.search(variable) else []
        secrets += [each[1] for each in IN_ADDRESS.finditer(value)]
        yield from (each for each in secrets if len(each) >= SHORTEST_SECRET)


def as_text(findings: Sequence[tuple[str, Finding]]) -> Iterator[str]:
    """A line for each finding, and one for its remedy."""
    for name, finding in findings:
        yield f"{finding.level.value:<6}{name:<17}{finding.what}"
        if finding.remedy:
            yield f"{'':<23}-> {finding.remedy}"
    counts = [f"{sum(f.level is level for _, f in findings)} {level.value}" for level in Level]
    yield ", ".join(reversed(counts))


def as_json(findings: Sequence[tuple[str, Finding]]) -> str:
    content = [
        {"check": name, "level": f.level.value, "what": f.what, "remedy": f.remedy or None}
        for name, f in findings
    ]
    return json.dumps({"ok": not fails(findings), "findings": content}, indent=1)


def fails(findings: Sequence[tuple[str, Finding]]) -> bool:
    return any(finding.level is Level.WRONG for _, finding in findings)


def installation(state: str | None) -> Installation:
    """This checkout, with the state folder that is named, or its own."""
    folder = Path(state).expanduser() if state else ROOT / ".dagsverk"
    return Installation(ROOT, folder.absolute(), dict(os.environ))
