"""What moved one prediction: Shapley values of a class's probability, for any model.

The value of a set of inputs is the mean probability over the background rows when those inputs are the
row's own and the others are the background's (interventional; Štrumbelj & Kononenko 2014; Lundberg &
Lee 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dagsverk.tabular.features import model_inputs
from dagsverk.tabular.metrics import Floats
from dagsverk.tabular.models import Classifier
from dagsverk.tabular.system import System

MAX_EXACT_INPUTS = 10  # 2^10 coalitions; more inputs are sampled
PERMUTATION_PAIRS = 32  # a permutation and its reverse cancel part of each other's error
MAX_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Effect:
    """What one input, as entered, did to the probability: 0.1 is up by ten points."""

    column: str
    value: float | str | None  # None: missing
    effect: float


@dataclass(frozen=True)
class Explanation:
    """`base` + all effects = `probability`. Effects come largest first."""

    outcome: str
    probability: float
    base: float  # mean probability of the outcome over the background rows
    effects: tuple[Effect, ...]


def explain(
    system: System,
    classifier: Classifier,
    row: pd.DataFrame,
    background: pd.DataFrame,
    outcome: str | None = None,
) -> Explanation:
    """Divide a probability among the inputs, exactly for ten inputs or fewer, else by sampled permutations.

    Args: row: inputs of one row, shape (1, inputs).
        background: inputs of the rows compared with, shape (rows, inputs).
        outcome: the class explained; None: the predicted one.
    Raises: ValueError: not one row, no background, or no such class.
    """
    if len(row) != 1 or background.empty:
        raise ValueError(f"want one row and a background, got {len(row)} and {len(background)} rows")
    probabilities = classifier.predict_proba(model_inputs(system, row))[0]
    outcome = outcome or system.classes[int(classifier.named(probabilities[None])[0])]
    if outcome not in system.classes:
        raise ValueError(f"{system.name} has no class {outcome!r}; known: {', '.join(system.classes)}")
    which = system.classes.index(outcome)
    names = list(system.inputs)
    masks, weights = _exact(len(names)) if len(names) <= MAX_EXACT_INPUTS else _sampled(len(names))
    values = _values(system, classifier, row[names], background[names], masks)[:, which]
    shares = weights @ values
    effects = [Effect(n, _plain(row[n].iloc[0]), float(s)) for n, s in zip(names, shares, strict=True)]
    return Explanation(
        outcome=outcome,
        probability=float(probabilities[which]),
        base=float(values[0]),  # of the empty coalition
        effects=tuple(sorted(effects, key=lambda e: -abs(e.effect))),
    )


def _plain(value: Any) -> float | str | None:
    if pd.isna(value):
        return None
    return value if isinstance(value, str) else float(value)


def _exact(inputs: int) -> tuple[NDArray[np.bool_], Floats]:
    """All coalitions, the empty one first, shape (2^n, n); and their weights in each value, (n, 2^n)."""
    masks = (np.arange(2**inputs)[:, None] >> np.arange(inputs) & 1).astype(bool)
    sizes = masks.sum(axis=1)
    joins = np.array(  # an input joins a coalition of s others: s! (n - s - 1)! / n!
        [factorial(s) * factorial(inputs - s - 1) / factorial(inputs) for s in range(inputs)]
    )
    weights = np.where(masks.T, joins[sizes - 1], -joins[np.minimum(sizes, inputs - 1)])
    return masks, weights


def _sampled(inputs: int, seed: int = 0) -> tuple[NDArray[np.bool_], Floats]:
    """As `_exact`, for the coalitions that some permutations pass through. The effects' sum stays exact."""
    generator = np.random.default_rng(seed)
    forward = [generator.permutation(inputs) for _ in range(PERMUTATION_PAIRS)]
    orders = [*forward, *(order[::-1] for order in forward)]
    masks = np.zeros((len(orders), inputs + 1, inputs), dtype=bool)
    for k, order in enumerate(orders):
        for step, joined in enumerate(order):
            masks[k, step + 1 :, joined] = True
    unique, where = np.unique(masks.reshape(-1, inputs), axis=0, return_inverse=True)
    places = where.reshape(len(orders), inputs + 1)
    weights = np.zeros((inputs, len(unique)))
    for order, passed in zip(orders, places, strict=True):
        np.add.at(weights, (order, passed[1:]), 1 / len(orders))
        np.add.at(weights, (order, passed[:-1]), -1 / len(orders))
    return unique, weights


def _values(
    system: System,
    classifier: Classifier,
    row: pd.DataFrame,
    background: pd.DataFrame,
    masks: NDArray[np.bool_],
) -> Floats:
    """Mean probabilities over the background for each coalition, shape (coalitions, classes)."""
    at_once = max(1, MAX_ROWS_AT_ONCE // len(background))
    parts = [masks[start : start + at_once] for start in range(0, len(masks), at_once)]
    return np.concatenate([_mean_probabilities(system, classifier, row, background, m) for m in parts])


def _mean_probabilities(
    system: System,
    classifier: Classifier,
    row: pd.DataFrame,
    background: pd.DataFrame,
    masks: NDArray[np.bool_],
) -> Floats:
    """One call of the model for all coalitions: each is the background with the row's values put in."""
    n = len(background)
    from_row = np.repeat(masks, n, axis=0)
    columns = {}
    for i, name in enumerate(background):
        pair = pd.concat([background[name], row[name]], ignore_index=True)  # the row's value comes last
        places = np.where(from_row[:, i], n, np.tile(np.arange(n), len(masks)))
        columns[name] = pair.take(places).to_numpy()
    inputs = model_inputs(system, pd.DataFrame(columns))
    probabilities = classifier.predict_proba(inputs)
    means: Floats = probabilities.reshape(len(masks), n, -1).mean(axis=1)
    return means
