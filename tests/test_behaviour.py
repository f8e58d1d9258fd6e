"""What a person who knows the facts expects of the champions, whatever their scores."""

from __future__ import annotations

import pandas as pd
import pytest
from fitted_models import fitted, system_and_rows

from dagsverk.tabular.features import model_inputs


def survival(rows: pd.DataFrame) -> pd.Series:
    system, _ = system_and_rows("titanic")
    found = fitted("titanic", "xgboost").predict_proba(model_inputs(system, rows))
    return pd.Series(found[:, 1])


@pytest.fixture
def passengers() -> pd.DataFrame:
    return system_and_rows("titanic")[1]


WOMAN = {"pclass": 1, "sex": "female", "age": 30, "sibsp": 0, "parch": 0, "fare": 80, "embarked": "S"}


@pytest.mark.parametrize("age", [18, 25, 30, 40, 50, 60])
@pytest.mark.parametrize("embarked", ["C", "S"])
def test_a_woman_of_the_first_class_survives_with_nine_in_ten(age, embarked):
    assert survival(pd.DataFrame([{**WOMAN, "age": age, "embarked": embarked}]))[0] >= 0.9


def test_the_first_class_is_no_worse_than_the_third_all_else_equal(passengers):
    first, third = survival(passengers.assign(pclass=1)), survival(passengers.assign(pclass=3))
    assert first.mean() - third.mean() > 0.1
    assert ((first - third) > -0.02).mean() > 0.95


def test_women_are_likelier_to_survive_than_men_all_else_equal(passengers):
    women, men = survival(passengers.assign(sex="female")), survival(passengers.assign(sex="male"))
    assert (women > men).mean() > 0.95


def test_the_port_alone_never_flips_a_clear_case(passengers):
    found = pd.DataFrame({port: survival(passengers.assign(embarked=port)) for port in "CQS"})
    clear = (found["S"] - 0.5).abs() > 0.3
    assert clear.sum() > 300
    flipped = (found[clear] > 0.5).nunique(axis=1) > 1
    assert not flipped.any()


def test_the_least_one_knows_still_gives_an_answer():
    unknown = {**WOMAN, "age": None, "embarked": None}
    assert 0.5 < survival(pd.DataFrame([unknown]))[0] < 1


@pytest.mark.parametrize(
    ("lengths", "species"),
    [
        ((5.0, 3.4, 1.5, 0.2), "setosa"),
        ((5.9, 2.8, 4.3, 1.3), "versicolor"),
        ((6.6, 3.0, 5.6, 2.0), "virginica"),
    ],
)
def test_a_typical_flower_of_each_species_is_known_for_sure(lengths, species):
    system, _ = system_and_rows("iris")
    row = pd.DataFrame([dict(zip(system.inputs, lengths, strict=True))])
    found = fitted("iris", "lda").predict_proba(model_inputs(system, row))[0]
    assert found[system.classes.index(species)] > 0.95
