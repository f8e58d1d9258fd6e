"""Whom a model serves badly, and whom worse than before, is told with intervals."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from transcribed import heard_clips, made_up_report

from dagsverk.speech.config import EvaluationConfig
from dagsverk.speech.evaluation.bootstrap import bootstrap
from dagsverk.speech.evaluation.comparison import difference
from dagsverk.speech.evaluation.groups import NOT_STATED, find_groups, group_clips
from dagsverk.speech.evaluation.report import describe, rate_columns
from dagsverk.speech.evaluation.scoring import total, word_errors

CONFIG = EvaluationConfig(resamples=300, min_group_clips=20)


def told(rows, **changes):
    return describe(rows, EvaluationConfig(**{"resamples": 300, "min_group_clips": 20, **changes}))


def group(found, by, value):
    return next(g for g in found["groups"] if (g["by"], g["value"]) == (by, value))


@pytest.mark.parametrize(
    "duration_s, name",
    [
        (0.4, "< 2 s"),
        (2.0, "2-4 s"),
        (3.99, "2-4 s"),
        (4.0, "4-7 s"),
        (11.9, "7-12 s"),
        (12.0, ">= 12 s"),
        (30, ">= 12 s"),
    ],
)
def test_clips_are_grouped_by_length(duration_s, name):
    rows = pd.DataFrame({"duration_s": [duration_s], "words": [3]})
    assert list(group_clips(rows)["length"]) == [name]


def test_the_speaking_rate_is_grouped_in_thirds():
    rows = pd.DataFrame({"duration_s": np.full(9, 2.0), "words": [1, 2, 3, 4, 5, 6, 7, 8, 9]})
    found = group_clips(rows)["rate"]
    assert found.value_counts().to_list() == [3, 3, 3]
    assert found.iloc[0].startswith("slow")
    assert found.iloc[-1].startswith("fast")


def test_one_speaking_rate_for_all_is_no_group():
    assert "rate" not in group_clips(pd.DataFrame({"duration_s": [2.0, 4.0], "words": [2, 4]}))


def test_what_the_corpus_never_states_is_no_group_and_what_it_sometimes_states_is_three():
    rows = heard_clips(0.1).assign(age=lambda r: np.where(r["gender"] == "male", "", "thirties"))
    by = {(g.by, g.value) for g in find_groups(rows, 1)}
    assert ("age", NOT_STATED) in by
    assert ("age", "thirties") in by
    assert not any(name == "accent" for name, _ in by)


def test_a_group_has_the_rates_of_its_clips_alone_and_its_gap_to_all_others():
    rows = heard_clips(0.2)
    found, women = group(told(rows), "gender", "female"), rows["gender"] == "female"
    assert found["wer"]["value"] == pytest.approx(total(rows[women]).wer)
    assert found["gap"]["value"] == pytest.approx(total(rows[women]).wer - total(rows[~women]).wer)
    assert (found["clips"], found["speakers"], found["words"]) == (48, 4, rows[women]["words"].sum())


def test_a_small_group_is_counted_and_not_scored():
    rows = heard_clips(0.2).assign(
        accent=lambda r: np.where(r["speaker"] == "voice 0", "skånska", "svealand")
    )
    found = told(rows)
    small, large = group(found, "accent", "skånska"), group(found, "accent", "svealand")
    assert (small["clips"], small["wer"], small["gap"]) == (12, None, None)
    assert large["wer"] is not None


def test_a_group_of_one_speaker_has_a_rate_but_no_interval():
    rows = heard_clips(0.2, clips=30).assign(
        accent=lambda r: np.where(r["speaker"] == "voice 0", "skånska", "svealand")
    )
    found = group(told(rows), "accent", "skånska")
    assert found["wer"]["value"] is not None
    assert found["wer"]["low"] is found["gap"]["low"] is None


def test_the_group_that_is_served_worst_is_named_with_its_gap():
    found = told(heard_clips(0.15, worse="female", clips=40))["worst_groups"]["gender"]
    assert found["value"] == "female"
    assert found["gap"]["value"] == pytest.approx(0.15, abs=0.05)
    assert found["gap"]["low"] > 0


def test_a_report_agrees_with_its_rows_and_is_json():
    rows = heard_clips(0.3)
    found = json.loads(json.dumps(told(rows)))
    assert found["scores"]["normalised"]["wer"]["value"] == pytest.approx(total(rows).wer)
    assert found["scores"]["raw"]["cer"]["value"] == pytest.approx(total(rows, raw=True).cer)
    assert (found["clips"], found["speakers"], found["clips_without_speaker"]) == (96, 8, 0)
    low, value, high = (found["scores"]["normalised"]["wer"][part] for part in ("low", "value", "high"))
    assert low < value < high


def test_the_worst_clips_are_those_with_most_wrong_words():
    rows = heard_clips(0.5)
    found = told(rows, worst=5)["worst"]
    assert len(found) == 5
    assert found[0]["errors"] == word_errors(rows).max()
    assert [c["errors"] for c in found] == sorted((c["errors"] for c in found), reverse=True)
    assert all(c["wer"] == pytest.approx(c["errors"] / c["words"]) for c in found)
    assert told(heard_clips(0.0), worst=5)["worst"] == []


def test_a_group_that_a_model_serves_worse_than_before_is_seen():
    before, after = heard_clips(0.5, clips=40), heard_clips(0.15, clips=40, worse="female", seed=1)
    found = difference(after, before, made_up_report(after, "a")["config"])
    women = next(g for g in found["groups"] if g["value"] == "female")
    assert found["wer"]["high"] < 0  # better on the whole
    assert women["wer"]["high"] < 0  # for women too
    assert women["gap_change"]["low"] > 0  # and yet they fall behind


def test_a_paired_difference_is_that_of_the_two_rates_whatever_the_order_of_rows():
    first, second = heard_clips(0.2), heard_clips(0.3, seed=1)
    config = made_up_report(first, "a")["config"]
    found = difference(first, second, config)
    assert found["wer"]["value"] == pytest.approx(total(first).wer - total(second).wer)
    assert found["cer"]["value"] == pytest.approx(total(first).cer - total(second).cer)
    assert difference(first, second.sample(frac=1, random_state=0), config) == found


def test_different_clips_are_not_compared():
    rows = heard_clips(0.2)
    with pytest.raises(ValueError, match="96 and 95 clips that are not the same"):
        difference(rows, rows.iloc[1:], made_up_report(rows, "a")["config"])


def test_all_columns_of_a_report_see_the_same_resamples():
    rows = heard_clips(0.2)
    sums = bootstrap(rate_columns(rows), rows["speaker"], resamples=100, seed=0)
    again = bootstrap(rate_columns(rows)[:, :2], rows["speaker"], resamples=100, seed=0)
    np.testing.assert_allclose(sums.resampled[:, :2], again.resampled)
