"""Settings that flows show as forms and that are saved with each model. Light: loads no learning library."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from dagsverk.form import CLOSED

ModelClass = Literal["knn", "logistic", "gradient_boosting", "xgboost", "lda", "hist_gradient_boosting"]
Origin = Literal["historic", "synthetic"]
MODEL_CLASSES: tuple[ModelClass, ...] = get_args(ModelClass)
# Those compared unless others are asked for. `gradient_boosting` sorts every column for every tree: on 20,000
# rows of 50 numbers it takes half an hour where its histogram variant takes half a minute, no worse.
COMPARED: tuple[ModelClass, ...] = ("knn", "logistic", "hist_gradient_boosting", "xgboost", "lda")
ORIGINS: tuple[Origin, ...] = get_args(Origin)
ENOUGH_SCORED = 5_000  # rows times repeats
MAX_SEED = 2**32 - 1  # what NumPy's legacy generators, used by scikit-learn, accept
_SET = Field(min_length=1, json_schema_extra={"uniqueItems": True})
_WITH_HISTORIC = Field(json_schema_extra={"contains": {"const": "historic"}})


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """The protocol of cross-validation: repeated, stratified, the same folds for the same rows and seed."""

    folds: int = 10
    repeats: int = 5  # at most
    seed: int = 42

    def __post_init__(self) -> None:
        _between("folds", self.folds, 2, 100)
        _between("repeats", self.repeats, 1, 100)
        _between("seed", self.seed, 0, MAX_SEED)

    def repeats_for(self, rows: int) -> int:
        """Repeats that so many rows need: all, or as many as score a row 5,000 times at most; one at least.

        A repeat only takes off the luck of one partition, which shrinks with the rows by itself.
        """
        return min(self.repeats, max(1, ENOUGH_SCORED // max(rows, 1)))


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """All that one training depends on, beside the rows and the system.

    The limits stand twice: as annotations, which become limits of Prefect's form, and in `__post_init__`,
    which holds wherever a config is built.
    """

    __pydantic_config__ = CLOSED

    model_classes: Annotated[tuple[ModelClass, ...], _SET] = COMPARED
    knn_k: Annotated[int, Field(ge=1, le=1000)] = 15  # neighbours asked; the original used 2
    folds: Annotated[int, Field(ge=2, le=100)] = 10
    repeats: Annotated[int, Field(ge=1, le=100)] = 5  # at most, see `EvaluationConfig.repeats_for`
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 42
    calibration: Literal["auto", "never"] = "auto"  # auto: where it lowers the cross-validated log-loss
    min_gain: Annotated[float, Field(ge=0, le=1)] = (
        0.001  # log-loss (nats) that a candidate must gain on the champion
    )
    # rows fitted on; only historic rows are ever scored
    origins: Annotated[tuple[Origin, ...], _SET, _WITH_HISTORIC] = ("historic",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model_classes", tuple(self.model_classes))
        object.__setattr__(self, "origins", tuple(self.origins))
        _subset("model_classes", self.model_classes, MODEL_CLASSES)
        _subset("origins", self.origins, ORIGINS)
        _between("knn_k", self.knn_k, 1, 1000)
        if "historic" not in self.origins:
            raise ValueError("origins must hold 'historic': a model is scored on real rows only")
        if self.calibration not in ("auto", "never"):
            raise ValueError(f"calibration must be 'auto' or 'never', got {self.calibration!r}")
        if not 0 <= self.min_gain <= 1:
            raise ValueError(f"min_gain is a log-loss in [0, 1], got {self.min_gain}")
        _ = self.evaluation  # checks folds, repeats and seed

    @property
    def evaluation(self) -> EvaluationConfig:
        """The protocol part of these settings."""
        return EvaluationConfig(folds=self.folds, repeats=self.repeats, seed=self.seed)

    def to_dict(self) -> dict[str, Any]:
        """The settings in JSON types."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }


def _between(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")


def _subset(name: str, values: tuple[str, ...], choices: tuple[str, ...]) -> None:
    if not values or len(set(values)) != len(values) or not set(values) <= set(choices):
        raise ValueError(f"{name} must be one or more of {', '.join(choices)}, each once; got {list(values)}")
