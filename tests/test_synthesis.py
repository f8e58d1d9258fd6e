"""What a day of synthetic rows promises: the same again, apart from others, newest last."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagsverk.tabular import synthesis
from dagsverk.tabular.days import (
    MAX_COUNT,
    METHODS,
    SynthesisConfig,
    check_date,
    check_shares,
    day_prefix,
)
from dagsverk.tabular.features import validate
from dagsverk.tabular.sources import read_source
from dagsverk.tabular.synthesis import BLOCK_ROWS, rows_of_day
from dagsverk.tabular.system import load_system
from dagsverk.tabular.tables import features_table

DAY = dt.date(2026, 3, 1)
TITANIC, IRIS = load_system("titanic"), load_system("iris")
FACTS = {
    system.name: validate(system, read_source(system), pd.Timestamp("2026-01-01", tz="UTC")).rows
    for system in (TITANIC, IRIS)
}


def a_day(system=TITANIC, **changes) -> pd.DataFrame:
    settings_ = {"date": DAY, "count": 20, **changes}
    return pd.concat(rows_of_day(system, FACTS[system.name], **settings_), ignore_index=True)


@pytest.mark.parametrize("system", [TITANIC, IRIS], ids=["titanic", "iris"])
@pytest.mark.parametrize("method", METHODS)
def test_a_repeated_day_is_the_same_rows(system, method):
    first = a_day(system, method=method)
    pd.testing.assert_frame_equal(first, a_day(system, method=method))
    assert list(first.columns) == features_table(system).schema.names
    assert set(first["generator"]) == {method}
    assert set(first["origin"]) == {"synthetic"}


@settings(max_examples=20, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    count=st.integers(1, 300),
    more=st.integers(1, 300),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_first_rows_of_a_greater_count_are_the_rows_of_a_smaller_one(method, count, more, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesis, "BLOCK_ROWS", 64)  # several blocks in few rows
        few = a_day(IRIS, method=method, count=count, seed=seed)
        many = a_day(IRIS, method=method, count=count + more, seed=seed)
    assert len(few) == count
    pd.testing.assert_frame_equal(few, many.head(count))


def test_a_second_block_goes_on_where_the_first_ended():
    blocks = list(rows_of_day(TITANIC, FACTS["titanic"], date=DAY, count=BLOCK_ROWS + 3))
    assert [len(block) for block in blocks] == [BLOCK_ROWS, 3]
    rows = pd.concat(blocks)
    assert rows["row_id"].is_unique
    assert rows["event_time"].is_monotonic_increasing
    assert rows["row_id"].iloc[-1] == f"titanic-2026-03-01-cart-s42-{BLOCK_ROWS + 2:07d}"
    inputs = list(TITANIC.inputs)
    assert not blocks[0][inputs].head(3).equals(blocks[1][inputs])


def test_blocks_are_drawn_when_they_are_asked_for():
    blocks = rows_of_day(TITANIC, FACTS["titanic"], date=DAY, count=MAX_COUNT)
    assert next(blocks)["row_id"].iloc[0] == "titanic-2026-03-01-cart-s42-0000000"


@pytest.mark.parametrize(
    "changes",
    [{"date": DAY + dt.timedelta(1)}, {"seed": 43}, {"method": "copula"}, {"label_shares": {"died": 1.0}}],
)
def test_another_day_seed_method_or_share_gives_other_rows_under_other_ids(changes):
    usual, other = a_day(), a_day(**changes)
    assert not set(usual["row_id"]) & set(other["row_id"])
    assert not usual[list(TITANIC.inputs)].equals(other[list(TITANIC.inputs)])


def test_the_order_and_the_other_columns_of_the_real_rows_do_not_matter():
    shuffled = FACTS["titanic"].sample(frac=1, random_state=0)[[*TITANIC.inputs, "survived"]]
    rows = pd.concat(rows_of_day(TITANIC, shuffled, date=DAY, count=20), ignore_index=True)
    pd.testing.assert_frame_equal(rows, a_day())


def test_rows_fall_on_their_day_a_millisecond_apart_and_the_newest_is_last():
    rows = a_day(count=3)
    assert rows["event_time"].dtype == np.dtype("datetime64[us]")
    assert rows["event_time"].tolist() == [pd.Timestamp(2026, 3, 1) + pd.Timedelta(i, "ms") for i in range(3)]
    assert pd.Timestamp(DAY) + pd.Timedelta(MAX_COUNT - 1, "ms") < pd.Timestamp(DAY + dt.timedelta(1))


def test_requested_shares_are_drawn():
    rows = a_day(count=2000, label_shares={"survived": 0.9, "died": 0.1})
    assert abs((rows["survived"] == "survived").mean() - 0.9) <= 3 * np.sqrt(0.9 * 0.1 / 2000)


def test_synthesis_that_is_off_gives_no_rows_and_fits_nothing():
    unfit = FACTS["titanic"].assign(survived=None)
    assert list(rows_of_day(TITANIC, unfit, date=DAY, count=0)) == []
    assert SynthesisConfig(count=0).count == 0


@pytest.mark.parametrize("count", [-1, 2.5, True, MAX_COUNT + 1])
def test_a_count_that_is_no_number_of_rows_is_refused_at_once(count):
    with pytest.raises(ValueError, match="count must be a whole number of rows from 0"):
        rows_of_day(TITANIC, FACTS["titanic"], date=DAY, count=count)
    with pytest.raises(ValueError, match="count must be"):
        SynthesisConfig(count=count)


def test_synthetic_rows_are_no_source_of_new_ones():
    with pytest.raises(ValueError, match="found 20 of 20 with another origin"):
        rows_of_day(TITANIC, a_day(), date=DAY, count=5)


def test_an_unknown_class_or_method_is_refused_before_the_first_row():
    with pytest.raises(ValueError, match=r"no known class: \['drowned'\]; known: died, survived"):
        rows_of_day(TITANIC, FACTS["titanic"], date=DAY, count=5, label_shares={"drowned": 1.0})
    with pytest.raises(ValueError, match="no generator 'gan'"):
        rows_of_day(TITANIC, FACTS["titanic"], date=DAY, count=5, method="gan")


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"method": "gan"}, "known: cart"),
        ({"seed": -1}, "seed must be"),
        ({"seed": 2**32}, "seed must be"),
        ({"seed": 1.5}, "seed must be"),
        ({"label_shares": {"died": 0.5}}, "whose sum is 1"),
        ({"label_shares": {}}, "whose sum is 1"),
    ],
)
def test_settings_refuse_nonsense_when_built(wrong, message):
    with pytest.raises(ValueError, match=message):
        SynthesisConfig(**wrong)


def test_shares_may_leave_classes_out():
    check_shares({"setosa": 0.5, "virginica": 0.5}, IRIS.classes)
    assert set(a_day(IRIS, label_shares={"setosa": 1.0})["species"]) == {"setosa"}


def test_a_day_may_be_today_or_past_but_not_to_come():
    assert check_date(DAY, DAY) == DAY
    assert check_date(DAY - dt.timedelta(400), DAY) == DAY - dt.timedelta(400)
    with pytest.raises(ValueError, match=r"2026-03-02 is in the future \(today is 2026-03-01 UTC\)"):
        check_date(DAY + dt.timedelta(1), DAY)


@pytest.mark.parametrize("moment", [dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC), "2026-03-01", None])
def test_a_moment_or_a_text_is_no_day(moment):
    with pytest.raises(ValueError, match="a day is a date without a time"):
        check_date(moment, DAY)


def test_ids_name_the_shares_that_were_asked_for_whatever_their_order():
    usual = day_prefix("titanic", DAY, "cart", 42)
    asked = day_prefix("titanic", DAY, "cart", 42, {"died": 0.25, "survived": 0.75})
    assert usual == "titanic-2026-03-01-cart-s42"
    assert asked.startswith(f"{usual}-p")
    assert asked == day_prefix("titanic", DAY, "cart", 42, {"survived": 0.75, "died": 0.25})
    assert asked != day_prefix("titanic", DAY, "cart", 42, {"survived": 0.25, "died": 0.75})


def test_settings_of_a_day_are_light_to_import():
    heavy = "{'numpy', 'pandas', 'scipy', 'sklearn', 'xgboost'}"
    code = f"import sys, dagsverk.tabular.days; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
