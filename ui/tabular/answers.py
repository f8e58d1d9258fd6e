"""One row in, one answer out: what the predict page and the REST API both say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dagsverk.store import Model
from dagsverk.tabular.features import check_inputs
from dagsverk.tabular.system import System
from ui.parts import is_missing

if TYPE_CHECKING:
    from dagsverk.tabular.explanation import Explanation
    from dagsverk.tabular.prediction import Champion


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the champion says of one row."""

    prediction: str
    probability: float  # of the prediction
    probabilities: Mapping[str, float]  # by class, in the order of System.classes
    explanation: Explanation | None  # None: not asked for
    model: Model

    def to_dict(self, system: System) -> dict[str, Any]:
        """The answer in JSON types."""
        content: dict[str, Any] = {
            "system": system.name,
            "prediction": self.prediction,
            "words": system.label.words(self.prediction),
            "probability": self.probability,
            "probabilities": dict(self.probabilities),
            "model": {"name": self.model.name, "version": self.model.version},
        }
        if self.explanation is not None:
            content["base_probability"] = self.explanation.base
            content["effects"] = [
                {"column": e.column, "value": _plain(e.value), "effect": e.effect}
                for e in self.explanation.effects
            ]
        return content


def answer_for(system: System, champion: Champion, values: Mapping[str, Any], *, explained: bool) -> Answer:
    """Ask the champion about one row. Raises InvalidInput, a sentence per column."""
    row = check_inputs(system, values)
    predicted = champion.predict(row).iloc[0]
    return Answer(
        prediction=str(predicted["prediction"]),
        probability=float(predicted["probability"]),
        probabilities=dict(zip(system.classes, map(float, predicted["probabilities"]), strict=True)),
        explanation=champion.explain(row) if explained else None,
        model=champion.model,
    )


def answers_for(system: System, champion: Champion, body: bytes) -> dict[str, Any]:
    """The champion's answers to the rows of a body, in JSON types, and what is wrong with the faulty ones.

    Raises: SourceError where the body as a whole cannot be used.
    """
    from dagsverk.tabular.batches import read_batch  # pyarrow and pandera: on first use

    batch = read_batch(system, body)
    predicted = champion.predict(batch.rows)
    answers = [
        {
            **_named(batch.ids, place),
            "prediction": prediction,
            "words": system.label.words(prediction),
            "probability": float(probability),
            "probabilities": dict(zip(system.classes, probabilities, strict=True)),
        }
        for place, prediction, probability, probabilities in predicted.itertuples()
    ]
    return {
        "system": system.name,
        "model": {"name": champion.model.name, "version": champion.model.version},
        "rows": batch.size,
        "predictions": answers,
        "faulty": [{**_named(batch.ids, place), "problems": why} for place, why in batch.problems.items()],
        "notes": list(batch.notes),
    }


def _named(ids: Mapping[int, str], place: int) -> dict[str, Any]:
    """Where a row stands in what was sent, from 0, and its own name where it has one."""
    return {"index": place, **({"id": ids[place]} if place in ids else {})}


def _plain(value: Any) -> Any:
    """A cell in JSON types."""
    if is_missing(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
