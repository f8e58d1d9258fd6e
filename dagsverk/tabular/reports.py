"""What each step of a tabular day says of its last run. Light: loads no learning library."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from dagsverk.promotion import Registration


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % limits."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """Rows of a source that came in."""

    source: str
    rows_in: int
    rows_set_aside: int
    rows_gone: int  # stored from before, and not in this source: kept
    inserted: int
    updated: int
    left_to_source: int = 0  # the system's own facts that a source has brought as well: not written
    without_outcome: int = 0  # of the rows taken: they are predicted, and learned from once they have one
    outcomes_kept: int = 0  # rows that came again without their outcome, which is kept
    guesses: tuple[str, ...] = ()  # what was found out about the source and might be otherwise: sentences


@dataclass(frozen=True, kw_only=True)
class ComparedClass:
    """Of one model class that was compared: metrics with intervals, and the one hold-out."""

    model_class: str
    calibrated: bool
    accuracy: Interval
    auc: Interval
    log_loss: Interval
    brier: Interval
    ece: Interval
    holdout_accuracy: float | None
    balanced_accuracy: Interval | None = None  # None: scored before it was counted; so are the next four
    average_precision: Interval | None = None
    recall: Interval | None = None
    precision: Interval | None = None
    f1: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class RowsTwice:
    """Rows that another one equals, and those that are one thing written down twice, see `near_equal`."""

    equal: int = 0  # rows with the values of another: mostly by chance
    rows: int = 0  # that are one with another beyond chance: each such thing is tested in one fold
    things: int = 0  # that these are
    with_other_outcomes: int = 0  # of these things: their rows do not agree
    examples: tuple[tuple[str, ...], ...] = ()  # ids of rows that are one

    @property
    def words(self) -> str:
        """In a sentence or two; "": nothing to say."""
        if not self.rows:
            return (
                f"{self.equal} rows have the values of another, as chance makes them." if self.equal else ""
            )
        other = self.with_other_outcomes
        unlike = f", {other} with different outcomes" if other else ""
        such = f" (such as {'; '.join(' and '.join(ids) for ids in self.examples)})" if self.examples else ""
        return (
            f"{self.rows} rows are {self.things} things written down several times, but for an id, rounding "
            f"or spelling{unlike}{such}: each is tested in one fold. Mend the source."
        )


@dataclass(frozen=True, kw_only=True)
class Trained(Registration):
    """A model that was registered, and the classes that it was chosen from, best first."""

    compared: tuple[ComparedClass, ...]
    measure: str = "log_loss"  # that it was chosen by
    positive: str = ""  # class that recall, precision, F1 and average precision are about; "": all alike
    twice: RowsTwice | None = None  # None: trained before they were looked for


@dataclass(frozen=True)
class Quality:
    """How one method does on one system; accuracies and shares in [0, 1], means over the folds."""

    system: str
    method: str
    rows: int  # real rows measured on
    synthetic_rows: int  # drawn in each fold
    c2st_auc: float  # real-or-synthetic classifier (C2ST): 0.5 cannot tell, 1 always tells
    c2st_auc_se: float  # standard error of that mean, the folds taken as independent
    tstr_accuracy: float  # trained on synthetic, tested on real rows
    trtr_accuracy: float  # trained on real, tested on the same real rows: what to compare with
    live_accuracy: float  # trained on real, tested on synthetic: what a monitor of synthetic days shows
    copies_share: float  # of the synthetic rows that equal a real row the generator saw, label included
    real_copies_share: float  # the same for unseen real rows: what to compare with
    label_shares: dict[str, float]  # class -> share among the synthetic rows


@dataclass(frozen=True, kw_only=True)
class Synthesised:
    """A day's new rows."""

    date: dt.date
    method: str
    count: int  # asked for
    seed: int
    label_shares: Mapping[str, float] | None
    inserted: int
    quality: Quality | None = None  # of the method on this system's real rows


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Rows that the champion predicted."""

    predicted: int
    unseen: int  # of those, not trained on
    model_version: int


@dataclass(frozen=True, kw_only=True)
class Monitored:
    """How the predictions of unseen real rows have turned out so far."""

    predictions: int
    outcomes: int  # of those, known
    accuracy: float | None  # of those; None before the first outcome
    low: float | None  # its 95 % interval
    high: float | None
    promised: float | None  # by the champion's cross-validation
    alerts: tuple[str, ...]
    standing: tuple[str, ...] = ()  # keys of those alerts, the same from look to look
    invented_outcomes: int = 0  # synthetic rows predicted unseen; their labels are the generator's
    invented_agreed: int = 0  # of those, predicted as the generator labelled them: not an accuracy
