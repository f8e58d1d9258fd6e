"""What would make a model better, by how much, at what cost, and who measured it.

Each measurement (a search, a learning curve, rates by group, ...) turns its report into suggestions; those
functions are in `dagsverk.suggesting`. Here they become comparable: a gain is how much the system's error
would fall, and its share of the error as it is now puts error rates and log-losses in one order.
Light: loads no learning library.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

About: TypeAlias = Literal["model", "data"]
ABOUT: tuple[About, ...] = ("model", "data")


@dataclass(frozen=True, kw_only=True)
class Gain:
    """By how much an error falls, in its own units; above 0 is better.

    `value` None: nobody measured what the action itself brings, and `high` is the most that it could.
    """

    measure: str  # in words: "word error rate", "log-loss", "error (1 - accuracy)"
    value: float | None
    low: float
    high: float
    now: float | None = None  # the error as it is, in the same units; None: not known
    share: bool = False  # a share of 1, said in points of a percentage; else a plain number

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"a gain's limits must be low <= high, got {self.low} and {self.high}")

    @property
    def shown(self) -> bool:
        """Whether the gain was measured, and its interval lies above 0."""
        return self.value is not None and self.low > 0

    def of_now(self, part: float) -> float:
        """A part of the gain as a share of the error as it is; the part itself where that is not known."""
        return part / self.now if self.now else part


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """Something to do."""

    about: About
    action: str  # a sentence in the imperative
    why: str  # a sentence with the numbers that it rests on
    gain: Gain | None  # None: nobody knows
    cost: str  # in words: what a person or a machine has to do
    cost_s: float | None = None  # seconds of computing, if measured
    command: str = ""  # that starts it; "": it is no matter of a command
    source: str  # the artefact of the report that says so; "": none yet
    made_at: str = ""  # ISO 8601, UTC: of the report

    def __post_init__(self) -> None:
        if self.about not in ABOUT:
            raise ValueError(f"about must be one of {', '.join(ABOUT)}, got {self.about!r}")
        if not self.action.strip() or not self.why.strip():
            raise ValueError("a suggestion says what to do and why; one of them is empty")

    @property
    def shown(self) -> bool:
        """Whether its gain was measured, beyond chance."""
        return self.gain is not None and self.gain.shown


def ordered(suggestions: Iterable[Suggestion], about: About | None = None) -> tuple[Suggestion, ...]:
    """What would help most first.

    Gains beyond chance by their size, then measured ones whose interval holds 0 by its lower end, then those
    of which only the most is known by that, then what nobody measured. Equal ones stay as they come.

    Args: about: only these; None: all.
    """
    kept = [one for one in suggestions if about is None or one.about == about]
    return tuple(sorted(kept, key=_place))


def _place(one: Suggestion) -> tuple[int, float]:
    gain = one.gain
    if gain is None:
        return 3, 0.0
    if gain.value is None:
        return 2, -gain.of_now(gain.high)
    return (0, -gain.of_now(gain.value)) if gain.shown else (1, -gain.of_now(gain.low))


def gain_words(gain: Gain | None) -> str:
    """ "2.1 points of word error rate (0.4 to 3.8)"; "at most ..."; "not measured"."""
    if gain is None:
        return "not measured"
    if gain.value is None:
        return f"at most {_number(gain.high, gain)} of {gain.measure}; what it brings was not measured"
    ends = f"{_number(gain.low, gain, unit=False)} to {_number(gain.high, gain, unit=False)}"
    words = f"{_number(gain.value, gain)} of {gain.measure} ({ends})"
    return words if gain.shown else f"{words}: not shown, for the interval holds 0 or less"


def _number(value: float, gain: Gain, *, unit: bool = True) -> str:
    if not gain.share:
        return f"{value:.4f}"
    return f"{100 * value:.1f} points" if unit else f"{100 * value:.1f}"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A flow whose report says what would help."""

    question: str  # what it answers
    step: str  # under which its report is kept
    flow: str  # the deployment is flow/name of the system or language


def unmeasured(measurements: Iterable[Measurement], steps_kept: Iterable[str]) -> tuple[Measurement, ...]:
    """Those that nobody has made yet. Args: steps_kept: whose reports are there."""
    kept = set(steps_kept)
    return tuple(one for one in measurements if one.step not in kept)
