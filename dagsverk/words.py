"""Numbers, counts and tables in words: one way to say each, for cards, reports, pages and both families."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

NOTHING = "nothing to score"
NO_INTERVAL = "no interval"
MOST_IMPORTANCES, LEAST_SHARE = 6, 0.005


def interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """A number and its limits: "0.415 [0.400, 0.430]"; "0.415 [no interval]"; "nothing to score"."""
    if value is None:
        return NOTHING
    ends = NO_INTERVAL if low is None or high is None else f"{low:.{digits}f}, {high:.{digits}f}"
    return f"{value:.{digits}f} [{ends}]"


def percent_interval(value: float | None, low: float | None, high: float | None) -> str:
    """A share of 1 and its limits: "8.1 % (6.6 to 9.7)"; "8.1 % (no interval)"; "nothing to score"."""
    if value is None:
        return NOTHING
    ends = NO_INTERVAL if low is None or high is None else f"{_points(low)} to {_points(high)}"
    return f"{_points(value)} % ({ends})"


def difference(value: float, low: float | None, high: float | None) -> str:
    """A difference of two shares: "-1.2 points (-3.4 to +1.0)"; "-1.2 points" where it has no limits."""
    ends = "" if low is None or high is None else f" ({_signed_points(low)} to {_signed_points(high)})"
    return f"{_signed_points(value)} points{ends}"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def _signed_points(share: float) -> str:
    return f"{100 * share:+.1f}"


def last_part(name: object) -> str:
    """A name as it is; of a path or an address its last part, for its folders are nobody's business.

    `openai/whisper-small` is a name; `/data/models/mine`, `./mine` and `s3://bucket/mine` are not.
    """
    text = str(name)
    if text.count("/") > 1 or re.match(r"[/~.\\]|[A-Za-z]:[\\/]|[a-z][a-z0-9+.-]*://", text):
        text = re.split(r"[/\\]+", text.rstrip("/\\"))[-1] or text
    return text


def number(count: int) -> str:
    """A count with its thousands apart: "1,024"."""
    return f"{count:,}"


def counted(count: int, one: str, many: str = "") -> str:
    """ "1 clip", "1,059 clips"; `many` where it is not `one` with an s."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def mattered_words(importances: Mapping[str, float]) -> str:
    """The parameters of a search with the greatest shares, from those in order: "depth 61%, rate 30%"."""
    shares = list(importances.items())[:MOST_IMPORTANCES]
    words = ", ".join(f"{name} {share:.0%}" for name, share in shares if share >= LEAST_SHARE)
    return words or "too few trials to tell"


def voices(speakers: int, clips_without_speaker: int = 0) -> str:
    """Whose clips they are: "18 voices", "1 voice and 3 clips of unnamed speakers", "unnamed speakers"."""
    if not speakers:
        return "unnamed speakers"
    unnamed = f" and {counted(clips_without_speaker, 'clip')} of unnamed speakers"
    return f"{counted(speakers, 'voice')}{unnamed if clips_without_speaker else ''}"


def spaced(name: str) -> str:
    """A field's name in words: "base model" for base_model."""
    return name.replace("_", " ")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def facts(pairs: Mapping[str, Any]) -> str:
    """A Markdown list: "- base model: nano"; lists and mappings in JSON, "none" for nothing."""
    return "\n".join(f"- {spaced(name)}: {_fact(value)}" for name, value in pairs.items())


def _fact(value: Any) -> str:
    several = isinstance(value, Mapping | list | tuple)
    if value is None or ((isinstance(value, str) or several) and not value):
        return "none"
    return json.dumps(value, ensure_ascii=False) if several else str(value)


def decision(reason: str, warnings: Sequence[str], rule: str) -> str:
    """A gate's decision, in Markdown."""
    return "\n\n".join([reason, *(f"**Warning.** {warning}" for warning in warnings), f"Rule: {rule}"])


def versions(packages: Iterable[str]) -> str:
    """ "torch 2.8.0, transformers 4.57.1"; "unknown" for one that is not installed."""
    return ", ".join(f"{package} {_version(package)}" for package in packages)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
