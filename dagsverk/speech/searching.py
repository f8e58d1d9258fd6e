"""A search for better settings of fine-tuning: what is asked, what is kept, what came of it. Light.

Layout below the artefact folder speech/<language name>/searches/<search>/:
    plan.json               the settings that it starts from, nothing left open, and how long its stages are
    trials/<number>.json    the settings of a trial
    results/<key>.json      what a training came to at the end of a stage; named by all that it depends on
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

from pydantic import Field

from dagsverk.form import CLOSED
from dagsverk.records import read, write
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.evaluation.report import Interval
from dagsverk.speech.languages import Language
from dagsverk.store import NotFound, Store
from dagsverk.words import counted

STEP = "search"  # the report's name in the store
SEEDS = 3  # of the two settings that are compared at the end
PARTS = 8  # of a full run; a validation after each
STAGES = (1, 3)  # of these parts; as 16 trials cost 16/8 + 4 * 2/8 = 3 full runs
KEPT_SHARE = 4  # one in so many goes on to the second stage
LEAST_STEPS = 16  # of a full run, at the smallest batch factor that is drawn


@dataclass(frozen=True, kw_only=True)
class SpeechSearchConfig:
    """How settings are searched for. Limits twice, as elsewhere: for the form, and for everyone."""

    __pydantic_config__ = CLOSED

    trials: Annotated[int, Field(ge=2, le=200)] = 16  # the first is the settings that are there
    at_once: Annotated[int, Field(ge=1, le=64)] = 1  # under way together: as many as pool gpu has machines
    seed: Annotated[int, Field(ge=0, le=2**31)] = 42

    def __post_init__(self) -> None:
        for name, low, high in (("trials", 2, 200), ("at_once", 1, 64), ("seed", 0, 2**31)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")

    @property
    def promoted(self) -> int:
        """Trials that go on after the first stage, the default among them."""
        return max(2, self.trials // KEPT_SHARE)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a search starts from. Settings: what people left open was filled in where they are trained."""

    search: str
    language: str  # Whisper's code
    set: str
    asked: FinetuneConfig
    settings: FinetuneConfig
    model: str  # SHA-256 of the weights that every trial starts from


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training as far as one stage: all that its result depends on."""

    __pydantic_config__ = CLOSED

    search: str = ""
    set: str = ""
    settings: FinetuneConfig = field(default_factory=FinetuneConfig)
    until: int | None = None  # a step; None: whole, and scored on test

    def __post_init__(self) -> None:
        if bool(self.search) != bool(self.set):
            raise ValueError("a training of a search names both its search and its set")

    @property
    def run_key(self) -> str:
        """Of the training, however far."""
        return _digest([self.set, self.settings.to_dict()])

    @property
    def key(self) -> str:
        """Of its result."""
        return f"{self.run_key}-{self.until if self.until is not None else 'whole'}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a training came to at the end of a stage."""

    run: str = ""
    step: int = 0  # where it stands; of a whole one the step that dev chose
    steps: int = 0  # of the optimiser, all that it has taken
    dev_loss: float | None = None  # nats per token
    dev_wer: float | None = None
    seconds: float = 0.0  # of the attempt that came to the end of the stage
    reason: str = ""  # why there is no loss: these settings cannot be trained
    lost: bool = False  # there is none, and it is not known that the settings are to blame
    clips: tuple[str, ...] = ()  # of test, as the next four; only of a whole one
    speakers: tuple[str, ...] = ()
    words: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()  # of words


@dataclass(frozen=True)
class SpeechCost:
    """What a search took, of all runs that it was done in."""

    trials_steps: float  # of trials, as a multiple of one full run
    finals_steps: float  # of the trainings that are compared at the end, beyond what their trials had done
    seconds: float  # of all trainings, added up
    finished: int  # trials that came to the end of the first stage
    promoted: int  # of these, to the end of the second
    failed: int  # cannot be trained
    lost: int  # with their machine, twice
    dropped: int  # trainings whose checkpoints were removed
    reasons: tuple[str, ...] = ()


def _nothing() -> Interval:
    return Interval(None)


