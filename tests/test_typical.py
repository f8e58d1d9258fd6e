"""What a predict page opens with."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
from fitted_models import system_and_rows
from ui_site import filled_store, own_copy

from dagsverk.store import open_store
from dagsverk.tabular.features import check_inputs
from dagsverk.tabular.system import Column, load_system
from dagsverk.tabular.typical import typical_case
from ui.tabular import predict
from ui.tabular.desk import TabularDesk

TITANIC, IRIS = load_system("titanic"), load_system("iris")


def test_a_typical_case_is_medians_and_commonest_values_and_leaves_empty_what_may_be():
    _, rows = system_and_rows("titanic")
    case = typical_case(TITANIC, rows)
    assert case == {
        "pclass": 3, "sex": "male", "age": None, "sibsp": 0, "parch": 0, "fare": 14.45, "embarked": None,
    }  # fmt: skip
    assert json.loads(json.dumps(case)) == case
    check_inputs(TITANIC, case)


def test_a_median_that_rounding_would_push_over_a_limit_stays_as_it_is():
    ratio = Column(name="ratio", description="Ratio", kind="number", maximum=0.99996)
    system = replace(IRIS, columns=(ratio,))
    assert typical_case(system, pd.DataFrame({"ratio": [0.99996, 0.99996, 0.1]})) == {"ratio": 0.99996}


def test_a_column_that_no_row_knows_is_empty():
    assert set(typical_case(IRIS, pd.DataFrame(columns=list(IRIS.inputs))).values()) == {None}


def test_a_predict_page_opens_with_the_typical_row_of_what_the_champion_learned_from():
    case = predict.opening_case(TITANIC, TabularDesk(str(filled_store())))
    assert case["fare"] == 14.45
    assert case["age"] is None
    assert case["embarked"] == predict.NOT_KNOWN
    assert "Died" in predict.respond(TITANIC, TabularDesk(str(filled_store())), case)


def test_a_champion_of_an_older_version_opens_with_what_its_explanations_compare_with(tmp_path):
    folder = own_copy(filled_store(), tmp_path)
    store = open_store(str(folder))
    first = store.champion("titanic")
    info = {name: value for name, value in first.info.items() if name != "typical"}
    files = store.download(first, tmp_path / "model")
    second = store.save_model("titanic", files, metrics=first.metrics, info=info)
    store.promote("titanic", second.version, reason="a test", expected=1)
    case = predict.opening_case(TITANIC, TabularDesk(str(folder)))
    assert (case["pclass"], case["sex"], case["age"]) == (3, "male", None)


def test_before_the_first_day_a_page_opens_with_the_examples(tmp_path):
    case = predict.opening_case(IRIS, TabularDesk(str(tmp_path / "store")))
    assert case == {column.name: column.example for column in IRIS.columns}
