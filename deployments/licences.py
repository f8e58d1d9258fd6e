"""Which licences the installed packages bear, held against `licences.toml`. Needs no network."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import Distribution
from pathlib import Path

POLICY = Path(__file__).with_name("licences.toml")
OWN = "dagsverk"
LONGEST_NAME = 100  # some packages have the whole text in the field for the name


@dataclass(frozen=True)
class Policy:
    """What is allowed, and what somebody has looked at."""

    allowed: frozenset[str]
    names: Mapping[str, str]
    exceptions: tuple[Mapping[str, str], ...]

    @classmethod
    def read(cls, path: Path = POLICY) -> Policy:
        policy = tomllib.loads(path.read_text())
        return cls(frozenset(policy["allowed"]), policy["names"], tuple(policy["exceptions"]))

    def fault(self, package: str, declared: str) -> str | None:
        """Why a package may not be installed; None if it may."""
        for exception in self.exceptions:
            if fnmatch(package, exception["package"]):
                if declared == exception["declares"]:
                    return None
                return f"declares {declared!r}, and {exception['declares']!r} when it was looked at"
        if not declared:
            return "declares no licence"
        refused = self._refused(declared)
        return f"its licence {declared!r} is not on the list ({refused})" if refused else None

    def _refused(self, declared: str) -> str:
        """The part of an expression that is not allowed, or nothing. AND binds tighter than OR (SPDX)."""
        text = declared.strip()
        if text in self.names or text in self.allowed:
            return "" if self.names.get(text, text) in self.allowed else text
        for word, enough in ((" OR ", any), (" AND ", all)):
            parts = _split(text, word)
            if len(parts) > 1:
                refused = [self._refused(part) for part in parts]
                return "" if enough(not part for part in refused) else next(filter(None, refused))
        if _whole(text):
            return self._refused(text[1:-1])
        return text


def _split(text: str, word: str) -> list[str]:
    """The parts between a word that stands outside of all brackets."""
    parts, depth, start = [], 0, 0
    for place in range(len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if depth == 0 and text.startswith(word, place):
            parts.append(text[start:place])
            start = place + len(word)
    return [*parts, text[start:]]


def _whole(text: str) -> bool:
    """Whether one pair of brackets is around it all."""
    if not (text.startswith("(") and text.endswith(")")):
        return False
    depths, depth = [], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        depths.append(depth)
    return all(depths[:-1]) and depths[-1] == 0


def declared(package: Distribution) -> str:
    """What a package says of its licence: the SPDX expression, else all of its classifiers, else a name."""
    metadata = package.metadata
    for expression in metadata.get_all("License-Expression") or []:
        return str(expression)
    marks = [text.split(" :: ")[-1] for text in metadata.get_all("Classifier") or [] if text[:7] == "License"]
    if names := [mark for mark in marks if mark != "OSI Approved"]:
        return " AND ".join(names)
    name = "".join(metadata.get_all("License") or []).strip()
    return name if len(name) <= LONGEST_NAME and "\n" not in name else ""


def faults(packages: Iterable[Distribution], policy: Policy) -> dict[str, str]:
    """Package -> why it may not be installed, for those that may not."""
    refused = {}
    for package in packages:
        name = re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()
        if name != OWN and (fault := policy.fault(name, declared(package))):
            refused[name] = fault
    return dict(sorted(refused.items()))