@dataclass(frozen=True, kw_only=True)
class SearchedSpeech:
    """Whether other settings are better than the default, on test clips that no choice has seen."""

    search: str
    language: str
    set: str
    model: str
    trials: int
    steps: int  # of a full run of the default
    default: FinetuneConfig
    best: FinetuneConfig | None  # None: on dev nothing was better than the default
    changes: Mapping[str, Any]  # of `finetune`: what to write there to have the best
    dev: tuple[tuple[int, float | None, float | None], ...]  # trial, its loss after each stage
    default_wer: float | None = None  # on test, mean of the seeds
    best_wer: float | None = None
    by_seed: tuple[tuple[float, float], ...] = ()  # WER of the default and of the best
    gain: Interval = field(
        default_factory=_nothing
    )  # of WER, above 0: the best is better; clips and seeds in it
    capped: Interval = field(
        default_factory=_nothing
    )  # the same, a clip counting at most as many errors as it has words
    better: bool = False
    trouble: str = ""  # why the best could not be compared
    test_clips: int = 0
    dev_clips: int = 0
    importances: Mapping[str, float] = field(default_factory=dict)  # PED-ANOVA
    cost: SpeechCost

    @property
    def verdict(self) -> str:
        """In one sentence or two."""
        seen = f"{counted(self.trials, 'trial')} on {counted(self.dev_clips, 'clip')} of dev"
        if self.best is None:
            return f"Nothing was better than the default on dev, in {seen}. Keep the default."
        if self.trouble:
            return f"The best of {seen} could not be trained whole: {self.trouble}. Keep the default."
        if self.gain.value is None or self.gain.low is None or self.gain.high is None:
            return (
                f"The best of {seen} cannot be compared with the default: {counted(self.test_clips, 'clip')} "
                "of test give no interval. Keep the default."
            )
        numbers = (
            f"{100 * self.gain.value:+.1f} points of WER ({100 * self.gain.low:+.1f} to "
            f"{100 * self.gain.high:+.1f}, above 0 is better) on {counted(self.test_clips, 'clip')} of test "
            f"that no choice has seen, {SEEDS} seeds each"
        )
        if self.better:
            return f"The best of {seen} is better than the default: {numbers}."
        if self.gain.high < 0:
            return f"The best of {seen} is worse than the default: {numbers}. Keep the default."
        return f"No better settings were shown: {numbers}. The interval holds 0: keep the default."


def search_folder(of: Language, search: str) -> str:
    """The artefact folder of a search."""
    return f"speech/{of.name}/searches/{search}"


def keep_plan(store: Store, of: Language, plan: Plan) -> None:
    write(store, f"{search_folder(of, plan.search)}/plan.json", plan)


def kept_plan(store: Store, of: Language, search: str) -> Plan:
    """Raises NotFound."""
    return read(store, f"{search_folder(of, search)}/plan.json", Plan)


def keep_settings(store: Store, of: Language, search: str, number: int, settings: FinetuneConfig) -> None:
    write(store, f"{search_folder(of, search)}/trials/{number}.json", settings)


def kept_settings(store: Store, of: Language, search: str, number: int) -> FinetuneConfig:
    """Raises NotFound."""
    return read(store, f"{search_folder(of, search)}/trials/{number}.json", FinetuneConfig)


def keep_result(store: Store, of: Language, training: Training, result: Result) -> None:
    write(store, _result_path(of, training), result)


def kept_result(store: Store, of: Language, training: Training) -> Result | None:
    """None before it is there."""
    try:
        return read(store, _result_path(of, training), Result)
    except NotFound:
        return None


def training_of(plan: Plan, settings: FinetuneConfig, stage: int, seed: int = 0) -> Training:
    """A trial's training as far as a stage; len(STAGES) is the whole. Args: seed: added to its own."""
    until = STAGES[stage] * (settings.evaluate_every or 1) if stage < len(STAGES) else None
    seeded = replace(settings, seed=settings.seed + seed)
    return Training(search=plan.search, set=plan.set, settings=seeded, until=until)


def plan_name(set_id: str, asked: FinetuneConfig, seed: int, *beside: object) -> str:
    """Of all that decides what is drawn and how it is scored; how many trials is no part of it."""
    return f"speech-{_digest([set_id, asked.to_dict(), seed, PARTS, STAGES, *beside])}"


def changes(of: FinetuneConfig, since: FinetuneConfig) -> dict[str, Any]:
    """What differs, by name; intervals between validations and checkpoints left out."""
    before = asdict(since)
    return {
        name: value
        for name, value in asdict(of).items()
        if value != before[name] and name not in ("evaluate_every", "checkpoint_every", "keep_checkpoints")
    }


def _result_path(of: Language, training: Training) -> str:
    return f"{search_folder(of, training.search)}/results/{training.key}.json"


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
