"""The files that describe tabular systems: a faulty one costs that system alone, and is named here."""

from __future__ import annotations

from collections.abc import Iterator

from dagsverk.doctor.finding import Finding, Installation, fine, some, wrong


def files(_: Installation) -> Iterator[Finding]:
    """Each system's file, read as flows and pages read it."""
    from dagsverk.tabular.system import faults, systems

    faulty = faults()
    if usable := [name for name in systems() if name not in faulty]:
        yield fine(f"{len(usable)} tabular systems can be used: {some(usable)}")
    for name, why in faulty.items():
        yield wrong(f"system {name} cannot be used: {why}", "mend its file; the other systems go on")
