"""The gate: who becomes champion, and the words for it."""

from __future__ import annotations

import json

import pytest
from fitted_models import made_up_scores
from hypothesis import given, settings
from hypothesis import strategies as st

from dagsverk.records import parse, plain
from dagsverk.store import StoreError
from dagsverk.tabular.gate import decide, rule
from dagsverk.tabular.scores import Scores, compare

CHAMPION = [0.42, 0.44, 0.43, 0.45]
BETTER = [0.40, 0.42, 0.41, 0.43]  # by 0.02 in each fold


def test_the_first_that_beats_the_commonest_class_becomes_champion():
    decision = decide(made_up_scores(BETTER), None)
    assert decision.promoted
    assert decision.reason == (
        "xgboost becomes champion: log-loss 0.4150 on 100 rows against 0.6600 of the commonest class; "
        "no champion to compare it with."
    )


def test_one_no_better_than_the_commonest_class_is_refused_even_as_the_first():
    decision = decide(made_up_scores([0.66, 0.66, 0.66]), None)
    assert not decision.promoted
    assert "does not beat 0.6600" in decision.reason


def test_a_better_candidate_replaces_the_champion_and_says_by_how_much():
    decision = decide(made_up_scores(BETTER, calibrated=True), made_up_scores(CHAMPION, model_class="knn"))
    assert decision.promoted
    assert decision.reason == (
        "xgboost (calibrated) becomes champion: log-loss 0.4150 on 100 rows, lower by 0.0200 "
        "(0.0200 to 0.0200) than the champion's 0.4350 (knn) on the same folds."
    )
    assert decision.numbers["gain"] == pytest.approx(0.02)
    assert decision.numbers["champion_log_loss"] == pytest.approx(0.435)


@pytest.mark.parametrize(("gain", "promoted"), [(0.0, False), (0.0009, False), (0.0011, True), (-0.1, False)])
def test_a_gain_below_the_stated_one_leaves_the_champion(gain, promoted):
    candidate = made_up_scores([value - gain for value in CHAMPION])
    decision = decide(candidate, made_up_scores(CHAMPION), min_gain=0.001)
    assert decision.promoted is promoted
    assert (
        promoted
        or "is not lower than the champion's 0.4350 (xgboost) on the same folds by at least 0.001"
        in decision.reason
    )


def test_the_same_model_never_replaces_itself_even_when_no_gain_is_asked():
    with_margin = decide(made_up_scores(CHAMPION), made_up_scores(CHAMPION), min_gain=0.001)
    without = decide(made_up_scores(CHAMPION), made_up_scores(CHAMPION), min_gain=0.0)
    assert not with_margin.promoted
    assert not without.promoted


def test_an_accuracy_that_smells_of_a_leak_is_refused_with_a_warning():
    candidate = made_up_scores(BETTER, accuracy=0.87)
    decision = decide(candidate, made_up_scores(CHAMPION), leak_accuracy=0.86)
    assert not decision.promoted
    assert "accuracy 0.870 is above 0.86: a likely leak" in decision.warnings[0]
    assert "raise leak_accuracy of titanic" in decision.reason
    assert decide(candidate, made_up_scores(CHAMPION), leak_accuracy=0.9).promoted


def test_a_failed_check_refuses_the_best_candidate():
    decision = decide(made_up_scores(BETTER), None, failed_checks=["12 % of the rows were bad"])
    assert not decision.promoted
    assert "a check failed: 12 % of the rows were bad" in decision.reason


def test_scores_on_other_folds_are_not_compared():
    with pytest.raises(ValueError, match="different folds cannot be compared"):
        decide(made_up_scores(BETTER), made_up_scores(CHAMPION, folds_id="other"))


def test_a_decision_is_json_and_repeats_the_rule():
    content = plain(decide(made_up_scores(BETTER), None))
    assert json.loads(json.dumps(content)) == content
    assert content["rule"] == rule("log_loss")
    assert content["promoted"] is True
    assert content["numbers"]["baseline_log_loss"] == 0.66


losses = st.lists(st.floats(0.01, 3), min_size=3, max_size=8)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), ours=losses)
def test_two_models_never_each_replace_the_other(data, ours):
    theirs = data.draw(st.lists(st.floats(0.01, 3), min_size=len(ours), max_size=len(ours)))
    one, other = made_up_scores(ours, baseline=9), made_up_scores(theirs, baseline=9)
    assert not (decide(one, other).promoted and decide(other, one).promoted)
    assert compare(one, other).mean == pytest.approx(-compare(other, one).mean)


def test_scores_survive_json():
    scores = made_up_scores(BETTER)
    content = plain(scores)
    assert parse(json.loads(json.dumps(content)), Scores) == scores
    with pytest.raises(StoreError, match="metrics: Field required"):
        parse({name: part for name, part in content.items() if name != "metrics"}, Scores)
