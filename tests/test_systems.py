"""Systems describe themselves, and say so when they cannot."""

import dataclasses
import datetime as dt
import xml.etree.ElementTree as ET

import pytest

from dagsverk.tabular.pictures import picture
from dagsverk.tabular.system import Column, known_system, load_system, systems


def test_both_systems_of_the_originals_are_known():
    assert {"iris", "titanic"} <= set(systems())


@pytest.mark.parametrize("name", ["atlantis", "", "../titanic", "titanic\n", "Titanic", "__init__"])
def test_a_system_nobody_knows_is_refused_with_the_known_names(name):
    with pytest.raises(ValueError, match=r"known: .*titanic"):
        known_system(name)


@pytest.mark.parametrize("name", systems())
def test_every_input_has_limits_or_categories_and_an_example_within_them(name):
    for column in load_system(name).columns:
        if column.kind == "category":
            assert column.example in column.categories
        else:
            assert column.minimum <= column.example <= column.maximum


@pytest.mark.parametrize("name", systems())
def test_every_outcome_has_a_labelled_picture_that_runs_nothing(name):
    system = load_system(name)
    for outcome in system.classes:
        root = ET.fromstring(picture(system, outcome))  # noqa: S314  our own files
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-label"]
        assert not [e for e in root.iter() if e.tag.endswith(("script", "image", "foreignObject"))]


def test_a_system_without_pictures_gets_drawn_ones_with_its_words_escaped():
    label = Column(name="kind", description="Kind", kind="category", categories=("<b>", "plain"))
    system = dataclasses.replace(load_system("iris"), name="strange", label=label)
    assert "<b>" not in picture(system, "<b>")
    with pytest.raises(ValueError, match="no outcome 'other'"):
        picture(system, "other")


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"event_time": dt.datetime(1912, 4, 15)}, "time zone"),  # noqa: DTZ001  the point of the test
        ({"label": Column(name="x", description="x", kind="number")}, "two classes"),
    ],
)
def test_a_system_that_makes_no_sense_is_refused_when_it_is_written_down(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(load_system("titanic"), **change)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "category"},
        {"kind": "number", "categories": ("a",)},
        {"kind": "number", "minimum": 2, "maximum": 1},
    ],
)
def test_a_column_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="column x"):
        Column(name="x", description="x", **wrong)


@pytest.mark.parametrize(
    "column, value, words",
    [("pclass", 3.0, "third"), ("embarked", "S", "Southampton"), ("age", 29.5, "29.5")],
)
def test_values_are_worded_for_people(column, value, words):
    assert load_system("titanic").column(column).words(value) == words
