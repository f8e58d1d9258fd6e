"""The gate of speech: who becomes champion, and the words for it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcribed import CONFIG, made_up_report, transcribed_clips

from dagsverk.records import plain
from dagsverk.speech.evaluation.comparison import difference
from dagsverk.speech.evaluation.report import Check, Comparison, Cut
from dagsverk.speech.registry.gate import RULE, decide

BASE = transcribed_clips(0.6, seed=9)
REFUSES = Check("language and task", passed=False, refuses=True, detail="no language is fixed")
WARNS = Check("silence", passed=False, refuses=False, detail="3 words said on 60 s of silence")
PASSED = Check("labels", passed=True, refuses=True, detail="no label was cut")


def decided(candidate, champion=None, *, base=BASE, checks=(), problems=(), **changes):
    """The gate's decision about per-clip rows."""
    reports = {
        "candidate": made_up_report(candidate, "c", **changes),
        "base": made_up_report(base, "b"),
        "champion": made_up_report(champion, "a") if champion is not None else None,
    }
    return decide(
        **reports,
        against_base=compared("b", candidate, base),
        against_champion=compared("a", candidate, champion) if champion is not None else None,
        checks=checks,
        problems=problems,
    )


def compared(key, candidate, other):
    """The comparison of the candidate, report c, with another report."""
    return Comparison(first="c", second=key, **vars(difference(candidate, other, CONFIG)))


def test_the_first_that_is_better_than_before_training_becomes_champion():
    decision = decided(transcribed_clips(0.1))
    assert decision.promoted
    assert decision.reason == (
        "Promoted: word error rate 9.2 % (6.7 to 11.7) on 96 test clips of 8 voices, against 59.9 % (56.6 to "
        "63.1) of the model it was trained from; no champion to compare it with."
    )
    assert decision.rule == RULE
    assert decision.numbers["wer"] == pytest.approx(0.092, abs=1e-3)
    assert decision.numbers["against_base_high"] < 0


def test_one_that_training_did_not_make_better_is_refused_even_as_the_first():
    decision = decided(transcribed_clips(0.6, seed=1))
    assert not decision.promoted
    assert "that of the model it was trained from 59.9 %" in decision.reason
    assert "is not below 0 beyond chance" in decision.reason


def test_one_that_is_clearly_better_than_the_champion_replaces_it_and_says_by_how_much():
    decision = decided(transcribed_clips(0.1), transcribed_clips(0.25, seed=2))
    assert decision.promoted
    assert "of the champion on the same clips, a difference of -" in decision.reason
    assert decision.numbers["against_champion_high"] < 0


def test_one_that_is_better_by_no_more_than_chance_leaves_the_champion():
    candidate, champion = transcribed_clips(0.19), transcribed_clips(0.2, seed=2)
    decision = decided(candidate, champion)
    assert decision.numbers["against_champion_value"] < 0 < decision.numbers["against_champion_high"]
    assert not decision.promoted
    assert "that of the champion" in decision.reason


def test_the_same_model_never_replaces_itself():
    assert not decided(transcribed_clips(0.1), transcribed_clips(0.1)).promoted


def test_a_check_that_refuses_refuses_the_best_and_one_that_warns_only_warns():
    refused = decided(transcribed_clips(0.1), checks=[PASSED, WARNS, REFUSES])
    assert not refused.promoted
    assert refused.reason == "Not promoted: a check failed: no language is fixed."
    warned = decided(transcribed_clips(0.1), checks=[PASSED, WARNS])
    assert warned.promoted
    assert warned.warnings == ("silence: 3 words said on 60 s of silence",)


def test_one_voice_is_not_enough_to_become_champion_and_the_next_move_is_said():
    decision = decided(transcribed_clips(0.1, speakers=1), base=transcribed_clips(0.6, seed=9, speakers=1))
    assert not decision.promoted
    assert "(no interval)" in decision.reason
    assert "add voices, or leave the speaker unnamed" in decision.reason


def test_few_voices_a_cut_and_other_problems_are_warned_of():
    few = decided(transcribed_clips(0.1, speakers=3), base=transcribed_clips(0.6, seed=9, speakers=3))
    cut = decided(transcribed_clips(0.1), cut=Cut(96, 5069), problems=["the champion could not be compared"])
    assert few.warnings == ("only 3 voices in the test clips: intervals are wide, and about these alone",)
    assert cut.warnings == (
        "the test clips are a cut: 96 of 5,069 clips, drawn by speaker",
        "the champion could not be compared",
    )


def test_a_group_that_falls_behind_is_warned_of():
    base = transcribed_clips(0.6, clips=40, seed=9)
    decision = decided(transcribed_clips(0.15, clips=40, worse="female"), base=base)
    assert decision.promoted
    assert any(w.startswith("gender female falls further behind the others") for w in decision.warnings)


def test_clips_without_words_promote_nobody():
    silent = transcribed_clips(0.1).assign(
        scored=False, words=0, hits=0, substitutions=0, deletions=0, insertions=0
    )
    decision = decided(silent, base=silent)
    assert not decision.promoted
    assert "nothing to score" in decision.reason


def test_a_comparison_of_other_reports_is_refused():
    rows = transcribed_clips(0.1)
    report, against = made_up_report(rows, "c"), compared("x", rows, BASE)
    with pytest.raises(ValueError, match="want a comparison of c with b"):
        decide(report, made_up_report(BASE, "b"), None, against_base=against, against_champion=None)


def test_a_decision_is_json():
    decision = decided(transcribed_clips(0.1), transcribed_clips(0.3, seed=2))
    assert json.loads(json.dumps(plain(decision))) == plain(decision)


@settings(max_examples=8, deadline=None)
@given(st.floats(0, 0.9), st.floats(0, 0.9))
def test_who_is_promoted_is_better_than_both_beyond_chance(candidate, champion):
    decision = decided(transcribed_clips(candidate), transcribed_clips(champion, seed=2))
    numbers = decision.numbers
    better = numbers["against_base_high"] < 0 and numbers["against_champion_high"] < 0
    assert decision.promoted == better
    assert not decision.promoted or numbers["wer"] < min(numbers["base_wer"], numbers["champion_wer"])
