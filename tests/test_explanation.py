"""Explanations: Shapley values that add up, checked against their definition."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from fitted_models import fitted, system_and_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from dagsverk.tabular.explanation import _exact, _sampled, explain
from dagsverk.tabular.features import model_inputs
from dagsverk.tabular.models import Encoding, fit, recipe
from dagsverk.tabular.system import Column, System
from dagsverk.tabular.training import background


def background_of(name: str) -> pd.DataFrame:
    return pd.DataFrame(background(*system_and_rows(name)))


@pytest.mark.parametrize(
    ("name", "model_class"), [("titanic", "xgboost"), ("titanic", "logistic"), ("iris", "lda")]
)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_effects_add_up_from_the_background_to_the_probability(name, model_class, data):
    system, rows = system_and_rows(name)
    row = rows.iloc[[data.draw(st.integers(0, len(rows) - 1))]]
    outcome = data.draw(st.sampled_from([None, *system.classes]))
    explanation = explain(system, fitted(name, model_class), row, background_of(name), outcome)
    total = explanation.base + sum(effect.effect for effect in explanation.effects)
    assert total == pytest.approx(explanation.probability, abs=1e-9)
    which = system.classes.index(explanation.outcome)
    asked = fitted(name, model_class).predict_proba(model_inputs(system, row))[0, which]
    over_background = fitted(name, model_class).predict_proba(model_inputs(system, background_of(name)))
    assert explanation.probability == pytest.approx(asked)
    assert explanation.base == pytest.approx(over_background[:, which].mean(), abs=1e-9)
    sizes = [abs(effect.effect) for effect in explanation.effects]
    assert sizes == sorted(sizes, reverse=True)
    assert {effect.column for effect in explanation.effects} == set(system.inputs)


def by_definition(values: np.ndarray, inputs: int) -> np.ndarray:
    """Mean over all orders of what each input adds when it joins; a coalition is the sum of its bits."""
    effects = np.zeros(inputs)
    orders = list(permutations(range(inputs)))
    for order in orders:
        coalition = 0
        for joined in order:
            effects[joined] += values[coalition | 1 << joined] - values[coalition]
            coalition |= 1 << joined
    return effects / len(orders)


@settings(max_examples=25, deadline=None)
@given(inputs=st.integers(1, 5), seed=st.integers(0, 1000))
def test_exact_values_equal_the_definition(inputs, seed):
    values = np.random.default_rng(seed).normal(size=2**inputs)
    _, weights = _exact(inputs)
    np.testing.assert_allclose(weights @ values, by_definition(values, inputs), atol=1e-12)


@settings(max_examples=10, deadline=None)
@given(inputs=st.integers(2, 14), seed=st.integers(0, 1000))
def test_sampled_values_add_up_and_are_exact_up_to_pairs_of_inputs(inputs, seed):
    generator = np.random.default_rng(seed)
    alone, pairs = generator.normal(size=inputs), np.triu(generator.normal(size=(inputs, inputs)), 1)
    masks, weights = _sampled(inputs)
    values = masks @ alone + ((masks @ pairs) * masks).sum(axis=1)
    expected = alone + (pairs.sum(axis=0) + pairs.sum(axis=1)) / 2
    np.testing.assert_allclose(weights @ values, expected, atol=1e-9)
    assert not masks[0].any()  # the base comes first


def twelve_numbers() -> tuple[System, pd.DataFrame]:
    """A system of twelve inputs, of which the outcome depends on the first two."""
    iris, _ = system_and_rows("iris")
    columns = tuple(Column(name=f"x{i}", description="", kind="number") for i in range(12))
    system = replace(iris, name="twelve", columns=columns)
    values = np.random.default_rng(0).normal(size=(200, 12))
    outcome = np.where(values[:, 0] + values[:, 1] > 0, "setosa", "virginica")
    return system, pd.DataFrame(values, columns=system.inputs).assign(species=outcome)


def test_more_than_ten_inputs_are_sampled_and_still_add_up():
    system, rows = twelve_numbers()
    model = fit(system, recipe("logistic"), model_inputs(system, rows), rows["species"].to_numpy())
    row = pd.DataFrame([dict.fromkeys(system.inputs, 0.0) | {"x0": 1.5, "x1": 1.0}])
    explanation = explain(system, model, row, rows.head(20)[list(system.inputs)])
    assert explanation.base + sum(e.effect for e in explanation.effects) == pytest.approx(
        explanation.probability, abs=1e-9
    )
    assert {effect.column for effect in explanation.effects[:2]} == {"x0", "x1"}
    assert Encoding.of(system).width == 12


def test_an_input_equal_to_all_of_the_background_has_no_effect():
    system, rows = system_and_rows("titanic")
    women = rows[rows["sex"] == "female"]
    others = women[list(system.inputs)].head(30)
    explanation = explain(system, fitted("titanic", "xgboost"), women.iloc[[40]], others)
    assert next(e.effect for e in explanation.effects if e.column == "sex") == pytest.approx(0, abs=1e-12)


def test_a_missing_value_is_a_value_too():
    system, rows = system_and_rows("titanic")
    row = rows[rows["age"].isna()].iloc[[0]]
    explanation = explain(system, fitted("titanic", "xgboost"), row, background_of("titanic"))
    assert next(e for e in explanation.effects if e.column == "age").value is None


def test_being_a_woman_moves_survival_up_and_third_class_moves_it_down():
    system, rows = system_and_rows("titanic")
    women = rows[(rows["sex"] == "female") & (rows["pclass"] == 3)]
    explanation = explain(
        system, fitted("titanic", "xgboost"), women.iloc[[0]], background_of("titanic"), "survived"
    )
    effects = {effect.column: effect.effect for effect in explanation.effects}
    assert effects["sex"] > 0.1
    assert effects["pclass"] < -0.05


def test_what_cannot_be_explained_is_refused():
    system, rows = system_and_rows("iris")
    model, others = fitted("iris", "lda"), background_of("iris")
    with pytest.raises(ValueError, match="want one row and a background, got 2 and 64"):
        explain(system, model, rows.head(2), others)
    with pytest.raises(ValueError, match="got 1 and 0"):
        explain(system, model, rows.head(1), others.head(0))
    with pytest.raises(ValueError, match="no class 'rose'; known: setosa"):
        explain(system, model, rows.head(1), others, "rose")
