"""Rare classes: what is measured of them, what is chosen for them, and that nothing tested takes part."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fitted_models import system_and_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from dagsverk.records import read_file, write_file
from dagsverk.tabular import training
from dagsverk.tabular.card import naming
from dagsverk.tabular.config import EvaluationConfig, TrainingConfig
from dagsverk.tabular.errors import UntrainableRows
from dagsverk.tabular.evaluation import cross_validate
from dagsverk.tabular.features import model_inputs
from dagsverk.tabular.gate import decide
from dagsverk.tabular.measures import MEASURES, THRESHOLD_FOR
from dagsverk.tabular.metrics import average_precision, fold_metrics, named_metrics
from dagsverk.tabular.models import InvalidModel, fit, load, recipe, save
from dagsverk.tabular.prediction import Champion
from dagsverk.tabular.registration import check_rows
from dagsverk.tabular.system import Column
from dagsverk.tabular.thresholds import choose, named, threshold_of
from dagsverk.tabular.tuning import positive_class

IRIS, FLOWERS = system_and_rows("iris")
SHORT = EvaluationConfig(folds=5, repeats=1)
NAMES = ("a", "b", "c", "d", "e", "f")


def rare_system(measure="average_precision", positive="", classes=("fine", "broken")):
    columns = tuple(Column(name=name, description=name, kind="number") for name in NAMES)
    label = Column(name="state", description="State", kind="category", categories=classes)
    return replace(IRIS, name="rare", columns=columns, label=label, measure=measure, positive=positive)


def rare_rows(rows=1500, share=0.03, seed=3):
    values, codes = make_classification(
        rows, len(NAMES), n_informative=4, weights=[1 - share], flip_y=0.01, random_state=seed
    )
    frame = pd.DataFrame(values, columns=list(NAMES))
    return frame.assign(state=np.array(["fine", "broken"], dtype=object)[codes])


RARE = rare_rows()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9999), decimals=st.sampled_from([1, 6]))
def test_average_precision_and_f1_equal_scikit_learns_ties_included(seed, decimals):
    chance = np.random.default_rng(seed)
    scores, codes = chance.random(60).round(decimals), chance.integers(0, 2, 60)
    assert average_precision(scores, codes == 1) == pytest.approx(average_precision_score(codes, scores))
    said = chance.integers(0, 3, 60)
    codes = chance.integers(0, 3, 60)
    precision, recall, f1, _ = precision_recall_fscore_support(codes, said, labels=[2], zero_division=0)
    ours = named_metrics(said, codes, 3, 2)
    assert [ours["precision"], ours["recall"], ours["f1"]] == pytest.approx([precision[0], recall[0], f1[0]])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 9999),
    measure=st.sampled_from(["f1", "balanced_accuracy"]),
    place=st.sampled_from([0, 1]),
)
def test_no_threshold_is_better_than_the_one_chosen(seed, measure, place):
    chance = np.random.default_rng(seed)
    scores = chance.random(50).round(2)
    codes = (chance.random(50) < scores / 3).astype(int)
    probabilities = np.column_stack([1 - scores, scores])
    weights = choose(probabilities, codes, measure, place)
    best = max(
        named_metrics(np.where(probabilities[:, place] > t, place, 1 - place), codes, 2, place)[measure]
        for t in np.arange(0.005, 1, 0.01)
    )
    reached = named_metrics(named(probabilities, weights), codes, 2, place)[measure]
    assert reached >= best - 0.011  # less than what a threshold must gain to be kept
    if weights:
        said = named(probabilities, weights) == place
        assert (said == (probabilities[:, place] > threshold_of(weights, place))).all()


def test_a_threshold_finds_the_rare_class_that_the_likeliest_class_hides():
    bare = cross_validate(rare_system("log_loss"), RARE, recipe("logistic"), SHORT)
    tuned = cross_validate(rare_system(), RARE, recipe("logistic"), SHORT)
    assert bare.positive == tuned.positive == "broken"
    assert tuned.metrics["f1"].mean > bare.metrics["f1"].mean + 0.05
    assert tuned.metrics["recall"].mean > bare.metrics["recall"].mean + 0.1
    assert tuned.baseline["recall"] == 0.0
    assert tuned.baseline["average_precision"] == pytest.approx((RARE["state"] == "broken").mean(), abs=0.002)
    of_class = {each.name: each for each in tuned.per_class}
    assert of_class["broken"].recall == tuned.metrics["recall"]
    assert sum(each.rows for each in tuned.per_class) == len(RARE)


def test_scores_by_log_loss_are_not_tuned():
    system, rows = system_and_rows("titanic")
    classifier = fit(system, recipe("logistic"), model_inputs(system, rows), rows["survived"].to_numpy())
    assert classifier.tuning.measure == ""
    assert classifier.tuning.weights is None


@pytest.mark.parametrize("model_class", ["logistic", "hist_gradient_boosting", "xgboost", "knn", "lda"])
def test_what_a_tested_row_holds_changes_neither_threshold_nor_weights(model_class):
    """Outcomes by lot: a threshold chosen on what is tested would look better than chance."""
    lots = RARE.assign(state=np.random.default_rng(1).permutation(RARE["state"].to_numpy()))
    scores = cross_validate(rare_system("balanced_accuracy"), lots[:600], recipe(model_class), SHORT)
    assert scores.metrics["balanced_accuracy"].mean < 0.6


def test_a_tuned_model_read_back_names_the_same_classes(tmp_path):
    system = rare_system()
    classifier = fit(system, recipe("logistic"), model_inputs(system, RARE), RARE["state"].to_numpy())
    assert classifier.tuning.weights is not None
    save(classifier, tmp_path)
    again = load(system, tmp_path)
    assert again.tuning == classifier.tuning
    champion = Champion(system, None, again, RARE[list(NAMES)])
    predicted = champion.predict(RARE)
    threshold = threshold_of(again.tuning.weights, 1)
    of_broken = np.stack(predicted["probabilities"])[:, 1]
    assert ((predicted["prediction"] == "broken") == (of_broken > threshold)).all()
    assert (predicted["prediction"] == "broken").sum() > (of_broken > 0.5).sum()
    chosen = np.where(predicted["prediction"] == "broken", of_broken, 1 - of_broken)
    assert predicted["probability"].to_numpy() == pytest.approx(chosen)
    assert f"from a probability of {threshold:.3g} on" in naming(again, "broken")
    row = RARE[list(NAMES)][(predicted["prediction"] == "broken").to_numpy()].head(1)
    assert champion.explain(row).outcome == "broken"


def test_a_model_of_before_names_the_likeliest_class(tmp_path):
    system = rare_system("log_loss")
    save(fit(system, recipe("lda"), model_inputs(system, RARE), RARE["state"].to_numpy()), tmp_path)
    described = read_file(tmp_path / "recipe.json")
    del described["tuning"]
    write_file(tmp_path / "recipe.json", described)
    assert load(system, tmp_path).tuning.weights is None


@pytest.mark.parametrize("weights", [[0.5], [0.5, -0.5], [0.5, "x"], [0.5, None]])
def test_weights_that_make_no_sense_are_refused(weights, tmp_path):
    system = rare_system()
    save(fit(system, recipe("lda"), model_inputs(system, RARE), RARE["state"].to_numpy()), tmp_path)
    described = read_file(tmp_path / "recipe.json")
    described["tuning"]["weights"] = weights
    write_file(tmp_path / "recipe.json", described)
    with pytest.raises(InvalidModel, match="is not one of ours"):
        load(system, tmp_path)


@pytest.mark.parametrize(
    ("positive", "codes", "place"),
    [("", [0, 0, 1], 1), ("", [0, 1, 1], 0), ("", [0, 1], 1), ("fine", [0, 0, 1], 0)],
)
def test_the_rarer_of_two_classes_is_spoken_of_unless_the_system_names_one(positive, codes, place):
    assert positive_class(rare_system(positive=positive), np.array(codes)) == place


def test_of_many_classes_all_are_spoken_of():
    scores = cross_validate(IRIS, FLOWERS, recipe("lda"), SHORT)
    assert scores.positive == ""
    assert [each.name for each in scores.per_class] == list(IRIS.classes)
    means = [each.recall.mean for each in scores.per_class]
    assert scores.metrics["balanced_accuracy"].mean == pytest.approx(np.mean(means))


def test_weights_of_many_classes_find_the_rare_ones():
    chance = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [900, 60, 40])
    scores = np.exp(chance.normal(0, 1, (1000, 3)) + np.eye(3)[codes] * 2 + np.log([0.9, 0.06, 0.04]))
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    weights = choose(probabilities, codes, "balanced_accuracy", None)
    assert weights is not None
    tuned = fold_metrics(probabilities, codes, named(probabilities, weights))["balanced_accuracy"]
    assert tuned > fold_metrics(probabilities, codes)["balanced_accuracy"] + 0.15


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"measure": "recall"}, "won by naming one class always"),
        ({"measure": "roc"}, "no measure 'roc'; known: log_loss"),
        ({"positive": "brokn"}, "positive 'brokn' is none of its classes fine, broken"),
    ],
)
def test_a_measure_that_is_none_is_refused_with_the_known_ones(wrong, words):
    with pytest.raises(ValueError, match=words):
        rare_system(**wrong)


@pytest.mark.parametrize("measure", MEASURES)
def test_the_better_model_by_each_measure_is_chosen_and_promoted_in_its_words(measure):
    system = rare_system(measure)
    config = TrainingConfig(model_classes=("lda", "knn"), folds=4, repeats=1)
    scores = [training.score_class(system, RARE, name, config) for name in config.model_classes]
    best = training.select(scores)
    others = [s.metrics[measure].mean for s in scores if s is not best]
    lower = measure in ("log_loss", "brier")
    assert all((best.value <= other) if lower else (best.value >= other) for other in others)
    other = next(s for s in scores if s is not best)
    assert not decide(other, best).promoted
    better = decide(best, other, min_gain=0.0)
    assert better.promoted == (best.value != other.value)
    assert better.numbers[measure] == best.value
    assert ("higher" in better.rule) != lower


def test_a_leak_is_not_seen_in_an_accuracy_that_the_commonest_class_has():
    scores = cross_validate(rare_system(), RARE, recipe("lda"), SHORT)
    assert scores.baseline["accuracy"] > 0.95
    assert decide(scores, None, leak_accuracy=0.95).promoted
    leaking = RARE.assign(a=np.where(RARE["state"] == "broken", 9.0, 0.0))
    leak = cross_validate(rare_system(), leaking, recipe("lda"), SHORT)
    refused = decide(leak, None, leak_accuracy=0.95)
    assert not refused.promoted
    assert "balanced accuracy 1.000 is above 0.95" in refused.reason


def test_settings_of_the_measure_change_the_key_and_the_default_keeps_it():
    config = TrainingConfig()
    default = rare_system("log_loss")
    keys = {
        training.training_key(system, RARE, config)
        for system in (default, rare_system("f1"), rare_system("f1", "fine"), rare_system("log_loss", "fine"))
    }
    assert len(keys) == 4
    many = pd.concat([RARE] * 3)
    assert training.training_key(default, many, config) != training.training_key(
        default, many, replace(config, repeats=3)
    )


def test_a_class_of_one_row_is_refused_with_the_next_move():
    lone = FLOWERS[(FLOWERS["species"] != "setosa") | (FLOWERS.index == FLOWERS.index[0])]
    with pytest.raises(UntrainableRows, match="bring more rows of setosa, or leave it out of"):
        check_rows(IRIS, lone)


@pytest.mark.parametrize("measure", sorted(THRESHOLD_FOR))
@pytest.mark.parametrize("rows_of_rarest", [2, 4, 12])
def test_a_class_of_fewer_rows_than_folds_gets_fewer_folds(measure, rows_of_rarest):
    broken, fine = RARE[RARE["state"] == "broken"], RARE[RARE["state"] == "fine"]
    rows = pd.concat([broken.head(rows_of_rarest), fine.head(200)])
    scores = cross_validate(rare_system(measure), rows, recipe("logistic"), EvaluationConfig(repeats=1))
    assert scores.folds == min(10, rows_of_rarest)
    assert np.isfinite([interval.mean for interval in scores.metrics.values()]).all()
