"""Raw rows become checked rows, and what is wrong is set aside with its reason."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagsverk.tabular.errors import InvalidInput, SourceError
from dagsverk.tabular.features import check_inputs, model_inputs, validate
from dagsverk.tabular.sources import Raw, read_source
from dagsverk.tabular.system import load_system, systems

NOW = pd.Timestamp("2026-01-31 12:00", tz="UTC")
TITANIC = load_system("titanic")
GOOD = {
    "passenger_id": "1",
    "survived": "0",
    "pclass": "3",
    "sex": "male",
    "age": "22",
    "sibsp": "1",
    "parch": "0",
    "fare": "7.25",
    "embarked": "S",
}


def raw(*changes):
    rows = pd.DataFrame(
        [{**GOOD, "passenger_id": str(i), **change} for i, change in enumerate(changes, 1)], dtype=object
    )
    return Raw("test.csv", rows.set_axis(range(2, len(rows) + 2)))


@pytest.mark.parametrize("name, count", [("titanic", 891), ("iris", 150)])
def test_every_embedded_row_is_taken(name, count):
    system = load_system(name)
    checked = validate(system, read_source(system), NOW)
    assert (checked.rows_in, len(checked.rows), checked.rows_set_aside) == (count, count, 0)
    assert checked.rows["row_id"].is_unique


def test_the_embedded_titanic_holds_the_facts_of_the_public_record():
    rows = validate(TITANIC, read_source(TITANIC), NOW).rows
    assert (rows["survived"] == "survived").sum() == 342
    assert rows[["age", "embarked"]].isna().sum().to_dict() == {"age": 177, "embarked": 2}


@pytest.mark.parametrize(
    "change, column, check",
    [
        ({"age": "-4"}, "age", "at least 0"),
        ({"age": "old"}, "age", "a number"),
        ({"age": "inf"}, "age", "a finite number"),
        ({"fare": None}, "fare", "a value"),
        ({"fare": "1e9"}, "fare", "at most 600"),
        ({"sibsp": "1.5"}, "sibsp", "a whole number"),
        ({"sex": "unknown"}, "sex", "one of female, male"),
        ({"embarked": "Cork"}, "embarked", "one of C, Q, S"),
        ({"survived": "2"}, "survived", "one of died, survived"),
        ({"passenger_id": None}, "passenger_id", "a value"),
        ({"passenger_id": "1"}, "passenger_id", "unique"),
        ({"passenger_id": "x" * 101}, "passenger_id", "at most 100 characters"),
    ],
)
def test_a_bad_row_is_set_aside_with_column_check_and_value(change, column, check):
    checked = validate(TITANIC, raw({}, change), NOW)
    assert checked.rows["row_id"].tolist() == ["titanic-1"]
    assert (column, check) in set(zip(checked.rejects["column"], checked.rejects["check"], strict=True))
    assert set(checked.rejects["line"]) == {3}
    assert checked.rejects["value"].str.len().max() <= 200


def test_an_outcome_that_is_not_known_yet_is_no_error():
    checked = validate(TITANIC, raw({"survived": None}), NOW)
    assert checked.rows["survived"].isna().tolist() == [True]


def test_seven_as_text_integer_or_float_is_the_same_passenger():
    rows = [validate(TITANIC, raw({"passenger_id": value}), NOW).rows for value in ("7", 7, 7.0)]
    assert {frame["row_id"].item() for frame in rows} == {"titanic-7"}


def test_a_renamed_column_is_refused_with_a_guess_at_what_it_was():
    renamed = Raw("test.csv", raw({}).rows.rename(columns={"pclass": "pclass_x"}))
    with pytest.raises(
        SourceError, match=r"lacks 1 of the columns of titanic: pclass \(is it 'pclass_x'\?\)"
    ):
        validate(TITANIC, renamed, NOW)


def test_unused_and_unknown_columns_do_not_enter():
    checked = validate(TITANIC, Raw("x", raw({}).rows.assign(deck="C", name="Somebody")), NOW)
    assert not {"deck", "name"} & set(checked.rows.columns)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "age": st.one_of(st.none(), st.text(max_size=5), st.floats(), st.integers()),
                "sex": st.one_of(st.none(), st.text(max_size=8), st.sampled_from(["male", "female"])),
                "passenger_id": st.one_of(st.none(), st.text(max_size=3), st.integers(-5, 5)),
                "fare": st.one_of(st.floats(), st.text(max_size=4)),
            },
        ),
        min_size=1,
        max_size=8,
    )
)
def test_every_raw_row_is_either_taken_or_set_aside_whatever_it_holds(changes):
    checked = validate(TITANIC, raw(*changes), NOW)
    assert len(checked.rows) + checked.rejects["line"].nunique() == checked.rows_in == len(changes)
    assert checked.rows["row_id"].is_unique
    assert not checked.rejects.duplicated(["source", "line", "column", "check"]).any()


@pytest.mark.parametrize("name", systems())
def test_models_see_the_inputs_and_never_an_identifier_or_the_outcome(name):
    system = load_system(name)
    rows = validate(system, read_source(system), NOW).rows
    inputs = model_inputs(system, rows)
    assert list(inputs.columns) == [*system.inputs, *system.derived]
    assert len(inputs) == len(rows)
    assert not {system.id_column, system.label.name, "row_id"} & set(inputs.columns)


def test_entered_values_are_checked_field_by_field():
    with pytest.raises(InvalidInput) as caught:
        check_inputs(
            TITANIC,
            {**{c: GOOD[c] for c in TITANIC.inputs}, "sex": "<b>", "age": True, "wealth": 1, "fare": 700},
        )
    assert set(caught.value.problems) == {"sex", "age", "wealth", "fare"}
    assert caught.value.problems["fare"] == "want at most 600, got '700'"
    assert caught.value.problems["sex"] == "want one of female, male, got '<b>'"


@pytest.mark.parametrize("empty", [None, "", " ", float("nan"), "NaN"])
def test_an_empty_field_is_missing_where_it_may_be_and_refused_where_not(empty):
    values = {c: GOOD[c] for c in TITANIC.inputs}
    assert check_inputs(TITANIC, {**values, "age": empty})["age"].isna().all()
    with pytest.raises(InvalidInput) as caught:
        check_inputs(TITANIC, {**values, "fare": empty})
    assert caught.value.problems == {"fare": "want a value, got nothing"}


def test_an_outcome_that_is_a_quantity_is_refused_at_once_and_by_name():
    with pytest.raises(
        SourceError, match=r"survived of test.csv holds 40 different numbers, .* \(regression\)"
    ):
        validate(TITANIC, raw(*({"survived": f"{n}.25"} for n in range(40))), NOW)


def test_columns_and_classes_from_which_nothing_can_be_learned_are_named_when_rows_come_in():
    rows = raw(*({"age": None, "fare": str(n)} for n in range(30)))
    said = "; ".join(validate(TITANIC, rows, NOW).guesses)
    assert "age is empty in every row: nothing can be learned from it" in said
    assert "sex is male wherever it is there" in said
    assert "fewer than two rows have the outcome survived (0)" in said
    assert "fare" not in said
