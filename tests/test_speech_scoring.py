"""Error rates are right, clip by clip and together."""

from __future__ import annotations

import math

import jiwer
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagsverk.speech.evaluation.normaliser import normalise
from dagsverk.speech.evaluation.scoring import (
    COUNTS,
    NORMALISED,
    RAW,
    WHISPER,
    count_errors,
    total,
    word_errors,
)
from dagsverk.speech.evaluation.whisper_normaliser import english_spellings, whisper_normalise

WORDS = st.lists(st.sampled_from(["hon", "går", "hem", "nu", "å", "åh", "Hem."]), max_size=6).map(" ".join)
PAIRS = st.lists(st.tuples(WORDS, WORDS), max_size=8)


def rates(references, hypotheses, language, form=NORMALISED):
    return total(count_errors(references, hypotheses, language), form)


@pytest.mark.parametrize(
    "reference, hypothesis, wer",
    [
        ("a b c", "a b c", 0.0),
        ("a b c", "a c", 1 / 3),  # one deletion in three words
        ("a b", "a x b", 1 / 2),
        ("a b", "a x", 1 / 2),
        ("a b", "", 1.0),
        ("a", "b c d", 3.0),  # a rate may exceed 1
    ],
)
def test_wer_counts_edits_per_reference_word(reference, hypothesis, wer):
    assert rates([reference], [hypothesis], "sv").wer == pytest.approx(wer)


def test_a_corpus_rate_is_edits_over_words_of_all_clips_and_no_mean_of_rates():
    scored = rates(["a", "a b c d e f g h i"], ["x", "a b c d e f g h i"], "sv")
    assert scored.wer == pytest.approx(1 / 10)  # the mean of 1 and 0 would be a half


def test_edits_are_told_apart():
    scored = rates(["en röd bil kör", "hej"], ["en blå bil", "hej på dig"], "sv")
    assert (scored.substitutions, scored.deletions, scored.insertions) == (1, 1, 2)
    assert (scored.words, scored.hits) == (5, 3)


def test_characters_are_counted_with_the_spaces_between_words():
    scored = rates(["ab cd"], ["abcd"], "sv")
    assert (scored.characters, scored.character_errors) == (5, 1)
    assert scored.cer == pytest.approx(1 / 5)


def test_languages_without_spaces_are_scored_by_character():
    scored = rates(["私は学生"], ["私は 先生"], "ja")
    assert (scored.words, scored.substitutions, scored.insertions) == (4, 1, 0)
    assert scored.cer == pytest.approx(1 / 4)


def test_raw_rates_see_what_normalised_rates_do_not():
    texts = ["Vad gör du?"], ["vad gör du"]
    assert rates(*texts, "sv").wer == 0
    assert rates(*texts, "sv", RAW).wer == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "language, reference, hypothesis, ours, whispers",
    [
        (
            "en",
            "I don't like the colour of 20 flowers",
            "I do not like the color of twenty flowers",
            4 / 8,
            0,
        ),
        ("en", "It's five per cent", "it is 5%", 3 / 3, 0),
        ("it", "L'acqua [suono] è fredda", "l’acqua è fredda", 1 / 5, 0),  # brackets hold words, for us
        ("it", "perche' no", "perché no", 0, 1 / 2),
        ("hi", "की", "का", 1, 0),  # vowels are marks there
        ("ja", "私は学生", "私は先生", 1 / 4, 1 / 4),
    ],
)
def test_whispers_own_rules_are_a_rate_of_their_own(language, reference, hypothesis, ours, whispers):
    assert rates([reference], [hypothesis], language).wer == pytest.approx(ours)
    assert rates([reference], [hypothesis], language, WHISPER).wer == pytest.approx(whispers)


def test_a_clip_of_which_whispers_rules_leave_nothing_counts_in_the_other_rates_alone():
    counts = count_errors(["[skratt]", "hej du"], ["skratt", "hej nu"], "sv")
    assert list(counts["scored"]) == [True, True]
    assert (total(counts).words, total(counts, WHISPER).words) == (3, 2)


@given(st.text(), st.sampled_from(["en", "sv", "ja", "it"]))
def test_whispers_rules_make_words_of_any_text(text, language):
    words = whisper_normalise(text, language)
    assert words == " ".join(words.split())


def test_whispers_table_of_spellings_is_whole():
    spellings = english_spellings()
    assert len(spellings) == 1739
    assert (spellings["colour"], spellings["flyer / flier"]) == ("color", "flier / flyer")


def test_a_letter_with_a_ring_is_another_letter_in_either_rate():
    assert rates(["år"], ["ar"], "sv").wer == rates(["år"], ["ar"], "sv", RAW).wer == 1


def test_an_elided_article_is_a_word_of_its_own():
    assert rates(["l'acqua fredda"], ["la acqua fredda"], "it").wer == pytest.approx(1 / 3)
    assert rates(["un'ora"], ["un ora"], "it").wer == 0


def test_a_clip_without_words_is_not_scored_but_counted():
    counts = count_errors(["?!", "hej"], ["vad sa du", "hej"], "sv")
    assert list(counts["scored"]) == [False, True]
    assert counts.loc[0, list(COUNTS)].sum() == counts.loc[0, [RAW + name for name in COUNTS]].sum() == 0
    assert total(counts).wer == total(counts, RAW).wer == 0


def test_no_clip_at_all_has_no_rate():
    assert math.isnan(rates([], [], "sv").wer)
    assert math.isnan(rates(["!"], ["hej"], "sv").cer)


def test_a_text_that_is_missing_is_refused():
    with pytest.raises(ValueError, match="2 references and 1 hypotheses"):
        rates(["a", "b"], ["a"], "sv")


@given(PAIRS)
def test_counts_of_clips_add_up_to_what_jiwer_says_of_all(pairs):
    counts = count_errors([a for a, _ in pairs], [b for _, b in pairs], "sv")
    kept = [(normalise(a, "sv"), normalise(b, "sv")) for a, b in pairs if normalise(a, "sv")]
    if not kept:
        assert math.isnan(total(counts).wer)
        return
    references, hypotheses = [a for a, _ in kept], [b for _, b in kept]
    assert total(counts).wer == pytest.approx(jiwer.wer(references, hypotheses))
    assert total(counts).cer == pytest.approx(jiwer.cer(references, hypotheses))
    raw = [(a, b) for a, b in pairs if normalise(a, "sv")]
    expected = jiwer.wer([a for a, _ in raw], [b for _, b in raw])
    assert total(counts, RAW).wer == pytest.approx(expected)


@given(PAIRS)
def test_every_word_is_hit_substituted_or_deleted(pairs):
    counts = count_errors([a for a, _ in pairs], [b for _, b in pairs], "sv")
    for prefix in ("", RAW):
        parts = counts[[prefix + part for part in ("hits", "substitutions", "deletions")]].sum(axis=1)
        assert (parts == counts[prefix + "words"]).all()
    assert (word_errors(counts) >= 0).all()
    assert (counts.drop(columns="scored") >= 0).all(axis=None)


@given(PAIRS, st.integers(0, 8))
def test_rates_of_a_part_come_from_its_rows(pairs, n):
    references, hypotheses = [a for a, _ in pairs], [b for _, b in pairs]
    part = total(count_errors(references, hypotheses, "sv").head(n))
    alone = rates(references[:n], hypotheses[:n], "sv")
    assert pd.Series(vars(part)).equals(pd.Series(vars(alone)))
