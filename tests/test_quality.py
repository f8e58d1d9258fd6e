"""What the measured quality of a generator says, and the numbers that the default one must reach."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from dagsverk.records import plain
from dagsverk.tabular import generators, quality
from dagsverk.tabular.features import validate
from dagsverk.tabular.generators import Codes
from dagsverk.tabular.sources import read_source
from dagsverk.tabular.system import load_system

TITANIC, IRIS = load_system("titanic"), load_system("iris")


def facts(system) -> pd.DataFrame:
    return validate(system, read_source(system), pd.Timestamp("2026-01-01", tz="UTC")).rows


def codes(values, labels) -> Codes:
    return Codes(np.array(values, dtype=float), np.array(labels), IRIS.columns[:2], 2)


@pytest.fixture(scope="module")
def cart() -> quality.Quality:
    return quality.measure(TITANIC, facts(TITANIC), "cart", n=2000)


@pytest.fixture
def quick(monkeypatch):
    """A coarser yardstick, for claims that do not hang on its last digit."""
    monkeypatch.setattr(quality, "REPEATS", 1)
    monkeypatch.setitem(quality.YARDSTICK, "n_estimators", 30)


@pytest.mark.slow
def test_a_classifier_can_hardly_tell_the_default_rows_from_real_ones(cart):
    assert cart.c2st_auc - cart.c2st_auc_se <= 0.55


def test_a_model_trained_on_the_default_rows_is_right_about_real_ones(cart):
    assert cart.tstr_accuracy >= 0.80
    assert cart.trtr_accuracy - cart.tstr_accuracy <= 0.025


def test_a_monitor_of_the_default_rows_shows_the_accuracy_of_cross_validation(cart):
    assert abs(cart.live_accuracy - cart.trtr_accuracy) <= 0.02


def test_the_default_rows_copy_no_more_real_rows_than_real_rows_do(cart):
    assert cart.copies_share <= 0.16
    assert cart.copies_share <= cart.real_copies_share


def test_quality_says_what_was_measured_and_is_json(cart):
    shown = json.loads(json.dumps(plain(cart)))
    assert (shown["system"], shown["method"], shown["rows"], shown["synthetic_rows"]) == (
        "titanic",
        "cart",
        891,
        2000,
    )
    assert shown["label_shares"]["survived"] == pytest.approx(342 / 891, abs=0.02)


def test_rows_of_independent_columns_teach_nothing_and_are_told_at_once(quick):
    independent = quality.measure(IRIS, facts(IRIS), "columns", n=300)
    assert independent.tstr_accuracy < 0.6
    assert independent.live_accuracy < 0.5
    assert independent.c2st_auc > 0.7
    assert independent.trtr_accuracy > 0.9


def test_measuring_twice_gives_equal_numbers(quick):
    one, two = (quality.measure(IRIS, facts(IRIS), "copula", n=100) for _ in range(2))
    assert one == two


def test_real_rows_against_real_rows_cannot_be_told_apart():
    rows = facts(TITANIC).sample(frac=1, random_state=4)
    one, other = (generators.encode(TITANIC, half) for half in (rows.iloc[:445], rows.iloc[445:]))
    assert quality._c2st(one, other, seed=1) == pytest.approx(0.5, abs=0.06)


def test_copies_are_rows_equal_in_every_column_and_the_label():
    seen = codes([[1, np.nan], [0.1 + 0.2, -0.0]], [0, 1])
    new = codes([[1, np.nan], [0.3, 0.0], [1, np.nan], [1, 2]], [0, 1, 1, 0])
    assert quality._share_in(new, seen) == 0.5  # the third has another label, the fourth another value


def test_a_class_that_was_never_drawn_is_never_predicted():
    drawn = codes([[i, i % 7] for i in range(40)], [1] * 40)
    assert quality._accuracy(quality._classifier(drawn, 0), codes([[0, 1], [2, 3]], [0, 1])) == 0.5


@pytest.mark.parametrize(
    "rows, n, message",
    [
        (facts(IRIS), 50, "n must be 100 synthetic rows or more"),
        (facts(IRIS).head(52), 200, "needs 3 real rows or more of each of two classes"),
        (facts(IRIS).head(50), 200, "needs 3 real rows or more of each of two classes"),
    ],
)
def test_what_cannot_be_measured_is_refused(rows, n, message):
    with pytest.raises(ValueError, match=message):
        quality.measure(IRIS, rows, "cart", n=n)
