"""Training: what decides whether there is anything to learn, who is chosen, and what is written down."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest
from fitted_models import fitted, made_up_scores, shuffled, system_and_rows

from dagsverk.tabular.config import TrainingConfig
from dagsverk.tabular.gate import decide
from dagsverk.tabular.tables import identity, labelled
from dagsverk.tabular.training import (
    add_calibrated,
    background,
    champion_scores,
    fit_selected,
    registry_metrics,
    score_class,
    select,
    training_key,
    write_model_folder,
)
from dagsverk.version import code_version

SHORT = TrainingConfig(model_classes=("lda", "knn"), folds=4, repeats=1)


def test_the_key_depends_on_what_is_learned_and_not_on_the_order_of_rows():
    system, rows = system_and_rows("titanic")
    key = training_key(system, rows, SHORT)
    assert training_key(system, shuffled(rows, 1), SHORT) == key
    older = rows.assign(age=rows["age"].where(rows.index != 0, 23.0))
    died = rows.assign(survived=rows["survived"].where(rows.index != 0, "survived"))
    others = [
        training_key(system, rows.iloc[1:], SHORT),
        training_key(system, older, SHORT),
        training_key(system, died, SHORT),
        training_key(system, rows, replace(SHORT, seed=1)),
        training_key(replace(system, derive=None, derived=()), rows, SHORT),
    ]
    assert len({key, *others}) == 6


def test_training_rows_are_of_the_origins_asked_for_and_have_outcomes():
    system, rows = system_and_rows("iris")
    features = pd.concat(
        [
            rows,
            rows.head(2).assign(origin="synthetic", row_id=["s1", "s2"]),
            rows.head(1).assign(species=None, row_id="new"),
        ]
    )
    both = TrainingConfig(origins=("historic", "synthetic"))
    assert len(labelled(system, features, SHORT.origins)) == 150
    assert len(labelled(system, features, both.origins)) == 152


def test_the_lowest_log_loss_is_chosen():
    better, worse = made_up_scores([0.1, 0.2]), made_up_scores([0.3, 0.2])
    assert select([worse, better]) is better
    with pytest.raises(ValueError, match="no scores"):
        select([])


def test_a_class_is_scored_with_the_hold_out_beside_it_and_the_settings_neighbours():
    system, rows = system_and_rows("iris")
    scores = score_class(system, rows, "knn", replace(SHORT, knn_k=2))
    assert scores.parameters["n_neighbors"] == 2
    assert scores.holdout["test_rows"] == 30
    assert scores.log_loss > 0.5  # two neighbours are all too sure


def test_calibration_is_kept_where_it_lowers_the_log_loss():
    system, rows = system_and_rows("titanic")
    plain = [score_class(system, rows, "knn", SHORT)]
    (better,) = add_calibrated(system, rows, plain, SHORT)
    assert better.calibrated
    assert better.log_loss < plain[0].log_loss - 0.3
    assert better.folds_id == plain[0].folds_id
    assert fit_selected(system, rows, better).calibration is not None
    assert add_calibrated(system, rows, plain, replace(SHORT, calibration="never")) == plain


def test_calibration_is_not_tried_where_it_cannot_change_the_winner():
    system, rows = system_and_rows("iris")
    plain = [score_class(system, rows, name, SHORT) for name in ("lda", "knn")]
    assert plain[1].calibration_gain > 0.02
    assert add_calibrated(system, rows, plain, SHORT) == plain


def test_an_outcome_of_few_rows_is_scored_and_never_calibrated():
    system, rows = system_and_rows("iris")
    few = pd.concat([rows.head(60), rows.tail(3)])
    plain = [score_class(system, few, "knn", SHORT)]
    assert plain[0].folds == 3
    assert add_calibrated(system, few, plain, SHORT) == plain


def test_the_champion_on_the_same_rows_scores_as_it_did():
    system, rows = system_and_rows("iris")
    candidate = score_class(system, rows, "lda", SHORT)
    champion = champion_scores(system, rows, fitted("iris", "lda"), identity(rows), SHORT)
    assert champion.per_fold == candidate.per_fold
    assert not decide(candidate, champion).promoted


def test_a_champion_that_saw_fewer_rows_is_scored_on_the_new_ones_too():
    system, rows = system_and_rows("iris")
    candidate = score_class(system, rows, "lda", SHORT)
    seen = identity(rows.iloc[::6])
    champion = champion_scores(system, rows, fitted("iris", "lda"), seen, SHORT)
    assert (champion.rows, champion.rows_known) == (150, 25)
    assert decide(candidate, champion).promoted


def test_the_background_is_real_rows_with_the_classes_in_their_shares():
    system, rows = system_and_rows("titanic")
    drawn = background(system, rows)
    assert len(drawn) == 64
    assert set(drawn[0]) == set(system.inputs)
    assert drawn == background(system, shuffled(rows, 2))
    assert json.loads(json.dumps(drawn, allow_nan=False)) == drawn
    present = rows[["pclass", "sex", "fare"]].apply(tuple, axis=1)
    assert {(row["pclass"], row["sex"], row["fare"]) for row in drawn} <= set(present)
    synthetic = rows.head(5).assign(origin="synthetic")
    assert background(system, pd.concat([rows.head(3), synthetic])) == background(system, rows.head(3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    system, rows = system_and_rows("titanic")
    scores = [score_class(system, rows, name, SHORT) for name in SHORT.model_classes]
    decision = decide(select(scores), None)
    lineage = {"table": "titanic_features", "commit": 7, "key": training_key(system, rows, SHORT)}
    model = fit_selected(system, rows, select(scores))
    return write_model_folder(
        tmp_path_factory.mktemp("model"),
        system,
        model,
        scores=scores,
        decision=decision,
        rows=rows,
        lineage=lineage,
    )


def test_a_model_folder_tells_everything_about_its_model(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "model.skops",
        "recipe.json",
        "scores.json",
        "decision.json",
        "lineage.json",
        "background.json",
        "card.md",
    }
    read = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    assert [scores["model_class"] for scores in read["scores"]] == ["lda", "knn"]
    assert read["decision"]["promoted"] is True
    assert read["lineage"]["commit"] == 7
    assert read["lineage"]["rows_fitted_on"] == 891
    assert read["lineage"]["code"]


def test_the_card_says_data_scores_decision_and_limits(folder):
    card = (folder / "card.md").read_text()
    for words in (
        "# Titanic: lda",
        "lda becomes champion",
        "commit: 7",
        "| commonest class |",
        "sex female",
        "0 to 100 years",
        "Stratified cross-validation, 1 × 4 folds, seed 42",
        "load_champion",
        "scikit-learn",
    ):
        assert words in card


def test_a_model_without_its_own_scores_is_not_written(tmp_path):
    system, rows = system_and_rows("iris")
    scores = [made_up_scores([0.1, 0.2])]
    with pytest.raises(ValueError, match="without Recipe"):
        write_model_folder(
            tmp_path,
            system,
            fitted("iris", "lda"),
            scores=scores,
            decision=decide(scores[0], None),
            rows=rows,
            lineage={},
        )
    assert not list(tmp_path.iterdir())


def test_the_registry_gets_the_means():
    assert registry_metrics(made_up_scores([0.1, 0.3]))["log_loss"] == pytest.approx(0.2)


def test_the_code_version_is_a_commit_or_the_version_of_the_package():
    assert code_version()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"model_classes": ()}, "model_classes must be one or more of knn"),
        ({"model_classes": ("forest",)}, "model_classes must be one or more of knn"),
        ({"model_classes": ("knn", "knn")}, "each once"),
        ({"knn_k": 0}, "knn_k must be a whole number from 1"),
        ({"calibration": "always"}, "'auto' or 'never'"),
        ({"min_gain": -1}, "min_gain"),
        ({"min_gain": float("nan")}, "min_gain"),
        ({"origins": ("synthetic",)}, "real rows only"),
        ({"folds": 1}, "folds must be a whole number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        TrainingConfig(**wrong)


def test_settings_are_json():
    assert json.loads(json.dumps(TrainingConfig().to_dict()))["model_classes"][0] == "knn"
