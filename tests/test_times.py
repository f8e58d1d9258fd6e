"""Times of rows: what is read, in which zone, and what is set aside with its reason."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagsverk.tabular.errors import SourceError
from dagsverk.tabular.features import validate
from dagsverk.tabular.raw import Raw
from dagsverk.tabular.spellings import Cells
from dagsverk.tabular.system import load_system
from dagsverk.tabular.times import moments

NOW = pd.Timestamp("2026-06-01 12:00", tz="UTC")
IRIS = replace(load_system("iris"), time_column="measured_at", time_zone="Europe/Stockholm")


def read(*texts, zone="Europe/Stockholm"):
    """(moments in UTC or what was wanted instead, what was guessed)"""
    cells = Cells(pd.Series(texts, dtype=object))
    values, wanted, guess = moments("at", cells, zone, NOW)
    found = [
        wanted.get(code, "" if np.isnat(value) else str(value).removesuffix(".000000").removesuffix(":00"))
        for code, value in zip(cells.codes, values, strict=True)
    ]
    return found, guess


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-31", "2026-01-30T23:00"),  # midnight in Stockholm
        ("2026-01-31T08:30", "2026-01-31T07:30"),
        ("2026-01-31 08:30:00", "2026-01-31T07:30"),
        ("2026-05-31 08:30", "2026-05-31T06:30"),  # summer
        ("2026-01-31T08:30Z", "2026-01-31T08:30"),
        ("2026-01-31 08:30:00+00:00", "2026-01-31T08:30"),
        ("2026-01-31T08:30-0500", "2026-01-31T13:30"),
        ("2026-01-31T08:30:15.25+01", "2026-01-31T07:30:15.250000"),
        ("2026-01-31 08:30:00.123456789", "2026-01-31T07:30:00.123456"),
        ("31.1.2026 08:30", "2026-01-31T07:30"),
        ("2026/1/31", "2026-01-30T23:00"),
        ("1912-04-15T02:20Z", "1912-04-15T02:20"),
        (pd.Timestamp("2026-01-31 08:30"), "2026-01-31T07:30"),  # as Parquet has it
        (pd.Timestamp("2026-01-31 08:30", tz="UTC"), "2026-01-31T08:30"),
        (dt.date(2026, 1, 31), "2026-01-30T23:00"),
    ],
)
def test_a_time_of_one_meaning_is_read(text, utc):
    assert read(text)[0] == [utc]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-06-01T14:01", "a time that has been"),
        ("2099-01-01", "a time that has been"),
        ("2026-02-30", "a day and a time that there are"),
        ("2026-01-31 25:00", "a day and a time that there are"),
        ("2026-03-29 02:30", "a time that clocks of Europe/Stockholm have shown"),
        ("2025-10-26 02:30", "a time that clocks of Europe/Stockholm have shown once; give its offset"),
        ("0001-01-01", "a time from 1700 on"),
        ("1/2/2026", "a time such as 2026-01-31 or 2026-01-31T08:30+01:00, for 1/2 may be two days"),
        ("1767225600", "a time such as 2026-01-31 or 2026-01-31T08:30+01:00"),
        ("46053.5", "a time such as 2026-01-31 or 2026-01-31T08:30+01:00"),
        ("yesterday", "a time such as 2026-01-31 or 2026-01-31T08:30+01:00"),
        ("2026-01-31T08:30+99:00", "an offset from UTC of at most 14 hours"),
    ],
)
def test_another_is_set_aside_with_what_was_wanted(text, wanted):
    assert read(text)[0] == [wanted]


def test_missing_is_no_time():
    assert read(None, "NA", "", "-")[0] == ["", "", "", ""]


def test_the_other_dates_tell_which_of_two_numbers_is_the_day_and_that_is_said():
    assert read("1/2/2026", "31/1/2026") == (
        ["2026-01-31T23:00", "2026-01-30T23:00"],
        "at: dates with / are read as day/month/year",
    )
    assert read("1/2/2026", "1/31/2026", zone="UTC")[0] == ["2026-01-02T00:00", "2026-01-31T00:00"]
    both, _ = read("1/2/2026", "31/1/2026", "1/31/2026")
    assert all("may be two days" in words for words in both)


def test_whose_clock_times_without_an_offset_are_is_said():
    assert read("2026-01-31T08:30", "2026-01-31T08:30Z")[1] == (
        "at: times without an offset, such as '2026-01-31T08:30', are of Europe/Stockholm"
    )
    assert read("2026-01-31T08:30+01:00", "2026-01-31")[1] == ""


@settings(max_examples=50, deadline=None)
@given(st.integers(-5_000_000_000, 1_770_000_000), st.integers(-840, 840))
def test_what_isoformat_writes_is_read_back(second, offset_min):
    zoned = dt.datetime.fromtimestamp(second, dt.timezone(dt.timedelta(minutes=offset_min)))
    (value,), _ = read(zoned.isoformat())
    assert pd.Timestamp(value, tz="UTC") == pd.Timestamp(zoned)


def flowers(**columns):
    rows = pd.DataFrame({**dict.fromkeys(IRIS.inputs, "3.0"), **columns}, dtype=object)
    return validate(IRIS, Raw("rows.csv", rows.set_axis(range(2, len(rows) + 2))), NOW)


def test_rows_without_a_time_or_of_the_future_are_set_aside_and_the_same_id_may_come_at_another_time():
    got = flowers(
        flower_id=["a", "a", "a", "b", "c"],
        measured_at=["2026-01-01", "2026-01-02", "2026-01-02", None, "2027-01-01"],
    )
    assert got.rows["row_id"].tolist() == ["iris-a", "iris-a"]
    assert got.rows["event_time"].tolist() == [
        pd.Timestamp("2025-12-31 23:00"),
        pd.Timestamp("2026-01-01 23:00"),
    ]
    reasons = got.rejects[["line", "column", "check", "value"]].sort_values("line").to_numpy().tolist()
    assert reasons == [
        [4, "flower_id", "unique", "a"],
        [5, "measured_at", "a time", ""],
        [6, "measured_at", "a time that has been", "2027-01-01"],
    ]
    assert got.timed


def test_rows_without_an_id_are_told_apart_by_their_time_too():
    first = flowers(measured_at=["2026-01-01"]).rows
    both = flowers(measured_at=["2026-01-02", "2026-01-01"]).rows
    assert first["row_id"].item() == both["row_id"].iloc[1]


def test_a_system_whose_zone_or_time_column_cannot_be_is_refused():
    with pytest.raises(ValueError, match="no time zone 'Stockholm'; want a name such as"):
        replace(IRIS, time_zone="Stockholm")
    with pytest.raises(ValueError, match="is its id, its label or an input"):
        replace(IRIS, time_column="species")


def test_a_time_column_is_found_by_its_name_as_others_are_and_a_misspelt_one_is_asked_about():
    assert flowers(**{"Measured At": ["2026-01-01"]}).timed
    with pytest.raises(SourceError, match=r"measured_at .is it 'measured_ta'"):
        flowers(measured_ta=["2026-01-01"])
