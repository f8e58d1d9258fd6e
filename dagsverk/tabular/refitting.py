"""A version's recipe, fitted again without each row that it is to judge: what out of fold means."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dagsverk.tabular import evaluation
from dagsverk.tabular.evaluation import EvaluationConfig
from dagsverk.tabular.models import Classifier
from dagsverk.tabular.row_tests import Judged
from dagsverk.tabular.system import System


def refitted(
    system: System,
    rows: pd.DataFrame,
    classifier: Classifier,
    config: EvaluationConfig,
    fit_on: NDArray[np.bool_],
    tell: Callable[[str], None],
) -> Judged:
    """What the recipe says of each row, as in cross-validation; means over the repeats.

    The same rows and settings give the same folds, whichever the version.
    Args: rows: in fixed order, all with outcomes. fit_on: rows that it was trained on.
    Raises: ValueError where too few are left.
    """
    data = evaluation._prepare(system, rows, fit_on)
    splits, config = evaluation._splits(system, data, config)
    calibrate, tune = classifier.calibration is not None, bool(classifier.tuning.measure)
    fold = partial(
        evaluation._fold, system, data, classifier.recipe, config.seed, calibrate=calibrate, tune=tune
    )
    parts = []
    for number, split in enumerate(splits, start=1):
        probabilities, named, _ = fold(split)
        parts.append((split[1], probabilities, named))
        tell(f"{number} of {len(splits)} folds")
    return Judged.of_folds(parts, data.codes, config.folds)
