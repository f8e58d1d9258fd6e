"""How pages write numbers, names and what is still being read; and the axes of their charts."""

import pandas as pd
import pytest

from dagsverk.tabular.system import Column
from ui import parts
from ui.parts import Head
from ui.tabular.charts import accuracy_over_time

YEAR = Column(name="built", description="Built in", kind="integer", minimum=1800, maximum=2100)


@pytest.mark.parametrize(
    "value, digits, words",
    [
        (2009, 4, "2009"),
        (2009.0, 3, "2009"),
        (12_345.6, 4, "12346"),
        (0.00003, 2, "3e-05"),
        (1e6, 6, "1000000"),
        (None, 3, "–"),
        (float("nan"), 3, "–"),
    ],
)
def test_a_measured_number_has_no_separators(value, digits, words):
    assert parts.number(value, digits) == words


def test_a_year_that_was_entered_is_written_as_a_year():
    assert parts.entered(YEAR, 2009) == "2009"


@pytest.mark.parametrize(
    "name, words",
    [
        ("nano", "nano"),
        ("openai/whisper-small", "openai/whisper-small"),
        ("/srv/data/models/mine", "mine"),
        ("/srv/data/models/mine/", "mine"),
        ("./mine", "mine"),
        ("~/models/mine", "mine"),
        ("data/models/mine", "mine"),
        ("C:\\models\\mine", "mine"),
        ("s3://bucket/models/mine", "mine"),
        ("/", "/"),
    ],
)
def test_of_a_path_the_last_part_is_shown_and_a_name_stays(name, words):
    assert parts.last_part(name) == words


def test_only_a_word_that_no_cell_can_hold_may_be_broken():
    heads = [Head(title="Name"), Head(title="Value")]
    assert '<span class="wrap">' in parts.table("", heads, [("a", "x" * 40)])
    assert '<span class="wrap">' not in parts.table("", heads, [("a", "many short words in one cell")])


def test_what_is_being_read_is_announced_and_its_shapes_are_not():
    shown = parts.loading("Reading the store …")
    assert 'role="status"' in shown
    assert '<div class="dv-ghost" aria-hidden="true">' in shown


def days(count):
    return pd.DataFrame(
        {
            "date": pd.date_range("2026-03-01", periods=count),
            "n": 20,
            "accuracy": 0.85,
            "rolling_accuracy": 0.85,
            "rolling_low": 0.64,
            "rolling_high": 0.95,
        }
    )


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_a_chart_of_few_days_has_a_tick_for_each_and_none_between(count):
    axis = accuracy_over_time(days(count), 0.8, 90).layout.xaxis
    assert (axis.tick0, axis.dtick) == ("2026-03-01 00:00", 24 * 3600 * 1000)
    assert axis.range == ("2026-02-28 12:00", f"2026-03-{count:02} 12:00")


def test_a_chart_of_many_days_chooses_its_ticks():
    axis = accuracy_over_time(days(200), 0.8, 90).layout.xaxis
    assert (axis.dtick, axis.nticks) == (None, 6)


def test_a_single_day_shows_its_interval_as_a_whisker_and_the_promise_as_a_line():
    interval, _, _, promised = accuracy_over_time(days(1), 0.8, 90).data
    assert interval.error_y.array == pytest.approx((0.10,))
    assert interval.error_y.arrayminus == pytest.approx((0.21,))
    assert len(promised.x) == 3
