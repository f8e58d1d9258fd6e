"""A search for better settings: what is asked, and what came of it. Light: loads no learning library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pydantic import Field

from dagsverk.form import CLOSED
from dagsverk.tabular.config import COMPARED, MAX_SEED, MODEL_CLASSES, ModelClass
from dagsverk.tabular.measures import WORDS
from dagsverk.tabular.reports import Interval
from dagsverk.words import counted

SEEDS = 3  # of the models that are compared at the end
STEP = "search"  # the report's name in the store


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How settings are searched for. Limits twice, as in `TrainingConfig`."""

    __pydantic_config__ = CLOSED

    model_classes: Annotated[
        tuple[ModelClass, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True})
    ] = COMPARED
    # of each part of the rows, the default of each class among them; more than before goes on from before
    trials: Annotated[int, Field(ge=1, le=1000)] = 24
    outer_folds: Annotated[int, Field(ge=2, le=20)] = 5  # of rows that a search does not see
    # partitions into outer folds, at most; fewer where there are many rows, like those of a training
    outer_repeats: Annotated[int, Field(ge=1, le=10)] = 3
    inner_folds: Annotated[int, Field(ge=2, le=20)] = 5  # that a trial is scored on
    seed: Annotated[int, Field(ge=0, le=MAX_SEED - 10_000)] = 42

    def __post_init__(self) -> None:
        object.__setattr__(self, "model_classes", tuple(self.model_classes))
        classes = self.model_classes
        if not classes or len(set(classes)) != len(classes) or not set(classes) <= set(MODEL_CLASSES):
            raise ValueError(f"model_classes must be one or more of {', '.join(MODEL_CLASSES)}, each once")
        for name, low, high in (
            ("trials", 1, 1000),
            ("outer_folds", 2, 20),
            ("outer_repeats", 1, 10),
            ("inner_folds", 2, 20),
            ("seed", 0, MAX_SEED - 10_000),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")
        if self.trials <= len(classes):
            raise ValueError(
                f"trials must be more than the {len(classes)} model classes, whose defaults are the first "
                f"trials; got {self.trials}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings in JSON types."""
        return {**asdict(self), "model_classes": list(self.model_classes)}


@dataclass(frozen=True)
class Settings:
    """A model class with its parameters, and its mean over the folds that it was chosen on."""

    model_class: str
    parameters: Mapping[str, Any]
    value: float  # of the measure; flattering, for it was chosen by this very number


@dataclass(frozen=True)
class FoldChoice:
    """What was chosen on the rows of one outer fold, and by how much it is better on the others."""

    default: Settings
    best: Settings
    gain: float  # of the measure, above 0 is better; mean over the seeds


@dataclass(frozen=True)
class Cost:
    """What a search took, of all runs that it was done in."""

    seconds: float  # of trials, added up; several may go on side by side
    fits: int
    finished: int  # trials scored on all inner folds
    pruned: int  # given up after some of them, being worse than the best on these
    failed: int  # could not be fitted
    repeated: int = 0  # the same settings again: scored once
    cut_off: int = 0  # killed, and done again
    reasons: tuple[str, ...] = ()  # why trials failed, each once


@dataclass(frozen=True, kw_only=True)
class Searched:
    """Whether other settings are better than the defaults, on rows that neither choice has seen."""

    data_commit: int
    rows: int
    measure: str
    model_classes: tuple[str, ...]
    trials: int  # of each search
    outer_folds: int
    inner_folds: int
    seeds: tuple[int, ...]
    default: Mapping[str, Interval]  # metric -> of the best default
    best: Mapping[str, Interval]  # metric -> of what was searched
    gain: Mapping[str, Interval]  # metric -> paired over the outer folds, above 0 is better
    better: bool  # the measure's interval is above 0
    choices: tuple[FoldChoice, ...]  # one per outer fold
    standing: Settings  # best default of all rows
    settings: Settings  # best settings of all rows
    importances: Mapping[str, float] = field(default_factory=dict)  # parameter -> share; PED-ANOVA
    cost: Cost
    outer_repeats: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """In one sentence or two."""
        gain, word = self.gain[self.measure], WORDS[self.measure]
        numbers = f"{gain.mean:+.4f} of {word} ({gain.low:+.4f} to {gain.high:+.4f}, above 0 is better)"
        of = f"on {self.rows} rows that neither choice has seen, {self._folds}, {SEEDS} seeds"
        if self.better:
            return f"Searched settings are better than the defaults: {numbers}, {of}.{self._price}"
        if gain.high < 0:
            return f"Searched settings are worse than the defaults: {numbers}, {of}. Keep the defaults."
        return f"No better settings were shown: {numbers}, {of}. The interval holds 0: keep the defaults."

    @property
    def _price(self) -> str:
        """Other measures that are worse beyond their intervals."""
        worse = (
            f" But {WORDS[name]} is worse: {gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})."
            for name, gain in self.gain.items()
            if name != self.measure and gain.high < 0
        )
        return "".join(worse)

    @property
    def _folds(self) -> str:
        return f"{counted(self.outer_repeats, 'time', 'times')} {self.outer_folds} folds"
