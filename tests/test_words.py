"""Numbers, counts and tables in words."""

import pytest

from dagsverk import words


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.415, 0.4, 0.43), "0.415 [0.400, 0.430]"),
        ((0.415, None, None), "0.415 [no interval]"),
        ((0.0, 0.0, 0.0), "0.000 [0.000, 0.000]"),
        ((None, None, None), "nothing to score"),
    ],
)
def test_a_number_is_said_with_its_limits(numbers, text):
    assert words.interval(*numbers) == text


@pytest.mark.parametrize(
    ("shares", "text"),
    [
        ((0.081, 0.066, 0.097), "8.1 % (6.6 to 9.7)"),
        ((0.081, None, None), "8.1 % (no interval)"),
        ((1.2, 0.9, 1.5), "120.0 % (90.0 to 150.0)"),
        ((None, None, None), "nothing to score"),
    ],
)
def test_an_error_rate_is_said_in_percent_with_its_limits(shares, text):
    assert words.percent_interval(*shares) == text


@pytest.mark.parametrize(
    ("shares", "text"),
    [
        ((-0.012, -0.034, 0.01), "-1.2 points (-3.4 to +1.0)"),
        ((0.012, None, None), "+1.2 points"),
    ],
)
def test_a_difference_is_said_in_points_with_its_sign(shares, text):
    assert words.difference(*shares) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 clips"), (1, "1 clip"), (2, "2 clips"), (1059, "1,059 clips")]
)
def test_a_count_is_said_with_its_noun_and_its_thousands_apart(count, text):
    assert words.counted(count, "clip") == text


def test_a_plural_of_its_own_is_used():
    assert [words.counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]


@pytest.mark.parametrize(
    ("speakers", "without", "text"),
    [
        (0, 0, "unnamed speakers"),
        (0, 59, "unnamed speakers"),
        (1, 0, "1 voice"),
        (18, 0, "18 voices"),
        (1, 3, "1 voice and 3 clips of unnamed speakers"),
        (18, 1, "18 voices and 1 clip of unnamed speakers"),
    ],
)
def test_whose_clips_they_are_is_said_also_where_it_is_not_known(speakers, without, text):
    assert words.voices(speakers, without) == text


def test_a_table_of_markdown_keeps_a_bar_inside_its_cell():
    assert words.table(("a", "b"), [("1|2", "3")]) == "| a | b |\n| --- | --- |\n| 1\\|2 | 3 |"


def test_a_list_of_facts_names_its_fields_in_words():
    assert words.facts({"base_model": "nano", "cut": {}}) == "- base model: nano\n- cut: none"
    assert words.facts({"cut": {"test": "å"}, "step": 0}) == '- cut: {"test": "å"}\n- step: 0'


def test_a_package_that_is_not_installed_has_no_version():
    assert words.versions(["no-such-package-of-dagsverk"]) == "no-such-package-of-dagsverk unknown"
