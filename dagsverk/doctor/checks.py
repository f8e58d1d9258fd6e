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

from dagsverk.doctor import launcher, machine, runs, server, settings, store, versions
from dagsverk.doctor.finding import Finding, Installation, Level, warn, wrong
from dagsverk.doctor.server import NoAnswer
from dagsverk.version import ROOT

LIMIT_S = 8.0  # for all of it; it takes one to three seconds, unless something hangs
SECRET = re.compile(r"(KEY|SECRET|TOKEN|PASSWORD|LOGIN|AUTH_STRING)(?!.*_(FILE|PATH)$)")
IN_ADDRESS = re.compile(r"://[^/@\s]*:([^@\s]+)@")
SHORTEST_SECRET = 6  # anything shorter would be found by chance in ordinary words

Check = Callable[[Installation], Iterator[Finding]]

# In this order they are told. Checks of one module run one after the other, the modules side by side.
CHECKS: Sequence[tuple[str, Check]] = (
    ("python", versions.python),
    ("requirements", versions.requirements),
    ("extras", versions.extras),
    ("contradictions", versions.everybody),
    ("tested versions", versions.tested),
    (".venv", versions.environment_age),
    ("decoders", versions.decoders),
    ("postgresql", versions.database_package),
    ("settings", settings.names),
    ("settings", settings.things),
    ("settings", settings.values),
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
class Told:
    """What the checks of one group have found so far."""

    findings: list[tuple[str, Finding]] = field(default_factory=list)
    now: str = ""  # the check that runs
    thread: threading.Thread | None = None


def examine(here: Installation, limit_s: float = LIMIT_S) -> list[tuple[str, Finding]]:
    """All findings, in the order of the table. A group that does not end in time is told as such."""
    groups = [list(checks) for _, checks in itertools.groupby(CHECKS, key=_group)]
    tolds = [Told() for _ in groups]
    deadline = time.monotonic() + limit_s
    for told, checks in zip(tolds, groups, strict=True):
        told.thread = threading.Thread(target=_run, args=(here, checks, told), daemon=True)
        told.thread.start()
    for told in tolds:
        if told.thread is not None:
            told.thread.join(max(0.0, deadline - time.monotonic()))
            if told.thread.is_alive():
                late = wrong(
                    f"no answer within {limit_s:.0f} s", "look there first: it hangs, or is very slow"
                )
                told.findings.append((told.now, late))
    return [_without_secrets(name, finding, here) for told in tolds for name, finding in list(told.findings)]


def _group(entry: tuple[str, Check]) -> str:
    """Checks of runs need what the checks of the server have found."""
    module = entry[1].__module__
    return server.__name__ if module == runs.__name__ else module


def _run(here: Installation, checks: list[tuple[str, Check]], told: Told) -> None:
    for name, check in checks:
        told.now = name
        try:
            for finding in check(here):
                told.findings.append((name, finding))
        except NoAnswer as error:
            if str(error):
                told.findings.append((name, warn(f"Prefect did not answer ({error})", "try again")))
            return
        except Exception as error:  # noqa: BLE001  one check that stumbles must not hide what the others see
            text = f"this check did not end: {type(error).__name__}: {error}"
            told.findings.append((name, warn(text, "tell us; the others are not concerned")))


def _without_secrets(name: str, finding: Finding, here: Installation) -> tuple[str, Finding]:
    """The last guard: no value of a variable that may be secret is shown, whoever has quoted it."""
    what, remedy = finding.what, finding.remedy
    for secret in sorted(_secrets(here), key=len, reverse=True):
        what, remedy = what.replace(secret, "(not shown)"), remedy.replace(secret, "(not shown)")
    return name, Finding(finding.level, what, remedy)


def _secrets(here: Installation) -> Iterator[str]:
    """What may be secret in the environment: values, passwords of pairs, passwords in addresses."""
    for variable, value in here.environ.items():
        found = [value, value.partition(":")[2]] if SECRET.search(variable) else []
        found += [each[1] for each in IN_ADDRESS.finditer(value)]
        yield from (each for each in found if len(each) >= SHORTEST_SECRET)


def as_text(told: Sequence[tuple[str, Finding]]) -> Iterator[str]:
    """A line for each finding, and one for its remedy."""
    for name, finding in told:
        yield f"{finding.level.value:<6}{name:<17}{finding.what}"
        if finding.remedy:
            yield f"{'':<23}-> {finding.remedy}"
    counts = [f"{sum(f.level is level for _, f in told)} {level.value}" for level in Level]
    yield ", ".join(reversed(counts))


def as_json(told: Sequence[tuple[str, Finding]]) -> str:
    found = [
        {"check": name, "level": f.level.value, "what": f.what, "remedy": f.remedy or None}
        for name, f in told
    ]
    return json.dumps({"ok": not fails(told), "findings": found}, indent=1)


def fails(told: Sequence[tuple[str, Finding]]) -> bool:
    return any(finding.level is Level.WRONG for _, finding in told)


def installation(state: str | None) -> Installation:
    """This checkout, with the state folder that is named, or its own."""
    folder = Path(state).expanduser() if state else ROOT / ".dagsverk"
    return Installation(ROOT, folder.absolute(), dict(os.environ))
