"""Whom a model serves badly, and whom worse than before, is reported with intervals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from transcribed import CONFIG, transcribed_clips

from dagsverk.records import plain
from dagsverk.speech.evaluation.bootstrap import bootstrap
from dagsverk.speech.evaluation.comparison import difference
from dagsverk.speech.evaluation.description import describe, rate_columns
from dagsverk.speech.evaluation.groups import NOT_STATED, find_groups, group_clips
from dagsverk.speech.evaluation.scoring import RAW, total, word_errors


def described(rows, **changes):
    return describe(rows, replace(CONFIG, **changes))


def group(description, by, value):
    return next(g for g in description.groups if (g.by, g.value) == (by, value))


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
    rates = group_clips(rows)["rate"]
    assert rates.value_counts().to_list() == [3, 3, 3]
    assert rates.iloc[0].startswith("slow")
    assert rates.iloc[-1].startswith("fast")


def test_one_speaking_rate_for_all_is_no_group():
    assert "rate" not in group_clips(pd.DataFrame({"duration_s": [2.0, 4.0], "words": [2, 4]}))


def test_what_the_corpus_never_states_is_no_group_and_what_it_sometimes_states_is_three():
    rows = transcribed_clips(0.1).assign(age=lambda r: np.where(r["gender"] == "male", "", "thirties"))
    by = {(g.by, g.value) for g in find_groups(rows, 1)}
    assert ("age", NOT_STATED) in by
    assert ("age", "thirties") in by
    assert not any(name == "accent" for name, _ in by)


def test_a_group_has_the_rates_of_its_clips_alone_and_its_gap_to_all_others():
    rows = transcribed_clips(0.2)
    scored, women = group(described(rows), "gender", "female"), rows["gender"] == "female"
    assert scored.wer.value == pytest.approx(total(rows[women]).wer)
    assert scored.gap.value == pytest.approx(total(rows[women]).wer - total(rows[~women]).wer)
    assert (scored.clips, scored.speakers, scored.words) == (48, 4, rows[women]["words"].sum())


def test_a_small_group_is_counted_and_not_scored():
    rows = transcribed_clips(0.2).assign(
        accent=lambda r: np.where(r["speaker"] == "voice 0", "skånska", "svealand")
    )
    description = described(rows)
    small, large = (group(description, "accent", name) for name in ("skånska", "svealand"))
    assert (small.clips, small.wer, small.gap) == (12, None, None)
    assert large.wer is not None


def test_a_group_of_one_speaker_has_a_rate_but_no_interval():
    rows = transcribed_clips(0.2, clips=30).assign(
        accent=lambda r: np.where(r["speaker"] == "voice 0", "skånska", "svealand")
    )
    alone = group(described(rows), "accent", "skånska")
    assert alone.wer.value is not None
    assert alone.wer.low is alone.gap.low is None


def test_the_group_that_is_served_worst_is_named_with_its_gap():
    worst = described(transcribed_clips(0.15, worse="female", clips=40)).worst_groups["gender"]
    assert worst.value == "female"
    assert worst.gap.value == pytest.approx(0.15, abs=0.05)
    assert worst.gap.low > 0


def test_a_report_agrees_with_its_rows_and_is_json():
    rows = transcribed_clips(0.3)
    description = described(rows)
    wer = description.scores.normalised.wer
    assert wer.value == pytest.approx(total(rows).wer)
    assert description.scores.raw.cer.value == pytest.approx(total(rows, RAW).cer)
    assert (description.clips, description.speakers, description.clips_without_speaker) == (96, 8, 0)
    assert wer.low < wer.value < wer.high
    assert json.loads(json.dumps(plain(description))) == plain(description)


def test_the_worst_clips_are_those_with_most_wrong_words():
    rows = transcribed_clips(0.5)
    worst = described(rows, worst=5).worst
    assert len(worst) == 5
    assert worst[0].errors == word_errors(rows).max()
    assert [c.errors for c in worst] == sorted((c.errors for c in worst), reverse=True)
    assert all(c.wer == pytest.approx(c.errors / c.words) for c in worst)
    assert described(transcribed_clips(0.0), worst=5).worst == ()


def test_a_group_that_a_model_serves_worse_than_before_is_seen():
    before, after = (
        transcribed_clips(0.5, clips=40),
        transcribed_clips(0.15, clips=40, worse="female", seed=1),
    )
    change = difference(after, before, CONFIG)
    women = group(change, "gender", "female")
    assert change.wer.high < 0  # better on the whole
    assert women.wer.high < 0  # for women too
    assert women.gap_change.low > 0  # and yet they fall behind


def test_a_paired_difference_is_that_of_the_two_rates_whatever_the_order_of_rows():
    first, second = transcribed_clips(0.2), transcribed_clips(0.3, seed=1)
    change = difference(first, second, CONFIG)
    assert change.wer.value == pytest.approx(total(first).wer - total(second).wer)
    assert change.cer.value == pytest.approx(total(first).cer - total(second).cer)
    assert difference(first, second.sample(frac=1, random_state=0), CONFIG) == change


def test_different_clips_are_not_compared():
    rows = transcribed_clips(0.2)
    with pytest.raises(ValueError, match="96 and 95 clips that are not the same"):
        difference(rows, rows.iloc[1:], CONFIG)


def test_all_columns_of_a_report_see_the_same_resamples():
    rows = transcribed_clips(0.2)
    sums = bootstrap(rate_columns(rows), rows["speaker"], resamples=100, seed=0)
    again = bootstrap(rate_columns(rows)[:, :2], rows["speaker"], resamples=100, seed=0)
    np.testing.assert_allclose(sums.resampled[:, :2], again.resampled)


def seen_in_train(rows, share):
    """The same rows, of which the first `share` say a sentence of train."""
    return rows.assign(in_train=np.arange(len(rows)) < share * len(rows))


def test_clips_whose_sentence_is_new_are_scored_beside_the_others():
    rows = seen_in_train(transcribed_clips(0.2), 0.25)
    unseen, new = described(rows).unseen, ~rows["in_train"]
    assert (unseen.clips, unseen.of, unseen.speakers) == (72, 96, 6)
    assert unseen.wer.value == pytest.approx(total(rows[new]).wer)
    assert unseen.gap.value == pytest.approx(total(rows[new]).wer - total(rows[~new]).wer)
    assert unseen.wer.low < unseen.wer.value < unseen.wer.high


def test_where_no_sentence_is_new_or_all_are_it_is_said():
    rows = transcribed_clips(0.2)
    none, every = described(seen_in_train(rows, 1)).unseen, described(seen_in_train(rows, 0)).unseen
    assert (none.clips, none.of, none.wer, none.gap) == (0, 96, None, None)
    assert (every.clips, every.gap) == (96, None)
    assert every.wer.value == pytest.approx(total(rows).wer)
    assert described(rows).unseen is None  # nobody knows


def test_groups_and_differences_are_the_same_whether_new_sentences_are_known_or_not():
    rows = transcribed_clips(0.2)
    assert described(seen_in_train(rows, 0.5)).groups == described(rows).groups
    other = transcribed_clips(0.3, seed=1)
    assert difference(seen_in_train(rows, 0.5), other, CONFIG) == difference(rows, other, CONFIG)


def test_the_rate_by_whispers_rules_has_an_interval():
    whisper = described(transcribed_clips(0.3)).scores.whisper
    assert whisper.wer.low < whisper.wer.value < whisper.wer.high
