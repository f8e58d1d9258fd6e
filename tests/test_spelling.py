"""One rule for both families: what nobody sees is not there, and what people write for nothing is nothing."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagsverk.speech.corpora import identity
from dagsverk.spelling import says_nothing, without_unseen
from dagsverk.tabular import spellings


@pytest.mark.parametrize(
    "unseen", "\u200b\u200e\u202e\u2066\ufeff\u00ad\u034f\ufe0f\u3164\u2800\x00\x7f\ue000"
)
def test_what_nobody_sees_makes_no_other_name_and_no_other_cell(unseen):
    assert identity.clean_name(f"å{unseen}sa") == spellings.clean(f"a\u030a{unseen}sa ") == "åsa"


@given(st.text(max_size=12))
def test_a_cleaned_text_stays_as_it_is_and_white_space_is_kept(text):
    cleaned = without_unseen(text)
    assert without_unseen(cleaned) == cleaned == unicodedata.normalize("NFC", cleaned)
    assert spellings.clean(spellings.clean(text)) == spellings.clean(text)
    assert cleaned.count("\n") == text.count("\n")


@pytest.mark.parametrize("word", ["NA", "n.a.", "#N/A", "<NA>", "(null)", "None", "#REF!", "?", "\\N", ""])
def test_words_for_nothing_are_so_in_tables_and_in_corpora(word):
    assert spellings.is_missing(word)
    assert identity.is_missing(word)


@pytest.mark.parametrize(
    "word", ["0", "no", "Nora", "Nanna", "n1", "✓", "✗", "∞", "+", "unknown", "nonesuch"]
)
def test_other_words_and_signs_in_a_table_are_not_taken_for_nothing(word):
    assert not spellings.is_missing(word)
    assert not says_nothing(word)


def test_nobody_is_no_name_and_may_be_a_category():
    assert (spellings.is_missing("Unknown"), identity.is_missing("Okänd")) == (False, True)


def test_a_name_may_be_what_is_no_time_and_an_identity_may_not_be_minus_one():
    assert (spellings.is_missing("NaT"), identity.is_missing("Nat")) == (True, False)
    assert (spellings.is_missing("-1"), identity.is_missing("-1")) == (False, True)
