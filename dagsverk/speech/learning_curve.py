"""How a language's error rate falls as its recordings grow: what is asked, and what came of it. Light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from dagsverk.form import CLOSED
from dagsverk.learning_curve import CurveFit
from dagsverk.learning_curve_config import SHARES, ShareOfData, check_shares
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.evaluation.report import Interval

STEP = "learning-curve"  # the report's name in the store
Way: TypeAlias = Literal["clips", "speakers"]
WAYS: tuple[Way, ...] = ("clips", "speakers")
LEAST_SPEAKERS = 8  # of train, for a curve by speakers: an eighth of fewer is nobody
MOST_SEEDS = 10


@dataclass(frozen=True, kw_only=True)
class SpeechCurveConfig:
    """How a language's learning curve is measured."""

    __pydantic_config__ = CLOSED

    finetune: FinetuneConfig = FinetuneConfig()  # of the run on all clips; smaller parts take its steps
    shares: ShareOfData = SHARES  # of train's seconds; the smaller ones are parts of the larger
    # clips: fewer of each speaker, all speakers stay; speakers: fewer speakers, each with all their clips
    ways: Annotated[
        tuple[Way, ...], Field(min_length=1, max_length=2, json_schema_extra={"uniqueItems": True})
    ] = WAYS
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] = (
        2  # trainings of each part, each with a draw of its own
    )
    # steps: as many for every part, dev picks the best; epochs: as often each clip, so fewer steps
    held: Literal["steps", "epochs"] = "steps"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", check_shares(self.shares))
        object.__setattr__(self, "ways", tuple(self.ways))
        if not self.ways or len(set(self.ways)) != len(self.ways) or not set(self.ways) <= set(WAYS):
            raise ValueError(
                f"ways must be one or both of {', '.join(WAYS)}, each once; got {list(self.ways)!r}"
            )
        seeds = self.seeds
        if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= MOST_SEEDS:
            raise ValueError(f"seeds must be a whole number from 1 to {MOST_SEEDS}, got {seeds!r}")
        if self.held not in ("steps", "epochs"):
            raise ValueError(f"held must be 'steps' or 'epochs', got {self.held!r}")
        if self.finetune.train_share != 1:
            raise ValueError(
                f"finetune.train_share is the curve's own to set, by shares; leave it 1, got "
                f"{self.finetune.train_share!r}"
            )

        if self.finetune.mixture:
            raise ValueError(
                "finetune.mixture draws from other sets, which stay as large as they are; leave it empty"
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings in JSON types."""
        return {**asdict(self), "shares": list(self.shares), "ways": list(self.ways)}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One training of a curve. Of all clips both ways are the same: "clips" stands for both."""

    share: float
    way: Way
    seed: int  # added to the configuration's


@dataclass(frozen=True, kw_only=True)
class SpeechCurvePlan:
    """What is trained on what: decided once."""

    set_id: str
    whole: tuple[Part, ...]  # on all clips, one for each seed
    parts: tuple[Part, ...]  # the others
    notes: tuple[str, ...] = ()  # what is left out, and why


@dataclass(frozen=True, kw_only=True)
class SpeechPoint:
    """A training on a part of the clips, scored on all test clips."""

    part: Part
    run: str
    step: int  # that dev chose
    steps: int
    clips: int
    audio_s: float
    speakers: int  # known ones
    dev_wer: float | None
    test_clips: tuple[str, ...]  # ids, of those that are scored
    test_speakers: tuple[str, ...]
    words: tuple[int, ...]  # of each test clip's reference, normalised
    errors: tuple[int, ...]
    seconds: float  # of training and scoring in the attempt that ended it


@dataclass(frozen=True, kw_only=True)
class SpeakersAgainstMinutes:
    """At equal minutes: fewer speakers with all their clips against all speakers with a part of theirs."""

    share: float
    audio_s: float  # mean of both
    speakers_few: float  # mean over the seeds
    speakers_many: float
    wer_few: float
    wer_many: float
    gain: Interval  # by which the rate of many is lower; above 0: more speakers help at equal minutes


@dataclass(frozen=True, kw_only=True)
class SpeechCurve:
    """The report of a learning curve."""

    set: str
    model: str  # that the trainings start from
    clips: int  # train's
    audio_s: float
    speakers: int
    test_clips: int
    test_speakers: int
    steps: int  # of the training on all clips
    held: str
    seeds: int
    fits: Mapping[Way, CurveFit]  # way -> of the word error rate, by seconds of audio
    against: tuple[SpeakersAgainstMinutes, ...] = ()
    notes: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    seconds: float
    config: Mapping[str, Any] = field(default_factory=dict)
