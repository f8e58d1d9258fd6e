"""How both families register a model: found by its key, saved once, promoted if its decision says so.

Which model may be promoted is each family's own rule (`tabular.gate`, `speech.registry.gate`). Light: loads
no learning library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dagsverk.records import parse
from dagsverk.store import Model, ModelRegistry


@dataclass(frozen=True)
class Decision:
    """What the gate decided, why, and from which numbers. Kept as JSON in the version's info."""

    promoted: bool
    reason: str  # one sentence with numbers
    rule: str
    numbers: Mapping[str, float | None]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What came of registering a model."""

    version: int
    new: bool  # saved by this call; else it was there before
    promoted: bool  # the gate's decision, made when the version was saved; so are the next four
    reason: str  # the decision's; of a version that was there before, it says that first
    decision: str
    rule: str
    warnings: tuple[str, ...]
    champion: int | None  # the version in use now

    @property
    def in_use(self) -> bool:
        """Whether this very version is the champion."""
        return self.champion == self.version


def register(
    store: ModelRegistry, name: str, key: Mapping[str, str], save: Callable[[], Model], *, nothing_new: str
) -> tuple[Model, Registration]:
    """The version whose info holds the key, saved if there is none; promoted when its decision says so.

    Safe to repeat: a version that was saved but not yet promoted when its process was killed is promoted by
    the next call.

    Args:
        key: one name and value of info, equal for equal trainings, such as {"training_key": "3f2a…"}.
        save: saves a version whose info holds the key, and as "decision" a Decision in JSON types.
        nothing_new: what is said of a version that was there before, such as "nothing new, this is".
    Raises: Conflict when another process promoted a version in the meantime.
    """
    alike = [version for version in store.models(name) if key.items() <= version.info.items()]
    version = alike[-1] if alike else save()
    decision = parse(version.info["decision"], Decision, f"the decision on {name} version {version.version}")
    champion = store.champion(name)
    in_use = champion.version if champion else None
    if decision.promoted and (in_use is None or in_use < version.version):
        store.promote(name, version.version, reason=decision.reason, expected=in_use)
        in_use = version.version
    same = f"{nothing_new} version {version.version}"
    of_earlier = same if in_use == version.version else f"{same}: {decision.reason}"
    return version, Registration(
        version=version.version,
        new=not alike,
        promoted=decision.promoted,
        reason=of_earlier if alike else decision.reason,
        decision=decision.reason,
        rule=decision.rule,
        warnings=decision.warnings,
        champion=in_use,
    )
