"""Model classes: fitted, asked, written and read back."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import skops.io
from fitted_models import fitted, inputs_of, system_and_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from dagsverk.tabular.config import EvaluationConfig
from dagsverk.tabular.evaluation import cross_validate
from dagsverk.tabular.features import model_inputs
from dagsverk.tabular.models import MODEL_CLASSES, Encoding, InvalidModel, fit, load, recipe, save
from dagsverk.tabular.system import System, load_system

CASES = [
    (name, model_class)
    for name in ("titanic", "iris")
    for model_class in MODEL_CLASSES
    if (name, model_class) != ("titanic", "gradient_boosting")  # slow, and no other code than on iris
]


@pytest.mark.parametrize(("name", "model_class"), CASES)
def test_a_model_read_back_predicts_what_it_predicted(name, model_class, tmp_path):
    model = fitted(name, model_class)
    save(model, tmp_path)
    again = load(model_system := load_system(name), tmp_path)
    inputs = inputs_of(name)
    assert again.recipe == model.recipe
    assert again.classes == model_system.classes
    np.testing.assert_allclose(again.predict_proba(inputs), model.predict_proba(inputs), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "model_class"), [("titanic", "lda"), ("iris", "knn")])
def test_a_calibrated_model_read_back_keeps_its_calibration(name, model_class, tmp_path):
    system, rows = system_and_rows(name)
    inputs, labels = model_inputs(system, rows), rows[system.label.name].to_numpy()
    model = fit(system, recipe(model_class), inputs, labels, calibrate=True)
    save(model, tmp_path)
    again = load(system, tmp_path)
    assert model.calibration is not None
    assert again.calibration == model.calibration
    assert not np.allclose(again.predict_proba(inputs), fitted(name, model_class).predict_proba(inputs))


@pytest.mark.parametrize(("name", "model_class"), CASES)
def test_probabilities_sum_to_one_and_fitting_again_gives_the_same(name, model_class):
    system, rows = system_and_rows(name)
    inputs = model_inputs(system, rows)
    probabilities = fitted(name, model_class).predict_proba(inputs)
    assert probabilities.shape == (len(rows), len(system.classes))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    if model_class != "gradient_boosting":  # slow, and seeded alike
        again = fit(system, recipe(model_class), inputs, rows[system.label.name].to_numpy())
        np.testing.assert_array_equal(again.predict_proba(inputs), probabilities)


@pytest.mark.parametrize(("name", "model_class"), CASES)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 1000))
def test_neither_the_order_of_rows_nor_of_columns_matters(name, model_class, seed):
    model, inputs = fitted(name, model_class), inputs_of(name)
    order = np.random.default_rng(seed).permutation(len(inputs))
    shuffled = inputs.iloc[order, ::-1]
    np.testing.assert_allclose(
        model.predict_proba(shuffled), model.predict_proba(inputs)[order], rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("model_class", MODEL_CLASSES)
def test_one_row_is_answered_as_it_is_among_many_even_when_values_are_missing(model_class):
    model, inputs = fitted("titanic", model_class), inputs_of("titanic")
    places = [*np.flatnonzero(inputs["age"].isna())[:2], *np.flatnonzero(inputs["embarked"].isna())[:1]]
    for place in places:
        alone = model.predict_proba(inputs.iloc[[place]])
        np.testing.assert_allclose(alone[0], model.predict_proba(inputs)[place], rtol=0, atol=1e-9)


@pytest.mark.parametrize("model_class", ["hist_gradient_boosting", "knn"])
def test_folds_side_by_side_leave_the_filters_of_warnings_as_they_were(model_class):
    system, rows = system_and_rows("iris")
    before = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        during = list(warnings.filters)
        cross_validate(system, rows, recipe(model_class), EvaluationConfig(folds=8, repeats=2))
        assert warnings.filters == during
    assert warnings.filters == before


def test_no_rows_give_no_probabilities():
    assert fitted("iris", "lda").predict_proba(inputs_of("iris").head(0)).shape == (0, 3)


@pytest.mark.parametrize("model_class", MODEL_CLASSES)
def test_a_class_that_was_never_seen_gets_its_place_in_the_vector(model_class):
    system, rows = system_and_rows("iris")
    seen = rows[rows["species"] != "versicolor"]
    model = fit(system, recipe(model_class), model_inputs(system, seen), seen["species"].to_numpy())
    probabilities = model.predict_proba(model_inputs(system, seen))
    predicted = np.array(system.classes)[probabilities.argmax(axis=1)]
    assert (predicted == seen["species"]).mean() > 0.99
    assert probabilities[:, 1].max() < 0.1


def test_the_encoding_uses_declared_categories_and_nothing_of_the_rows():
    system, rows = system_and_rows("titanic")
    encoding = Encoding.of(system)
    head = encoding.matrix(model_inputs(system, rows.head(1)))  # 3rd class, male, 22, 1, 0, 7.25, S, family 2
    np.testing.assert_array_equal(head, [[3, 1, 22, 1, 0, 7.25, 0, 0, 1, 2]])
    assert encoding.width == head.shape[1]


def test_missing_numbers_stay_missing_and_a_missing_category_is_none_of_them():
    system, rows = system_and_rows("titanic")
    row = rows.head(1).assign(sex=None, age=None, embarked=None)
    matrix = Encoding.of(system).matrix(model_inputs(system, row))[0]
    assert np.isnan(matrix[[1, 2]]).all()
    assert matrix[6:9].tolist() == [0, 0, 0]


def test_more_neighbours_than_rows_are_all_rows():
    system, rows = system_and_rows("iris")
    few = rows.iloc[[0, 1, 50, 51]]
    model = fit(system, recipe("knn"), model_inputs(system, few), few["species"].to_numpy())
    np.testing.assert_allclose(model.predict_proba(model_inputs(system, few))[0], [0.5, 0.5, 0])


def test_the_original_two_neighbours_stay_selectable():
    assert recipe("knn", n_neighbors=2).parameters["n_neighbors"] == 2
    assert recipe("knn").parameters["n_neighbors"] == 15


@pytest.mark.parametrize(
    ("model_class", "overrides", "message"),
    [
        ("forest", {}, "no model class 'forest'; known: knn, logistic"),
        ("knn", {"k": 3}, "knn has no parameter k; it has: n_neighbors, weights"),
        ("lda", {"C": 1}, "lda has no parameter C; it has: none"),
    ],
)
def test_an_unknown_class_or_parameter_is_refused_with_the_known_ones(model_class, overrides, message):
    with pytest.raises(ValueError, match=message):
        recipe(model_class, **overrides)


def test_outcomes_that_are_no_classes_are_refused():
    system, rows = system_and_rows("iris")
    inputs = model_inputs(system, rows)
    with pytest.raises(ValueError, match="found \\['rose'\\]"):
        fit(system, recipe("lda"), inputs, np.array(["rose"] * len(rows)))
    with pytest.raises(ValueError, match="two outcomes or more"):
        fit(system, recipe("lda"), inputs, np.array(["setosa"] * len(rows)))


def test_an_absent_input_is_named():
    inputs = inputs_of("titanic").drop(columns=["fare"])
    with pytest.raises(ValueError, match="wants inputs fare"):
        fitted("titanic", "xgboost").predict_proba(inputs)


def refused(system: System, folder: Path, words: str) -> None:
    with pytest.raises(InvalidModel, match=words):
        load(system, folder)


def forge(folder: Path, data: bytes) -> None:
    """Replace the model and its hash, as one who can write to both would."""
    (folder / "model.skops").write_bytes(data)
    described = json.loads((folder / "recipe.json").read_text())
    described["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "recipe.json").write_text(json.dumps(described))


def test_a_file_with_a_type_outside_our_list_is_refused_by_name(tmp_path):
    save(fitted("iris", "lda"), tmp_path)
    forge(tmp_path, skops.io.dumps(Pipeline([("run", FunctionTransformer(shutil.rmtree))])))
    refused(load_system("iris"), tmp_path, "types that no model of ours has: shutil.rmtree")


@pytest.mark.parametrize("other", ["pipeline", "bare"])
def test_a_file_of_another_kind_of_model_is_refused(other, tmp_path):
    save(fitted("iris", "lda"), tmp_path)
    estimator = fitted("iris", "logistic").estimator if other == "pipeline" else Ridge()
    forge(tmp_path, skops.io.dumps(estimator))
    refused(load_system("iris"), tmp_path, "recipe says lda, the model file holds")


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    save(fitted("iris", "lda"), tmp_path)
    forge(tmp_path, b"PK not really")
    refused(load_system("iris"), tmp_path, "cannot read")


@pytest.mark.parametrize(("model_class", "file"), [("lda", "model.skops"), ("xgboost", "model.ubj")])
@pytest.mark.parametrize(
    ("damage", "words"), [("cut", "was changed"), ("empty", "was changed"), ("gone", "cannot read")]
)
def test_a_damaged_model_file_is_refused(model_class, file, damage, words, tmp_path):
    save(fitted("iris", model_class), tmp_path)
    path = tmp_path / file
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:200] if damage == "cut" else b"")
    refused(load_system("iris"), tmp_path, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": ["a", "b", "c"]}, "train a new model"),
        ({"model_class": "forest"}, "no model class 'forest'"),
        ({"parameters": {"k": 1}}, "has no parameter k"),
        ({"calibration": {"slope": "x"}}, "not one of ours"),
        ({"calibration": {"slope": -1}}, "slope"),
        ({"format": 99}, "format 1"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(change, words, tmp_path):
    save(fitted("iris", "lda"), tmp_path)
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    refused(load_system("iris"), tmp_path, words)


def test_a_recipe_that_is_not_json_is_refused(tmp_path):
    save(fitted("iris", "lda"), tmp_path)
    (tmp_path / "recipe.json").write_text("{")
    refused(load_system("iris"), tmp_path, "cannot read")


def test_a_model_of_one_system_is_refused_by_another(tmp_path):
    save(fitted("iris", "lda"), tmp_path)
    refused(load_system("titanic"), tmp_path, "titanic has")


def test_model_files_hold_no_pickle(tmp_path):
    for model_class in MODEL_CLASSES:
        save(fitted("iris", model_class), tmp_path / model_class)
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"recipe.json", "model.skops", "model.ubj"}
