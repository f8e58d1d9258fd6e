"""How a system's error falls as its rows grow: what is asked, and what came of it. Light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from dagsverk.form import CLOSED
from dagsverk.learning_curve import CurveFit
from dagsverk.learning_curve_config import SHARES, ShareOfData, check_shares
from dagsverk.tabular.config import MAX_SEED, MODEL_CLASSES, ModelClass

STEP = "learning-curve"  # the report's name in the store
CHAMPION: Literal["champion"] = "champion"


@dataclass(frozen=True, kw_only=True)
class TabularCurveConfig:
    """How a table's learning curve is measured. Limits twice, as in `TrainingConfig`."""

    __pydantic_config__ = CLOSED

    # of the model in use with its parameters, else of the class with its defaults
    model_class: ModelClass | Literal["champion"] = CHAMPION
    shares: ShareOfData = (
        SHARES  # of the rows that a fold leaves to fit on; the smaller ones are parts of the larger
    )
    folds: Annotated[int, Field(ge=2, le=20)] = 5  # of rows that are tested, the same for every share
    repeats: Annotated[int, Field(ge=1, le=20)] = 4  # partitions and draws, at most; fewer of many rows
    seed: Annotated[int, Field(ge=0, le=MAX_SEED - 10_000)] = 42

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", check_shares(self.shares))
        if self.model_class != CHAMPION and self.model_class not in MODEL_CLASSES:
            raise ValueError(f"model_class must be {CHAMPION} or one of {', '.join(MODEL_CLASSES)}")
        for name, low, high in (("folds", 2, 20), ("repeats", 1, 20), ("seed", 0, MAX_SEED - 10_000)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")

    def to_dict(self) -> dict[str, Any]:
        """The settings in JSON types."""
        return {**asdict(self), "shares": list(self.shares)}


@dataclass(frozen=True, kw_only=True)
class CurvePlan:
    """What is fitted: decided once, so that a champion that changes meanwhile changes no point."""

    model_class: ModelClass
    parameters: Mapping[str, Any]
    model_version: int | None  # of the model in use that they are of; None: defaults


@dataclass(frozen=True, kw_only=True)
class TabularPoint:
    """Fits on one share of the rows."""

    share: float
    rows: float  # fitted on, mean over the fits
    values: Mapping[
        str, tuple[float, ...]
    ]  # measure -> one of each fold of each repeat, the same for all shares
    reason: str = ""  # why there is none
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TabularCurve:
    """The report of a learning curve."""

    data_commit: int
    rows: int  # real, with an outcome
    measure: str
    model_class: str
    parameters: Mapping[str, Any]
    model_version: int | None
    folds: int
    repeats: int
    fit: CurveFit  # of the error: see `measures.error`
    accuracy: Mapping[str, float] = field(default_factory=dict)  # share -> mean accuracy
    set_aside: Mapping[str, str] = field(default_factory=dict)  # share -> why it has no point
    seconds: float  # of all fits, added up
    config: Mapping[str, Any] = field(default_factory=dict)
