"""What would help most is said in order, with its interval, and by whom it was measured."""

import pytest

from dagsverk.suggestions import Gain, Suggestion, gain_words, ordered


def gain(value, low, high, **more):
    return Gain(**{"measure": "word error rate", "value": value, "low": low, "high": high, **more})


def suggestion(action, gain=None, about="model"):
    return Suggestion(about=about, action=action, why="a report", gain=gain, cost="none", source="")


def test_what_is_shown_comes_first_by_its_size_then_what_is_not_by_its_lower_end():
    listed = [
        suggestion("nobody knows"),
        suggestion("at most much", gain(None, 0, 0.9)),
        suggestion("not shown, far below", gain(0.5, -0.4, 1.4)),
        suggestion("not shown, nearly", gain(0.02, -0.001, 0.041)),
        suggestion("small, shown", gain(0.01, 0.005, 0.015)),
        suggestion("large, shown", gain(0.05, 0.001, 0.1)),
    ]
    names = [one.action for one in ordered(listed)]
    assert names == [one.action for one in listed[::-1]]


def test_gains_of_two_measures_are_compared_by_their_share_of_the_error_as_it_is():
    half_of_little = suggestion("half", gain(0.05, 0.01, 0.09, now=0.1))
    tenth_of_much = suggestion("tenth", gain(0.1, 0.05, 0.15, now=1.0, measure="log-loss"))
    assert ordered([tenth_of_much, half_of_little])[0].action == "half"


def test_data_and_model_can_be_asked_for_apart():
    listed = [suggestion("a"), suggestion("b", about="data")]
    assert [one.action for one in ordered(listed, "data")] == ["b"]
    assert len(ordered(listed)) == 2


@pytest.mark.parametrize(
    "given, words",
    [
        (None, "not measured"),
        (gain(0.021, 0.004, 0.038, share=True), "2.1 points of word error rate (0.4 to 3.8)"),
        (gain(None, 0, 0.02, share=True), "at most 2.0 points of word error rate; what it brings was not"),
        (gain(0.01, -0.01, 0.03), "0.0100 of word error rate (-0.0100 to 0.0300): not shown, for"),
    ],
)  # fmt: skip
def test_a_gain_is_said_with_its_interval_and_what_it_is_not(given, words):
    assert gain_words(given).startswith(words)


def test_nonsense_is_refused_when_it_is_built():
    with pytest.raises(ValueError, match="low <= high"):
        gain(0.1, 0.2, 0.1)
    with pytest.raises(ValueError, match="about must be one of model, data"):
        suggestion("a", about="luck")
    with pytest.raises(ValueError, match="what to do and why"):
        suggestion(" ")
