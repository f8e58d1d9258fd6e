"""Loops in what a model says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagsverk.speech.serving.repetition import compression_ratio, loops, times_repeated, without_loops


@pytest.mark.parametrize(
    "text, times",
    [
        ("", 0),
        ("ja", 1),
        ("nej nej nej", 3),
        ("Nej nej NEJ", 3),
        ("vi ses vi ses i morgon", 2),
        ("ett två ett två ett två ett", 3),  # the last is half a round
        ("ett två tre två ett", 1),
    ],
)
def test_the_most_that_words_are_said_in_a_row_is_counted(text, times):
    assert times_repeated(text) == times


@pytest.mark.parametrize(
    "text, expected",
    [
        ("nej nej nej nej", "nej nej nej nej"),  # people do
        ("nej nej nej nej nej", "nej"),
        ("Tack för att ni tittade. " * 7, "Tack för att ni tittade."),
        ("hon sa ja ja ja ja ja ja och gick", "hon sa ja och gick"),
        ("och då " * 6 + "slut", "och då slut"),
        ("a" * 40, "a"),
        ("la" * 20 + " la", "la la"),
        ("det kostar 1000000000 kronor", "det kostar 1000000000 kronor"),
        ("  två  mellanslag ", "  två  mellanslag "),
    ],
)
def test_a_loop_is_said_once_and_other_text_is_left_alone(text, expected):
    assert without_loops(text) == expected
    assert loops(text) == (expected != text)


@given(st.lists(st.sampled_from(["ja", "nej", "och", "det"]), max_size=30))
def test_text_has_no_loops_once_they_are_taken_out(words):
    text = " ".join(words)
    assert times_repeated(without_loops(text)) <= max(4, 0)
    assert set(without_loops(text).split()) == set(words)


def test_text_that_repeats_itself_compresses_beyond_whisper_s_limit():
    assert compression_ratio("Tack för att ni tittade. " * 8) > 2.4
    assert compression_ratio("Den gamla mannen gick längs ån och såg på fåglarna som lyfte.") < 1.3
